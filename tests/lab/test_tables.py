"""Tables: what stands in them, and that each way of printing them tells the same."""

import csv
import io
import json
import math
import statistics
from dataclasses import dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.lab.statistics.render import Column, Table, plain, to_csv, to_json, to_markdown, to_rich
from microgpt.lab.statistics.series import PARAMS, STEPS, series
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from microgpt.lab.statistics.tables import returns_table, runs_table, significant, size_table, steps_table
from microgpt.untrusted import visible

pytest.importorskip("scipy", reason="intervals need SciPy")


@dataclass(frozen=True)
class Line:
    text: str
    number: float | None


def table(*lines: Line) -> Table:
    columns = [Column("text", lambda line: line.text, number=False), Column("number", lambda line: f"{line.number}")]
    return Table("Lines", Line, lines, columns)


def test_a_row_holds_the_mean_its_error_and_the_shared_error_apart() -> None:
    records = simulate(Law(), Design(seeds=5), Noise(held_out=0.01), 1)
    row = steps_table(series(records, STEPS)).rows[0]
    losses = [run.loss for run in records if run.steps == 1000 and run.loss is not None]
    assert row.seeds == 5
    assert row.loss == pytest.approx(statistics.mean(losses))
    assert row.spread == pytest.approx(statistics.stdev(losses))
    assert row.se == pytest.approx(statistics.stdev(losses) / math.sqrt(5))
    assert row.high - row.loss == pytest.approx(2.131847 * row.se, rel=1e-5)
    assert row.holdout_se == pytest.approx(0.01)
    assert row.samples == records[0].samples


def test_the_size_table_counts_parameters_as_the_model_does() -> None:
    records = simulate(Law(), Design(sizes=SIZES, steps=(5000,)), Noise(), 1)
    rows = size_table(series(records, PARAMS)).rows
    assert [row.params for row in rows] == [4192, 8592, 26816, 201088]
    assert all(row.params == row.params_embedding + row.params_head + row.params_body for row in rows)


def test_csv_gives_every_number_back_in_full_precision() -> None:
    found = steps_table(series(simulate(Law(), Design(), Noise(), 1), STEPS))
    rows = list(csv.DictReader(io.StringIO(to_csv(found))))
    assert [float(row["loss"]) for row in rows] == [row.loss for row in found.rows]
    assert list(rows[0])[:2] == ["series", "steps"]


def test_an_empty_table_still_has_its_header() -> None:
    assert to_csv(returns_table([], STEPS)).startswith("series,axis,from_level,to_level,seeds")


def test_each_run_is_a_row_with_every_setting_commit_and_hash() -> None:
    records = simulate(Law(), Design(tuned=True), Noise(), 1)
    rows = list(csv.DictReader(io.StringIO(to_csv(runs_table(records)))))
    assert len(rows) == len(records)
    assert set(records[0].settings) <= set(rows[0])
    assert rows[0]["commit"] == records[0].commit
    assert rows[0]["data_sha256"] == records[0].data_sha256
    assert float(rows[0]["loss"]) == records[0].loss


def test_json_has_no_number_that_is_none() -> None:
    text = to_json([table(Line("a", math.nan), Line("b", None))], warnings=["beware"])
    assert json.loads(text, parse_constant=pytest.fail) == {
        "rows": [{"text": "a", "number": None}, {"text": "b", "number": None}],
        "warnings": ["beware"],
    }


@given(st.text())
def test_text_of_a_store_can_neither_steer_a_terminal_nor_break_a_table(text: str) -> None:
    (cell, _), *_ = table(Line(text, 1.0)).cells
    assert cell == visible(cell)
    assert not {"\n", "\t"} & set(cell)
    lines = to_markdown(table(Line(text, 1.0))).splitlines()
    assert len(lines) == 5
    assert lines[4].replace("\\\\", "").replace("\\|", "").count("|") == 3


@given(st.text().filter(lambda text: "\r" not in text and "\x00" not in text))
def test_csv_is_read_back_whole_and_no_cell_is_a_formula(text: str) -> None:
    ((_, *_), (cell, _)) = csv.reader(io.StringIO(to_csv(table(Line(text, 1.0)))))
    assert cell in (text, f"'{text}")
    assert not cell.startswith(("=", "+", "-", "@"))


def test_a_narrow_terminal_loses_spare_columns_and_no_numbers() -> None:
    from rich.console import Console

    found = steps_table(series(simulate(Law(), Design(), Noise(), 1), STEPS))
    for width in (80, 160):
        console = Console(width=width, file=io.StringIO(), color_system=None)
        console.print(to_rich(found, width))
        assert isinstance(console.file, io.StringIO)
        printed = console.file.getvalue()
        assert all(f"{row.loss:.4f}" in printed for row in found.rows)
        assert ("tokens" in printed) is (width == 160)
        assert max(map(len, printed.splitlines())) <= width


def test_markup_in_a_sample_is_printed_as_it_is() -> None:
    from rich.console import Console

    records = [replace(run, samples=("[bold]x[/bold]",)) for run in simulate(Law(), Design(), Noise(), 1)]
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(to_rich(steps_table(series(records, STEPS)), 200))
    assert isinstance(console.file, io.StringIO)
    assert "[bold]x[/bold]" in console.file.getvalue()


@pytest.mark.parametrize(
    ("value", "text"), [(0.0474, "+0.0474"), (-0.000207, "-0.000207"), (1.39, "+1.39"), (0.0, "+0.0000"), (None, "–")]
)
def test_returns_show_three_digits_that_count(value: float | None, text: str) -> None:
    assert significant(value) == text


def test_control_characters_become_visible() -> None:
    assert plain("a\x1b[31m\nb") == "a\\x1b[31m⏎b"
