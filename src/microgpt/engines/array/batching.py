"""Documents of unequal length as padded batches of similar ones.

Shapes: B documents, T positions of the longest.

Neighbours by length share a padded batch of at most `AT_ONCE` predictions: little padding, few passes, and numbers that
stay in the processor's cache. On names this beats one padded batch for all, and also one for each length, except in
single cases by little (bench/array_engine.py; docs/MATHEMATICS.md has the figures).

A short document is padded at its end. The causal mask keeps the padding from every real token; and its loss weight is
zero, so no gradient comes from it. It repeats the document's own first token: a row of wte that nobody uses may hold
anything, even what is not finite.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.array.matrices import Array
from microgpt.engines.contract import Tokens, predictions
from microgpt.model.settings import ModelConfig

AT_ONCE = 256  # predictions in a padded batch


class PaddedBatch(NamedTuple):
    """What a forward and a backward pass work on."""

    inputs: NDArray[np.int64]  # (B, T)
    targets: NDArray[np.int64]  # (B, T)
    loss_weights: Array  # (B, T) of each prediction: 1 / (documents · predictions of the document), or 0


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


def padded(model: ModelConfig, documents: Sequence[Tokens], dtype: np.dtype[Any], batch: int) -> PaddedBatch:
    """Documents as rows, as the whole or a part of a batch of so many."""
    if len(documents) == 1:
        return _single(documents[0], predictions(model, documents[0]), dtype, batch)
    counts = [predictions(model, tokens) for tokens in documents]
    shape = len(documents), max(counts)
    inputs, targets = np.empty(shape, np.int64), np.empty(shape, np.int64)
    loss_weights = np.zeros(shape, dtype)
    for row, (tokens, count) in enumerate(zip(documents, counts, strict=True)):
        inputs[row], targets[row] = tokens[0], tokens[0]
        inputs[row, :count] = tokens[:count]
        targets[row, :count] = tokens[1 : count + 1]
        loss_weights[row, :count] = 1.0 / (batch * count)
    return PaddedBatch(inputs, targets, loss_weights)


def _single(tokens: Tokens, count: int, dtype: np.dtype[Any], batch: int) -> PaddedBatch:
    """One document needs no padding, only two views of its tokens."""
    whole = np.asarray(tokens[: count + 1], np.int64)
    return PaddedBatch(whole[None, :-1], whole[None, 1:], np.full((1, count), 1.0 / (batch * count), dtype))
