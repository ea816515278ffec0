"""Points drawn from a planted law, for the tests of this folder."""

import numpy as np

from microgpt.lab.laws.points import Points
from microgpt.lab.laws.simulate import Simulated


def drawn(plan: Simulated | None = None, seed: int = 0, scatter: float = 0.005) -> Points:
    """The design of a plan with losses that scatter so many nats."""
    design = (plan or Simulated()).design
    return design.with_loss(design.loss + np.random.default_rng(seed).normal(0, scatter, len(design)))
