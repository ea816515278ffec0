"""The engine `array` behind the contract of engines."""

import copy
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.array.adam import Betas, adam
from microgpt.engines.array.backward import backward
from microgpt.engines.array.batching import padded, parts
from microgpt.engines.array.forward import Cache, ForwardPass, cross_entropy, forward, softmax
from microgpt.engines.array.matrices import Array, Matrices, matrices
from microgpt.engines.array.threads import Pinned, pinned
from microgpt.engines.contract import (
    Batch,
    Drawing,
    EngineConfig,
    Evaluating,
    Prompts,
    Tokens,
    Written,
    checked,
    checked_batch,
    checked_prefix,
    reusable,
)
from microgpt.engines.drawing import in_step, told
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State

DTYPES: dict[str, np.dtype[Any]] = {"32": np.dtype(np.float32), "64": np.dtype(np.float64)}


class Snapshot(NamedTuple):
    """A state in native form. A step writes the next snapshot into spare memory, and one assignment makes it the
    present one: a step is whole or not done, whatever interrupts it."""

    numbers: Array  # (3, params): weights, Adam's m, Adam's v
    weights: Matrices[Array]
    step: int


def snapshot(model: ModelConfig, numbers: Array, step: int) -> Snapshot:
    return Snapshot(numbers, matrices(model, numbers[0]), step)


