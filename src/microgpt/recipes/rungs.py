"""Which tokens and sizes learn most from a text in a given amount of computing, mixed with a table of its counts.

By the sweep of `bench/budgets.py` over sixteen texts of 500 B to 5 MB, and earlier single trainings on parts of the
plays; `bench/your_text.py` tells what the built-in texts reach.

The more text, the larger the model that still learns something that holds elsewhere; the more computing, the larger the
model that can be trained to its end. A small text is learned by heart after a few passes, whatever the model.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from microgpt.data.choices import Kind


@dataclass(frozen=True)
class Rung:
    """Sizes, batch, learning rate and weight decay that gave the lowest held-out loss from so much computing on, in
    operations of useful work. `ctx` is that of running text; that of lines follows the lines. `epochs` is the most
    passes over the text that were of use."""

    flop: float
    emb: int
    layer: int
    ctx: int
    batch: int
    lr: float
    epochs: float
    head: int = 4
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Ladder:
    """What suits texts from so many training characters on: tokens, what the model varies by, and the rungs."""

    characters: int
    rungs: tuple[Rung, ...]
    tokens: str = "characters"
    varies: Mapping[str, Any] = field(default_factory=dict)

    def rung(self, flop: float) -> Rung:
        """The highest rung that so much computing reaches."""
        return next(rung for rung in reversed(self.rungs) if flop >= rung.flop)


GATED: Final = {"position": "rotary", "activation": "swiglu"}
RUNNING: Final = (
    Ladder(0, (Rung(0, emb=32, layer=2, ctx=64, batch=4, lr=0.006, epochs=40, weight_decay=2.0),), varies=GATED),
    Ladder(
        15_000,
        (
            Rung(0, emb=16, layer=1, ctx=32, batch=4, lr=0.016, epochs=20, weight_decay=0.5),
            Rung(5e10, emb=32, layer=2, ctx=64, batch=16, lr=0.009, epochs=80, weight_decay=0.5),
        ),
        varies=GATED,
    ),
    Ladder(
        60_000,
        (
            Rung(0, emb=16, layer=1, ctx=32, batch=4, lr=0.016, epochs=20, weight_decay=0.3),
            Rung(5e10, emb=32, layer=2, ctx=64, batch=16, lr=0.008, epochs=40, weight_decay=0.5),
            Rung(1e12, emb=64, layer=2, ctx=64, batch=16, lr=0.006, epochs=40, weight_decay=0.5),
            Rung(4e12, emb=96, layer=3, ctx=64, batch=16, lr=0.004, epochs=40, weight_decay=0.7),
        ),
        varies=GATED,
    ),
    Ladder(
        300_000,
        (
            Rung(0, emb=32, layer=1, ctx=32, batch=4, lr=0.016, epochs=20, weight_decay=0.1),
            Rung(2e11, emb=64, layer=2, ctx=64, batch=8, lr=0.008, epochs=20, weight_decay=0.1),
            Rung(1.5e12, emb=96, layer=2, ctx=64, batch=16, lr=0.004, epochs=20, weight_decay=0.3),
            Rung(8e12, emb=128, layer=3, ctx=64, batch=16, lr=0.003, epochs=20, weight_decay=0.5),
            Rung(4e13, emb=128, layer=4, ctx=64, batch=16, lr=0.003, epochs=40, weight_decay=1.0),
        ),
        tokens="bpe:1024",
        varies=GATED,
    ),
)
LINES: Final = (
    Ladder(0, (Rung(0, emb=48, layer=3, ctx=16, batch=4, lr=0.005, epochs=4),)),
    Ladder(
        60_000,
        (
            Rung(0, emb=16, layer=1, ctx=16, batch=16, lr=0.016, epochs=12, weight_decay=0.05),
            Rung(5e10, emb=32, layer=2, ctx=16, batch=16, lr=0.008, epochs=12, weight_decay=0.05),
            Rung(5e11, emb=48, layer=3, ctx=16, batch=16, lr=0.006, epochs=12, weight_decay=0.05),
            Rung(2e12, emb=64, layer=3, ctx=16, batch=16, lr=0.005, epochs=12, weight_decay=0.05),
        ),
        varies=GATED,
    ),
)


def ladder(kind: Kind, characters: int) -> Ladder:
    """The ladder for so much text."""
    ladders = RUNNING if kind == "windows" else LINES
    return next(ladder for ladder in reversed(ladders) if characters >= ladder.characters)
