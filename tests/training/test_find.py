"""Finding runs: by name, folder, weights file; the newest finished; the list."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from microgpt.errors import CheckpointError
from microgpt.training.find import find, listing, newest, weights_of
from microgpt.training.run_folder import RunFolder, new_name
from trials.small import finish, request, stopped_at


def test_a_run_is_found_by_name_folder_or_file(tmp_path: Path) -> None:
    finish(request(tmp_path, steps=5))
    out = tmp_path / "runs"
    assert find("run", out) == out / "run"
    assert find(str(out / "run"), "elsewhere") == out / "run"
    file = out / "run" / "weights.safetensors"
    assert find(file) == file
    assert weights_of(out / "run") == weights_of(file) == file


def test_the_newest_finished_run_is_meant_where_none_is_named(tmp_path: Path) -> None:
    asked = request(tmp_path, steps=5)
    finish(replace(asked, name="b"))
    finish(replace(asked, name="a"))
    stopped_at(replace(asked, name="c"), 0)
    assert find(None, tmp_path / "runs").name == "a"


def test_where_no_run_has_finished_the_error_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="expected a finished run, found none; `microgpt train` makes one"):
        newest(tmp_path)


@pytest.mark.parametrize("name", ["ruin", "run/", "\0", "x" * 5000, "../run"])
def test_an_unknown_run_suggests_the_nearest(tmp_path: Path, name: str) -> None:
    finish(request(tmp_path, steps=5))
    if name == "run/":
        assert find(name, tmp_path / "runs").name == "run"
        return
    with pytest.raises(CheckpointError, match="expected a run's name") as error:
        find(name, tmp_path / "runs")
    assert ("did you mean run?" in str(error.value)) == (name in ("ruin", "../run"))


def test_the_list_says_what_each_run_is(tmp_path: Path) -> None:
    asked = request(tmp_path, save_every=20)
    end = finish(replace(asked, name="done"))
    stopped_at(replace(asked, name="half"), 20)
    half, done = sorted(listing(tmp_path / "runs"), key=lambda summary: summary.step or 0)
    assert (done.name, done.status, done.data, done.step, done.steps) == ("done", "finished", "few.txt", 50, 50)
    assert (half.name, half.status, half.step, half.holdout) == ("half", "unfinished", 20, None)
    assert done.holdout == end.result.loss.holdout
    assert done.params == half.params == end.result.params


def test_a_folder_of_runs_that_is_not_there_has_none(tmp_path: Path) -> None:
    assert listing(tmp_path / "nothing") == []


@pytest.mark.parametrize(
    ("data", "part"), [("names", "names"), ("/a/b c.txt", "b-c"), ("é ü.txt", "é-ü"), ("***", "text")]
)
def test_a_new_name_says_when_and_what(data: str, part: str) -> None:
    date, time, rest = new_name(data).split("-", 2)
    assert (len(date), len(time)) == (8, 6)
    assert rest.rpartition("-")[0] == part
    assert new_name(data) != new_name(data)


@pytest.mark.parametrize("time", [1e12, 1e300, -1e300])
def test_weights_of_no_year_are_listed_without_a_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, time: float
) -> None:
    """As a file system in memory keeps them."""
    stopped_at(replace(request(tmp_path, steps=5), name="far"), 0)
    monkeypatch.setattr(RunFolder, "weights", SimpleNamespace(stat=lambda: SimpleNamespace(st_mtime=time)))
    assert [(run.name, run.status) for run in listing(tmp_path / "runs")] == [("far", "unfinished")]
    with pytest.raises(CheckpointError, match="expected a finished run"):
        newest(tmp_path / "runs", interrupted=True)
