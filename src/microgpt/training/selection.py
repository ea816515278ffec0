"""Which weights a run ends with, and when there is no use in going on: both are read off its held-out losses."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from microgpt.data.slices import Tokens
from microgpt.model.state import State

Evaluations = Sequence[tuple[int, float, float]]  # step, held-out loss, standard error


@dataclass(frozen=True)
class Best:
    """The state of the lowest held-out loss so far."""

    step: int
    loss: float
    state: State


def lowest(evaluations: Evaluations) -> float:
    """The lowest held-out loss so far; infinity before the first."""
    return min((loss for _, loss, _ in evaluations), default=math.inf)


def waited(evaluations: Evaluations) -> int:
    """Evaluations since the one that was lowest."""
    losses = [loss for _, loss, _ in evaluations]
    return len(losses) - 1 - losses.index(min(losses)) if losses else 0


def spread(sequences: Sequence[Tokens], count: int) -> Sequence[Tokens]:
    """So many of the sequences, evenly spread, or all of them where `count` is 0 or beyond."""
    if not 0 < count < len(sequences):
        return sequences
    return [sequences[place * len(sequences) // count] for place in range(count)]
