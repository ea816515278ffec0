"""Designs that can't carry a law are refused with what to add; what is doubtful is a warning in plain words."""

import re
from pathlib import Path

import numpy as np
import pytest

from microgpt.errors import DataError
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.doubts import check_design, of_length
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import Points, points
from microgpt.lab.laws.simulate import Simulated
from microgpt.lab.laws.summary import Fitting, Law, compare, law
from microgpt.lab.laws.table import RunTable
from tests.lab.laws.planted import drawn

pytest.importorskip("scipy")
FULL = FORMS["full"]


def fitted(found: Points, form: str = "full", **counts: np.ndarray) -> Law:
    return law(RunTable(found, "planted", counts), Fitting(FORMS[form], 100))


def warned(found: Points, **counts: np.ndarray) -> str:
    return "\n".join(fitted(found, **counts).warnings)


def test_a_sound_study_has_no_warning() -> None:
    noisy = [seed for seed in range(3) if warned(drawn(seed=seed))]
    assert len(noisy) <= 1  # the F test alone may err once in twenty


def test_too_few_levels_are_refused_with_what_to_add() -> None:
    narrow = drawn(Simulated(2, 5, 3, params=(1e5, 1e6)))
    said = r"found 2; add runs of about 1e\+07 params, each with the tokens of those there are \(1e\+05 to 1e\+08\), or"
    with pytest.raises(DataError, match=f"3 sizes or more .* {said}"):
        check_design(FULL, narrow)
    single = drawn(Simulated(5, 1, 3))
    with pytest.raises(DataError, match=r"3 lengths or more .* found 1; add runs of about 4e\+05 and 1.6e\+06 tokens"):
        check_design(FULL, single)
    with pytest.raises(DataError, match=r"3 costs or more .* found 1; add runs of about .* flop, or"):
        check_design(FORMS["compute"], points([1e3] * 6, [1e5] * 6, [2] * 6))
    check_design(FORMS["params"], drawn(Simulated(5, 1, 3)))


def test_more_runs_than_memory_holds_are_refused() -> None:
    with pytest.raises(DataError, match=r"at most 10,000 runs, found 10,001"):
        check_design(FULL, points(*np.full((3, 10_001), 2.0)))


def test_an_l_shaped_design_is_refused_and_the_crossed_sweep_named() -> None:
    whole = drawn(Simulated(5, 5, 3))
    corner = whole.take((whole.params == whole.params.min()) | (whole.tokens == whole.tokens[12]))
    with pytest.raises(DataError, match=r"L-shaped.*add (.*) at the least, or take `microgpt sweep laws`") as told:
        check_design(FULL, corner)
    pairs = re.findall(r"N = (\S+) with D = ([0-9.e+]+)", str(told.value))
    assert len(pairs) == 2
    columns = ([*corner.params, *(float(n) for n, _ in pairs)], [*corner.tokens, *(float(d) for _, d in pairs)])
    check_design(FULL, points(*columns, np.ones(len(columns[0]))))
    check_design(FORMS["tokens"], corner)


def test_few_levels_and_narrow_ranges_are_told() -> None:
    said = warned(drawn(Simulated(3, 4, 3, params=(1e4, 8e4))))
    assert "Only 3 sizes" in said
    assert "The sizes span only 8.0 times" in said


def test_many_epochs_offer_the_form_for_repeated_data() -> None:
    found = drawn()
    many = Points(found.params, found.tokens, found.loss, np.full(len(found), 1e7), found.flop)
    assert "--form repeated" in warned(many)
    assert "R" in fitted(many, "repeated").spans
    with pytest.raises(DataError, match="take --form full"):
        check_design(FORMS["repeated"], found)


def test_a_length_that_repeats_its_text_too_often_is_told() -> None:
    found = drawn()
    few = Points(found.params, found.tokens, found.loss, np.full(len(found), 1e8), found.flop)
    whole = fitted(few).fit
    assert of_length(whole, 3e8) == []
    assert "read the text 8.0 times" in of_length(whole, 8e8)[0]
    assert of_length(fitted(found).fit, 1e15) == []


