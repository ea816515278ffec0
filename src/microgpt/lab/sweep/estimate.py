"""What a sweep will take, before it starts: runs, operations, memory, and time from short measurements."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from microgpt.lab.sweep.costs import params_by_part, seen, training_flop
from microgpt.lab.sweep.executors import LocalProcesses
from microgpt.lab.sweep.plan import Plan
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Shared, Texts
from microgpt.lab.sweep.trunk import shares, trunk
from microgpt.lab.sweep.worker import Broken, Outcome
from microgpt.machine import cores
from microgpt.model.cost import activation_bytes, state_bytes
from microgpt.recipes.speed import measured
from microgpt.training.prepare import prepare

MEASURE: Final = 0.05  # seconds of steps for each size
CROWD: Final = 0.4  # seconds of steps of all workers at once
GENTLE: Final = 1e-4  # a learning rate low enough to diverge nowhere
BESIDES: Final = 0.003  # seconds of a run that are neither steps nor evaluation
BYTES: Final = {"32": 4, "64": 8, "bf16": 4}


@dataclass(frozen=True)
class Row:
    """One level: its settings, runs (tuning among them), parameters, and what one run takes."""

    spec: Spec
    runs: int
    tuning: int
    params: int
    tokens: int
    epochs: float
    flop: float
    memory: int  # bytes
    seconds: float  # with all workers at work
    share: float = 1.0  # of the steps of a run that is reported; it has the others from a trunk

    @property
    def trainings(self) -> float:
        """As many whole trainings are as much work as all runs."""
        return self.tuning + (self.runs - self.tuning) * self.share


@dataclass(frozen=True)
class TimeEstimate:
    """The rows of a plan and, over all of it, what is known beforehand. Tuning may take a few runs more."""

    rows: tuple[Row, ...]
    jobs: int
    start: float  # seconds until all workers are at their first runs

    @property
    def runs(self) -> int:
        return sum(row.runs for row in self.rows)

    @property
    def tuning(self) -> int:
        return sum(row.tuning for row in self.rows)

    @property
    def flop(self) -> float:
        return sum(row.trainings * row.flop for row in self.rows)

    @property
    def memory(self) -> int:
        """Bytes when every worker is at the largest run."""
        return self.jobs * max(row.memory for row in self.rows)

    @property
    def seconds(self) -> float:
        """The start of the workers, and then all together; the longest run, or trunk, is the least there can be."""
        units: Counter[Spec] = Counter()
        for row in self.rows:
            units[trunk(row.spec) or row.spec] += row.share * row.seconds  # type: ignore[assignment]
        return self.start + max(*units.values(), sum(row.trainings * row.seconds for row in self.rows) / self.jobs)


@dataclass(frozen=True)
class _Pace:
    """Seconds of a step and of an evaluation."""

    step: float
    evaluation: float

    def seconds(self, steps: int) -> float:
        """A whole run, alone on the machine."""
        return steps * self.step + self.evaluation + BESIDES


def estimate(plan: Plan, texts: Texts, jobs: int) -> TimeEstimate:
    """Measure each size for a moment, compiling what must be compiled, then all workers at once, and add up."""
    runs: dict[str, list[int]] = {}
    tuned = plan.tuning is not None
    for member in plan.outlook:
        counts = runs.setdefault(_level(member.spec, tuned), [0, 0])
        counts[0] += 1
        counts[1] += member.role == "tuning"
    paces: dict[str, _Pace] = {}
    rows = []
    for level, share in zip(plan.levels, shares(plan.levels), strict=True):
        size = _size(level)
        if size not in paces:
            paces[size] = _measure(level, texts)
        rows.append(_row(level, texts.shared(level), paces[size], share, *runs[_level(level, tuned)]))
    most = max(rows, key=lambda row: row.runs * row.seconds).spec
    start, slower = _together(most, paces[_size(most)], jobs)
    return TimeEstimate(tuple(replace(row, seconds=slower * row.seconds) for row in rows), jobs, start)


def _size(spec: Spec) -> str:
    """What runs whose steps take equally long have in common."""
    return spec.with_settings(steps=1, warmup=0, lr=0.01, seed=0).identity


def _level(spec: Spec, tuned: bool) -> str:
    """What runs that differ only in their seed have in common or, where rates are tuned, in seed and rate."""
    return spec.with_settings(seed=0, lr=0.01 if tuned else spec.settings.lr).identity


def _row(spec: Spec, shared: Shared, pace: _Pace, share: float, runs: int, tuning: int) -> Row:
    settings = spec.settings
    model = settings.model(shared.split.corpus.tokenizer.vocabulary)
    lengths = seen(prepare(spec.request(), shared.split).dataset, settings)
    tokens = int(lengths @ np.arange(len(lengths)))
    size = BYTES[spec.asked.precision]
    return Row(
        spec,
        runs,
        tuning,
        params=sum(params_by_part(model)),
        tokens=tokens,
        epochs=tokens / shared.unique_tokens,
        flop=float(training_flop(model, lengths, settings.steps)),
        memory=state_bytes(model, size) + activation_bytes(model, size, settings.batch),
        seconds=pace.seconds(settings.steps),
        share=share,
    )


def _measure(spec: Spec, texts: Texts) -> _Pace:
    shared = texts.shared(spec)
    speed = measured(spec.request(), shared.split, MEASURE)
    return _Pace(speed.step, speed.evaluation * len(shared.held_out))


def _together(spec: Spec, pace: _Pace, jobs: int) -> tuple[float, float]:
    """Seconds to start so many workers, and how many times what it takes alone a run takes when all are at work.

    Each worker is a new Python with all it imports, that reads the text, and they share cores, caches and what else the
    machine is at. It is measured with as many as there are cores; more of them wait for each other. Raises
    `EnvironmentFault` where no run can be carried out.
    """
    count = min(jobs, cores())
    steps = max(1, round(CROWD / pace.step))
    begin = time.perf_counter()
    workers = LocalProcesses(count)
    try:
        _run_each(workers, spec, 1)
        first = time.perf_counter() - begin
        start = max(0.0, first - _timed(_run_each, workers, spec, 1))
        took = _timed(_run_each, workers, spec, steps)
    finally:
        workers.close()
    slower = max(1.0, took / pace.seconds(steps))  # a run that diverged is over at once
    return start * jobs / count, slower * jobs / count


def _run_each(workers: LocalProcesses, spec: Spec, steps: int) -> None:
    for _ in range(workers.jobs):
        workers.submit(spec.with_settings(steps=steps, warmup=0, lr=GENTLE))
    found: list[Outcome] = []
    while len(found) < workers.jobs:
        found += workers.outcomes(1.0)
    for outcome in found:
        if isinstance(outcome, Broken):
            raise outcome.error


def _timed(action: Callable[..., Any], *arguments: Any) -> float:
    start = time.perf_counter()
    action(*arguments)
    return time.perf_counter() - start
