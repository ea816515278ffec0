"""The contract of engines: how a state is opened, advanced, measured and read back.

An engine sees the model's configuration, a precision, a number of threads, Adam's betas and weight decay; never a
recipe's name, a file or a flag. Weights cross this border only as the flat vector of the ledger.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt import variations
from microgpt.errors import UsageError
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import State

Tokens = NDArray[np.integer[Any]]  # (m,) token ids; they give min(m - 1, ctx) predictions
Batch = Sequence[Tokens]  # the sequences of one step

EPSILON_ADAM = 1e-8
EPSILON_NORM = 1e-5
ROTARY_BASE = variations.ROTARY_BASE


@dataclass(frozen=True)
class EngineConfig:
    """What an engine needs besides the state: precision, threads, Adam's betas and weight decay, and the device that
    it computes on."""

    precision: Precision = "64"
    threads: int = 1
    beta1: float = 0.85
    beta2: float = 0.99
    weight_decay: float = 0.0
    device: str = "cpu"


class Evaluating(Protocol):
    """What tells the loss of each prediction, and so of each sequence."""

    _model: ModelConfig

    def losses(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        """-log p of each prediction in nats, those of one sequence after those of another, (predictions,)."""
        ...

    def evaluate(self, sequences: Sequence[Tokens]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """For each sequence, the summed -log p(next token) in nats and the number of predictions, both (n,)."""
        counts = np.array([predictions(self._model, tokens) for tokens in sequences], np.int64)
        losses = self.losses(sequences)
        with np.errstate(all="ignore"):  # what is not finite is told by whoever looks at it
            return np.add.reduceat(losses, np.cumsum(counts) - counts) if len(counts) else np.zeros(0), counts


class Runner(Evaluating, Protocol):
    """A state that an engine has opened. Native layouts live in here and never leave."""

    def advance(self, batches: Sequence[Batch], learning_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take one Adam step for each batch; return the losses (steps done,), each the mean over its documents of the
        document's mean over its predictions, before the update.

        It stops before an update whose loss or result is not finite, so fewer losses than batches mean divergence.
        Results do not depend on how steps are divided into calls.
        """
        ...

    def state(self) -> State:
        """The state now, a copy, in the ledger's layout."""
        ...

    def gradient(self, batch: Batch) -> tuple[float, NDArray[Any]]:
        """The loss of a batch and its flat gradient (params,). Nothing changes."""
        ...

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        """Probabilities (vocabulary,) of the token after a prefix of 1 to ctx tokens. A key/value cache makes it cheap
        to ask for a prefix that extends the last one."""
        ...

    def reader(self) -> "Runner":
        """Another runner on the same weights, for another thread: both may `evaluate` and ask for the `next` token at
        once, and neither advances any more. It costs a key/value cache, not a copy of the state."""
        ...


class Engine(Protocol):
    """One rung of the ladder; its facts stand in its entry of the registry."""

    def ready(self, model: ModelConfig) -> None:
        """Do now what opening a state of this model would do first, such as compiling. Raises `EnvironmentFault`."""
        ...

    def open(self, state: State) -> Runner:
        """Take a copy of the state, from which `advance` goes on."""
        ...


def checked(model: ModelConfig, tokens: Tokens) -> Tokens:
    """The tokens, or `UsageError` where they are not ids of the vocabulary or too few to predict anything."""
    if len(tokens) < 2:
        raise UsageError(f"A sequence needs 2 tokens or more to predict anything, found {len(tokens)}.")
    _check_ids(model, tokens)
    return tokens


def checked_batch(model: ModelConfig, batch: Batch) -> Batch:
    """The batch, or `UsageError` where it is empty or one of its sequences can't be."""
    if not len(batch):
        raise UsageError("A step needs one document or more, found none.")
    return [checked(model, tokens) for tokens in batch]


def checked_prefix(model: ModelConfig, prefix: Sequence[int]) -> list[int]:
    """The prefix as a list, or `UsageError` where it is empty, longer than ctx, or holds what is no token id."""
    if not 1 <= len(prefix) <= model.ctx:
        raise UsageError(f"A prefix has 1 to {model.ctx} tokens (ctx), found {len(prefix)}.")
    tokens = np.asarray(prefix)
    _check_ids(model, tokens)
    return [int(token) for token in tokens]


def _check_ids(model: ModelConfig, tokens: Tokens) -> None:
    low, high = int(tokens.min()), int(tokens.max())
    if low < 0 or high >= model.vocabulary:
        raise UsageError(f"Token ids must lie in 0 … {model.vocabulary - 1}, found {low if low < 0 else high}.")


def reusable(known: Sequence[int], prefix: Sequence[int]) -> int:
    """How many tokens of a key/value cache still serve a prefix: those they share, but never the prefix's last one,
    whose logits are asked for."""
    pairs = zip(known, prefix[:-1], strict=False)
    return next((i for i, (old, new) in enumerate(pairs) if old != new), min(len(known), len(prefix) - 1))


def predictions(model: ModelConfig, tokens: Tokens) -> int:
    """How many predictions a sequence gives."""
    return min(len(tokens) - 1, model.ctx)
