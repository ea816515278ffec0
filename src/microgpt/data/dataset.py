"""The sequences of every training step, as a pure function of the step, and those of the evaluation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from microgpt.data.corpus import Corpus
from microgpt.data.reading import Text
from microgpt.data.scattering import ROUNDS, scattered
from microgpt.data.slices import Positions, Tokens, Views, count, joined
from microgpt.data.split import Split
from microgpt.errors import UsageError

ORDER_STREAM: Final = 1
LISTED: Final = 1 << 16  # slices that are kept as a list; more are made when they are asked for
DRAWN: Final = 1 << 22  # documents whose order is drawn as an array; the order of more is computed place by place

Order = Literal["shuffled", "fixed"] | Sequence[int]


def prepare(
    text: Text,
    *,
    ctx: int,
    kind: str = "auto",
    holdout: float = 0.1,
    split_seed: int = 0,
    seed: int = 42,
    order: Order = "shuffled",
) -> "Dataset":
    """Text to dataset in one call; a sweep makes the Corpus and the Split once and many a Dataset from them.

    Raises what Corpus.of, Split.of and Dataset.of raise.
    """
    return Dataset.of(Split.of(Corpus.of(text, kind), holdout, split_seed), ctx=ctx, seed=seed, order=order)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A split seen through ctx, in an endless order of documents (for windows: of windows).

    Step s with batch b takes places s·b … s·b + b - 1 of that order; each epoch is a pass over all documents.
    Sequences are read-only views of `tokens`, in 8, 16 or 32 bits. For lines and paragraphs a sequence is BOS,
    document, BOS, and the engine crops it to ctx predictions. For windows it is ctx + 1 tokens, neighbours sharing
    one. `fixed` is the order of every epoch, shape (documents,), or None where each epoch is shuffled anew.
    """

    split: Split
    ctx: int
    seed: int
    fixed: NDArray[np.intp] | None

    @staticmethod
    def of(split: Split, *, ctx: int, seed: int = 42, order: Order = "shuffled") -> "Dataset":
        """`order`: "shuffled", "fixed" (file order), or a permutation of all the corpus's documents.

        From a permutation those held out are left out. Raises UsageError for ctx < 1, seed < 0, or an order that is
        no permutation or that windows can't have.
        """
        if ctx < 1:
            raise UsageError(f"--ctx: expected at least 1, found {ctx}; 16 suits names")
        if seed < 0:
            raise UsageError(f"--seed: expected 0 or more, found {seed}; choose another")
        return Dataset(split, ctx, seed, _fixed(split, ctx, order))

    @property
    def tokens(self) -> Tokens:
        """The flat array that every sequence is a slice of."""
        return self.split.corpus.tokens

    @cached_property
    def documents(self) -> int:
        """Training documents in an epoch, copies counted; for windows: windows."""
        return _size(self.split, self.ctx)

    def sequences(self, step: int, batch: int) -> list[Tokens]:
        """The sequences of a training step, counted from 0: `batch` of them, of any length from 2."""
        return self._views(*self.spans(step, 1, batch))

    def sequences_of(self, first_step: int, steps: int, batch: int) -> list[list[Tokens]]:
        """The sequences of many steps at once: for each step, `batch` of them."""
        views = self._views(*self.spans(first_step, steps, batch))
        return [views[first : first + batch] for first in range(0, len(views), batch)]

    def spans(self, first_step: int, steps: int, batch: int) -> tuple[Positions, Positions]:
        """Starts and stops in `tokens` of the same sequences, shapes (steps · batch,): no object for each."""
        first, last, size = first_step * batch, (first_step + steps) * batch, self.documents
        epochs = range(first // size, -(-last // size))
        pairs = [self._epoch(epoch, max(first - epoch * size, 0), min(last - epoch * size, size)) for epoch in epochs]
        starts, stops = zip(*pairs, strict=True) if pairs else ([np.empty(0, np.intp)], [np.empty(0, np.intp)])
        return np.concatenate(starts), np.concatenate(stops)

    def held_out(self) -> Sequence[Tokens]:
        """The sequences of the evaluation, in file order.

        Windows are the same for every order, and predict each held-out token but the first once; the last may be
        short. Documents are not cropped here.
        """
        starts, stops = self._held_out_spans()
        return self._views(starts, stops) if len(starts) <= LISTED else Views(self.tokens, starts, stops)

    def predictions(self, first_step: int, steps: int, batch: int) -> int:
        """How many tokens these steps predict, after cropping to ctx."""
        if self.split.is_running and self.documents > 1:
            return steps * batch * self.ctx  # every phase leaves room for whole windows
        starts, stops = self.spans(first_step, steps, batch)
        return int(np.minimum(stops - starts - 1, self.ctx).sum(dtype=np.int64))

    def contains(self, text: str) -> bool:
        """Whether a sampled text stands in the training part, word for word (see Split.contains)."""
        return self.split.contains(text, self.ctx)

    @property
    def vocabulary(self) -> int:
        return self.split.corpus.tokenizer.vocabulary

    @cached_property
    def tokens_in_epoch(self) -> int:
        """Predictions in an epoch, after cropping to ctx."""
        return self.predictions(0, 1, self.documents)

    @cached_property
    def cropped_documents(self) -> int:
        """Training documents with more than ctx predictions (a document of k characters has k + 1)."""
        return int((self._lost(self.split.training.stops - self.split.training.starts) > 0).sum())

    @cached_property
    def cropped_tokens(self) -> int:
        """Predictions of the training part that cropping loses in an epoch; none for windows."""
        return int(self._lost(self.split.training.stops - self.split.training.starts).sum(dtype=np.int64))

    @cached_property
    def holdout_documents(self) -> int:
        """How many sequences `held_out` has."""
        return len(self._held_out_spans()[0])

    @property
    def holdout_unseen_characters(self) -> int:
        """Distinct characters that only the held-out part has."""
        return self.split.unseen_characters

    @property
    def held_out_in_training(self) -> int:
        """Held-out lines that stand in the training part too (see Split.held_out_in_training)."""
        return self.split.held_out_in_training

    @cached_property
    def characters(self) -> float:
        """Characters per token of the training part: what turns its losses per token into those per character."""
        return self._characters_per_token(self.split.training_counts)

    @cached_property
    def characters_measured(self) -> float:
        """The same of what `unigram` is measured on."""
        return self._characters_per_token(self._measured)

    @cached_property
    def unigram(self) -> float:
        """Loss, in nats per character, of predicting tokens by frequency alone, on the cropped held-out predictions.

        The frequencies are those of the predicted tokens of the whole training part, BOS among them; a token never
        seen there counts as seen once. Where nothing is held out it is the loss on the training part itself.
        """
        seen = np.maximum(self.split.training_counts, 1)
        met = self._measured
        return float(met @ (np.log(seen.sum()) - np.log(seen)) / met.sum()) / self.characters_measured

    @property
    def uniform(self) -> float:
        """Loss, in nats per character, of knowing nothing: the logarithm of the vocabulary for each token."""
        return math.log(self.vocabulary) / self.characters_measured

    @cached_property
    def _measured(self) -> NDArray[np.int64]:
        return self._held_out_counts() if self.holdout_documents else self.split.training_counts

    def _characters_per_token(self, counts: NDArray[np.int64]) -> float:
        return float(max(1, counts @ self.split.corpus.tokenizer.lengths) / max(1, counts.sum()))

    def _views(self, starts: Positions, stops: Positions) -> list[Tokens]:
        tokens = self.tokens
        return [tokens[start:stop] for start, stop in zip(starts.tolist(), stops.tolist(), strict=True)]

    def _epoch(self, epoch: int, first: int, last: int) -> tuple[Positions, Positions]:
        """Starts and stops of places first … last - 1 of an epoch."""
        training = self.split.training
        if not self.split.is_running:
            chosen = self._order(epoch, 1, first, last)[1]
            return training.starts[chosen], training.stops[chosen]
        # Every phase below this leaves room for all the windows of an epoch.
        room = max(1, min(self.ctx, int(training.stops[0]) - self.documents * self.ctx))
        phase, places = self._order(epoch, room, first, last)
        starts = phase + places * self.ctx
        return starts, np.minimum(starts + self.ctx + 1, training.stops[0])

    def _order(self, epoch: int, room: int, first: int, last: int) -> tuple[int, NDArray[np.signedinteger[Any]]]:
        """The phase of an epoch, and which documents stand at places first … last - 1 of it."""
        if self.fixed is not None:
            return 0, self.fixed[first:last]
        if self.documents <= DRAWN:
            phase, order = _shuffled(self.seed, epoch, room, self.documents)
            return phase, order[first:last]
        generator = _generator(self.seed, epoch)
        phase, keys = int(generator.integers(room)), generator.integers(1 << 64, size=ROUNDS, dtype=np.uint64)
        return phase, scattered(np.arange(first, last), self.documents, keys)

    def _held_out_spans(self) -> tuple[Positions, Positions]:
        part = self.split.held_out
        if not self.split.is_running or not len(part):
            return part.starts, part.stops
        starts = np.arange(part.starts[0], part.stops[0] - 1, self.ctx)
        return starts, np.minimum(starts + self.ctx + 1, part.stops[0])

    def _held_out_counts(self) -> NDArray[np.int64]:
        if self.split.is_running:  # all but the first are predicted once
            counts = self.split.counts(self.split.held_out)
            counts[self.tokens[self.split.held_out.starts[0]]] -= 1
            return counts
        starts, stops = self._held_out_spans()
        return count(joined(self.tokens, starts + 1, np.minimum(stops, starts + 1 + self.ctx)), self.vocabulary)

    def _lost(self, lengths: NDArray[np.integer[Any]]) -> NDArray[np.integer[Any]]:
        return np.zeros_like(lengths) if self.split.is_running else np.maximum(lengths - 1 - self.ctx, 0)


def _generator(seed: int, epoch: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, ORDER_STREAM, epoch])))


