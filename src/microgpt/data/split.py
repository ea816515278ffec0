"""What is trained on and what is held out. Independent of ctx and of the order of training."""

import math
import unicodedata
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.corpus import Corpus
from microgpt.data.documents import find_lines
from microgpt.data.slices import BLOCK, Positions, blocks, count, digests, joined, matching
from microgpt.errors import DataError, UsageError

SPLIT_STREAM: Final = 2
_LOOKED_UP: Final = 1 << 23  # tokens of a corpus at most whose documents are kept as texts, to look others up
_ROWS: Final = 4096  # documents that become texts at once
_TELLING: Final = 20  # characters: a shorter line stands on both sides by chance


@dataclass(frozen=True, eq=False)
class Part:
    """One side of a split: slices of the corpus's tokens, shapes (documents,), each with its BOS on both sides.

    For windows it is one slice, without BOS. A held-out part of nothing has no slices.
    """

    starts: Positions
    stops: Positions

    def __len__(self) -> int:
        return len(self.starts)


@dataclass(frozen=True, eq=False)
class Split:
    """A corpus in two parts; `indices` are the training documents' numbers in the corpus, shape (documents,).

    `characters` is the same split in characters, where its tokens are others (see retokenize).
    """

    corpus: Corpus
    holdout: float
    split_seed: int
    indices: NDArray[np.integer[Any]]
    training: Part
    held_out: Part
    characters: "Split | None" = None

    @staticmethod
    def of(corpus: Corpus, holdout: float, split_seed: int) -> "Split":
        """Holds out a share of the unique documents, or for windows the last share of the text.

        Every copy of a held-out document leaves the training part; the held-out part has one of each, in file order.
        Raises UsageError unless 0 <= holdout < 1 and split_seed >= 0, DataError where the text is too short for it.
        """
        if not 0 <= holdout < 1:
            raise UsageError(f"--holdout: expected a share from 0 to below 1, found {holdout}; 0.1 is usual")
        if split_seed < 0:
            raise UsageError(f"--split-seed: expected 0 or more, found {split_seed}; choose another")
        cut = _cut_windows if corpus.kind == "windows" else _cut_documents
        indices, training, held_out = cut(corpus, holdout, split_seed)
        return Split(corpus, holdout, split_seed, indices, training, held_out)

    @property
    def is_running(self) -> bool:
        """Whether the text is one run of windows, rather than documents."""
        return self.corpus.kind == "windows"

    @cached_property
    def training_counts(self) -> NDArray[np.int64]:
        """How often each token is predicted in the training part, uncropped. Shape (vocabulary,)."""
        corpus = self.corpus
        if self.is_running:
            counts = self.counts(self.training) if corpus.counts is None else corpus.counts - self.counts(self.held_out)
            counts[corpus.tokens[0]] -= 1  # nothing predicts the first
            return counts
        tokens = joined(self.corpus.tokens, self.training.starts + 1, self.training.stops)
        return count(tokens, self.corpus.tokenizer.vocabulary)

    def counts(self, part: Part) -> NDArray[np.int64]:
        """How often each token stands in a part. Shape (vocabulary,)."""
        corpus = self.corpus
        if self.is_running:  # one slice: no index is needed to read it
            whole = (corpus.tokens[start:stop] for start, stop in zip(part.starts, part.stops, strict=True))
            return count((block for tokens in whole for block in blocks(tokens)), corpus.tokenizer.vocabulary)
        return count(joined(corpus.tokens, part.starts, part.stops), corpus.tokenizer.vocabulary)

    @cached_property
    def unseen_characters(self) -> int:
        """How many distinct characters only the held-out part has."""
        if self.characters:
            return self.characters.unseen_characters
        met = self.counts(self.held_out)
        seen = self.counts(self.training) if self.corpus.counts is None else self.corpus.counts - met
        return int(((met > 0) & (seen == 0)).sum())

    @cached_property
    def held_out_in_training(self) -> int:
        """How much held-out text stands in the training part too.

        Of lines as documents none can. Of paragraphs and windows: the held-out lines of 20 or more characters that
        are also a line of the training part, such as a refrain. It is not looked for in a text that stays on disk.
        """
        if self.characters:
            return self.characters.held_out_in_training
        if self.corpus.kind == "lines" or not len(self.held_out) or self.corpus.counts is not None:
            return 0
        alphabet = self.corpus.tokenizer.characters + "\0"
        lines = find_lines(self.corpus.tokens, alphabet, breaks="\n\0")
        telling = lines.stops - lines.starts >= _TELLING
        starts, stops = lines.starts[telling], lines.stops[telling]
        values = digests(self.corpus.tokens, starts, stops)
        return int(np.isin(values[_inside(starts, self.held_out)], values[_inside(starts, self.training)]).sum())

    def contains(self, text: str, ctx: int) -> bool:
        """Whether a text is a training document, word for word, or the first ctx characters of one, which is all that
        a model sees of it; for windows, whether the training part has it."""
        tokenizer, tokens = self.corpus.tokenizer, self.corpus.tokens
        if not self.is_running and len(tokens) <= _LOOKED_UP and unicodedata.is_normalized("NFC", text):
            if text in self._beginnings(ctx):
                return True
            if len(text) * (4 if tokenizer.unit == "bytes" else 1) <= ctx:  # no token is less
                return False
        if not text or tokenizer.unknown(text):
            return False
        ids = tokenizer.encode(text)
        starts, stops = self.training.starts, self.training.stops
        if self.is_running and tokenizer.merges:  # whose tokens would be others in the midst of a word
            firsts, last = range(0, int(stops[0]), BLOCK), int(stops[0])
            views = (tokens[first : min(first + BLOCK + len(text), last)] for first in firsts)
            return any(text in tokenizer.decode(view) for view in views)
        if self.is_running:
            parts = blocks(tokens[: max(0, int(stops[0]) - len(ids) + 1)])
            found = (np.flatnonzero(part == ids[0]) + place * BLOCK for place, part in enumerate(parts))
            return any(len(matching(tokens, candidates, ids)) > 0 for candidates in found)
        lengths = stops - starts - 2
        candidates = starts[(lengths == len(ids)) | ((lengths > len(ids)) & (len(ids) >= ctx))] + 1
        return len(matching(tokens, candidates, ids)) > 0

    def _beginnings(self, ctx: int) -> frozenset[str]:
        """The texts of the first ctx tokens of all training documents."""
        if ctx not in self._known:
            starts, stops = (
                self.training.starts + 1,
                np.minimum(self.training.stops - 1, self.training.starts + 1 + ctx),
            )
            width = int((stops - starts).max(initial=0))
            texts: set[str] = set()
            for first in range(0, len(starts), _ROWS):
                rows = slice(first, first + _ROWS)
                places = np.minimum(starts[rows, None] + np.arange(width), len(self.corpus.tokens) - 1)
                texts.update(self.corpus.tokenizer.decode_rows(self.corpus.tokens[places], stops[rows] - starts[rows]))
            self._known[ctx] = frozenset(texts - {""})
        return self._known[ctx]

    @cached_property
    def _known(self) -> dict[int, frozenset[str]]:
        return {}


