"""The mark to beat: the best table of counts of a training text, interpolated modified Kneser-Ney over its tokens.

`kneser_ney.py` has the formula, and what counts its grams; here stands which text is counted, and up to which order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.kneser_ney import Counting, Floats, Level, Rows, SortedText, different
from microgpt.data.slices import Positions, Tokens, Views, joined
from microgpt.data.split import Split

CHOOSING: Final = 0.1  # share of the training text, at its end, that chooses the order
MOST: Final = 1 << 21  # characters of a training text that are counted, and an eighth of it held-out ones told …
STRETCH: Final = 1 << 12  # … in stretches of so many from all over a longer one
WINDOW: Final = 1 << 8  # characters told at a time, where the model's tokens are others
KEPT: Final = 8  # tables whose figures are remembered, of 2 MB at most each

_known: dict[bytes, "Told"] = {}  # what was found before, by a hash of the texts


@dataclass(frozen=True)
class Mark:
    """What the best table of counts scores: `loss` in nats per character, by grams of up to `order` tokens, counted in
    so many `characters` of the training text. `note` says so where that is a part of it."""

    loss: float
    order: int
    characters: int
    note: str = ""


@dataclass(frozen=True, eq=False)
class Told:
    """What the table of `order` gives held-out tokens: `probabilities` of the measured ones, (m,), of `length`
    characters each on average. In nats per character `chosen` is its loss on the end of the training text, by which the
    order was chosen. So many characters of the training text were `counted`."""

    probabilities: Floats
    order: int
    chosen: float
    counted: int
    length: float = 1.0
    note: str = ""

    @property
    def loss(self) -> float:
        """In nats per character."""
        return float(-np.log(self.probabilities).mean()) / self.length


def mark(split: Split, sequences: Sequence[Tokens], ctx: int) -> Mark | None:
    """The mark of the training part of a split, on the first ctx predictions of each of these sequences, which it holds
    out or are of its kind; None where there are none.

    Where tokens are not characters there are two tables, one of each; that which is better on the end of the training
    text is the mark. That of characters is told on all the text that is held out.
    """
    if not sequences:
        return None
    best = told(split, sequences, ctx)
    if split.characters:
        letters = told(split.characters, _whole(split.characters, WINDOW), WINDOW)
        best = letters if letters.chosen <= best.chosen else best
    return Mark(best.loss, best.order, best.counted, best.note)


def told(split: Split, sequences: Sequence[Tokens], ctx: int) -> Told:
    """The table of the training part of a split, on the first ctx predictions of these sequences or, of very many, of
    `some` of them. Found once for the same texts.

    Of a long training text only a part is counted: stretches of running text, or documents, from all over it.
    """
    training, whole = _training(split)
    measured_ones = some(sequences, ctx)
    held_out, measured = _cropped(measured_ones, ctx)
    symbols, begin = alphabet(split)
    digest = hashlib.sha256(repr((symbols, begin, len(training), training.dtype, held_out.dtype)).encode())
    for array in (training, held_out, measured):
        digest.update(array.data)
    key = digest.digest()
    if key not in _known:
        if len(_known) >= KEPT:
            del _known[next(iter(_known))]
        _known[key] = best_table(training, held_out, measured, symbols, begin)
    note = ""
    if len(training) < whole or len(measured_ones) < len(sequences):
        note = f"the table of counts knows {len(training):,} of the {whole:,} tokens of the training text"
    if len(measured_ones) < len(sequences):
        note += f", and is told on {len(measured_ones):,} of {len(sequences):,} held-out sequences"
    found, lengths = _known[key], split.corpus.tokenizer.lengths
    return replace(
        found,
        chosen=found.chosen / lengths[training[_cut(training) :]].mean(),
        counted=int(lengths[training].sum()),
        length=float(lengths[held_out[measured]].mean()),
        note=note,
    )


def some(sequences: Sequence[Tokens], ctx: int) -> Sequence[Tokens]:
    """As many of the sequences as are told: neighbours, from all over the text."""
    return _spread(sequences, max(1, MOST // 8 // ctx))


def alphabet(split: Split) -> tuple[int, int | None]:
    """How many tokens there are to predict, and the one that stands between documents, if any."""
    bos, vocabulary = split.corpus.tokenizer.bos, split.corpus.tokenizer.vocabulary
    return (bos, None) if split.is_running else (vocabulary, bos)


def _whole(split: Split, ctx: int) -> Views:
    """All that a split of characters holds out: documents, or windows of running text."""
    starts, stops = split.held_out.starts, split.held_out.stops
    if split.is_running:
        starts = np.arange(int(starts[0]), int(stops[0]) - 1, ctx)
        stops = np.minimum(starts + ctx + 1, stops[0])
    return Views(split.corpus.tokens, starts, stops)


def _training(split: Split) -> tuple[Tokens, int]:
    """The training part laid end to end, (characters,), or as much of it as is counted, and how long all of it is."""
    tokens, starts, stops = split.corpus.tokens, split.training.starts, split.training.stops
    if split.is_running:
        starts, end = np.arange(0, int(stops[0]), STRETCH), tokens[:0]
        stops = np.minimum(starts + STRETCH, stops[0])
    else:  # the mark that ends a document begins the next
        stops, end = stops - 1, np.array([split.corpus.tokenizer.bos], tokens.dtype)
    whole = int((stops - starts).sum(dtype=np.int64)) + len(end)
    few = _even(len(starts), int(len(starts) * min(1, MOST / whole)))
    training = np.concatenate([*joined(tokens, starts[few], stops[few]), end])[:MOST]
    return training, whole


def _cropped(sequences: Sequence[Tokens], ctx: int) -> tuple[Tokens, NDArray[np.bool_]]:
    """Sequences laid end to end, each of which begins with the last character of the one before, and which of these
    characters are among the first ctx predictions of one; shapes (characters,)."""
    pieces = [tokens[: min(len(tokens) - 1, ctx + 1)] for tokens in sequences]
    held_out = np.concatenate([*pieces, sequences[-1][-1:]])
    measured = np.ones(len(held_out), np.bool_)
    measured[0] = False
    measured[np.cumsum([len(piece) for piece in pieces])] = [len(tokens) - 1 <= ctx for tokens in sequences]
    return held_out, measured


def forget() -> None:
    """Have each mark be found anew, as who measures the time of that wants."""
    _known.clear()


def _spread(sequences: Sequence[Tokens], most: int, parts: int = 16) -> Sequence[Tokens]:
    """At most so many of the sequences, or one of each part: neighbours, from all over the text."""
    if len(sequences) <= most:
        return sequences
    each = max(1, most // parts)
    return [sequences[place] for first in _even(len(sequences), parts) for place in range(first, first + each)]


def _even(size: int, count: int) -> Positions:
    """So many places below `size`, one at least, at even distances."""
    return np.linspace(0, size, max(1, count), endpoint=False).astype(np.intp)


def best_table(
    training: Tokens, held_out: Tokens, measured: NDArray[np.bool_], symbols: int, begin: int | None
) -> Told:
    """The table of a training text, (n,), on the `measured` ones, (m,), of the tokens of a held-out text, (m,).

    Tokens are numbers below `symbols`. One of them, `begin`, stands before, between and after documents; contexts end
    at it, and it is predicted as the end of a document. Running text has none (None). The first token of each text is
    never predicted. The order is the last that still gains on the last tenth of the training text, told by the rest.
    """
    text = SortedText(np.concatenate([training, held_out]), len(training), symbols, begin)
    cut = _cut(training)
    choosing = Counting(text, cut, np.arange(cut, len(training)))
    telling = Counting(text, len(training), len(training) + np.flatnonzero(measured))
    best, level = Told(telling.lower, 0, np.inf, len(training)), Level(text, 1, None)
    while (chosen := choosing.loss(level)) < best.chosen:
        best = Told(telling.with_longest(level), level.length, chosen, len(training))
        if best.order == text.longest:
            break
        level = Level(text, best.order + 1, level)
    return best


def _cut(training: Tokens) -> int:
    """Where the end of a training text begins, which chooses the order."""
    return int(len(training) * (1 - CHOOSING))


class Table:
    """The table of the training part of a split, to write with."""

    def __init__(self, split: Split, order: int = 0) -> None:
        """By grams of up to `order` tokens, as they were told before, or that are chosen now (0)."""
        training, _ = _training(split)
        self.vocabulary = split.corpus.tokenizer.vocabulary
        self._symbols, self._begin = alphabet(split)
        text = self._text = SortedText(training, len(training), self._symbols, self._begin)
        cut, counting = _cut(training), Counting(text, len(training), np.arange(0))
        choosing = Counting(text, cut, np.arange(cut, len(training)))
        levels, level, lowest = list[Level](), None, np.inf
        while len(levels) < (order or text.longest):
            level = Level(text, len(levels) + 1, level)
            if not order and (chosen := choosing.loss(level)) >= lowest:
                break
            lowest = lowest if order else chosen
            levels.append(level)
        counts = [counting.counts(level) for level in levels]
        pairs = zip(levels[1:], counts[1:], counts[:-1], strict=True)
        self._rows = [
            Rows(level, own, training[self._text.places[level.firsts]])
            for level, own in zip(levels, [*(different(*pair) for pair in pairs), *counts[-1:]], strict=True)
        ]

    def next(self, context: Sequence[int]) -> Floats:
        """The probability of each token after these, (vocabulary,); 0 of the one between documents in running text."""
        if self._begin is not None and self._begin in context:
            context = context[len(context) - 1 - context[::-1].index(self._begin) :]
        probabilities: Floats = np.full(self._symbols, 1 / self._symbols)
        for length, rows in enumerate(self._rows):
            known = self._number(context[len(context) - length :]) if length <= len(context) else None
            if known is None or not rows.add(known, probabilities):
                break
        return np.append(probabilities, np.zeros(self.vocabulary - self._symbols))

    def _number(self, gram: Sequence[int]) -> int | None:
        """The number of a gram among those of its length; None where it never stands in the text."""
        if not len(gram):
            return 0
        text, key = self._text, 0
        for token in reversed(gram):
            key = key << text.bits | int(token)
        left = text.bits * (text.longest - len(gram))
        place = int(np.searchsorted(text.keys, np.uint64(key << left)))
        if place == len(text.keys) or int(text.keys[place]) >> left != key:
            return None
        return int(np.searchsorted(self._rows[len(gram) - 1].firsts, place))
