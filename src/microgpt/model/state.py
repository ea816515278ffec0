"""The state of a training: what a checkpoint holds and what moves between engines."""

import random
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Settings

WEIGHTS_STREAM, ORDER_STREAM, SAMPLES_STREAM = 0, 1, 2  # what `--seed` derives; each use has a stream of its own


@dataclass(frozen=True, eq=False)
class State:
    """Flat weights and Adam moments in the layout of the ledger, each (params,), and the number of steps done.

    A state is a value: whoever opens it copies what it will change, and its arrays are read-only.
    """

    model: ModelConfig
    weights: NDArray[Any]
    adam_m: NDArray[Any]
    adam_v: NDArray[Any]
    step: int

    def __post_init__(self) -> None:
        expected = (params(self.model),)
        for name in ("weights", "adam_m", "adam_v"):
            array = getattr(self, name).view()
            if array.shape != expected:
                raise ValueError(f"{name} must have shape {expected}, found {array.shape}")
            array.flags.writeable = False  # what is written here would reach no engine that has copied it already
            object.__setattr__(self, name, array)

    @property
    def finite(self) -> bool:
        return all(bool(np.isfinite(part).all()) for part in (self.weights, self.adam_m, self.adam_v))


def fresh(model: ModelConfig, weights: NDArray[Any]) -> State:
    """A state before its first step: the given weights (params,) and moments of zero in the same precision."""
    return State(model, weights, np.zeros_like(weights), np.zeros_like(weights), 0)


def draw_weights(settings: Settings, model: ModelConfig) -> NDArray[np.float64]:
    """First weights (params,) in float64, from the seed's own stream for weights.

    Always drawn in float64, so that engines of every precision begin at the same numbers.
    """
    stream = np.random.Generator(np.random.PCG64(np.random.SeedSequence([settings.seed, WEIGHTS_STREAM])))
    scale = settings.initial_scale
    if settings.initial == "gauss":
        return stream.normal(0.0, scale, params(model))
    return stream.uniform(-scale, scale, params(model))


def draw_weights_golden(settings: Settings, model: ModelConfig, stream: random.Random) -> NDArray[np.float64]:
    """First weights (params,) drawn number by number from the one stream that a golden recipe uses for everything."""
    scale = settings.initial_scale
    if settings.initial == "gauss":
        return np.array([stream.gauss(0, scale) for _ in range(params(model))])
    return np.array([stream.uniform(-scale, scale) for _ in range(params(model))])
