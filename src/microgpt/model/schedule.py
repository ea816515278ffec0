"""The learning rate of each step."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from microgpt.model.settings import Settings

COOLDOWN: Final = 5  # one in so many steps, the last ones, belongs to a cooldown


def learning_rates(settings: Settings, first: int, count: int) -> NDArray[np.float64]:
    """Learning rates (count,) of the steps first, first + 1, ….

    During warmup, step s has lr · (s + 1) / warmup. Afterwards, with t = (s − warmup) / (steps − warmup):
    linear lr · (1 − t), cosine lr · (1 + cos πt) / 2 (Loshchilov & Hutter 2017, eq. 5), constant lr.
    cooldown is constant up to `cooldown_start`, and from there, with t from 0 to 1, lr · (1 − √t): a fifth of the
    length, in the form that Hägele et al. 2024 (arXiv 2405.18392) found to be better than a line.
    """
    steps = np.arange(first, first + count, dtype=np.float64)
    progress = (steps - settings.warmup) / max(1, settings.steps - settings.warmup)
    start = cooldown_start(settings)
    falling = {
        "linear": 1.0 - progress,
        "cosine": (1.0 + np.cos(np.pi * progress)) / 2.0,
        "constant": np.ones_like(progress),
        "cooldown": 1.0 - np.sqrt(np.maximum(0.0, steps - start) / max(1, settings.steps - start)),
    }[settings.decay]
    rising = (steps + 1.0) / max(1, settings.warmup)
    rates: NDArray[np.float64] = settings.lr * np.where(steps < settings.warmup, rising, falling)
    return rates


def cooldown_start(settings: Settings) -> int:
    """The steps of a cooldown's trunk, which trainings of any length share: warmup, then a constant rate.

    >>> cooldown_start(Settings(steps=1000)), cooldown_start(Settings(steps=1000, warmup=900))
    (800, 900)
    """
    return max(settings.warmup, settings.steps - -(-settings.steps // COOLDOWN))
