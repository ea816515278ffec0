"""Two laws at one loss: the least compute of each, their ratio with an interval, and run against run."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microgpt.errors import DataError
from microgpt.lab.laws import compare
from microgpt.lab.laws.bootstrap import bootstrap
from microgpt.lab.laws.compare import best, both, keys, least_cost, paired, ratio, same_design
from microgpt.lab.laws.fit import Fit, fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import Points, points
from microgpt.lab.laws.scatter import scatter_of
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.laws.summary import Fitting
from microgpt.lab.laws.table import RunTable
from tests.lab.laws.planted import drawn

pytest.importorskip("scipy", reason="intervals need SciPy")
BENCH = Path(__file__).parents[3] / "bench" / "compare.py"
FULL = FORMS["full"]
PARAMETERS = {  # theta about zero
    "full": [np.log(1.9), np.log(50), np.log(200), 0.35, 0.4],
    "no-floor": [np.log(50), np.log(200), 0.35, 0.4],
    "joint": [np.log(1.9), np.log(50), np.log(200), 0.35, 0.4, np.log(0.6)],
    "repeated": [np.log(1.9), np.log(50), np.log(200), 0.35, 0.4, np.log(5.0)],
}


def of(name: str, theta: list[float]) -> Fit:
    """A law that is known, on the design of a plan whose texts have 3 million tokens."""
    runs = replace(drawn(Simulated(4, 4, 1)), unique=np.full(16, 3e6))
    return replace(fit(FULL, drawn(Simulated(4, 4, 1))), form=FORMS[name], theta=np.array(theta), points=runs)


@pytest.mark.parametrize("name", list(PARAMETERS))
def test_least_compute_is_on_the_law_and_no_other_size_needs_less(name: str) -> None:
    law = of(name, PARAMETERS[name])
    for loss in (2.4, 3.0, 5.0):
        found = best(law, loss)
        sizes = found["params"] * np.array([1.0, 0.9, 1.1])
        runs = points(sizes, found["flop"] / 6 / sizes, np.ones(3), np.full(3, 3e6))
        reached = law.form.loss(law.theta, runs)
        assert reached[0] == pytest.approx(loss, rel=1e-4)
        assert reached[0] < min(reached[1:])


def test_a_law_in_compute_is_turned_about_and_what_has_no_such_loss_costs_infinitely_much() -> None:
    law = of("compute", [np.log(1.9), np.log(100), 0.2])
    assert best(law, 2.9)["flop"] == pytest.approx(100**5)
    assert best(law, 2.9)["params"] is None
    for name, theta in (("compute", law.theta), ("full", PARAMETERS["full"]), ("joint", PARAMETERS["joint"])):
        assert best(of(name, list(theta)), 1.9)["flop"] == np.inf
    texts_end = of("repeated", PARAMETERS["repeated"])
    longest = FORMS["full"].loss(np.array(PARAMETERS["full"]), points([1e10], [3e6 * 6], [1]))
    assert np.isinf(least_cost(texts_end, texts_end.theta[None, :], float(longest[0]) - 0.02)[0][0])


def plans(times: float = 2.0) -> tuple[Simulated, Simulated]:
    """Two recipes, of which the second needs so many times the tokens of the first for the same loss."""
    law = dict(Simulated().law)
    return Simulated(4, 4, 2), Simulated(4, 4, 2, law=law | {"B": law["B"] * times ** law["beta"]})


def test_the_ratio_is_that_of_the_tokens_needed_and_turns_about_with_the_sides() -> None:
    one, other = (bootstrap(fit(FULL, drawn(plan, scatter=1e-3)), 100) for plan in plans())
    value, (low, high) = ratio(one, other, 3.0, 0.9)
    assert value == pytest.approx(2, rel=0.01)
    assert 1.9 < low < 2 < high < 2.1
    turned = ratio(other, one, 3.0, 0.9)
    assert turned[0] == pytest.approx(1 / value)
    assert turned[1] == pytest.approx((1 / high, 1 / low))


def test_a_bound_is_not_determined_where_many_draws_never_reach_the_loss() -> None:
    one, other = (bootstrap(fit(FULL, drawn(plan, scatter=1e-3)), 100) for plan in plans())
    floors = other.theta.copy()
    floors[::3, 0] = np.log(4.0)  # B's floor lies above
    low, high = ratio(one, replace(other, theta=floors), 3.0, 0.9)[1]
    assert 1 < low < 2
    assert high == np.inf
    for each in (one.theta, floors):
        each[::3, 0] = np.log(4.0)  # neither says anything
    assert ratio(one, replace(other, theta=floors), 3.0, 0.9)[1] == (-np.inf, np.inf)


def table(found: Points) -> RunTable:
    return RunTable(found, "runs", {"all": found.params})


@pytest.mark.long
def test_designs_that_are_the_same_are_drawn_together_whatever_the_order_of_their_runs() -> None:
    one, other = (drawn(plan, seed=k) for k, plan in enumerate(plans()))
    labels = [str(k % 2) for k in range(len(one))]
    back = np.arange(len(one))[::-1]
    named = keys(one, other.take(back), [labels, labels[::-1]])
    laws, together = both([table(one), table(other.take(back))], named, Fitting(draws=100))
    straight = both([table(one), table(other)], keys(one, other, [labels, labels]), Fitting(draws=100))[0]
    assert together
    found, same = (ratio(each[0].ensemble, each[1].ensemble, 3.0, 0.9) for each in (laws, straight))
    assert found[0] == pytest.approx(same[0])
    assert found[1] == pytest.approx(same[1])
    for unlike in ([labels, ["2"] * len(one)], [labels, [""] * len(one)], [[""] * len(one)] * 2):
        assert same_design(keys(one, other, unlike)) is None
    assert not both([table(one), table(other)], named, Fitting(draws=100, resample="residuals"))[1]


@pytest.mark.long
def test_the_same_noise_in_both_is_no_difference_when_draws_are_together() -> None:
    one, other = (plan.design for plan in plans())
    noise = np.random.default_rng(0).normal(0, 0.005, len(one))
    tables = [table(each.with_loss(each.loss + noise)) for each in (one, other)]
    labels = [str(k % 2) for k in range(len(one))]
    spans = []
    for given in (labels, [""] * len(one)):
        laws, together = both(tables, keys(one, other, [given, given]), Fitting(draws=200))
        assert together == (given is labels)
        low, high = ratio(laws[0].ensemble, laws[1].ensemble, 3.0, 0.9)[1]
        spans.append(high - low)
    assert spans[0] < spans[1] / 2


def test_where_one_of_the_laws_misses_cells_whole_cells_are_drawn_of_both(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = (drawn(plan, seed=k, scatter=1e-3) for k, plan in enumerate(plans(), 4))
    other = other.with_loss(other.loss + np.random.default_rng(0).normal(0, 0.02, 16)[other.cells])
    assert [scatter_of(fit(FULL, each)).miss > 0 for each in (one, other)] == [False, True]
    given = []
    monkeypatch.setattr(compare, "law", lambda *how: given.append(how[-1]))
    labels = [str(k % 2) for k in range(len(one))]
    assert both([table(one), table(other)], keys(one, other, [labels, labels]), Fitting(draws=100))[1]
    assert given[0] is given[1]
    assert (given[0][:, ::2] == given[0][:, 1::2]).all()
    found = bootstrap(fit(FULL, one), 100, given=given[0])
    assert not np.allclose(found.theta, bootstrap(fit(FULL, one), 100).theta)


def test_a_design_that_carries_no_law_is_named() -> None:
    one = drawn(Simulated(4, 4, 1))
    few = one.take([0, 1])
    with pytest.raises(DataError, match="B: A law needs 3 sizes or more"):
        both([table(one), table(few)], keys(one, few, [[""] * 16, [""] * 2]), Fitting(draws=100))


def test_runs_are_paired_by_size_length_and_label_with_students_interval() -> None:
    one = points([100, 100, 100, 200, 300], [1e4] * 5, [3.0, 3.0, 3.2, 2.0, 1.0])
    other = points([102, 102, 200, 400], [1e4] * 4, [3.1, 3.3, 2.3, 1.0])
    labels = [["0", "1", "1", "0", "0"], ["0", "1", "0", "0"]]
    found = paired([one.loss, other.loss], keys(one, other, labels), 0.9)
    assert found.count == 3  # the two runs of label 1 count as their mean; sizes within 5% are one
    assert found.difference == pytest.approx(0.2)
    half = 2.9200 * 0.1 / 3**0.5  # differences 0.1, 0.2 and 0.3; Student's t of 2 degrees
    assert found.interval == pytest.approx((0.2 - half, 0.2 + half), rel=1e-4)
    single = paired([one.loss[3:4], other.loss[2:3]], keys(one.take([3]), other.take([2]), [["a"], ["a"]]), 0.9)
    assert (single.count, single.interval) == (1, None)
    assert paired([one.loss, other.loss], keys(one, other, [[""] * 5, [""] * 4]), 0.9) is None


@pytest.mark.long
@pytest.mark.parametrize("case", ["one design, the same draws", "two designs"])
def test_its_intervals_hold_the_ratio(monkeypatch: pytest.MonkeyPatch, case: str) -> None:
    monkeypatch.syspath_prepend(BENCH.parent)
    held = runpy.run_path(str(BENCH))["held"](case, 20)[0]
    assert 14 <= held <= 20  # 18, and three standard deviations below it
