"""How fast this machine learns from a text: measured by steps that are thrown away."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from microgpt.data.dataset import Dataset
from microgpt.data.split import Split
from microgpt.engines.contract import Runner, predictions
from microgpt.model.cost import step_cost
from microgpt.training.computing import ready_engine
from microgpt.training.evaluate import evaluations
from microgpt.training.prepare import prepare
from microgpt.training.request import Request
from microgpt.training.selection import spread
from microgpt.training.session import Stop, never

TURN: Final = 2e-3  # seconds
LEAST_TURNS: Final = 5
AT_ONCE: Final = 0.25  # seconds of steps between two looks at `stop`


@dataclass(frozen=True)
class Speed:
    """Seconds of a step, operations of useful work a second, and seconds to evaluate one held-out sequence."""

    step: float
    flop: float
    evaluation: float


def measured(request: Request, split: Split, seconds: float, stop: Stop = never) -> Speed:
    """The speed on the text itself, by steps that are thrown away, after compiling; once `stop()`, by those taken."""
    prepared = prepare(request, split)
    dataset, batch, model = prepared.dataset, request.settings.batch, prepared.checkpoint.model
    runner = ready_engine(request, model, prepared.request)[1].open(prepared.checkpoint.state)
    count, taken, flop, spent = 1, 0, 0, 0.0
    _advance(runner, dataset.sequences_of(0, 1, batch))  # the first is slower than all others
    while not taken or (spent < seconds and not stop()):
        start = time.perf_counter()
        batches = dataset.sequences_of(taken, count, batch)
        _advance(runner, batches)
        spent += time.perf_counter() - start
        flop += sum(step_cost(model, (predictions(model, tokens) for tokens in step)).total for step in batches)
        taken, count = taken + count, 2 * count if count < taken else count
        count = max(1, min(count, int(taken * min(seconds / 4, AT_ONCE) / max(spent, 1e-9))))
    held_out = spread(dataset.held_out(), 64)
    evaluating = time.perf_counter()
    for _ in evaluations(runner, held_out):
        if stop():
            break
    return Speed(spent / taken, flop / spent, (time.perf_counter() - evaluating) / max(1, len(held_out)))


def costs(asked: Sequence[tuple[Request, Split]], seconds: float) -> list[float]:
    """How many times as long as a step of the first of some trainings one of each takes.

    They take turns, the first about `seconds` in all, so that a machine that changes its pace does so for all. Turns
    are shorter than what a system gives a process at once, and the lower quartile of each one's is compared: those in
    which something else was computed say nothing.
    """
    turns = [_Turn.of(*each) for each in asked]
    for turn in turns:
        turn.take(0, 1)  # the first is slower than all others
    count = max(1, int(TURN / max(min(turns[0].take(n, 1) for n in range(1, 6)), 1e-9)))
    taken: list[list[float]] = [[] for _ in turns]
    while sum(taken[0]) < seconds or len(taken[0]) < LEAST_TURNS:
        first = len(taken[0]) * count
        for turn, times in zip(turns, taken, strict=True):
            times.append(turn.take(first, count))
    quartiles = [sorted(times)[len(times) // 4] for times in taken]
    return [quartile / quartiles[0] for quartile in quartiles]


@dataclass(frozen=True, eq=False)
class _Turn:
    """A training of which a few steps are taken now and then."""

    dataset: Dataset
    batch: int
    runner: Runner

    @staticmethod
    def of(request: Request, split: Split) -> "_Turn":
        prepared = prepare(request, split)
        engine = ready_engine(request, prepared.checkpoint.model, prepared.request)[1]
        return _Turn(prepared.dataset, request.settings.batch, engine.open(prepared.checkpoint.state))

    def take(self, first: int, count: int) -> float:
        """Seconds of so many steps."""
        start = time.perf_counter()
        _advance(self.runner, self.dataset.sequences_of(first, count, self.batch))
        return time.perf_counter() - start


def _advance(runner: Runner, batches: Any) -> None:
    runner.advance(batches, np.full(len(batches), 1e-6))
