"""suggest from the command line: JSON, words, a sweep that runs, exit codes, and one line for what is wrong."""

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from microgpt.cli.app import run
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.statistics.simulate import Design, Law, Noise, simulate
from microgpt.outputs import BANNER
from tests.cli.test_laws_cli import asked, refused
from tests.command import microgpt
from tests.lab.laws.planted import drawn
from trials.stores import keep

pytest.importorskip("scipy")
QUICK = ["--bootstrap", "100"]
NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)


@pytest.fixture
def runs(tmp_path: Path) -> str:
    found, path = drawn(Simulated(4, 4, 1)), tmp_path / "runs.csv"
    rows = zip(found.params.tolist(), found.tokens.tolist(), found.loss.tolist(), strict=True)
    path.write_text("params,tokens,loss\n" + "".join(f"{n!r},{d!r},{loss!r}\n" for n, d, loss in rows))
    return str(path)


def test_a_csv_tells_the_runs_and_what_they_and_as_many_seeds_would_give(
    capsys: pytest.CaptureFixture[str], runs: str
) -> None:
    told = asked(capsys, "suggest", "7e14", "--csv", runs, "--runs", "40", *QUICK)
    assert told["target"] == "the best size for 6e+15 FLOP"  # ten times the dearest run, 1e6 on 1e8
    assert (told["runs"], told["unit"]) == (len(told["cells"]) * told["seeds"], "FLOP")
    assert told["runs"] <= 40
    assert told["cost"] == pytest.approx(told["seeds"] * sum(cell["cost"] for cell in told["cells"]))
    assert told["cost"] <= 7e14
    low, high = told["interval"]
    assert low < told["expected"]["interval"][0] < told["estimate"] < told["expected"]["interval"][1] < high
    assert told["expected"]["times"] < told["uniform"]["times"] < 1
    assert run(["suggest", "7e14", "--csv", runs, "--predict", "4e6", "1e8", "--seeds", "2", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "the loss at N = 4,000,000, D = 100,000,000: 2." in said
    assert "times as wide" in said


def test_a_form_that_is_doubted_comes_first(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    design = Simulated(5, 5, 1).design
    loss = FORMS["joint"].loss(np.append(Simulated().theta, np.log(0.8)), design)
    rows = zip(design.params.tolist(), design.tokens.tolist(), loss.tolist(), strict=True)
    (tmp_path / "joint.csv").write_text("params,tokens,loss\n" + "".join(f"{n!r},{d!r},{x!r}\n" for n, d, x in rows))
    told = asked(capsys, "suggest", "1e14", "--csv", str(tmp_path / "joint.csv"), "--target", "alpha", *QUICK)
    assert "only if this form is right, which is doubted below" in told["warnings"][0]
    assert any("--compare tries others" in warning for warning in told["warnings"])


@pytest.mark.long
def test_a_store_writes_a_sweep_that_can_be_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    design = Design(sizes=((8, 2, 1), (16, 4, 1), (32, 4, 2), (64, 8, 4)), steps=(1000, 4000, 16000, 60000), seeds=1)
    keep(tmp_path / "lab.db", simulate(NAMES, design, Noise(), seed=1))
    use = ["suggest", "1e11", "--target", "size_exponent", "--runs", "12", "--write", "next.toml", *QUICK]
    Path("next.toml").write_text(BANNER)  # its own file is replaced
    assert run(use) == 0
    assert "microgpt sweep next.toml --store lab.db" in capsys.readouterr().out
    told = asked(capsys, "sweep", "next.toml", "--dry-run")
    assert 0 < told["runs"] <= 12
    assert told["flop"] <= 1.4e11  # of names, whose runs cost a little more or less
    Path("next.toml").write_text("seeds = 1\n")
    code, line = refused(capsys, *use)
    assert (code, "add --force" in line) == (2, True)
    assert asked(capsys, "suggest", "20s", "--target", "E", *QUICK)["unit"] == "seconds"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "Missing argument 'COST'"),
        (["soon"], 2, "COST takes FLOP such as 1e12"),
        (["1"], 2, "6e+08 FLOP is the cheapest"),
        (["1e13", "--budget", "5m"], 2, "--budget is in the unit of COST"),
        (["1e13", "--budget", "1e15", "--target", "E"], 2, "found --budget and --target"),
        (["1e13", "--target", "gamma"], 2, "--target takes E, A, B, alpha, beta, size_exponent"),
        (["1e13", "--target", "alpha", "--fix", "alpha=0.3"], 2, "--target takes E, A, B, beta"),
        (["1e13", "--predict", "1e5", "nan"], 2, "--predict takes PARAMS and TOKENS above 0"),
        (["1e13", "--form", "tokens"], 2, "a best size needs a law of size and length"),
        (["1e13", "--reach", "nan"], 2, "--reach takes 1 to 100"),
        (["1e13", "--seeds", "9", "--runs", "3"], 2, "--seeds is at most --runs"),
        (["5m"], 3, "needs the seconds of the runs"),
        (["1e13", "--write", "next.toml"], 3, "--write needs the runs of a store"),
        (["1e13", "--write", "next.txt"], 2, "--write takes a file that ends in .toml"),
    ],
)
def test_what_is_wrong_is_one_line(
    capsys: pytest.CaptureFixture[str],
    runs: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    found, line = refused(capsys, "suggest", *arguments, "--csv", runs, *QUICK)
    assert (found, said in line) == (code, True), line
    assert not list(tmp_path.glob("next*"))


@pytest.mark.parametrize(
    ("change", "code", "told"),
    [
        ("emb = 0", 7, "a value that its column can't hold"),
        ("steps = 0", 7, "a value that its column can't hold"),
        ("lr = -1.0", 7, "a value that its column can't hold"),
        ("decay = 'wsd'", 2, "'wsd'"),
        ("data = 'a\x7f.txt'", 0, ""),
    ],
)
def test_what_a_store_of_others_says_is_no_unforeseen_error(change: str, code: int, told: str, tmp_path: Path) -> None:
    design = Design(sizes=((8, 2, 1), (16, 4, 1), (32, 4, 2), (64, 8, 4)), steps=(1000, 4000, 16000, 60000), seeds=1)
    keep(tmp_path / "lab.db", simulate(NAMES, design, Noise(), seed=1))
    with closing(sqlite3.connect(tmp_path / "lab.db", isolation_level=None)) as connection:
        connection.execute(f"UPDATE runs SET {change}")
    done = microgpt("suggest", "1e11", "--write", "next.toml", "--bootstrap", "100", cwd=tmp_path)
    assert (done.returncode, told in done.stderr) == (code, True), done.stderr
    assert (tmp_path / "next.toml").exists() == (code == 0)
    assert "unexpected" not in done.stderr
