"""The flat vector of the ledger as matrices by name. Weights and gradients have the same form."""

from typing import Any, NamedTuple

from numpy.typing import NDArray

from microgpt.model.ledger import ledger, tensors
from microgpt.model.settings import ModelConfig

Array = NDArray[Any]


class LayerMatrices(NamedTuple):
    """One block of attention and MLP."""

    qkv: Array  # (3 emb, emb) attn_wq, attn_wk and attn_wv, neighbours in the ledger: one matrix product for the three
    wo: Array  # (emb, emb)
    fc1: Array  # (wide, emb)
    fc2: Array  # (emb, wide)


class Matrices(NamedTuple):
    """All of the model, as views: writing to one writes to the flat vector."""

    wte: Array  # (V, emb)
    wpe: Array  # (ctx, emb)
    lm_head: Array  # (V, emb)
    layers: tuple[LayerMatrices, ...]


def matrices(model: ModelConfig, flat: Array) -> Matrices:
    """Views of a flat vector (params,)."""
    named = tensors(model, flat)
    spans = {entry.name: entry.span for entry in ledger(model)}
    layers = []
    for layer in (f"layer{i}." for i in range(model.layer)):
        first, last = spans[layer + "attn_wq"], spans[layer + "attn_wv"]
        qkv = flat[first.start : last.stop].reshape(3 * model.emb, model.emb)
        layers.append(LayerMatrices(qkv, *(named[layer + part] for part in ("attn_wo", "mlp_fc1", "mlp_fc2"))))
    return Matrices(named["wte"], named["wpe"], named["lm_head"], tuple(layers))