def test_an_outlier_that_moves_an_exponent_is_named() -> None:
    """The five highest losses of the published points, which Besiroglu et al. 2024 leave out."""
    path = Path(__file__).parents[2] / "fixtures" / "chinchilla_points.csv"
    said = ["\n".join(law(read_csv(path, Columns(flop="flop"), drop), Fitting(FULL, 100)).warnings) for drop in (0, 5)]
    assert "One run moves beta" in said[0]
    assert "One run moves" not in said[1]


def test_a_loss_below_the_floor_is_told() -> None:
    found = drawn(Simulated(6, 5, 3, law={"E": 2.0, "A": 50.0, "B": 200.0, "alpha": 0.8, "beta": 0.8}))
    loss = found.loss.copy()
    loss[-1] = 1.5
    assert "below the fitted floor" in warned(found.with_loss(loss))


def test_parameters_counted_another_way_are_told_when_alpha_moves() -> None:
    found = drawn()
    assert "choose one with --count" in warned(found, all=found.params, body=found.params - 900)
    assert "choose one with --count" not in warned(found, all=found.params, body=found.params * 0.9)


def test_an_axis_without_effect_is_told() -> None:
    found = drawn()
    flat = 2 + 50 / found.params**0.35 + np.random.default_rng(0).normal(0, 0.005, len(found))
    assert "beta" in warned(found.with_loss(flat)) or "agree" in warned(found.with_loss(flat))


def test_forms_are_compared_on_the_same_larger_runs() -> None:
    rows = {row["form"]: row["backtest_error"] for row in compare(RunTable(drawn(), "planted"))}
    assert list(rows) == ["full", "joint", "no-floor", "params", "tokens"]
    assert rows["full"] < rows["no-floor"] < rows["params"]


def test_the_json_has_what_the_contract_names() -> None:
    told = fitted(drawn()).to_dict()
    named = "E A B alpha beta objective points dropped starts starts_agreeing intervals level warnings"
    assert set(named.split()) <= set(told)
    for name in ("E", "A", "B", "alpha", "beta"):
        low, high = told["intervals"][name]
        assert low < told[name] < high
    assert points([1], [1], [1]).epochs.tolist() == [0]


def test_a_law_that_bends_is_told_though_nothing_repeats() -> None:
    """A curve of 1 % across the design, a run scattering by 0.1 %: residuals alone say so."""
    plan = Simulated(6, 5, 1)
    found, noise = plan.design, np.random.default_rng(0).normal(0, 0.002, 30)
    work = np.log(found.params * found.tokens)
    curve = 0.005 * ((work - work.mean()) / work.std()) ** 2
    assert "bend away from this law" in warned(found.with_loss(found.loss * (1 + curve) + noise))
    assert "bend" not in warned(found.with_loss(found.loss + noise))


def test_a_loss_that_rises_is_no_exponent_near_zero() -> None:
    found = drawn(Simulated(5, 5, 3))
    risen = found.with_loss(found.loss + 0.05 * np.log(found.tokens / 1e5))
    said = warned(risen.with_loss(2 + 50 / found.params**0.35 + 0.05 * np.log(found.tokens / 1e5)))
    assert "the loss rises with tokens" in said
    assert "can't be told from zero" not in said


def test_a_floor_that_ran_to_zero_is_told() -> None:
    flat = drawn(Simulated(5, 5, 3, law={"E": 1e-9, "A": 5.0, "B": 4.0, "alpha": 0.1, "beta": 0.1}))
    assert "The floor E fell to zero" in warned(flat)


def test_runs_that_no_law_fits_end_in_warnings_of_ours_alone() -> None:
    """Two metrics in one column: numpy said that exp overflows."""
    form = FORMS["full"]
    theta = np.array([[800.0, 900.0, 1.0, -800.0, 900.0]])
    with np.errstate(over="raise"):
        assert np.isfinite(form.natural(theta)["A"]).all()
        assert np.isfinite(form.loss(theta, drawn(Simulated(3, 3, 1)))).all()


def test_losses_exactly_on_a_law_are_no_fault() -> None:
    params, tokens = np.repeat([1e3, 1e4, 1e5], 3), np.tile([1e4, 1e5, 1e6], 3)
    assert "One run moves" not in warned(points(params, tokens, 1 + 10 / params**0.3 + 10 / tokens**0.3))
