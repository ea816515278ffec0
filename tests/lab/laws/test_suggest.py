"""The next runs: what they are worth by the law's information, which are the best, and the sweep that comes of them."""

import runpy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microgpt.errors import DataError, UsageError
from microgpt.lab.laws.backtest import Backtest, backtest
from microgpt.lab.laws.bootstrap import Ensemble, bootstrap
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.next_sweep import sweep_file, trainable
from microgpt.lab.laws.optimal import Cells, Judge, Limits
from microgpt.lab.laws.points import Points, joined, points
from microgpt.lab.laws.price import price
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.laws.suggest import Suggestion, candidates, grid, suggest
from microgpt.lab.laws.table import table
from microgpt.lab.laws.targets import Target, best_size, judged, loss_at, number
from microgpt.lab.statistics.simulate import Design, Law, Noise, simulate
from microgpt.lab.sweep.design_file import read_design
from microgpt.lab.sweep.plan import plan as planned
from microgpt.lab.sweep.texts import Texts
from tests.lab.laws.planted import drawn

pytest.importorskip("scipy", reason="intervals need SciPy")
BENCH = Path(__file__).parents[3] / "bench" / "suggest.py"
BUDGET = 1e15
NO_MISFIT = Backtest(np.zeros(0), np.zeros(0), np.zeros(0), 0)


def known(form: str = "full", found: Points | None = None) -> Ensemble:
    return bootstrap(fit(FORMS[form], drawn(Simulated(4, 4, 1)) if found is None else found), 100)


def made(found: Ensemble, target: Target, limits: Limits) -> Suggestion:
    cost = price(found.fit.points)
    return suggest(found, backtest(found.fit), cost, target, limits, candidates(found, cost, limits))


def test_slopes_of_a_best_size_are_those_of_the_formula() -> None:
    """log N = (log(alpha A / (beta B)) + beta log(C / 6)) / (alpha + beta), Hoffmann et al. 2022, equation 4."""
    found = known()
    centre = found.fit.inputs

    def formula(theta: np.ndarray) -> np.ndarray:
        _, a, b, alpha, beta = found.fit.form.moved(theta, centre.centre_params, centre.centre_tokens).T
        return (a - b + np.log(alpha / beta) + beta * np.log(BUDGET / 6)) / (alpha + beta)

    theta, step = judged(found), 1e-6
    slopes = [(formula(theta + step * one) - formula(theta - step * one)) / (2 * step) for one in np.eye(5)]
    target = best_size(found, price(found.fit.points), BUDGET)
    assert target.slopes == pytest.approx(np.array(slopes).T, rel=0.02, abs=1e-3)
    assert target.values[: len(theta)] == pytest.approx(formula(theta), abs=0.01)


def test_what_a_cell_gains_is_what_its_runs_add_to_the_information() -> None:
    found = known()
    cost, target = price(found.fit.points), number(found, "alpha")
    cells = candidates(found, cost, Limits(1e15))
    judge = Judge(found, NO_MISFIT, target, cells)
    inverse, worth = judge.inverse(), judge.worth(3)
    gains = judge.gains(inverse, worth)
    for cell in (0, 17, len(gains) - 1):
        after = judge.with_cell(inverse, cell, worth[cell])
        assert judge.value(after) - judge.value(inverse) == pytest.approx(gains[cell], rel=1e-6)
        assert judge.with_cell(after, cell, -worth[cell]) == pytest.approx(inverse, rel=1e-6)
        more = replace(found.fit, points=joined([found.fit.points, *[cells.at.take([cell])] * 3]))
        whole = replace(found, fit=more)  # the same laws, about another centre
        there = Judge(whole, NO_MISFIT, number(whole, "alpha"), cells)
        assert there.value(there.inverse()) == pytest.approx(judge.value(after), rel=1e-4)
    doubled = judge.value(judge.inverse(1.0)) - judge.value(inverse)
    assert doubled == pytest.approx(-np.log(2), rel=1e-6)  # as many runs again halve every variance


def test_repeats_of_a_cell_tell_little_where_the_law_misses_cells() -> None:
    found = known()
    cells = candidates(found, price(found.fit.points), Limits(1e15))
    off = Backtest(np.full(4, 0.05), np.full(4, 1e-6), np.ones(4), 1)
    worth = [Judge(found, tested, number(found, "alpha"), cells).worth(8) for tested in (NO_MISFIT, off)]
    new = cells.there == 0
    assert (worth[1] < worth[0]).all()
    assert (worth[1][~new] < 0.01 * worth[1][new].min()).all()


def test_the_exponent_of_one_axis_is_known_best_from_its_ends() -> None:
    design = Simulated(4, 4, 1).design
    noise = np.random.default_rng(0).normal(0, 0.005, len(design))
    found = known("params-no-floor", design.with_loss(2.5 * design.params**-0.02 + noise))  # nearly even in logarithms
    cost, limits = price(found.fit.points), Limits(1e16, runs=8, seeds=1)
    told = suggest(found, NO_MISFIT, cost, number(found, "alpha"), limits, candidates(found, cost, limits))
    assert {*told.cells.at.params.round()} == {1e3, 4e6}
    assert told.runs == 8


