"""The learning rate of each step."""

import numpy as np
from numpy.typing import NDArray

from microgpt.model.settings import Settings


def learning_rates(settings: Settings, first: int, count: int) -> NDArray[np.float64]:
    """Learning rates (count,) of the steps first, first + 1, ….

    During warmup, step s has lr · (s + 1) / warmup. Afterwards, with t = (s − warmup) / (steps − warmup):
    linear lr · (1 − t), cosine lr · (1 + cos πt) / 2 (Loshchilov & Hutter 2017, eq. 5), constant lr.
    """
    steps = np.arange(first, first + count, dtype=np.float64)
    progress = (steps - settings.warmup) / max(1, settings.steps - settings.warmup)
    falling = {
        "linear": 1.0 - progress,
        "cosine": (1.0 + np.cos(np.pi * progress)) / 2.0,
        "constant": np.ones_like(progress),
    }[settings.decay]
    rising = (steps + 1.0) / max(1, settings.warmup)
    rates: NDArray[np.float64] = settings.lr * np.where(steps < settings.warmup, rising, falling)
    return rates
