"""Intervals: they cover, narrow with more seeds, know noise that grows, and see a law that misses its cells."""

import numpy as np
import pytest

from microgpt.lab.laws.backtest import backtest, folds
from microgpt.lab.laws.bootstrap import bootstrap, interval, intervals, leverage, scatter_of, stretch
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import Points, points
from microgpt.lab.laws.predict import predict
from microgpt.lab.laws.simulate import Plan, summary, trial_of, trials
from tests.lab.laws.planted import drawn

pytest.importorskip("scipy")
FULL = FORMS["full"]


def test_the_truth_is_mostly_inside() -> None:
    """The short form of bench/laws.py, which does 200: an honest 90 % interval holds fewer than 6 of 10 once in 600."""
    plan = Plan()
    told = summary(list(trials(plan, 10, 60)), plan, 0.9)
    for row in told["rows"]:
        assert row["covered"] >= 6, row
        if row["quantity"] in ("alpha", "beta"):
            assert row["within_2_percent"] >= 9, row


def test_a_simulation_is_the_same_whatever_others_there_are() -> None:
    plan = Plan(3, 3, 3)
    assert list(trials(plan, 3, 100))[2] == trial_of(plan, 2, 100)


def test_more_seeds_give_narrower_intervals() -> None:
    widths = []
    for seeds in (2, 18):
        spans = intervals(bootstrap(fit(FULL, drawn(Plan(5, 5, seeds), seed=1)), 300))
        widths.append(spans["alpha"][1] - spans["alpha"][0])
    assert 2 < widths[0] / widths[1] < 4.5  # three times, by the square root of nine


def test_the_scatter_of_runs_is_found_and_how_it_grows() -> None:
    plan = Plan(6, 5, 8)
    even = scatter_of(fit(FULL, drawn(plan)))
    assert even.scale == pytest.approx(0.005, rel=0.15)
    assert abs(even.power) < 0.4
    design, stream = plan.design, np.random.default_rng(0)
    growing = scatter_of(fit(FULL, design.with_loss(design.loss * (1 + stream.normal(0, 0.002, len(design))))))
    assert growing.power > 0.5


def test_a_law_that_misses_its_cells_is_told_from_seeds() -> None:
    plan = Plan(6, 5, 4)
    found = drawn(plan)
    wrong = np.random.default_rng(5).normal(0, 0.02, int(found.cells.max()) + 1)[found.cells]
    clean, missed = (fit(FULL, points_) for points_ in (found, found.with_loss(found.loss + wrong)))
    assert scatter_of(clean).miss == 0
    scatter = scatter_of(missed)
    assert scatter.miss * scatter.scale == pytest.approx(0.02, rel=0.5)
    assert scatter.freedom == 25
    spans = [intervals(bootstrap(law, 200))["alpha"] for law in (clean, missed)]
    assert spans[1][1] - spans[1][0] > 2 * (spans[0][1] - spans[0][0])


def test_the_draws_come_again_by_their_seed() -> None:
    law = fit(FULL, drawn(Plan(4, 4, 2)))
    assert (bootstrap(law, 50, seed=3).theta == bootstrap(law, 50, seed=3).theta).all()
    assert (bootstrap(law, 50, seed=3).theta != bootstrap(law, 50, seed=4).theta).any()


def test_leverages_sum_to_the_parameters() -> None:
    law = fit(FULL, drawn())
    gradient = law.form.log_loss(law.centred[None, :], law.inputs)[1][0]
    assert leverage(gradient).sum() == pytest.approx(5, rel=1e-9)


def test_few_degrees_of_freedom_stretch_an_interval() -> None:
    assert stretch(4, 0.9) == pytest.approx(2.1318 / 1.6449, rel=1e-3)
    assert stretch(10**6, 0.9) == pytest.approx(1, abs=1e-4)
    normal = np.random.default_rng(0).normal(5, 1, 100_000)
    low, high = interval(5.0, normal, 4)
    assert (low, high) == pytest.approx((5 - 2.13, 5 + 2.13), abs=0.05)


def test_backtests_fit_the_smaller_and_predict_the_larger() -> None:
    law = fit(FULL, drawn())
    for known, hidden in folds(law):
        assert (hidden.params * hidden.tokens).min() > (known.params * known.tokens).max()
    tested = backtest(law)
    assert tested.folds == 4
    assert tested.error < 0.01
    assert tested.misfit**0.5 < 0.003


def test_misfit_beyond_the_runs_widens_a_prediction() -> None:
    """Losses that bend away from the law at high compute: backtests see it, and the interval says so."""
    plan = Plan()
    found = drawn(plan)
    work = np.log(found.params * found.tokens)
    bent = found.with_loss(found.loss + 0.002 * np.maximum(work - np.median(work), 0) ** 2)
    new = points([2e6], [2e8], [1.0])
    (straight,), (widened,) = (
        predict(bootstrap(law, 200), backtest(law), new) for law in (fit(FULL, found), fit(FULL, bent))
    )
    assert widened.widening > straight.widening
    assert widened.high - widened.low > 3 * (straight.high - straight.low)
    assert straight.low < straight.loss < straight.high


def test_a_prediction_knows_whether_it_is_inside_the_runs() -> None:
    law = fit(FULL, drawn())
    at = points([1e4, 1e7, 1e4], [1e6, 1e6, 1e9], [1.0] * 3)
    said = predict(bootstrap(law, 100), backtest(law), at)
    assert [one.in_range for one in said] == [True, False, False]
    assert said[0].to_dict().keys() >= {"loss", "low", "high", "level", "widening", "in_range"}


def test_runs_of_nearly_the_same_length_are_one_cell() -> None:
    sizes, lengths = np.repeat([1e3, 1e4], 4), np.tile([1e5, 1.01e5, 9.9e4, 2e5], 2)
    found = points(sizes, lengths, np.linspace(2, 3, 8))
    assert isinstance(found, Points)
    assert found.cells.tolist() == [0, 0, 0, 1, 2, 2, 2, 3]
