"""Row 23: softmax and RMSNorm inside each engine, at their extremes, against their definitions in float64."""

import random
from collections.abc import Callable
from typing import Final

import numpy as np

from microgpt.engines import create
from microgpt.engines.contract import EngineConfig
from microgpt.model.settings import Precision
from trials import extremes
from trials.divergence import kinds
from trials.fault import Fault, Outcome

SIZES: Final = (1, 2, 5, 8)
ROUNDING: Final[dict[Precision, float]] = {"64": 2.0**-53, "32": 2.0**-24, "bf16": 2.0**-8}
# Beyond it a square is none in this precision: the norm then gives zeros.
SQUARABLE: Final[dict[Precision, float]] = {"64": 1e150, "32": 1e18, "bf16": 1e18}
MAGNITUDES: Final = (0.0, 5e-324, 1e-300, 1e-45, 1e-40, 1e-38, 1e-30, 1e-8, 1.0, 1e8, 1e18, 1e30)
MOST: Final = 1e4  # of a score


def scores(stream: random.Random, size: int) -> list[float]:
    """All equal, at the extremes, or anything between."""
    match stream.randrange(4):
        case 0:
            return [stream.choice((-MOST, 0.0, 1.0, MOST))] * size
        case 1:
            return [stream.choice((-MOST, MOST)) for _ in range(size)]
        case 2:
            return [stream.uniform(-MOST, MOST) for _ in range(size)]
        case _:
            return [stream.choice((-MOST, 0.0, 5e-324, 1e-30, 700.0, -745.0, MOST)) for _ in range(size)]


def vector(stream: random.Random, size: int) -> list[float]:
    """All of one magnitude, or of several."""
    magnitude = stream.choice(MAGNITUDES)
    several = stream.random() < 0.5
    return [(stream.choice(MAGNITUDES) if several else magnitude) * stream.uniform(-1, 1) for _ in range(size)]


def softmax_heard(name: str, precision: Precision, numbers: list[float]) -> str:
    """What is wrong with the softmax of the logits, and with that inside attention."""
    for state in (extremes.heard(np.array(numbers)), extremes.attended(np.array(numbers))):
        runner = create(name, EngineConfig(precision)).open(state)
        if wrong := extremes.problem(runner, state, ROUNDING[precision], exact=precision != "bf16"):
            return wrong
    return ""


def norm(name: str, precision: Precision, numbers: list[float]) -> str:
    """What is wrong with the norm of a vector."""
    state = extremes.normed(np.array(numbers))
    sound = precision != "bf16" and max(map(abs, numbers)) <= SQUARABLE[precision]
    return extremes.problem(create(name, EngineConfig(precision)).open(state), state, ROUNDING[precision], exact=sound)


def numbers(
    draw: Callable[[random.Random, int], list[float]], look: Callable[[str, Precision, list[float]], str]
) -> Callable[[int, int], Outcome]:
    """Trials of one of the two, each with an engine at random."""

    def try_it(count: int, seed: int) -> Outcome:
        stream, wrong = random.Random(seed), list[str]()
        every = list(kinds())
        for trial in range(count):
            name, precision = every[trial % len(every)]
            drawn = draw(stream, stream.choice(SIZES))
            if told := look(name, precision, drawn):
                wrong.append(f"{name} {precision} {drawn}: {told}")
        return Outcome.told(count, wrong, ", ".join(f"{name} {precision}" for name, precision in every))

    return try_it


FAULTS = (
    Fault(
        23,
        "softmax",
        "softmax of ±10^4, of equal numbers, of one",
        "the softmax of the logits and that inside attention: finite, sums to 1 forwards and backwards, and what its "
        "definition gives in float64 (bfloat16: finite and sums to 1)",
        1000,
        numbers(scores, softmax_heard),
    ),
    Fault(
        23,
        "rmsnorm",
        "RMSNorm of zeros, of 10^±30, of denormal numbers",
        "finite with a finite gradient, and what its definition gives in float64; in float32 beyond 10^18, where a "
        "square overflows, finite alone",
        1000,
        numbers(vector, norm),
    ),
)
