"""compare from the command line: JSON, words, exit codes, and one line for what is wrong."""

from pathlib import Path

import numpy as np
import pytest

from microgpt.cli.app import run
from microgpt.lab.laws.simulate import Simulated
from tests.cli.test_laws_cli import asked, refused
from trials.stores import SETTINGS, keep, trained

pytest.importorskip("scipy")
QUICK = ["--bootstrap", "100"]
AB = ["decay=cosine", "decay=linear"]


def rows(floor: float = 1.95) -> list[tuple[str, int, float, float, float]]:
    """Two recipes on one design, of which linear needs three times the tokens: decay, seed, params, tokens, loss."""
    law, stream, found = dict(Simulated().law), np.random.default_rng(0), []
    slower = law | {"B": law["B"] * 3 ** law["beta"], "E": floor}
    for decay, each in (("cosine", law), ("linear", slower)):
        design = Simulated(4, 4, 2, (1e4, 1e6), (1e6, 1e8), each).design
        losses = design.loss + stream.normal(0, 0.002, len(design))
        for k, row in enumerate(zip(design.params, design.tokens, losses, strict=True)):
            found.append((decay, k % 2, *map(float, row)))
    return found


def written(path: Path, found: list[tuple[str, int, float, float, float]]) -> str:
    lines = [f"{n!r},{d!r},{loss!r},{decay},{seed}\n" for decay, seed, n, d, loss in found]
    path.write_text("params,tokens,loss,decay,seed\n" + "".join(lines))
    return str(path)


@pytest.fixture
def two(tmp_path: Path) -> str:
    return written(tmp_path / "two.csv", rows())


def test_a_csv_tells_how_many_times_less_compute_and_pair_by_pair(capsys: pytest.CaptureFixture[str], two: str) -> None:
    told = asked(capsys, "compare", *AB, "--csv", two, "--pair", "seed", *QUICK)
    assert told["ratio"] == pytest.approx(3, rel=0.1)
    assert told["interval"][0] < told["ratio"] < told["interval"][1]
    assert told["ratio"] == pytest.approx(told["b"]["flop"] / told["a"]["flop"])
    assert (told["a"]["runs"], told["a"]["points"], told["draws"]) == ("decay=cosine", 32, "the same runs of both")
    losses = [[row[-1] for row in rows() if row[0] == name] for name in ("cosine", "linear")]
    assert told["at_loss"] == pytest.approx((max(map(min, losses)) * min(map(max, losses))) ** 0.5)
    assert (told["pairs"]["by"], told["pairs"]["count"]) == ("seed", 32)
    assert told["pairs"]["difference"] == pytest.approx(np.mean(losses[1]) - np.mean(losses[0]))
    assert run(["compare", *AB, "--csv", two, "--at-loss", "2.8", *QUICK]) == 0
    said = capsys.readouterr().out
    assert "A: decay=cosine, 32 runs; loss 2.8000 for" in said
    assert "times less compute than B: B / A = " in said
    assert "draws: independent\nno pairs" in said


@pytest.mark.long
def test_where_nothing_is_shown_it_says_so(capsys: pytest.CaptureFixture[str], two: str) -> None:
    assert run(["compare", "seed=0", "seed=1", "--csv", two, "--where", "decay=linear", *QUICK]) == 0
    assert "the interval contains 1: neither is shown to need less" in capsys.readouterr().out
    turned = asked(capsys, "compare", *AB[::-1], "--csv", two, "--form", "compute", *QUICK)
    assert turned["ratio"] < 1
    assert (turned["a"]["params"], turned["pairs"]) == (None, None)


def test_two_runs_are_enough_for_a_pair(capsys: pytest.CaptureFixture[str], two: str) -> None:
    one_cell = ["--where", "params=10000", "--where", "tokens=1000000", "--pair", "seed"]
    told = asked(capsys, "compare", *AB, "--csv", two, *one_cell)
    assert (told["ratio"], told["interval"], told["pairs"]["count"]) == (None, None, 2)
    assert any("No ratio of compute: A: A law needs 3 sizes" in warning for warning in told["warnings"])
    assert run(["compare", *AB, "--csv", two, *one_cell, "--where", "seed=1"]) == 0
    assert "over 1 pair of equal size, length and seed: 0." in capsys.readouterr().out
    code, line = refused(capsys, "compare", *AB, "--csv", two, *one_cell[:-2])
    assert (code, "A: A law needs 3 sizes" in line) == (3, True)


