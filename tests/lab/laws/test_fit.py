"""The fit: it finds what was planted, L-BFGS agrees, and the published optimum comes out."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.errors import DataError
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.fit import check_moved, fit, fit_part, starts
from microgpt.lab.laws.form import FORMS, inputs
from microgpt.lab.laws.lbfgs import objective
from microgpt.lab.laws.points import points
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.laws.solve import DELTA, huber, solve
from tests.lab.laws.planted import drawn

POINTS = Path(__file__).parents[2] / "fixtures" / "chinchilla_points.csv"


@settings(max_examples=15, deadline=None)
@given(st.floats(0.5, 3), st.floats(10, 500), st.floats(10, 2000), st.floats(0.2, 0.7), st.floats(0.2, 0.7))
def test_a_law_without_scatter_is_found_exactly(E: float, A: float, B: float, alpha: float, beta: float) -> None:
    plan = Simulated(5, 5, 1, law={"E": E, "A": A, "B": B, "alpha": alpha, "beta": beta})
    found = fit(FORMS["full"], plan.design)
    assert found.values == pytest.approx(plan.law, rel=1e-4)


@pytest.mark.parametrize(
    "name", ["no-floor", "params", "params-no-floor", "tokens", "tokens-no-floor", "repeated", "joint"]
)
def test_every_form_finds_itself(name: str) -> None:
    law = FORMS[name]
    plain = {"E": 1.5, "A": 40.0, "B": 90.0, "alpha": 0.3, "beta": 0.4, "R": 8.0, "gamma": 0.6}
    theta = np.array(
        [np.log(plain[letter]) if letter in ("E", "A", "B", "R", "gamma") else plain[letter] for letter in law.names]
    )
    sizes, lengths = np.meshgrid(np.geomspace(1e3, 1e6, 5), np.geomspace(1e4, 1e7, 6))
    design = points(sizes.ravel(), lengths.ravel(), np.ones(30), np.full(30, 2e5))
    found = fit(law, design.with_loss(law.loss(theta, design)))
    assert found.values == pytest.approx({letter: plain[letter] for letter in law.names}, rel=1e-3)


def test_lbfgs_agrees() -> None:
    pytest.importorskip("scipy")
    from microgpt.lab.laws.lbfgs import fit_lbfgs

    found = drawn()
    ours, theirs = fit(FORMS["full"], found), fit_lbfgs(FORMS["full"], found, every=48)
    assert ours.objective == pytest.approx(theirs.objective, rel=1e-8)
    assert ours.values == pytest.approx(theirs.values, rel=1e-5)


def test_the_published_points_give_the_published_optimum() -> None:
    """E = 1.8172, A = 482.01, B = 2085.43, alpha = 0.3478, beta = 0.3658 (Besiroglu et al. 2024): their optimiser
    stopped a little above the bottom of their objective, which determines E to four digits, and the exponents to two
    thousandths."""
    found = fit(FORMS["full"], read_csv(POINTS, Columns(flop="flop"), drop_highest=5).points)
    values = found.values
    assert len(found.points) == 240
    assert round(values["E"], 4) == 1.8172
    assert values["alpha"] == pytest.approx(0.3478, abs=1e-3)
    assert values["beta"] == pytest.approx(0.3658, abs=2e-3)
    theirs = np.array([np.log(1.8172), np.log(482.01), np.log(2085.43), 0.3478, 0.3658])
    above = huber(np.log(found.points.loss) - np.log(FORMS["full"].loss(theirs, found.points)), DELTA).sum()
    assert 0 < above / found.objective - 1 < 0.01
    assert found.agreeing > 0.5 * found.starts


def test_the_bottom_is_flat_in_every_direction() -> None:
    found = drawn()
    law = fit(FORMS["full"], found)
    slope = objective(law.centred, law.form, law.inputs, np.log(found.loss), DELTA)[1]
    start = objective(starts(law.form, found)[0], law.form, law.inputs, np.log(found.loss), DELTA)[1]
    assert np.abs(slope).max() < 1e-6 * np.abs(start).max()


def test_many_fits_at_once_are_those_one_by_one() -> None:
    found, law = drawn(), FORMS["full"]
    logs = np.log(np.stack([found.loss, drawn(seed=1).loss, drawn(seed=2).loss]))
    grid = np.tile(starts(law, found)[100], (3, 1))
    together = solve(law, inputs(found), logs, grid)
    for k in range(3):
        alone = solve(law, inputs(found), logs[k : k + 1], grid[:1])
        assert together.theta[k] == pytest.approx(alone.theta[0], abs=1e-7)


def test_a_point_of_weight_two_is_a_point_that_stands_there_twice() -> None:
    found, law = drawn(Simulated(4, 4, 2)), FORMS["full"]
    start, counts = starts(law, found)[[100]], np.ones((1, len(found)))
    counts[0, 3], counts[0, 7] = 2, 0
    twice = found.take([0, 1, 2, 3, 3, 4, 5, 6, *range(8, len(found))])
    centres = inputs(found).centre_params, inputs(found).centre_tokens
    weighted = solve(law, inputs(found), np.log(found.loss)[None], start, weights=counts)
    repeated = solve(law, inputs(twice, centres), np.log(twice.loss)[None], start)
    assert weighted.theta == pytest.approx(repeated.theta, abs=1e-6)
    assert weighted.objective == pytest.approx(repeated.objective, rel=1e-12)


def test_a_part_of_the_points_gives_what_a_full_search_gives() -> None:
    found = drawn()
    half = found.take(found.tokens < 3e7)
    assert fit_part(fit(FORMS["full"], found), half).objective == pytest.approx(
        fit(FORMS["full"], half).objective, rel=1e-9
    )


def test_what_can_not_be_fitted_is_refused_in_a_line() -> None:
    with pytest.raises(DataError, match="6 runs or more, found 2"):
        fit(FORMS["full"], points([1e3, 1e4], [1e5, 1e6], [3.0, 2.0]))
    with pytest.raises(DataError, match="All 90 losses are 2"):
        fit(FORMS["full"], Simulated().design.with_loss(np.full(90, 2.0)))
    with pytest.raises(DataError, match="returned its start"):
        check_moved(np.ones(5), np.ones(5))
    with pytest.raises(DataError, match="loss: expected positive finite numbers, found -1"):
        points([1.0], [1.0], [-1.0])
