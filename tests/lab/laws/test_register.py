"""Predictions are written down before and scored after; what was written is never changed."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from microgpt.errors import DataError
from microgpt.lab.laws.points import points
from microgpt.lab.laws.predict import Prediction
from microgpt.lab.laws.register import check_new, register, registered, score


class Counting(list[str]):
    """A list that knows how often it was gone through."""

    read = 0

    def __iter__(self) -> Iterator[str]:
        self.read += 1
        return super().__iter__()


NOW = datetime(2026, 1, 2, tzinfo=UTC)
SAID = Prediction(1000, 2e6, 3.0, 2.9, 3.1, 0.9, 1.2, False)


def test_predictions_are_added_and_earlier_ones_stay(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    register(path, [SAID], "a" * 64, NOW)
    first = registered(path)
    register(path, [SAID, SAID], "b" * 64, NOW)
    entries = registered(path)
    assert entries[:1] == first
    assert [entry["data_sha256"][0] for entry in entries] == ["a", "b", "b"]
    assert entries[0]["time"] == NOW.isoformat()


def test_runs_that_came_after_are_scored(tmp_path: Path) -> None:
    path = tmp_path / "said.json"
    register(path, [SAID], "a" * 64, NOW)
    runs = points([1000, 1000, 1000, 1000, 5000], [2e6, 2.05e6, 2e6, 9e6, 2e6], [2.95, 3.2, 2.0, 3.0, 3.0])
    times = ["2026-01-03T00:00:00+00:00", "2026-01-03T00:00:00", "2026-01-01T00:00:00+00:00", "", ""]
    (found,) = score(registered(path), runs, times)
    assert (found.runs, found.inside) == (2, 1)
    assert found.error == pytest.approx((2.95 + 3.2) / 2 - 3.0)
    (later,) = score(registered(path), runs.take([4]), times[4:])
    assert later.found is None
    assert later.error is None


def test_times_of_runs_are_read_once(tmp_path: Path) -> None:
    """Not once for each prediction: of thirty thousand that took half a minute."""
    register(tmp_path / "said.json", [SAID] * 3, "a" * 64, NOW)
    times = Counting(["2026-01-03T00:00:00+00:00"] * 2)
    assert [
        found.runs for found in score(registered(tmp_path / "said.json"), points([1000] * 2, [2e6] * 2, [3, 3]), times)
    ] == [2] * 3
    assert times.read == 1


def test_a_run_of_the_same_second_counts_since_a_store_keeps_whole_seconds(tmp_path: Path) -> None:
    register(tmp_path / "said.json", [SAID], "a" * 64, NOW.replace(microsecond=400_000))
    runs = points([1000], [2e6], [2.95])
    for ended, count in ((NOW, 1), (NOW - timedelta(seconds=1), 0)):
        (found,) = score(registered(tmp_path / "said.json"), runs, [ended.isoformat(timespec="seconds")])
        assert found.runs == count


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"predictions": [1]}', '{"predictions": [{"params": "x"}]}', "{\x00"]
)
def test_other_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "said.json"
    path.write_text(text)
    with pytest.raises(DataError):
        registered(path)
    with pytest.raises(DataError):
        register(path, [SAID], "a" * 64, NOW)
    assert path.read_text() == text


def test_the_runs_that_were_fitted_are_not_scored(tmp_path: Path) -> None:
    register(tmp_path / "said.json", [SAID], "a" * 64, NOW)
    entries = registered(tmp_path / "said.json")
    check_new(entries, "b" * 64, "later.csv")
    with pytest.raises(DataError, match=r"runs\.csv: expected runs that came after .* the very runs that were fitted"):
        check_new(entries, "a" * 64, "runs.csv")
