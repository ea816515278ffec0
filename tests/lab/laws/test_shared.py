"""One fit for several groups: what is shared is one number, the rest is a group's own, and the planted law is found."""

import runpy
from pathlib import Path

import numpy as np
import pytest

from microgpt.errors import DataError, UsageError
from microgpt.lab.laws.asked import form
from microgpt.lab.laws.form import FORMS, inputs
from microgpt.lab.laws.points import Points, points
from microgpt.lab.laws.shared import Grouped, check_shared, fit_shared

pytest.importorskip("scipy", reason="intervals need SciPy")
FULL = FORMS["full"]
BENCH = Path(__file__).parents[3] / "bench" / "shared_law.py"
TRUTH = {"a": (1.7, 50, 0.3, 200, 0.35), "b": (1.7, 80, 0.4, 300, 0.35)}


def planted(scatter: float = 0.0) -> dict[str, Points]:
    sizes, lengths = (grid.ravel() for grid in np.meshgrid(np.geomspace(1e3, 1e6, 4), np.geomspace(1e5, 1e8, 4)))
    stream, found = np.random.default_rng(1), {}
    for name, (E, A, alpha, B, beta) in TRUTH.items():
        loss = E + A / sizes**alpha + B / lengths**beta
        found[name] = points(sizes, lengths, loss + stream.normal(0, scatter, len(loss)))
    return found


def test_the_gradient_is_that_of_finite_differences() -> None:
    joint = Grouped("full", False, (), base=FULL, shared=("E", "beta"), sizes=(16, 16))
    one, two = planted().values()
    given = inputs(points(*(np.concatenate([getattr(one, n), getattr(two, n)]) for n in ("params", "tokens", "loss"))))
    theta, step = np.array([[0.5, 0.1, 0.2, 0.3, 0.4, 0.3, 0.4, 0.35]]), 1e-6
    gradient = joint.log_loss(theta, given)[1][0]
    assert joint.size == 8
    for k in range(8):
        shift = np.eye(8)[k] * step
        by_steps = (joint.log_loss(theta + shift, given)[0] - joint.log_loss(theta - shift, given)[0])[0] / 2 / step
        assert gradient[k] == pytest.approx(by_steps, rel=1e-6, abs=1e-8)


def test_the_planted_law_is_found_and_sharing_makes_it_surer() -> None:
    exact = fit_shared(planted(), FULL, ["E", "beta"], 100, 0.9, 0, 1e-3)
    for row in exact["groups"]:
        E, A, alpha, B, beta = TRUTH[row["value"]]
        found = [row[name] for name in ("E", "A", "alpha", "B", "beta", "size_exponent")]
        assert found == pytest.approx([E, A, alpha, B, beta, beta / (alpha + beta)], rel=1e-4)
    noisy = planted(0.005)
    both = fit_shared(noisy, FULL, ["E", "beta"], 200, 0.9, 0, 1e-3)
    alone = [fit_shared({name: noisy[name]}, FULL, ["E"], 200, 0.9, 0, 1e-3) for name in noisy]
    first, second = both["groups"]
    assert first["intervals"]["E"] == second["intervals"]["E"]
    assert np.ptp(first["intervals"]["beta"]) < max(np.ptp(one["groups"][0]["intervals"]["beta"]) for one in alone)
    assert both["objective"] > both["objective_alone"]


@pytest.mark.parametrize(
    ("names", "held", "said"),
    [
        (["A"], [], "of E, alpha, beta that are fitted; found 'A'"),
        (["alpha"], ["alpha=0.3"], "found 'alpha'"),
        ([""], [], "found ''"),
    ],
)  # fmt: skip
def test_what_can_not_be_shared_is_refused(names: list[str], held: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_shared(form("full", held), names)


def test_a_group_that_carries_no_law_is_named() -> None:
    few = planted()
    with pytest.raises(DataError, match="b: A law needs 3 sizes or more"):
        fit_shared({"a": few["a"], "b": few["b"].take([0, 1])}, FULL, ["E"], 100, 0.9, 0, 1e-3)


@pytest.mark.long
def test_its_intervals_hold_the_truth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH.parent)
    told = runpy.run_path(str(BENCH))["held"](40)
    assert all(31 <= count <= 40 for count in told.values()), told  # 36, and four standard deviations below it