@lru_cache(maxsize=2)
def _shuffled(seed: int, epoch: int, room: int, size: int) -> tuple[int, NDArray[np.intp]]:
    """A phase in [0, room) and a permutation of `size`: a pure function, remembered for calls within an epoch."""
    generator = _generator(seed, epoch)
    phase = int(generator.integers(room))
    order = generator.permutation(size)
    order.flags.writeable = False
    return phase, order


def _size(split: Split, ctx: int) -> int:
    """Documents in an epoch; of windows as many as fit from every phase in [0, ctx), and at least one."""
    return max(1, int(split.training.stops[0]) // ctx - 1) if split.is_running else len(split.training)


def _fixed(split: Split, ctx: int, order: Order) -> NDArray[np.intp] | None:
    """The order of every epoch as places among the training documents, or None where it is drawn."""
    if isinstance(order, str):
        if order not in ("shuffled", "fixed"):
            raise UsageError(f"order: expected shuffled, fixed or a permutation, found {order!r}; choose one")
        return np.arange(_size(split, ctx)) if order == "fixed" else None
    wanted = np.asarray(order, dtype=np.intp)
    total = split.corpus.documents
    if split.is_running or not np.array_equal(np.sort(wanted), np.arange(total)):
        raise UsageError(
            f"order: expected a permutation of the {total} documents (windows have none), found {len(wanted)} numbers "
            "that are not; use shuffled or fixed"
        )
    place = np.full(total, -1, dtype=np.intp)
    place[split.indices] = np.arange(len(split.indices))
    return place[wanted][place[wanted] >= 0]
