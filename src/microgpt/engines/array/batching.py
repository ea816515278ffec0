"""Documents of unequal length as rectangles of similar ones.

Shapes: B documents, T positions of the longest.

Neighbours by length share a rectangle of at most `AT_ONCE` predictions: little filling, few passes, and numbers that
stay in the processor's cache. On names this beats one rectangle for all, and also a rectangle for each length, except
in single cases by little (bench/array_engine.py; docs/MATHEMATICS.md has the figures).

A short document is filled up at its end. Attention looks only back, so nothing real ever sees the filling; and the
filling's share of the loss is zero, so no gradient comes from it. It repeats the document's own first token: a row of
wte that nobody uses may hold anything, even what is not finite.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.array.matrices import Array
from microgpt.engines.contract import Tokens, predictions
from microgpt.model.settings import ModelConfig

AT_ONCE = 256  # predictions in a rectangle


class Rectangle(NamedTuple):
    """What a forward and a backward pass work on."""

    inputs: NDArray[np.int64]  # (B, T)
    targets: NDArray[np.int64]  # (B, T)
    shares: Array  # (B, T) of each prediction in the loss: 1 / (documents · predictions of the document), or 0


def parts(model: ModelConfig, documents: Sequence[Tokens], at_once: int = AT_ONCE) -> list[list[int]]:
    """Indices of the documents that go together, the longest first: at most so many predictions, or one document."""
    if len(documents) == 1:
        return [[0]]
    counts = [predictions(model, tokens) for tokens in documents]
    order = sorted(range(len(counts)), key=lambda i: -counts[i])
    together, start = [], 0
    while start < len(order):
        stop = start + max(1, at_once // counts[order[start]])
        together.append(order[start:stop])
        start = stop
    return together


def rectangle(model: ModelConfig, documents: Sequence[Tokens], dtype: np.dtype[Any], batch: int) -> Rectangle:
    """Documents side by side, as the whole or a part of a batch of so many."""
    if len(documents) == 1:
        return _single(documents[0], predictions(model, documents[0]), dtype, batch)
    counts = [predictions(model, tokens) for tokens in documents]
    shape = len(documents), max(counts)
    inputs, targets = np.empty(shape, np.int64), np.empty(shape, np.int64)
    shares = np.zeros(shape, dtype)
    for row, (tokens, count) in enumerate(zip(documents, counts, strict=True)):
        inputs[row], targets[row] = tokens[0], tokens[0]
        inputs[row, :count] = tokens[:count]
        targets[row, :count] = tokens[1 : count + 1]
        shares[row, :count] = 1.0 / (batch * count)
    return Rectangle(inputs, targets, shares)


def _single(tokens: Tokens, count: int, dtype: np.dtype[Any], batch: int) -> Rectangle:
    """One document needs no filling, only two views of its tokens."""
    whole = np.asarray(tokens[: count + 1], np.int64)
    return Rectangle(whole[None, :-1], whole[None, 1:], np.full((1, count), 1.0 / (batch * count), dtype))
