"""Faults to plant in simulated records: each one that the audit must find, under the kind of finding that it is."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

from microgpt.engines import EVERYWHERE
from microgpt.lab.statistics.simulate import RATES
from microgpt.lab.store.record import RunRecord

Fault = Callable[[list[RunRecord]], list[RunRecord]]


def _changed(records: list[RunRecord], where: Callable[[RunRecord], bool], **changes: Any) -> list[RunRecord]:
    return [replace(run, **changes) if where(run) else run for run in records]


def _is_study(run: RunRecord) -> bool:
    return run.role == "study"


def _dead_axis(records: list[RunRecord]) -> list[RunRecord]:
    """Whatever was asked for, the same training was done: losses depend on the seed alone."""
    of_seed = {run.seed: run.loss for run in records}
    return [replace(run, loss=of_seed[run.seed]) if _is_study(run) else run for run in records]


def _dead_seed(records: list[RunRecord]) -> list[RunRecord]:
    """The seed is ignored: replicates are one run, told several times."""
    of_level = {(run.steps, run.size): run.loss for run in records if _is_study(run)}
    return [replace(run, loss=of_level[run.steps, run.size]) if _is_study(run) else run for run in records]


def _rise(records: list[RunRecord]) -> list[RunRecord]:
    """A level in the middle is a fifth of a nat too high."""
    values = sorted({(run.steps, run.params) for run in records if _is_study(run)})
    bad = values[len(values) // 2]
    return [
        replace(run, loss=run.loss + 0.2) if run.loss and _is_study(run) and (run.steps, run.params) == bad else run
        for run in records
    ]


def _at_the_edge(records: list[RunRecord]) -> list[RunRecord]:
    """The optimum lies beyond the highest learning rate of the grid."""
    return [
        replace(run, loss=3.0 - 0.05 * math.log2(run.settings["lr"] / RATES[0])) if run.role == "tuning" else run
        for run in records
    ]


def _few_levels(records: list[RunRecord]) -> list[RunRecord]:
    kept = set(sorted({(run.steps, run.params) for run in records if _is_study(run)})[::3])
    return [run for run in records if not _is_study(run) or (run.steps, run.params) in kept]


def _narrow(records: list[RunRecord]) -> list[RunRecord]:
    """Only what lies within three times of the least, on both axes."""
    least = min(run.steps for run in records), min(run.params for run in records)
    return [run for run in records if run.steps <= 3 * least[0] and run.params <= 3 * least[1]]


def _one_failed(records: list[RunRecord]) -> list[RunRecord]:
    study = [run for run in records if _is_study(run)]
    worst = study[len(study) // 3].identity
    found = "the loss is not finite at step 400"
    return _changed(records, lambda run: run.identity == worst, status="failed", loss=None, loss_se=None, error=found)


FAULTS: Final[dict[str, Fault]] = {  # by the kind of finding that must meet them
    "dead axis": _dead_axis,
    "dead seed": _dead_seed,
    "not held out": lambda runs: _changed(runs, _is_study, loss=None, loss_se=None, holdout_documents=0),
    "few levels": _few_levels,
    "narrow range": _narrow,
    "rising loss": _rise,
    "epochs": lambda runs: [replace(run, epochs=run.epochs * 30) for run in runs],
    "learning rate not tuned": lambda runs: [run for run in runs if _is_study(run)],
    "learning rate at the edge": _at_the_edge,
    "few seeds": lambda runs: [run for run in runs if run.seed == 0 or not _is_study(run)],
    "failed runs": _one_failed,
    "mixed data": lambda runs: _changed(runs, lambda run: run.seed == 1, data_sha256="f" * 64),
    "mixed engines": lambda runs: _changed(runs, lambda run: run.seed == 1, engine=EVERYWHERE),
    "mixed held-out sets": lambda runs: [
        replace(run, settings={**run.settings, "split_seed": 1}) if run.seed == 1 else run for run in runs
    ],
    "mixed schedules": lambda runs: [
        replace(run, settings={**run.settings, "decay": "cooldown"}) if run.seed == 1 else run for run in runs
    ],
    "mixed versions": lambda runs: _changed(runs, lambda run: run.seed == 1, commit="f" * 40),
    "learned nothing": lambda runs: _changed(runs, lambda run: _is_study(run) and run.seed == 1, loss=3.1),
}