def _inside(places: Positions, part: Part) -> NDArray[np.bool_]:
    """Which places stand in the part, whose slices are in order and overlap by a BOS at most."""
    slot = np.searchsorted(part.starts, places, "right") - 1
    return (slot >= 0) & (places < part.stops[slot])


def _cut_documents(corpus: Corpus, holdout: float, split_seed: int) -> tuple[NDArray[np.integer[Any]], Part, Part]:
    edges = corpus.edges
    if holdout == 0:
        chosen, rest = np.empty(0, dtype=np.intp), np.arange(corpus.documents)
    else:
        values = digests(corpus.tokens, edges[:-1] + 1, edges[1:])
        firsts = np.sort(np.unique(values, return_index=True)[1])
        if len(firsts) < 2:
            raise DataError(_too_short(corpus, holdout, 2, f"different {corpus.kind}", len(firsts)))
        size = min(max(1, round(holdout * len(firsts))), len(firsts) - 1)
        generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([split_seed, SPLIT_STREAM])))
        chosen = np.sort(generator.permutation(firsts)[:size])
        rest = np.flatnonzero(~np.isin(values, values[chosen]))
    return rest, Part(edges[rest], edges[rest + 1] + 1), Part(edges[chosen], edges[chosen + 1] + 1)


def _cut_windows(corpus: Corpus, holdout: float, split_seed: int) -> tuple[NDArray[np.integer[Any]], Part, Part]:
    size = len(corpus.tokens)
    if corpus.learned_from > size - round(holdout * size):
        raise UsageError(
            f"--holdout {holdout:g}: the tokens of {', '.join(corpus.sources)} were learned from the first "
            f"{corpus.learned_from / size:.0%} of it, which can't be held out; hold out at most "
            f"{math.floor(100 * (1 - corpus.learned_from / size)) / 100:g}."
        )
    needed = 4 if holdout else 2  # each part predicts at least one character from another
    if size < needed:
        raise DataError(_too_short(corpus, holdout, needed, "characters", size))
    held = min(max(2, round(holdout * size)), size - 2) if holdout else 0
    ends = np.array([0, size - held, size], dtype=corpus.edges.dtype)
    last = 2 if holdout else 1  # an empty held-out part has no slice
    return np.arange(1), Part(ends[:1], ends[1:2]), Part(ends[1:last], ends[2 : last + 1])


def _too_short(corpus: Corpus, holdout: float, needed: int, units: str, found: int) -> str:
    advice = "give more text, or --holdout 0 to hold nothing out" if holdout else "give more text"
    asked = f" for --holdout {holdout:g}" if holdout else ""
    return f"{', '.join(corpus.sources)}: expected at least {needed} {units}{asked}, found {found}; {advice}"