def test_a_store_pairs_by_seed_and_warns_of_two_texts(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    runs = []
    for k, (decay, seed, params, tokens, loss) in enumerate(rows()):
        text = {"data": decay, "data_sha256": f"{len(decay) + (decay == 'linear'):02x}"}
        sizes = {"params": round(params), "params_embedding": 0, "params_head": 0, "params_body": round(params)}
        own = {"settings": SETTINGS | {"seed": seed, "decay": decay}, "unique_tokens": 10**9, "epochs": tokens / 1e9}
        more = {"sweeps": ("few",), "tokens": round(tokens), "flop": 8 * params * tokens, "loss": loss}
        runs.append(trained(k, **text, **sizes, **own, **more).record)
    keep(path, runs)
    told = asked(capsys, "compare", *AB, "--store", str(path), *QUICK)
    assert told["ratio"] == pytest.approx(3, rel=0.1)
    assert told["a"]["flop"] == pytest.approx(8 * told["a"]["params"] * told["a"]["tokens"])  # the price of its runs
    assert (told["pairs"]["by"], told["pairs"]["count"], told["draws"]) == ("seed", 32, "the same runs of both")
    assert any("different texts" in warning for warning in told["warnings"])
    code, line = refused(capsys, "compare", "decay=cosine", "seed=7", "--store", str(path))
    assert (code, "Expected runs with seed = '7', found none" in line) == (3, True)


def test_losses_that_no_law_or_no_run_reaches_are_refused(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, two: str
) -> None:
    code, line = refused(capsys, "compare", *AB, "--csv", two, "--at-loss", "99", *QUICK)
    assert (code, "--at-loss takes a loss that runs have, found 99" in line) == (2, True)
    higher = written(tmp_path / "higher.csv", rows(floor=3.0))
    code, line = refused(capsys, "compare", *AB, "--csv", higher, "--at-loss", "2.9", *QUICK)
    assert (code, "the law of B never reaches: its floor is 3" in line) == (2, True)
    apart = written(tmp_path / "apart.csv", rows(floor=9.0))
    code, line = refused(capsys, "compare", *AB, "--csv", apart, *QUICK)
    assert (code, "Expected losses that both have reached" in line) == (3, True)
    assert run(["compare", *AB, "--csv", two, "--at-loss", f"{min(row[-1] for row in rows()):.3f}", *QUICK]) == 0
    said = capsys.readouterr().err
    assert "No run of B is near" in said
    assert "B reaches 2." in said


def test_runs_that_are_in_both_are_told(capsys: pytest.CaptureFixture[str], two: str) -> None:
    code, line = refused(capsys, "compare", "decay=cosine", "seed=0", "--csv", two, "--where", "decay=cosine")
    assert (code, "found 16 runs in both" in line) == (3, True)
    told = asked(capsys, "compare", "decay=cosine", "seed=0", "--csv", two, *QUICK)
    assert told["warnings"][0].startswith("A and B share 16 runs, equal to the last digit")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["decay=cosine"], "Missing argument 'B'"),
        (["cosine", "linear"], "Each of A and B takes COLUMN=VALUE such as lr=0.01, found 'cosine'"),
        (["decay=cosine", "decay=cosine"], "A and B are two conditions"),
        ([*AB, "--group", "seed"], "name them: seed=VALUE, twice"),
        ([*AB, "--form", "tokens"], "a law of size and length, found --form tokens"),
        ([*AB, "--at-loss", "0"], "--at-loss takes nats per token above 0"),
        ([*AB, "--at-loss", "nan"], "--at-loss takes nats per token above 0"),
        ([*AB, "--bootstrap", "9"], "--bootstrap takes 100"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(
    capsys: pytest.CaptureFixture[str], two: str, arguments: list[str], said: str
) -> None:
    code, line = refused(capsys, "compare", *arguments, "--csv", two)
    assert code == 2
    assert said in line


def test_a_pair_needs_its_column(capsys: pytest.CaptureFixture[str], two: str) -> None:
    code, line = refused(capsys, "compare", *AB, "--csv", two, "--pair", "sed")
    assert (code, "expected a column 'sed', found none; did you mean 'seed'?" in line) == (3, True)
