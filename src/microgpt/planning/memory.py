"""What a training keeps on each of many devices: weights, gradients, Adam's numbers, activations.

Activations are those of a framework that keeps what its backward pass reads and no more, as torch does (held against
it by tests/model/test_scale.py); the engines of this package keep a little more (cost.py).
"""

from dataclasses import dataclass
from typing import Final, Literal

from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision

PRECISIONS: Final[tuple[Precision, ...]] = ("64", "32", "bf16")
Attention = Literal["fused", "whole"]  # in tiles that keep no scores (Dao et al. 2022), or with all scores kept
ATTENTIONS: Final[tuple[Attention, ...]] = ("fused", "whole")
Sharding = Literal[0, 1, 2, 3]  # the stage of ZeRO: what is divided among the devices

_ID: Final = 8  # bytes of a token id


@dataclass(frozen=True)
class Widths:
    """Bytes of a number: weights, their gradients, Adam's two moments together, a master copy; then activations:
    between blocks, within them, and those of a row alone (norms, attention, loss)."""

    weights: int
    gradients: int
    moments: int
    master: int
    between: int
    within: int
    rows: int


# bf16 is mixed precision with float32 master weights (Micikevicius et al. 2018; Rajbhandari et al. 2020, section 3.1:
# 2 + 2 + 12 bytes a parameter), and with float32 between blocks, as torch.autocast keeps it.
WIDTHS: Final[dict[Precision, Widths]] = {
    "64": Widths(8, 8, 16, 0, 8, 8, 8),
    "32": Widths(4, 4, 8, 0, 4, 4, 4),
    "bf16": Widths(2, 2, 8, 4, 4, 2, 4),
}


@dataclass(frozen=True)
class StateBytes:
    """Bytes on one device that do not depend on the batch. `adam` holds the moments and the master copy."""

    weights: float
    gradients: float
    adam: float

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.adam


def state_of(model: ModelConfig, precision: Precision, sharding: Sharding = 0, devices: int = 1) -> StateBytes:
    """Weights, gradients and Adam's numbers on one of so many devices (Rajbhandari et al. 2020, ZeRO, figure 1).

    Stage 1 divides Adam's numbers among them, 2 the gradients too, 3 the weights too; 0 divides nothing.
    """
    widths, count = WIDTHS[precision], params(model)
    weights, gradients, adam = (
        count * width / (devices if sharding >= stage else 1)
        for width, stage in ((widths.weights, 3), (widths.gradients, 2), (widths.moments + widths.master, 1))
    )
    return StateBytes(weights, gradients, adam)


def kept_bytes(
    model: ModelConfig, precision: Precision, attention: Attention = "fused", recompute: bool = False
) -> int:
    """Bytes that the backward pass needs of one full sequence.

    With `recompute` only what enters each layer is kept, and one layer at a time is computed again (Chen et al. 2016).
    """
    layer = layer_bytes(model, precision, attention)
    widths = WIDTHS[precision]
    layers = layer + model.layer * widths.between * model.emb if recompute else model.layer * layer
    ends = widths.within * model.emb  # what the head multiplies
    ends += (model.norm_embeddings + model.norm_head) * (widths.between * model.emb + widths.rows)
    ends += widths.rows * model.vocabulary + 2 * _ID  # the logarithms of the probabilities; the token and the next
    return model.ctx * (layers + ends)


def layer_bytes(model: ModelConfig, precision: Precision, attention: Attention = "fused") -> int:
    """Bytes that one layer keeps of each token.

    Between: what enters attention and what enters the MLP. Within: what the two norms give, query, key, value, the
    answer of the heads, and the MLP after ReLU. Of attention: a logarithm for each head, or all its probabilities.
    """
    widths = WIDTHS[precision]
    scores = model.head * (widths.rows if attention == "fused" else model.ctx * widths.within)
    return (2 * widths.between + (6 + model.ff) * widths.within) * model.emb + 2 * widths.rows + scores


def passing_bytes(model: ModelConfig, precision: Precision) -> int:
    """Bytes of one full sequence that come and go while the loss is computed: the logits and their gradient."""
    widths = WIDTHS[precision]
    return model.ctx * model.vocabulary * (widths.within + widths.rows)


def tensor_count(model: ModelConfig) -> int:
    """How many matrices the ledger has: each has a gradient, two moments and, in bf16, a master copy."""
    return 3 + 6 * model.layer
