"""Return on investment: what pairs, what a verdict rests on, and that intervals cover the truth."""

import math
import random
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.lab.statistics.intervals import difference, mean, seeds_to_settle, t_quantile
from microgpt.lab.statistics.returns import Return, multiplicity, returns
from microgpt.lab.statistics.series import PARAMS, STEPS
from microgpt.lab.statistics.simulate import Design, Law, Noise, simulate
from microgpt.lab.store.record import RunRecord

pytest.importorskip("scipy", reason="intervals need SciPy")
BENCH = Path(__file__).parents[2] / "bench" / "returns.py"
LOSSES = st.lists(st.floats(0.5, 5), min_size=2, max_size=9)


def two_levels(before: list[float], after: list[float], later_seeds: int = 0) -> list[RunRecord]:
    """Runs of 1,000 and 2,000 steps with these losses; the seeds of the second level begin later."""
    one = simulate(Law(), Design(steps=(1000, 2000), seeds=max(len(before), len(after))), Noise(), 1)
    at = {steps: [run for run in one if run.steps == steps] for steps in (1000, 2000)}
    first = [replace(run, loss=loss) for run, loss in zip(at[1000], before, strict=False)]
    second = [
        replace(run, loss=loss, settings={**run.settings, "seed": run.seed + later_seeds})
        for run, loss in zip(at[2000], after, strict=False)
    ]
    return [*first, *second]


def only(records: list[RunRecord]) -> Return:
    (row,) = returns(records, STEPS)
    return row


def test_shared_seeds_are_paired_so_that_what_moves_both_losses_leaves_the_interval_alone() -> None:
    shift = [0.0, 0.3, -0.2, 0.1]
    row = only(
        two_levels(
            [2.5 + s for s in shift], [2.4 + s + wobble for s, wobble in zip(shift, (0, 0.001, 0, -0.001), strict=True)]
        )
    )
    assert row.paired
    assert row.verdict == "learning efficiently"
    assert row.low is not None
    assert row.low > 0.09


def test_the_same_losses_without_shared_seeds_tell_nothing_apart() -> None:
    shift = [0.0, 0.3, -0.2, 0.1]
    row = only(two_levels([2.5 + s for s in shift], [2.4 + s for s in shift], later_seeds=100))
    assert not row.paired
    assert row.verdict == "diminishing returns"


def test_a_seed_that_failed_at_one_level_is_left_out_of_both() -> None:
    row = only(two_levels([2.5, 2.6, 2.7], [2.4, 2.5]))
    assert row.paired
    assert row.seeds == 2
    assert row.drop == pytest.approx(0.1)


def test_one_seed_gives_a_drop_and_no_verdict() -> None:
    row = only(two_levels([2.5], [2.4]))
    assert row.drop == pytest.approx(0.1)
    assert row.verdict == "not measured"
    assert row.low is None
    assert row.more_seeds == 1


def test_a_rise_beyond_noise_is_degradation() -> None:
    assert only(two_levels([2.4, 2.5, 2.45], [2.5, 2.6, 2.551])).verdict == "degradation or instability"


def test_a_return_is_the_drop_for_a_thousand_units() -> None:
    records = simulate(Law(), Design(sizes=((16, 4, 1), (32, 4, 2)), steps=(5000,)), Noise(), 1)
    (row,) = returns(records, PARAMS)
    assert (row.from_level, row.to_level) == (4192, 26816)
    assert row.per_1000 == pytest.approx(row.drop * 1000 / (26816 - 4192))


def test_sizes_of_equal_parameters_have_no_return_per_parameter() -> None:
    records = simulate(Law(), Design(sizes=((16, 4, 1), (16, 2, 1)), steps=(5000,)), Noise(), 1)
    (row,) = returns(records, PARAMS)
    assert row.per_1000 is None


@pytest.mark.parametrize(("drop", "spread", "freedom_each"), [(0.01, 0.02, 1), (0.01, 0.02, 2), (0.3, 0.02, 1)])
def test_the_seeds_that_settle_a_row_are_the_fewest_whose_interval_is_narrow_enough(
    drop: float, spread: float, freedom_each: int
) -> None:
    def width(seeds: int) -> float:
        freedom = freedom_each * (seeds - 1)
        return (t_quantile(0.95, freedom) + t_quantile(0.8, freedom)) * spread / math.sqrt(seeds)

    seeds = seeds_to_settle(drop, spread, freedom_each)
    assert seeds is not None
    assert width(seeds) <= drop
    assert seeds == 2 or width(seeds - 1) > drop


def test_a_drop_far_below_the_noise_is_out_of_reach() -> None:
    assert seeds_to_settle(1e-5, 0.02) is None
    assert seeds_to_settle(0.0, 0.02) is None


@given(LOSSES)
def test_an_interval_is_symmetric_and_grows_with_the_spread(losses: list[float]) -> None:
    found, wider = mean(losses), mean([3 * loss for loss in losses])
    assert found.low is not None
    assert found.high is not None
    assert found.high - found.mean == pytest.approx(found.mean - found.low, abs=1e-12)
    assert wider.high - wider.mean == pytest.approx(3 * (found.high - found.mean), abs=1e-9)


@pytest.mark.parametrize("number", range(5))
def test_an_unpaired_interval_is_that_of_welch(number: int) -> None:
    from scipy.stats import ttest_ind

    stream = random.Random(number)
    before = [stream.gauss(2.5, 0.1) for _ in range(stream.randint(2, 9))]
    after = [stream.gauss(2.4, 0.01) for _ in range(stream.randint(2, 9))]
    found, reference = difference(before, after), ttest_ind(before, after, equal_var=False).confidence_interval(0.9)
    assert (found.low, found.high) == pytest.approx((reference.low, reference.high), rel=1e-9)


def test_many_rows_come_with_a_word_on_chance_and_one_row_without() -> None:
    rows = returns(simulate(Law(), Design(), Noise(), 1), STEPS)
    assert "on average 0.7 of these 7" in multiplicity(rows)
    assert multiplicity(rows[:1]) == ""


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(24)))
def test_the_order_of_runs_in_a_store_changes_nothing(order: list[int]) -> None:
    records = simulate(Law(), Design(), Noise(), 3)
    assert returns([records[place] for place in order], STEPS) == returns(records, STEPS)


@pytest.mark.parametrize("number", [0, pytest.param(4, marks=pytest.mark.long)])
def test_the_true_drop_lies_inside_the_interval_as_often_as_it_says(
    number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short form of bench/returns.py: one paired and one unpaired design."""
    monkeypatch.syspath_prepend(BENCH.parent)
    bench = runpy.run_path(str(BENCH))
    found = bench["coverage"](bench["CASES"][number])
    assert all(166 <= inside <= 194 for inside in found), found
