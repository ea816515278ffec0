"""Which runs are compared: those that differ along one axis and in their seed, and in nothing else."""

from dataclasses import replace

import pytest

from microgpt.lab.statistics.series import PARAMS, STEPS, series, setting_axis
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate


def test_a_crossed_sweep_is_a_series_for_each_size_and_one_for_each_length() -> None:
    records = simulate(Law(), Design(sizes=SIZES, steps=(1000, 3000, 9000)), Noise(), 1)
    along_steps, along_sizes = series(records, STEPS), series(records, PARAMS)
    assert [len(line.levels) for line in along_steps] == [3] * 4
    assert [len(line.levels) for line in along_sizes] == [4] * 3
    assert along_sizes[0].label == "1,000 steps"
    assert along_steps[0].label == "4,192 params"


def test_sizes_of_equal_parameters_are_told_apart_by_what_makes_them() -> None:
    records = simulate(Law(), Design(sizes=((16, 4, 1), (16, 2, 1)), steps=(1000, 3000)), Noise(), 1)
    assert [line.label for line in series(records, STEPS)] == ["head 2", "head 4"]


def test_a_learning_rate_tuned_for_each_size_keeps_the_sizes_in_one_series() -> None:
    records = simulate(Law(), Design(sizes=SIZES, steps=(5000,)), Noise(), 1)
    tuned = [replace(run, settings={**run.settings, "lr": 1 / run.params}) for run in records]
    (line,) = series(tuned, PARAMS)
    assert len(line.levels) == 4


def test_a_learning_rate_that_is_crossed_with_sizes_makes_series_of_its_own() -> None:
    records = simulate(Law(), Design(sizes=SIZES, steps=(5000,)), Noise(), 1)
    higher = [replace(run, settings={**run.settings, "lr": 0.02}) for run in records]
    lines = series(records + higher, PARAMS)
    assert [line.label for line in lines] == ["lr 0.01", "lr 0.02"]


def test_series_and_levels_stand_in_the_order_of_their_numbers() -> None:
    records = simulate(Law(), Design(sizes=SIZES[:1], steps=(5000,)), Noise(), 1)
    for name, values in (("batch", (1, 2, 4, 16, 1000, 12_000)), ("lr", (1e-05, 0.0005, 0.02, 0.1))):
        runs = [replace(run, settings={**run.settings, name: value}) for value in values[::-1] for run in records]
        assert [line.levels[0].first.settings[name] for line in series(runs, PARAMS)] == [*values]
        (line,) = series(runs, setting_axis(name))
        assert [level.first.settings[name] for level in line.levels] == [*values]


@pytest.mark.parametrize("changed", [{"data_sha256": "f" * 64}, {"engine": "array"}, {"precision": "64"}])
def test_losses_on_other_texts_and_engines_are_never_averaged_together(changed: dict[str, str]) -> None:
    records = simulate(Law(), Design(), Noise(), 1)
    mixed = [replace(run, **changed) if run.seed == 1 else run for run in records]
    lines = series(mixed, STEPS)
    assert len(lines) == 2
    assert lines[0].label != lines[1].label


def test_tuning_failed_and_not_held_out_runs_are_in_no_series() -> None:
    records = simulate(Law(), Design(tuned=True), Noise(), 1)
    spoilt = [
        replace(run, status="failed", loss=None) if run.seed == 0 else replace(run, loss=None) if run.seed == 1 else run
        for run in records
    ]
    (line,) = series(spoilt, STEPS)
    assert {seed for level in line.levels for seed in level.losses} == {2}


def test_a_setting_that_older_runs_have_not_does_not_stop_the_grouping() -> None:
    records = simulate(Law(), Design(), Noise(), 1)
    newer = [replace(run, settings={**run.settings, "dropout": 0.1}) for run in records]
    assert len(series(records + newer, STEPS)) == 2
