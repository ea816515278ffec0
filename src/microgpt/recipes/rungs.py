"""Which sizes learn most from a text in a given amount of computing. The figures are those of `bench/budgets.py`."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Rung:
    """Sizes, batch and learning rate that gave the lowest held-out loss from `flop` operations and `tokens` of training
    text on. `ctx` is that of running text; that of lines follows the lines. `epochs` is the most passes over the text
    that were of use."""

    flop: float
    tokens: int
    emb: int
    layer: int
    ctx: int
    batch: int
    lr: float
    epochs: float
    head: int = 4


RUNNING: Final = (
    Rung(0, 0, emb=32, layer=2, ctx=32, batch=4, lr=0.016, epochs=20),
    Rung(1e11, 20_000, emb=48, layer=2, ctx=32, batch=4, lr=0.01, epochs=20),
    Rung(1e12, 200_000, emb=64, layer=3, ctx=64, batch=8, lr=0.008, epochs=20),
    Rung(8e12, 500_000, emb=96, layer=3, ctx=64, batch=8, lr=0.003, epochs=20),
)
LINES: Final = (
    Rung(0, 0, emb=16, layer=1, ctx=16, batch=4, lr=0.016, epochs=40),
    Rung(1e11, 100_000, emb=32, layer=2, ctx=16, batch=16, lr=0.016, epochs=40),
)


def rung(rungs: tuple[Rung, ...], flop: float, tokens: int) -> Rung:
    """The highest rung that so much computing and so much text reach; the first one is for all."""
    return next(rung for rung in reversed(rungs) if flop >= rung.flop and tokens >= rung.tokens)
