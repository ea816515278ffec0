"""The contract of engines: how a state is opened, advanced, measured and read back.

An engine sees the model's configuration, a precision, a number of threads, Adam's betas and weight decay; never a
recipe's name, a file or a flag. Weights cross this border only as the flat vector of the ledger.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt import variations
from microgpt.errors import DivergedError, UsageError
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import State

Tokens = NDArray[np.integer[Any]]  # (m,) token ids; they give min(m - 1, ctx) predictions
Batch = Sequence[Tokens]  # the sequences of one step

Prompts = Sequence[Sequence[int] | Tokens]  # what each document begins with, 1 to ctx tokens

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


@dataclass(frozen=True)
class Drawing:
    """How a token is drawn from the probabilities p of all.

    p becomes p^(1/temperature), and at temperature 0 the likeliest token is taken. Of what is left by `top_k`, so many
    most probable ones (0 is all), `top_p` leaves the fewest most probable ones that make up such a share (Holtzman et
    al. 2020, section 3.1; 1 is all), and `min_p` those that have such a share or more of the likeliest one's
    probability (Nguyen et al. 2025; 0 is all). Of equals the lower id comes first. The token drawn is the first that
    makes the sum of what is left, in the order of ids, larger than uniform * total.

    The token `end` ends a document, and so does a full ctx. Without one, text runs on: where ctx is full, the model
    goes on from the latter half of it, for moving by one token would move every position. Those `barred` are never
    drawn.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    end: int | None = None
    barred: tuple[int, ...] = ()


class Written(NamedTuple):
    """Documents: of each row the first `counts` tokens were drawn."""

    tokens: NDArray[np.int32]  # (n, room)
    counts: NDArray[np.int64]  # (n,)


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

    def write(
        self,
        prompts: Prompts,
        uniforms: NDArray[np.float64],
        drawing: Drawing,
        sizes: NDArray[np.int64] | None = None,
    ) -> Iterator[Written]:
        """Documents that go on from prompts, many at once, each drawn with its own row of uniforms (n, room), one a
        token. One ends where `drawing` says, or where the sizes of its tokens (vocabulary,), 1 each unless given, make
        up its room.

        They come in their order, in one part or several; where an exception interrupts it, as Ctrl-C does, those before
        the first that is not finished come first. A row's document is the same whatever it is written with: on `fused`
        to the bit, on others as far as products of other shapes round alike. Raises `DivergedError` where a logit is
        not finite, `UsageError` for a prompt that can't be.
        """
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


def checked_prefix(model: ModelConfig, prefix: Sequence[int] | Tokens) -> list[int]:
    """The prefix as a list, or `UsageError` where it is empty, longer than ctx, or holds what is no token id."""
    if not 1 <= len(prefix) <= model.ctx:
        raise UsageError(f"A prefix has 1 to {model.ctx} tokens (ctx), found {len(prefix)}.")
    tokens = np.asarray(prefix)
    _check_ids(model, tokens)
    return [int(token) for token in tokens]


def checked_writing(
    model: ModelConfig,
    prompts: Prompts,
    uniforms: NDArray[np.float64],
    drawing: Drawing,
    sizes: NDArray[np.int64] | None,
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """The sizes of tokens, 0 of those that are never drawn, and the uniforms as they lie in memory; or `UsageError` for
    a prompt that can't be."""
    for prompt in prompts if len({id(prompt) for prompt in prompts}) > 1 else prompts[:1]:
        checked_prefix(model, prompt)
    if uniforms.ndim != 2 or len(uniforms) != len(prompts):
        raise ValueError(f"expected a row of uniforms for each of {len(prompts)} prompts, found {uniforms.shape}")
    found = np.ones(model.vocabulary, np.int64) if sizes is None else np.array(sizes, np.int64)
    found[list(drawing.barred)] = 0
    return found, np.ascontiguousarray(uniforms, np.float64)


def refuse_logits() -> DivergedError:
    """What is said of logits that are not finite."""
    return DivergedError("expected finite probabilities, found others: the weights are too large; train it anew.")


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
