"""The engine `atomic`: symmetry.py and variations.py, the definition of the model, behind the contract of engines.

Every number is an atom that knows its history. That is slow, and it is the reference for every other engine.
"""

import copy
import math
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt.collector import gc_disabled
from microgpt.engines.contract import (
    Batch,
    Drawing,
    EngineConfig,
    Evaluating,
    Prompts,
    Runner,
    Tokens,
    Written,
    checked,
    checked_batch,
    checked_prefix,
    checked_writing,
    predictions,
    reusable,
)
from microgpt.engines.drawing import one_by_one
from microgpt.model.ledger import ledger
from microgpt.model.settings import ARCHITECTURE, ModelConfig
from microgpt.model.state import State
from microgpt.symmetry import GPT, TAPE, Matrix, Past, Val, adam, backward, log_softmax, softmax
from microgpt.variations import Varied, decay, varied

NOT_FINITE = (ArithmeticError, ValueError)  # how Python's math refuses what numpy would call inf or nan
_LOCK = threading.Lock()  # the tape is one per process


@contextmanager
def _tape() -> Iterator[None]:
    """The tape, for one thread alone."""
    with _LOCK, gc_disabled():
        try:
            yield
        finally:
            TAPE.clear()


def _gpt(model: ModelConfig, numbers: Sequence[Any]) -> GPT:
    """The model on a flat vector of numbers of any kind."""
    known = {field.name for field in fields(Varied)}
    sizes = {name: getattr(model, name) for name in ARCHITECTURE if name in known}
    weights: dict[str, Matrix] = {}
    for entry in ledger(model):
        starts = range(entry.offset, entry.offset + entry.size, entry.columns)
        weights[entry.name] = [list(numbers[start : start + entry.columns]) for start in starts]
    return varied(Varied(**sizes), weights)


@dataclass(frozen=True)
class _Moment:
    """A state in Python's floats. A new one replaces the old in a single assignment: a step is whole or not done."""

    weights: list[float]
    m: list[float]
    v: list[float]
    step: int

    @property
    def finite(self) -> bool:
        return all(all(map(math.isfinite, part)) for part in (self.weights, self.m, self.v))


class AtomicRunner(Evaluating):
    """A state whose weights are atoms."""

    def __init__(self, config: EngineConfig, state: State) -> None:
        self._config, self._model = config, state.model
        weights, m, v = np.stack([state.weights, state.adam_m, state.adam_v]).astype(np.float64).tolist()
        self._now = _Moment(weights, m, v, state.step)
        self._atoms = [Val(weight) for weight in self._now.weights]
        self._gpt = _gpt(self._model, self._atoms)
        self._cache = _Cache(self._model, self._now.weights)

    def advance(self, batches: Sequence[Batch], learning_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        losses: list[float] = []
        sound = [checked_batch(self._model, batch) for batch in batches]
        with _tape():
            for batch, lr in zip(sound, learning_rates.tolist(), strict=True):
                try:
                    loss = self._backward(batch)
                    after = self._updated(lr)
                except NOT_FINITE:
                    break
                if not (math.isfinite(loss) and after.finite):
                    break
                self._now = after
                losses.append(loss)
        return np.array(losses, np.float64)

    def state(self) -> State:
        weights, m, v = np.array([self._now.weights, self._now.m, self._now.v])
        return State(self._model, weights, m, v, self._now.step)

    def gradient(self, batch: Batch) -> tuple[float, NDArray[Any]]:
        checked_batch(self._model, batch)
        with _tape():
            try:
                return self._backward(batch), np.array([atom.grad for atom in self._atoms])
            except NOT_FINITE:
                return math.nan, np.full(len(self._atoms), math.nan)

    def losses(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        floating = _gpt(self._model, self._now.weights)
        counts = [predictions(self._model, checked(self._model, tokens)) for tokens in sequences]
        each = [_losses(floating, tokens.tolist(), n) for tokens, n in zip(sequences, counts, strict=True)]
        return np.array(list(chain.from_iterable(each)), np.float64)

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        tokens = checked_prefix(self._model, prefix)
        if self._cache.weights is not self._now.weights:
            self._cache = _Cache(self._model, self._now.weights)
        return np.array(self._cache.probabilities(tokens), np.float64)

    def write(
        self,
        prompts: Prompts,
        uniforms: NDArray[np.float64],
        drawing: Drawing,
        sizes: NDArray[np.int64] | None = None,
    ) -> Iterator[Written]:
        each, uniforms = checked_writing(self._model, prompts, uniforms, drawing, sizes)
        for prompt, numbers in zip(prompts, uniforms.tolist(), strict=True):
            tokens = [*one_by_one(self.next, self._model.ctx, prompt, numbers, drawing, each, len(numbers))]
            yield Written(np.array([tokens], np.int32), np.array([len(tokens)]))

    def reader(self) -> "AtomicRunner":
        other = copy.copy(self)
        other._cache = _Cache(self._model, self._now.weights)
        return other

    def _backward(self, batch: Batch) -> float:
        """The batch's loss; leaves its gradient in the atoms, which begin at the state whatever they held before."""
        for atom, weight in zip(self._atoms, self._now.weights, strict=True):
            atom.data, atom.grad = weight, 0.0
        TAPE.clear()
        return sum(self._backward_document(tokens, len(batch)) for tokens in batch)

    def _backward_document(self, tokens: Tokens, documents: int) -> float:
        """One document's part of the loss. Only its operations are on the tape; weights add up partial gradients."""
        loss = self._gpt.loss(tokens.tolist()) / documents
        backward(loss)
        return float(loss)

    def _updated(self, lr: float) -> _Moment:
        """The state after Adam has moved the atoms."""
        m, v, now = self._now.m.copy(), self._now.v.copy(), self._now
        decay(self._atoms, lr, self._config.weight_decay)
        adam(self._atoms, m, v, now.step, lr, self._config.beta1, self._config.beta2)
        return _Moment([atom.data for atom in self._atoms], m, v, now.step + 1)


def _losses(floating: GPT, tokens: list[int], count: int) -> list[float]:
    past: Past = {}
    try:
        return [-log_softmax(floating.logits(tokens[t], t, past))[tokens[t + 1]] for t in range(count)]
    except NOT_FINITE:
        return [math.nan] * count


class _Cache:
    """Keys and values of the tokens read so far, for weights that stay as they are."""

    def __init__(self, model: ModelConfig, weights: list[float]) -> None:
        self.weights = weights
        self._vocabulary = model.vocabulary
        self._floating = _gpt(model, weights)
        self._tokens: list[int] = []
        self._past: Past = {}

    def probabilities(self, prefix: list[int]) -> list[float]:
        kept = reusable(self._tokens, prefix)
        del self._tokens[kept:]
        for pairs in self._past.values():
            del pairs[kept:]
        logits: list[float] = []
        try:
            for position, token in enumerate(prefix[kept:], kept):
                logits = self._floating.logits(token, position, self._past)
                self._tokens.append(token)
            return softmax(logits)
        except NOT_FINITE:
            return [math.nan] * self._vocabulary


class AtomicEngine:
    """Scalars with a tape; float64, one thread."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config

    def ready(self, model: ModelConfig) -> None:
        """There is nothing to prepare."""

    def open(self, state: State) -> Runner:
        return AtomicRunner(self.config, state)