def test_limits_are_kept_and_a_larger_cost_tells_no_less() -> None:
    found = known()
    runs, narrowed = found.fit.points, []
    for cost in (1e12, 1e14, 7e14):
        limits = Limits(cost, runs=30, reach=2.0)
        told = made(found, best_size(found, price(runs), BUDGET), limits)
        at = told.cells.at
        assert told.cost <= cost
        assert told.runs == len(at) * told.seeds <= 30
        assert at.params.max() <= 2 * runs.params.max() * 1.001
        assert at.tokens.max() <= 2 * runs.tokens.max() * 1.001
        ratio = at.tokens / at.params
        assert ratio.max() <= 1.06 * (runs.tokens / runs.params).max()
        assert ratio.min() >= 0.94 * (runs.tokens / runs.params).min()
        assert told.narrowed < told.uniform <= 1
        narrowed.append(told.narrowed)
    assert narrowed[0] > narrowed[1] > narrowed[2]


def test_what_there_is_is_counted_and_a_text_is_not_read_for_ever() -> None:
    few = replace(drawn(Simulated(4, 4, 2)), unique=np.full(32, 5e6))
    found = known(found=few)
    cells = candidates(found, price(few), Limits(1e18))
    assert (cells.there > 0).sum() == 16
    assert {*cells.there} == {0.0, 2.0}
    assert cells.at.tokens.max() == pytest.approx(few.tokens.max())  # 20 epochs: no more than the runs have


@pytest.mark.parametrize("levels", [3, 5, 40])
def test_a_grid_holds_the_levels_there_are_unless_they_are_many(levels: int) -> None:
    there = np.geomspace(1e3, 1e6, levels)
    found = grid(np.repeat(there, 2), 4.0)
    assert found[[0, -1]] == pytest.approx([1e3, 4e6])
    assert (np.diff(np.log(found)) < np.log(2.9)).all()
    assert len(found) <= 25
    if levels < 40:
        assert np.abs(np.log(found)[:, None] - np.log(there)).min(axis=0) == pytest.approx(np.zeros(levels))


def test_the_loss_of_a_run_and_every_number_of_the_law_can_be_asked_for() -> None:
    found = known("joint")
    at = points([4e6], [1e8], [1.0])
    for target in (loss_at(found, at), *(number(found, name) for name in ("E", "A", "size_exponent", "gamma"))):
        told = made(found, target, Limits(1e14, runs=12))
        assert told.narrowed < 1, target.name
        low, high = target.span(found.scatter.freedom, 0.9)
        assert low < target.values[0] < high
    with pytest.raises(UsageError, match="--target takes E, A, B, alpha, beta, gamma, size_exponent"):
        number(found, "R")


def test_what_can_not_be_is_told() -> None:
    found = known()
    cost = price(found.fit.points)
    with pytest.raises(UsageError, match=r"6e\+08 FLOP is the cheapest"):
        candidates(found, cost, Limits(1.0))
    with pytest.raises(UsageError, match="found 9 of 3"):
        made(found, number(found, "E"), Limits(1e14, runs=3, seeds=9))
    with pytest.raises(UsageError, match="buys no 3 runs of one cell"):
        made(found, number(found, "E"), Limits(7e8, seeds=3))
    with pytest.raises(DataError, match=r"no best size for 1e\+300 FLOP"):
        best_size(found, cost, 1e300)
    none = replace(number(found, "E"), slopes=np.full((51, 5), np.nan))
    with pytest.raises(DataError, match="Too few draws"):
        made(found, none, Limits(1e14))
    one = Suggestion(Cells(points([1e3] * 2, [1e5, 1e6], [1, 1]), np.ones(2), np.ones(2)), 1, 0.5, 0.9, 1.0)
    assert "one size" in one.doubts()[0]


def test_runs_of_a_store_become_a_sweep_of_models_like_them(tmp_path: Path) -> None:
    design = Design(sizes=((8, 2, 1), (16, 4, 1), (32, 4, 2), (64, 8, 4)), steps=(1000, 4000, 16000, 60000))
    runs = table(simulate(Law(), design, Noise(), 0))
    sizes = trainable(runs.records, grid(runs.points.params, 4.0))
    assert {*runs.points.params} <= {*sizes}
    found, cost, limits = known(found=runs.points), price(runs.points), Limits(1e12, runs=40)
    cells = candidates(found, cost, limits, sizes)
    told = suggest(found, backtest(found.fit), cost, number(found, "alpha"), limits, cells)
    (tmp_path / "next.toml").write_text(sweep_file(runs.records, told))
    read = read_design(tmp_path / "next.toml")
    assert min(read.seeds) > max(record.seed for record in runs.records)
    assert len(read.seeds) == told.seeds
    levels = planned(read, Texts()).levels
    assert len(levels) == len(told.cells.at)
    assert {level.settings.batch for level in levels} == {1}
    for level, size in zip(levels, told.cells.at.params, strict=True):
        same = [record for record in runs.records if record.params == size]
        if same:
            assert level.settings.emb == same[0].size[0]


@pytest.mark.long
def test_by_simulation_the_best_size_is_known_twice_as_well_as_with_as_much_spent_on_seeds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(BENCH.parent)
    simulated = runpy.run_path(str(BENCH))["simulated"]
    widths = np.array([simulated("4x4x1, 100 runs", k)["widths"] for k in range(5)])
    assert np.median(widths[:, 3] / widths[:, 1]) < 0.6  # 0.32 of 100 simulations
    assert simulated("5x5x1, 100 runs, form off", 0)["warned"][3]
