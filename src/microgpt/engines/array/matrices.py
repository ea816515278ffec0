"""The flat vector of the ledger as matrices by name. Weights and gradients have the same form, as arrays or tensors."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple, TypeVar

from numpy.typing import NDArray

from microgpt.model.ledger import ledger
from microgpt.model.settings import ModelConfig

Array = NDArray[Any]
Matrix = TypeVar("Matrix")


class LayerMatrices(NamedTuple, Generic[Matrix]):
    """One block of attention and MLP."""

    qkv: Matrix  # (3 emb, emb) attn_wq, attn_wk and attn_wv, neighbours in the ledger: one matrix product for the three
    wo: Matrix  # (emb, emb)
    fc1: Matrix  # (wide, emb)
    fc2: Matrix  # (emb, wide)


class Matrices(NamedTuple, Generic[Matrix]):
    """All of the model."""

    wte: Matrix  # (V, emb)
    wpe: Matrix | None  # (ctx, emb), where positions are learned
    lm_head: Matrix  # (V, emb); wte itself, where they are tied
    layers: tuple[LayerMatrices[Matrix], ...]


def cut(model: ModelConfig, matrix: Callable[[slice, int], Matrix]) -> Matrices[Matrix]:
    """The matrices of a flat vector (params,), each made of its span and its number of columns."""
    entries = {entry.name: entry for entry in ledger(model)}

    def made(first: str, last: str = "") -> Matrix:
        span = slice(entries[first].span.start, entries[last or first].span.stop)
        return matrix(span, entries[first].columns)

    def layer(name: str) -> LayerMatrices[Matrix]:
        qkv = made(f"{name}.attn_wq", f"{name}.attn_wv")
        return LayerMatrices(qkv, *(made(f"{name}.{rest}") for rest in ("attn_wo", "mlp_fc1", "mlp_fc2")))

    layers = tuple(layer(f"layer{i}") for i in range(model.layer))
    wte = made("wte")
    wpe = made("wpe") if "wpe" in entries else None
    return Matrices(wte, wpe, wte if model.tied else made("lm_head"), layers)


def matrices(model: ModelConfig, flat: Array) -> Matrices[Array]:
    """Views of a flat vector (params,): writing to one writes to the vector."""
    return cut(model, lambda span, columns: flat[span].reshape(-1, columns))
