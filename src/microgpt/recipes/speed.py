"""How fast this machine learns from a text: measured by steps that are thrown away."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from microgpt.data.split import Split
from microgpt.engines.contract import Runner, predictions
from microgpt.model.cost import step_cost
from microgpt.training.computing import ready_engine
from microgpt.training.evaluate import evaluations
from microgpt.training.prepare import prepare
from microgpt.training.request import Request
from microgpt.training.selection import spread


@dataclass(frozen=True)
class Speed:
    """Seconds of a step, operations of useful work a second, and seconds to evaluate one held-out sequence."""

    step: float
    flop: float
    evaluation: float


def measured(request: Request, split: Split, seconds: float) -> Speed:
    """The speed on the text itself, by steps that are thrown away, after compiling."""
    prepared = prepare(request, split)
    dataset, batch, model = prepared.dataset, request.settings.batch, prepared.checkpoint.model
    runner = ready_engine(request, model, prepared.request)[1].open(prepared.checkpoint.state)
    count, taken, flop, spent = 1, 0, 0, 0.0
    _advance(runner, dataset.sequences_of(0, 1, batch))  # the first is slower than all others
    while spent < seconds:
        start = time.perf_counter()
        batches = dataset.sequences_of(taken, count, batch)
        _advance(runner, batches)
        spent += time.perf_counter() - start
        flop += sum(step_cost(model, (predictions(model, tokens) for tokens in step)).total for step in batches)
        taken, count = taken + count, 2 * count if count < taken else count
        count = max(1, min(count, int(taken * seconds / 4 / max(spent, 1e-9))))
    held_out = spread(dataset.held_out(), 64)
    evaluating = time.perf_counter()
    for _ in evaluations(runner, held_out):
        pass
    return Speed(spent / taken, flop / spent, (time.perf_counter() - evaluating) / max(1, len(held_out)))


def _advance(runner: Runner, batches: Any) -> None:
    runner.advance(batches, np.full(len(batches), 1e-6))
