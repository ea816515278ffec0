"""From a store's runs and from any CSV to points; what is wrong with them is told in a line."""

import contextlib
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.errors import DataError, UsageError
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.points import points
from microgpt.lab.laws.table import distinct, groups, part, table
from microgpt.lab.statistics.simulate import Design, Law, Noise, simulate
from microgpt.lab.store.record import RunRecord

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)  # close to what the built-in names give


def records() -> list[RunRecord]:
    sizes = ((16, 4, 1), (32, 4, 2), (64, 8, 4))
    return simulate(NAMES, Design(sizes=sizes, steps=(1000, 4000, 16000), tuned=True), Noise(), 0)


def test_study_runs_count_and_those_that_tuned_do_not() -> None:
    runs = records()
    found = table(runs)
    assert len(found.points) == sum(run.role == "study" for run in runs) < len(runs)
    assert found.sha256 == table(runs[::-1]).sha256 != table(runs, drop_highest=1).sha256
    assert table(runs, drop_highest=2).dropped == 2


def test_parameters_are_counted_as_asked() -> None:
    runs = records()
    whole, body = table(runs), table(runs, "body")
    run = whole.records[0]
    assert whole.points.params[0] == run.params
    assert body.points.params[0] == run.params_body == whole.counts["body"][0]
    assert whole.counted("no-embedding").params[0] == run.params_body + run.params_head


def test_runs_without_a_held_out_loss_or_on_several_texts_are_refused() -> None:
    runs = [run for run in records() if run.role == "study"]
    with pytest.raises(DataError, match="held-out loss"):
        table([replace(run, loss=None) for run in runs])
    with pytest.raises(DataError, match=r"found 2 .*choose with --sweep or --data"):
        table([*runs[1:], replace(runs[0], data="shakespeare", data_sha256="0" * 64)])
    assert table([*runs[1:], replace(runs[0], loss=None)]).notes[0] == "Left out, with nothing held out: 1 run."
    with pytest.raises(UsageError, match="--drop-highest takes 0 to 26"):
        table(runs, drop_highest=27)


def test_what_the_audit_of_a_store_finds_is_a_warning_of_its_law() -> None:
    runs = records()
    assert table(runs).notes == ()
    untuned = [run for run in runs if run.role == "study"]
    assert any("learning rate" in note for note in table(untuned).notes)


def test_runs_of_one_value_of_a_setting_and_the_best_of_each_cell() -> None:
    every = records()
    runs = [run for run in every if run.role == "study"]
    assert {run.seed for run in part(runs, "seed", "1")} == {1}
    assert table(part(every, "seed", "1")).notes == table(groups(every, "seed")["1"]).notes
    assert not any("not tuned" in note for note in table(part(every, "seed", "1")).notes)
    assert part(runs, "data", runs[0].data.upper()) == runs
    with pytest.raises(DataError, match="Expected runs with seed = '9', found none; there are: 0, 1, 2"):
        part(runs, "seed", "9")
    with pytest.raises(DataError, match="did you mean batch"):
        part(runs, "bach", "1")
    assert {text: len(found) for text, found in groups(runs, "seed").items()} == {"0": 9, "1": 9, "2": 9}
    with pytest.raises(DataError, match="found machine = 'simulated'; take loss"):
        table(runs, by="machine")
    found = table(runs, by="loss")
    assert len(found.points) == 9
    cell = [run.loss for run in runs if (run.params, run.steps) == (found.records[0].params, found.records[0].steps)]
    assert found.points.loss[0] == min(cell)
    assert "lowest loss counts: 9 of 27 runs" in found.notes[0]


def test_a_csv_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("\ufeffSize;FLOPs;loss;note\n1e3;6e9;3.5;a\n2000;24e9; 3.1 ;b\n4000;48e9;9;c\n", "utf-8")
    found = read_csv(path, Columns(params="Size", flop="FLOPs"), drop_highest=1)
    assert found.points.params.tolist() == [1000, 2000]
    assert found.points.tokens == pytest.approx([1e6, 2e6])
    assert found.dropped == 1
    assert np.isinf(found.points.unique).all()


def test_tokens_or_flop_are_found_by_their_names(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss\n10,20,3\n20,40,2\n")
    assert read_csv(path, Columns()).points.tokens.tolist() == [20, 40]
    path.write_text("params,words,loss\n10,20,3\n20,40,2\n")
    with pytest.raises(DataError, match="--tokens COLUMN or --flop COLUMN"):
        read_csv(path, Columns())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "a header and one row"),
        ("params,tokens,loss\n", "a header and one row"),
        ("parms,tokens,loss\n1,2,3\n", "did you mean 'parms'"),
        ("params,tokens,loss\n1,2,\n", "row 2, column 'loss': expected a positive number, found nothing"),
        ("params,tokens,loss\n1,2,3\n1,two,3\n", "row 3, column 'tokens': .*found 'two'"),
        ("params,tokens,loss\n1,2,nan\n", "found 'nan'"),
        ("params,tokens,loss\n-1,2,3\n", "found '-1'"),
        ("params,tokens,loss\n1,2\n", "row 2: expected 3 fields"),
        ("params,tokens,loss\n1,2,inf\n", "found 'inf'"),
    ],
)
def test_what_is_wrong_with_a_csv_is_told_in_a_line(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=said) as failure:
        read_csv(path, Columns())
    assert "\n" not in str(failure.value)


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    with pytest.raises(DataError, match="found: No such file"):
        read_csv(path, Columns())
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="UTF-8"):
        read_csv(path, Columns())
    with path.open("wb") as file:
        file.truncate(65 << 20)
    with pytest.raises(DataError, match="at most 16,777,216 bytes"):
        read_csv(path, Columns())


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "runs.csv"
        path.write_text("params,tokens,loss\n" + text, "utf-8", newline="")
        with contextlib.suppress(DataError):
            assert len(read_csv(path, Columns()).points) > 0


def test_points_refuse_what_is_not_positive() -> None:
    with pytest.raises(DataError, match=r"tokens: .* found 0.0 at point 2"):
        points([1, 2], [3, 0], [1, 1])


def test_rows_pasted_twice_and_seeds_without_effect_count_once(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text("params,tokens,loss,seed\n10,20,3.5,1\n10,20,3.5,2\n10,20,3.6,3\n10,30,3.5,1\n")
    found = distinct(read_csv(path, Columns()))
    assert found.points.loss.tolist() == [3.5, 3.6, 3.5]
    assert any(note.startswith("Counted once: 1 run of the same size, length and loss") for note in found.notes)
