"""Adam (Kingma & Ba 2015, algorithm 1) on flat vectors, in the order of operations of symmetry.py."""

from typing import NamedTuple

import numpy as np

from microgpt.engines.array.matrices import Array
from microgpt.engines.contract import EPSILON_ADAM


class Betas(NamedTuple):
    """How slowly the two moments forget, and the weights."""

    first: float
    second: float
    weight_decay: float = 0.0


def adam(now: Array, after: Array, gradient: Array, step: int, lr: float, betas: Betas) -> None:
    """Write into `after` the weights and moments that follow `now`, both (3, params): weights, m, v.

    m ← β₁ m + (1 - β₁) g,  v ← β₂ v + (1 - β₂) g²,  w ← (1 - lr λ) w - lr m̂ / (√v̂ + ε),
    with m̂ = m / (1 - β₁^(step + 1)) and v̂ = v / (1 - β₂^(step + 1)): averages that began at zero, made unbiased.
    λ is the weight decay (Loshchilov & Hutter 2019, algorithm 2).
    """
    (weights, m, v), (new_weights, new_m, new_v) = now, after
    change = (1.0 - betas.first) * gradient
    np.multiply(m, betas.first, out=new_m)
    new_m += change
    np.multiply(gradient, 1.0 - betas.second, out=change)
    change *= gradient
    np.multiply(v, betas.second, out=new_v)
    new_v += change
    root = np.sqrt(new_v / (1.0 - betas.second ** (step + 1)))
    root += EPSILON_ADAM
    np.divide(new_m, (1.0 - betas.first ** (step + 1)), out=change)
    change *= lr
    change /= root
    np.multiply(weights, 1.0 - lr * betas.weight_decay, out=new_weights)
    new_weights -= change
