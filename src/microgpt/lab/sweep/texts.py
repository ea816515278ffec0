"""Texts that are read once and kept: what all runs of a process on one text share."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import STANDARD_INPUT, Normalization
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.reading import read
from microgpt.data.retokenize import retokenized, vocabulary_of
from microgpt.data.slices import Tokens
from microgpt.data.split import Split
from microgpt.errors import DataError, UsageError
from microgpt.lab.sweep.spec import Spec, spec_of
from microgpt.training.computing import settled
from microgpt.training.evaluate import characters_of
from microgpt.training.prepare import check_memory
from microgpt.training.request import Request, having

AFTER_READING = ("tokens", "holdout", "split_seed", "order", "golden")  # settings of a text that are for its use

Kept = TypeVar("Kept")


@dataclass(frozen=True, eq=False)
class Shared:
    """What all runs on one split with one ctx share: the held-out sequences, and what knowing little would score."""

    split: Split
    held_out: Sequence[Tokens]
    characters: NDArray[np.int64]  # that each held-out sequence predicts
    unigram: float
    uniform: float
    unique_tokens: int  # predictions of one epoch

    @staticmethod
    def of(split: Split, ctx: int) -> "Shared":
        dataset = Dataset.of(split, ctx=ctx, order="fixed" if not split.is_running else "shuffled")
        held_out = dataset.held_out()
        characters = characters_of(held_out, split.corpus.tokenizer, ctx)
        return Shared(split, held_out, characters, dataset.unigram, dataset.uniform, dataset.tokens_in_epoch)


class Texts:
    """The texts, splits and held-out sequences that a process has met."""

    def __init__(self) -> None:
        self._corpora: dict[tuple[object, ...], Corpus] = {}
        self._splits: dict[tuple[object, ...], Split] = {}
        self._shared: dict[tuple[object, ...], Shared] = {}

    def spec(self, request: Request) -> Spec:
        """The specification of a request.

        Raises `DataError` where its text can't be read; `UsageError` for `-`, or sizes beyond this machine's memory.
        """
        corpus = self._corpus(request)
        check_memory(request, request.settings.model(vocabulary_of(request.tokens, corpus.tokenizer)))
        return spec_of(settled(request), corpus.sha256, corpus.kind)

    def shared(self, spec: Spec) -> Shared:
        """What the run shares with others. Raises `DataError` where the text is no longer the one that was planned."""
        asked = (*reading(spec.asked), spec.asked.holdout, spec.asked.split_seed, spec.asked.tokens)
        if asked not in self._splits:
            split = Split.of(self.corpus(spec), spec.asked.holdout, spec.asked.split_seed)
            self._splits[asked] = retokenized(split, spec.asked.tokens)
        key = (*asked, spec.settings.ctx)
        if key not in self._shared:
            self._shared[key] = Shared.of(self._splits[asked], spec.settings.ctx)
        return self._shared[key]

    def corpus(self, spec: Spec) -> Corpus:
        """The text of a run, in characters. Raises `DataError` where it is no longer the one that was planned."""
        corpus = self._corpus(spec.asked)
        if corpus.sha256 != spec.data_sha256:
            raise DataError(
                f"{', '.join(spec.asked.data)}: expected the text of the plan (SHA-256 {spec.data_sha256[:12]}…), "
                f"found another ({corpus.sha256[:12]}…); start the sweep again."
            )
        return corpus

    def give(self, spec: Spec, corpus: Corpus) -> None:
        """Take the text of a run from who has read it, so that it need not be read here."""
        self._corpora[reading(spec.asked)] = corpus

    def _corpus(self, asked: Request) -> Corpus:
        if STANDARD_INPUT in asked.data:
            raise UsageError("A sweep reads its text many times, so it can't take --data -; save the text in a file.")
        key = reading(asked)
        if key not in self._corpora:
            normalize: Normalization = asked.normalize  # type: ignore[assignment]  # validated by Request
            text = read(asked.data, encoding=asked.encoding, normalize=normalize)
            self._corpora[key] = Corpus.of(text, asked.documents)
        return self._corpora[key]


def reading(asked: Request) -> tuple[object, ...]:
    """Which text is meant, and how it is read: runs that agree on it share a text."""
    return tuple(getattr(asked, name) for name in having("group", "text") if name not in AFTER_READING)
