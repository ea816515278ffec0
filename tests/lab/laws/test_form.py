"""Every form: its gradient and slopes against finite differences, and what it means."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.cli import law_options
from microgpt.errors import UsageError
from microgpt.lab.laws.asked import form
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS, inputs
from microgpt.lab.laws.points import Points, points
from microgpt.lab.laws.table import COUNTINGS
from tests.lab.laws.planted import drawn

RUNS = points([1e3, 3e4, 1e6], [2e5, 4e6, 1e8], [3.0, 2.5, 2.0], [1e5, 1e6, 1e9])
THETAS = {
    "E": st.floats(-1, 1),
    "A": st.floats(0, 6),
    "B": st.floats(0, 6),
    "alpha": st.floats(0.05, 1.5),
    "beta": st.floats(0.05, 1.5),
    "R": st.floats(0, 4),
    "gamma": st.floats(-1.5, 0.7),
    "K": st.floats(0, 6),
    "alpha_C": st.floats(0.05, 0.5),
}


HELD = {
    "alpha=beta": form("full", ["alpha=beta"]),
    "beta=alpha": form("repeated", ["beta=alpha", "R=15"]),
    "E=1, alpha=0.3": form("joint", ["E=1", "alpha=0.3"]),
}


@pytest.mark.parametrize("name", [*FORMS, *HELD])
@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_the_gradient_is_that_of_finite_differences(name: str, data: st.DataObject) -> None:
    law, step = HELD.get(name) or FORMS[name], 1e-6
    theta = np.array([[data.draw(THETAS[letter]) for letter in law.names]])
    given_runs = inputs(RUNS)
    gradient = law.log_loss(theta, given_runs)[1][0]
    for k in range(law.size):
        shift = np.eye(law.size)[k] * step
        by_steps = (
            (law.log_loss(theta + shift, given_runs)[0] - law.log_loss(theta - shift, given_runs)[0])[0] / 2 / step
        )
        assert gradient[k] == pytest.approx(by_steps, rel=1e-6, abs=1e-8)


@pytest.mark.parametrize("name", FORMS)
def test_local_slopes_are_those_of_finite_differences(name: str) -> None:
    law = FORMS[name]
    plain = {
        "E": 0.5,
        "A": 4.0,
        "B": 5.0,
        "alpha": 0.35,
        "beta": 0.4,
        "R": 1.5,
        "gamma": -0.5,
        "K": 6.0,
        "alpha_C": 0.2,
    }
    theta = np.array([plain[letter] for letter in law.names])
    for axis, slope in law.slopes(theta, RUNS).items():
        columns = {"params": RUNS.params, "tokens": RUNS.tokens, "flop": RUNS.flop}
        moved = [_moved(columns, axis, 1 + sign * 1e-5) for sign in (1, -1)]
        higher, lower = (law.loss(theta, Points(n, d, RUNS.loss, RUNS.unique, c)) for n, d, c in moved)
        assert slope == pytest.approx((higher - lower) / (2e-5 * columns[axis]), rel=1e-6)


def _moved(columns: dict, axis: str, factor: float) -> tuple:
    return tuple(column * factor if name == axis else column for name, column in columns.items())


def test_the_full_law_is_the_formula() -> None:
    theta = np.array([np.log(1.95), np.log(50), np.log(200), 0.35, 0.4])
    by_hand = 1.95 + 50 / RUNS.params**0.35 + 200 / RUNS.tokens**0.4
    assert FORMS["full"].loss(theta, points(RUNS.params, RUNS.tokens, RUNS.loss)) == pytest.approx(by_hand, rel=1e-13)


def test_repeated_tokens_count_for_less_and_first_ones_in_full() -> None:
    law = FORMS["repeated"]
    theta = np.array([[0.5, 4.0, 5.0, 0.35, 0.4, np.log(15.4)]])
    given_runs = inputs(points([1e5] * 3, [1e6, 4e6, 4e9], [1.0] * 3, [1e6] * 3), (0.0, 0.0))
    effective = np.exp(law.effective(theta, given_runs)[0][0])
    assert effective[0] == pytest.approx(1e6, rel=1e-12)
    assert 3.5e6 < effective[1] < 4e6
    assert effective[2] == pytest.approx(1e6 * (1 + 15.4), rel=1e-6)


def test_the_joint_law_at_gamma_1_is_the_full_law_and_below_it_a_small_model_gains_less_from_length() -> None:
    theta = np.array([0.5, 4.0, 5.0, 0.35, 0.4])
    full, joint = FORMS["full"], FORMS["joint"]
    assert joint.loss(np.append(theta, 0.0), RUNS) == pytest.approx(full.loss(theta, RUNS), rel=1e-12)
    small = points([1e3, 1e3], [1e5, 1e7], [1.0, 1.0])
    gains = [-np.diff(joint.loss(np.append(theta, np.log(gamma)), small))[0] for gamma in (1.0, 0.5, 0.1)]
    assert gains == sorted(gains, reverse=True)


def test_moving_the_centre_changes_no_loss() -> None:
    law, theta = FORMS["full"], np.array([[0.5, 4.0, 5.0, 0.35, 0.4]])
    centred = inputs(RUNS)
    there = law.moved(theta, -centred.centre_params, -centred.centre_tokens)
    assert law.log_loss(there, inputs(points(RUNS.params, RUNS.tokens, RUNS.loss)))[0] == pytest.approx(
        law.log_loss(theta, inputs(points(RUNS.params, RUNS.tokens, RUNS.loss), (0.0, 0.0)))[0], rel=1e-12
    )


def test_a_parameter_that_is_held_is_not_fitted_and_counts_as_none() -> None:
    found = points([1e3, 3e4, 1e6] * 3, [2e5] * 3 + [4e6] * 3 + [1e8] * 3, np.ones(9))
    truth = np.array([0.5, 4.0, 5.0, 0.35, 0.35])
    planted = found.with_loss(FORMS["full"].loss(truth, found))
    free, tied = fit(FORMS["full"], planted), fit(form("full", ["alpha=beta"]), planted)
    assert tied.values == pytest.approx(free.values, rel=1e-5)
    assert (free.freedom, tied.freedom) == (4, 5)
    held = fit(form("full", ["alpha=0.3", "E=1.5"]), planted)
    assert (held.values["alpha"], held.values["E"], held.freedom) == (0.3, pytest.approx(1.5), 6)
    assert held.objective > tied.objective


@pytest.mark.parametrize(
    ("name", "held", "said"),
    [
        ("full", ["A=3"], "--fix with --form full takes E, alpha, beta; found 'A=3'"),
        ("full", ["gamma=0.5"], "found 'gamma=0.5'; --form joint has it"),
        ("full", ["alpha=1", "alpha=2"], "takes alpha once; found 'alpha=2'"),
        ("full", ["alpha=x"], "alpha as a number from 0.0001 to 10, or alpha=beta; found 'alpha=x'"),
        ("full", ["alpha=1e5"], "from 0.0001 to 10"),
        ("full", ["E=nan"], "from 1e-09 to 1000"),
        ("tokens", ["beta=-1"], "beta as a number from 0.0001 to 10; found 'beta=-1'"),
        ("full", ["alpha=beta", "beta=alpha"], "ties alpha and beta once"),
        ("full", ["alpha=beta", "alpha=beta"], "takes alpha once"),
        ("full", ["alpha=beta", "beta=0.3"], "both ties and fixes"),
        ("full", ["alpha=beta", "alpha=0.3"], "both ties and fixes"),
    ],
)
def test_what_can_not_be_held_is_refused(name: str, held: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        form(name, held)


def test_a_law_of_compute_alone_is_found() -> None:
    found = points([1e3, 3e4, 1e6] * 3, [2e5] * 3 + [4e6] * 3 + [1e8] * 3, np.ones(9))
    planted = found.with_loss(1.5 + 300 / found.flop**0.2)
    values = fit(FORMS["compute"], planted).values
    assert values == pytest.approx({"E": 1.5, "K": 300, "alpha_C": 0.2}, rel=1e-4)


def test_a_run_of_weight_two_counts_as_two() -> None:
    found, twice = drawn(), [0, 3, 11]
    several = found.take([*range(len(found)), *twice])
    weights = np.ones(len(found))
    weights[twice] = 2
    weighted = points(found.params, found.tokens, found.loss, None, None, weights)
    assert fit(FORMS["full"], weighted).values == pytest.approx(fit(FORMS["full"], several).values, rel=1e-6)
    assert fit(FORMS["full"], weighted).values["E"] != pytest.approx(fit(FORMS["full"], found).values["E"], rel=1e-6)


def test_the_command_line_offers_all_forms_and_countings() -> None:
    assert set(law_options.FORMS) == set(FORMS)
    assert tuple(law_options.COUNTINGS) == COUNTINGS
    with pytest.raises(UsageError, match="--form takes full"):
        form("cubic")
