"""Counting grams: interpolated modified Kneser-Ney over the tokens of a text.

With c the counts, D their discounts, h a context and h' the same without its first token (Chen & Goodman 1999, An
empirical study of smoothing techniques for language modeling, section 3; Kneser & Ney 1995):

    p(w | h) = (c(h w) - D(c(h w)) + p(w | h') * sum over v of D(c(h v))) / sum over v of c(h v)

D is 0 for 0, and D1, D2, D3 for 1, 2, and 3 or more. The longest grams have their counts, a shorter one the number of
different tokens before it, or its count where nothing ever stands before it. Below all is 1 / tokens.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.slices import Positions, Tokens

LONGEST: Final = 9  # characters of a gram, and as many as 64 bits hold: longer ones gain nothing on names or plays
USUAL: Final = (0.0, 0.5, 1.0, 1.5)  # discounts where the text is too small to tell them

Floats = NDArray[np.float64]


class Rows:
    """Of the grams of one length, by their contexts: which tokens follow, and what counts give each of them. `firsts`,
    (g,), are the sorted places at which a gram begins."""

    def __init__(self, level: "Level", counts: NDArray[np.integer[Any]], last: Tokens) -> None:
        discounts, size = discounts_of(counts), int(level.contexts.max()) + 1
        order = np.argsort(level.contexts, kind="stable")
        self.firsts = level.firsts
        self._bounds = np.searchsorted(level.contexts[order], np.arange(size + 1))
        self._last, self._gains = last[order], (counts - discounts[np.minimum(counts, 3)])[order]
        self._totals = np.bincount(level.contexts, counts, size)
        self._spared = np.bincount(level.contexts, discounts[np.minimum(counts, 3)], size)

    def add(self, context: int, lower: Floats) -> bool:
        """Make the probabilities of the shorter context those of this one; False where nothing is known of it."""
        if context >= len(self._totals) or not (total := self._totals[context]):
            return False
        row = slice(self._bounds[context], self._bounds[context + 1])
        lower *= self._spared[context] / total
        lower[self._last[row]] += self._gains[row] / total
        return True


class SortedText:
    """The places of a text, sorted by the character there, then by the one before it, and so on: equal grams of any
    length are neighbours. What stands before the first place is the end of the text.

    `shared`, (n,), is how many characters a place has in common with the one sorted before it; `back`, (n,), how many
    characters of context it has.
    """

    def __init__(self, tokens: Tokens, cut: int, symbols: int, begin: int | None) -> None:
        bits = max(1, (symbols - 1).bit_length())
        self.symbols, self.bits, self.longest = symbols, bits, min(LONGEST, 64 // bits)
        self.back = _back(tokens, cut, begin)
        keys = tokens.astype(np.uint64)
        for back in range(1, self.longest):
            keys <<= np.uint64(bits)
            keys |= np.roll(tokens, back)
        self.places = np.argsort(keys)
        self.keys = keys = keys[self.places]
        differing = keys[1:] ^ keys[:-1]
        self.shared = np.full(len(tokens), -1, np.int8)  # the first place begins a gram of every length, and of none
        self.shared[1:] = differing == 0
        for left in range(1, self.longest):
            self.shared[1:] += differing < np.uint64(1 << bits * left)


def _back(tokens: Tokens, cut: int, begin: int | None) -> NDArray[np.int8]:
    places = np.arange(len(tokens), dtype=np.int32)
    begins = np.zeros(len(tokens), np.bool_) if begin is None else tokens == begin
    begins[:1] = begins[cut : cut + 1] = True
    last = np.maximum.accumulate(np.where(begins, places, 0))
    back = np.zeros(len(tokens), np.int8)
    back[1:] = np.minimum(places[1:] - last[:-1], LONGEST)
    back[cut : cut + 1] = 0
    return back


class Level:
    """The grams of one length: `grams`, (n,), is the number of the one that ends at a place; of each gram `contexts`,
    (g,), is the number of all but its last character among shorter grams, `parents`, (g,), of all but its first."""

    def __init__(self, text: SortedText, length: int, shorter: "Level | None") -> None:
        firsts = text.shared < length
        self.length, self.firsts = length, np.flatnonzero(firsts)
        self.grams = np.empty(len(firsts), np.int32)
        self.grams[text.places] = np.cumsum(firsts, dtype=np.int32) - 1
        self.parents: Positions = np.cumsum(text.shared[firsts] < length - 1) - 1
        self.before = shorter.grams if shorter else np.zeros(len(firsts), np.int32)
        self.contexts: Positions = self.before[text.places[firsts] - 1].astype(np.intp)


class Counting:
    """The counts of the characters 1 to `stop` of a text, grown from grams of one length to the next, and what they
    give the characters at `places`."""

    def __init__(self, text: SortedText, stop: int, places: Positions) -> None:
        self.text, self.stop, self.places = text, stop, places
        self.lower: Floats = np.full(len(places), 1 / text.symbols)
        self.known: tuple[Level, NDArray[np.integer[Any]]] | None = None

    def with_longest(self, level: Level) -> Floats:
        """The probability of the token at each place, by grams up to this level; levels come one after another."""
        counts = self.counts(level)
        if self.known:
            shorter, own = self.known
            self.lower = self._told(shorter, different(level, counts, own))
        self.known = level, counts
        return self._told(level, counts)

    def loss(self, level: Level) -> float:
        """In nats per token; levels come one after another."""
        return float(-np.log(self.with_longest(level)).mean())

    def counts(self, level: Level) -> NDArray[np.integer[Any]]:
        """How often each gram of a level stands in the text, (g,)."""
        known = slice(1, self.stop)
        grams = level.grams[known][self.text.back[known] >= level.length - 1]
        return np.bincount(grams, minlength=len(level.contexts))

    def _told(self, level: Level, counts: NDArray[np.integer[Any]]) -> Floats:
        """The probability of the character at each place; that of the shorter context where this one is not known."""
        discounts, size = discounts_of(counts), int(level.contexts.max()) + 1
        totals = np.bincount(level.contexts, counts, size)
        spared = np.bincount(level.contexts, discounts[np.minimum(counts, 3)], size)
        contexts = level.before[self.places - 1]
        known = (self.text.back[self.places] >= level.length - 1) & (totals[contexts] > 0)
        contexts, own = contexts[known], counts[level.grams[self.places[known]]]
        probabilities = self.lower.copy()
        probabilities[known] *= spared[contexts]
        probabilities[known] += own - discounts[np.minimum(own, 3)]
        probabilities[known] /= totals[contexts]
        return probabilities


def different(
    longer: Level, counts: NDArray[np.integer[Any]], own: NDArray[np.integer[Any]]
) -> NDArray[np.integer[Any]]:
    """How many different tokens stand before each of the shorter grams, or how often it stands there itself, (g,)."""
    found = np.bincount(longer.parents[counts > 0], minlength=len(own))
    return np.where(found > 0, found, own)


def discounts_of(counts: NDArray[np.integer[Any]]) -> Floats:
    """D of 0, 1, 2, and 3 or more, from how many counts are 1, 2, 3 and 4 (Chen & Goodman 1999, equation 26)."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == count)) for count in (1, 2, 3, 4))
    if min(n1, n2, n3) == 0:
        return np.array(USUAL)
    share = n1 / (n1 + 2 * n2)
    found = np.array([0, 1 - 2 * share * n2 / n1, 2 - 3 * share * n3 / n2, 3 - 4 * share * n4 / n3])
    return found if (found[1:] > 0).all() else np.array(USUAL)