class ArrayRunner(Evaluating):
    """A state as arrays."""

    def __init__(self, config: EngineConfig, state: State, pinned: Pinned) -> None:
        self._model, self._dtype = state.model, DTYPES[config.precision]
        self._betas = Betas(config.beta1, config.beta2, config.weight_decay)
        self._pinned = pinned
        self._cached: list[int] = []
        with np.errstate(over="ignore"):  # what is beyond float32 is infinite there, and no step is taken from it
            numbers = np.zeros((3, params(self._model)), self._dtype)
            for row, given in zip(numbers, (state.weights, state.adam_m, state.adam_v), strict=True):
                if given.any():  # what nobody writes takes no memory
                    row[:] = given
        spare = snapshot(self._model, np.empty_like(numbers), 0)
        now = snapshot(self._model, numbers, state.step)
        self._snapshots = now, spare
        self._gradient = np.zeros(params(self._model), self._dtype)
        self._partial = np.zeros_like(self._gradient)  # of one padded batch, where a batch needs several
        self._gradients, self._partials = matrices(self._model, self._gradient), matrices(self._model, self._partial)
        self._forget()

    def advance(self, batches: Sequence[Batch], learning_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        losses: list[float] = []
        self._cached = []
        sound = [checked_batch(self._model, batch) for batch in batches]
        with np.errstate(all="ignore"), self._pinned():
            for batch, lr in zip(sound, learning_rates.tolist(), strict=True):
                loss = self._backward(batch)
                after = self._updated(lr)
                if not (math.isfinite(loss) and np.isfinite(after.numbers).all()):
                    break
                self._snapshots = after, self._snapshots[0]
                losses.append(loss)
        return np.array(losses, np.float64)

    def state(self) -> State:
        numbers, _, step = self._snapshots[0]
        weights, adam_m, adam_v = numbers.copy()
        return State(self._model, weights, adam_m, adam_v, step)

    def gradient(self, batch: Batch) -> tuple[float, NDArray[Any]]:
        with np.errstate(all="ignore"), self._pinned():
            loss = self._backward(checked_batch(self._model, batch))
        return loss, self._gradient.copy()

    def losses(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        found: list[NDArray[np.float64]] = [np.empty(0)] * len(sequences)
        for tokens in sequences:
            checked(self._model, tokens)
        with np.errstate(all="ignore"), self._pinned():
            for part in parts(self._model, sequences):
                block = padded(self._model, [sequences[i] for i in part], self._dtype, len(part))
                logits = forward(self._model, self._snapshots[0].weights, block.inputs).logits
                losses, _ = cross_entropy(logits, block.targets)
                real = block.loss_weights > 0.0  # (B, T)
                for i, row, told in zip(part, losses.reshape(real.shape), real, strict=True):
                    found[i] = row[told].astype(np.float64)
        return np.concatenate([np.empty(0), *found])

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        tokens = checked_prefix(self._model, prefix)
        kept = reusable(self._cached, tokens)
        self._cached = tokens[:kept]
        with np.errstate(all="ignore"), self._pinned():
            logits = self._following(np.array([tokens[kept:]]), self._cache._replace(filled=kept))
            self._cached = tokens
            return softmax(logits[-1].astype(np.float64))

    def write(
        self,
        prompts: Prompts,
        uniforms: NDArray[np.float64],
        drawing: Drawing,
        sizes: NDArray[np.int64] | None = None,
    ) -> Iterator[Written]:
        with np.errstate(all="ignore"), self._pinned():
            found = in_step(self._model, _Steps(self), prompts, uniforms, drawing, sizes)
        return told(*found)

    def reader(self) -> "ArrayRunner":
        other = copy.copy(self)
        other._forget()
        return other

    def _forget(self) -> None:
        """A key/value cache of this runner's own, with nothing in it."""
        self._cache, self._cached = self._empty(1), []

    def _empty(self, documents: int) -> Cache:
        """A key/value cache for so many documents."""
        shape = self._model.layer, documents, self._model.head, self._model.ctx, self._model.head_size
        return Cache(np.empty(shape, self._dtype), np.empty(shape, self._dtype), 0)

    def _following(self, tokens: NDArray[np.int64], cache: Cache) -> Array:
        """The logits (B, V) after tokens (B, T) that follow the cached ones."""
        logits = forward(self._model, self._snapshots[0].weights, tokens, cache).logits  # (N, V)
        return logits.reshape(*tokens.shape, -1)[:, -1]

    def trace(self, tokens: Tokens) -> dict[str, Array]:
        """Every intermediate of one sequence's first ctx tokens by name, in the order in which it arises; losses are
        those of the tokens that have a next one."""
        inputs = np.array([checked_prefix(self._model, tokens[: self._model.ctx].tolist())])  # (1, T)
        targets = tokens[1 : self._model.ctx + 1]
        with np.errstate(all="ignore"), self._pinned():
            kept = forward(self._model, self._snapshots[0].weights, inputs)
            losses, _ = cross_entropy(kept.logits[: len(targets)], targets)
            probabilities = softmax(kept.logits)
        return {**dict(_named(kept)), "logits": kept.logits, "probabilities": probabilities, "losses": losses}

    def _backward(self, batch: Batch) -> float:
        """The loss of a batch; its gradient goes into the runner's gradient."""
        first, *others = parts(self._model, batch)
        loss = self._backward_part(batch, first, self._gradients)
        for part in others:
            loss += self._backward_part(batch, part, self._partials)
            self._gradient += self._partial
        return loss

    def _backward_part(self, batch: Batch, part: list[int], gradient: Matrices[Array]) -> float:
        """A part's share of the loss; its partial gradient goes into `gradient`."""
        weights = self._snapshots[0].weights
        block = padded(self._model, [batch[i] for i in part], self._dtype, len(batch))
        kept = forward(self._model, weights, block.inputs)
        losses, probabilities = cross_entropy(kept.logits, block.targets)
        backward(self._model, weights, gradient, block, kept, probabilities)
        return float(losses.dot(block.loss_weights.reshape(-1)))

    def _updated(self, lr: float) -> Snapshot:
        """The snapshot after Adam's step, in the spare memory."""
        now, spare = self._snapshots
        adam(now.numbers, spare.numbers, self._gradient, now.step, lr, self._betas)
        return spare._replace(step=now.step + 1)


class _Steps:
    """Documents that a runner writes at once."""

    def __init__(self, runner: ArrayRunner) -> None:
        self._runner = runner

    def begin(self, tokens: NDArray[np.int64]) -> Array:
        self._cache = self._runner._empty(len(tokens))
        return self._after(tokens)

    def step(self, tokens: NDArray[np.int64]) -> Array:
        return self._after(tokens[:, None])

    def keep(self, rows: NDArray[np.int64]) -> None:
        key, value, filled = self._cache
        self._cache = Cache(key[:, rows], value[:, rows], filled)

    def _after(self, tokens: NDArray[np.int64]) -> Array:
        logits = self._runner._following(tokens, self._cache)
        self._cache = self._cache._replace(filled=self._cache.filled + tokens.shape[1])
        return logits


def _named(kept: ForwardPass) -> Iterator[tuple[str, Array]]:
    yield "embedding", kept.embedding
    if kept.norm_embeddings:
        yield "norm_embeddings", kept.norm_embeddings.vectors
    for index, layer in enumerate(kept.layers):
        for name, value in layer._asdict().items():
            array = value.vectors if name.startswith("norm") else value
            yield f"layer{index}.{name}", array[0] if array.ndim == 4 else array  # (head, T, …) of the one document
    if kept.norm_head:
        yield "norm_head", kept.norm_head.vectors


class ArrayEngine:
    """NumPy with gradients derived by hand; float64 or float32."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._pinned = pinned(config.threads)

    def ready(self, model: ModelConfig) -> None:
        """There is nothing to prepare."""

    def open(self, state: State) -> ArrayRunner:
        return ArrayRunner(self.config, state, self._pinned)
