"""A model mixed with a table of counts of its training text: a share of each probability is the table's.

A linear interpolation of two models (Jelinek & Mercer 1980, Interpolated estimation of Markov source parameters from
sparse data) is a model again. The two are wrong in different places: of little text a mixture of halves is better than
either, whatever the text (docs/SCALING.md).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.counts import Table, Told
from microgpt.engines.contract import Drawing, Prompts, Runner, Written
from microgpt.engines.drawing import one_by_one

HALF: Final = 0.5  # the share that `--for` takes


@dataclass(frozen=True)
class Mixed:
    """What writes with a runner and a table that has this share of each probability."""

    runner: Runner
    table: Table
    share: float
    ctx: int

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        """Probabilities (vocabulary,) of the token after a prefix of 1 to ctx tokens."""
        return (1 - self.share) * self.runner.next(prefix) + self.share * self.table.next(prefix)

    def write(
        self, prompts: Prompts, uniforms: NDArray[np.float64], drawing: Drawing, sizes: NDArray[np.int64] | None = None
    ) -> Iterator[Written]:
        """Documents that go on from prompts, drawn as `Runner.write` draws them, one after another."""
        each = np.ones(self.table.vocabulary, np.int64) if sizes is None else sizes
        for prompt, numbers in zip(prompts, uniforms, strict=True):
            tokens = [*one_by_one(self.next, self.ctx, prompt, numbers, drawing, each, len(numbers))]
            yield Written(np.array([tokens], np.int32), np.array([len(tokens)], np.int64))


def mixed(losses: NDArray[np.float64], told: Told, share: float) -> NDArray[np.float64]:
    """The loss of each prediction of a model, (predictions,), mixed with a table that was told the same ones."""
    with np.errstate(divide="ignore"):
        return -np.log((1 - share) * np.exp(-losses) + share * told.probabilities)
