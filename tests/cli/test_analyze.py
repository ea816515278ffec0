"""`microgpt analyze` and `microgpt report` on a store of known runs."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner, Result

from microgpt.cli import analyze, report
from microgpt.cli.app import run
from microgpt.errors import StoreError, UsageError
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from trials.stores import keep

pytest.importorskip("scipy", reason="intervals need SciPy")
RUNS = 24 + 12 + 40 - 3  # both sweeps have the default size at 5,000 steps
NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)


def fill(path: Path, *designs: Design) -> None:
    keep(path, [run for number, design in enumerate(designs) for run in simulate(NAMES, design, Noise(), number)])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("lab") / "lab.db"
    fill(path, Design(), Design(sizes=SIZES, steps=(5000,), sweep="params", tuned=True))
    return path


# What the group of all verbs hands down to each.
AS_A_VERB: dict[str, Any] = {"standalone_mode": False, "help_option_names": ["-h", "--help"]}


def ask(command: click.Command, *arguments: object) -> Result:
    """What a command prints; its errors pass through."""
    return CliRunner().invoke(command, list(map(str, arguments)), catch_exceptions=False, **AS_A_VERB)


def error(command: click.Command, *arguments: object) -> Exception:
    found = CliRunner().invoke(command, list(map(str, arguments)), **AS_A_VERB).exception
    assert isinstance(found, Exception)
    return found


@pytest.mark.parametrize(("what", "rows"), [("steps", 8), ("params", 4), ("returns", 10), ("runs", RUNS)])
def test_json_is_one_object_with_a_row_for_each_row(what: str, rows: int, lab: Path) -> None:
    found = ask(analyze.command, what, "--json", "--store", lab)
    assert len(json.loads(found.stdout)["rows"]) == rows


def test_every_row_over_seeds_has_its_seeds_mean_error_and_interval(lab: Path) -> None:
    for what in ("steps", "params"):
        for row in json.loads(ask(analyze.command, what, "--json", "--store", lab).stdout)["rows"]:
            assert row["seeds"] == 3
            assert row["low"] < row["loss"] < row["high"]
            assert row["se"] > 0


def test_tables_go_to_standard_output_and_warnings_to_standard_error(tmp_path: Path) -> None:
    fill(tmp_path / "lab.db", Design(seeds=2, steps=(1000, 2000)))
    found = ask(analyze.command, "steps", "--store", tmp_path / "lab.db")
    assert "Loss against steps" in found.stdout
    assert "One seed gives no interval" in found.stderr
    assert "One seed gives no interval" not in found.stdout
    as_json = ask(analyze.command, "steps", "--json", "--store", tmp_path / "lab.db")
    assert any("One seed gives no interval" in text for text in json.loads(as_json.stdout)["warnings"])
    assert {finding["kind"] for finding in json.loads(as_json.stdout)["findings"]} >= {"few seeds", "few levels"}
    assert as_json.stderr == ""


def test_csv_and_markdown_are_nothing_else(lab: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(ask(analyze.command, "runs", "--csv", "--store", lab).stdout)))
    assert len({row["identity"] for row in rows}) == len(rows) == RUNS
    assert ask(analyze.command, "params", "--markdown", "--store", lab).stdout.startswith("### Loss against size\n\n|")


def test_a_sweep_that_is_not_there_is_told_with_the_command_that_makes_it(tmp_path: Path) -> None:
    fill(tmp_path / "lab.db", Design(sweep="mine"))
    found = error(analyze.command, "params", "--store", tmp_path / "lab.db")
    assert isinstance(found, StoreError)
    assert "`microgpt sweep params`" in str(found)
    assert "--sweep mine" in str(found)
    assert (
        len(
            json.loads(
                ask(analyze.command, "steps", "--sweep", "mine", "--json", "--store", tmp_path / "lab.db").stdout
            )["rows"]
        )
        == 8
    )


def test_an_untuned_sweep_answers_where_there_is_no_tuned_one(tmp_path: Path) -> None:
    fill(tmp_path / "lab.db", Design(sweep="steps-original"))
    for what, rows in (("steps", 8), ("returns", 7)):
        found = ask(analyze.command, what, "--json", "--store", tmp_path / "lab.db")
        assert len(json.loads(found.stdout)["rows"]) == rows


def test_an_unknown_table_suggests_the_nearest() -> None:
    assert "Did you mean steps?" in str(error(analyze.command, "step"))


def test_an_empty_store_says_what_fills_it(tmp_path: Path) -> None:
    fill(tmp_path / "lab.db")
    for what in ("steps", "returns", "runs"):
        found = error(analyze.command, what, "--store", tmp_path / "lab.db")
        assert isinstance(found, StoreError)
        assert "`microgpt sweep steps`" in str(found)


def test_a_plot_is_drawn_beside_the_table(lab: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    for what in ("steps", "params", "returns"):
        ask(analyze.command, what, "--plot", tmp_path / f"{what}.svg", "--store", lab)
        assert (tmp_path / f"{what}.svg").read_text().startswith("<svg")
    assert isinstance(error(analyze.command, "runs", "--plot", tmp_path / "a.svg", "--store", lab), UsageError)


def test_the_report_is_written_and_named(lab: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    found = ask(report.command, "--store", lab, "--out", tmp_path / "report.html")
    assert found.stdout.strip() == str(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text()
    assert "Longer training" in text
    assert "Larger models" in text


def test_the_runs_of_a_csv_are_audited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "theirs.csv"
    body = "".join(
        f"{n},{d},{2 + 1e3 / n + 1e4 / d},{seed}\n" for n in (1e3, 1e4) for d in (1e4, 1e5) for seed in (0, 1)
    )
    path.write_text("N,D,val,seed\n" + body + "1e3,1e6,x,0\n")
    named = ["--csv", str(path), "--params", "N", "--tokens", "D", "--loss", "val"]
    assert run(["analyze", *named]) == 0
    said = capsys.readouterr()
    assert said.out == "theirs.csv: 8 runs, 2 sizes, 2 lengths; 4 pairs of size and length\n"
    assert "serious: Of 9 rows 1 can't be read, and these are left out here: row 10, column 'val'" in said.err
    assert run(["analyze", "returns", *named, "--where", "seed=0", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert {finding["kind"] for finding in told["findings"]} == {"unreadable rows", "few levels", "few seeds"}
    assert run(["analyze", *named, "--markdown"]) == 0
    assert capsys.readouterr().out == ""


def test_csv_alone_prints_values_and_flags_that_would_do_nothing_are_refused(
    lab: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in (["--csv", "runs"], ["runs", "--csv"]):
        assert run(["analyze", *arguments, "--store", str(lab)]) == 0
        assert len(capsys.readouterr().out.splitlines()) == RUNS + 1
    for arguments, said in (
        ([], "Expected one of steps, params, returns, ideas, runs, or --csv FILE"),
        (["runs", "--tokens", "D"], "--tokens is for the runs of a CSV"),
        (["steps", "--csv", "theirs.csv"], "and the tables of `returns`"),
        (["--csv", "theirs.csv", "--vocabulary", "1"], "--vocabulary takes"),
    ):
        assert run(["analyze", *arguments]) == 2
        assert said in capsys.readouterr().err
