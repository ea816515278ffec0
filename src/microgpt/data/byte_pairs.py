"""Byte-pair tokens (Sennrich et al. 2016, Neural Machine Translation of Rare Words with Subword Units, algorithm 1).

A text is cut into pieces, a word with the space before it, and merges never cross them. Learning joins the pair of
neighbouring tokens that occurs most often, again and again; encoding repeats the merges of each piece in that order.
Here the pairs are of characters: every character stays a token, so every text of the alphabet can be told.
"""

import heapq
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import Final

import numpy as np

from microgpt.data.choices import MOST_TOKENS
from microgpt.data.slices import Tokens, fitting
from microgpt.errors import DataError

PIECES: Final = " ?[^ \n{mark}]+|[ \n{mark}]"  # of Python, JavaScript and the library tokenizers alike
LONGEST: Final = 256  # characters of a token
MOST_LEARNED: Final = 10_000_000  # characters that merges are learned from
CACHED: Final = 1 << 17  # pieces whose ids are remembered, …
SHORT: Final = 64  # … of so many characters at most
_RARE: Final = 2  # a pair that occurs less often is not merged

Pair = tuple[int, int]


def cut(texts: Iterable[str], mark: str = "") -> Iterator[list[str]]:
    """The pieces of a text that comes in parts, some at a time. `mark` is a character that is a piece of its own."""
    pattern, rest = re.compile(PIECES.format(mark=re.escape(mark))), ""
    for text in texts:
        *pieces, rest = pattern.findall(rest + text) or [""]  # the last may go on
        yield pieces
    yield [rest] if rest else []


class TooManyTokensError(DataError):
    """More tokens than a text can give."""


def learn(pieces: Iterable[list[str]], characters: str, size: int) -> tuple[Pair, ...]:
    """The merges that make `size` tokens of the sorted `characters`, for a text in pieces, of which the first
    MOST_LEARNED characters count, with the rest of the part in which they end: so memory is bounded.

    The pair of the highest count comes first, of equals that of the lower ids, as in the library tokenizers (a test
    holds the two together). Raises `DataError` where so few or so many tokens can't be had, and says how many can.
    """
    if size < len(characters):
        advice = f"bpe:{len(characters)} or more" if len(characters) <= MOST_TOKENS else "--tokens bytes"
        raise DataError(
            f"--tokens bpe:{size}: expected a token for each of the text's {len(characters):,} characters at least; "
            f"take {advice}."
        )
    counts: Counter[str] = Counter()
    seen = 0
    for some in pieces:
        counts.update(some)
        if (seen := seen + sum(map(len, some))) >= MOST_LEARNED:
            break
    chain = _Chain(counts, characters)
    texts = list(characters)
    known = {text: token for token, text in enumerate(texts)}
    merges: dict[Pair, None] = {}
    while len(texts) < size:
        pair = chain.most_frequent()
        if pair is None:
            raise TooManyTokensError(
                f"--tokens bpe:{size}: this text gives {len(texts):,} tokens at most; take bpe:{len(texts)}."
            )
        text = texts[pair[0]] + texts[pair[1]]
        if len(text) > LONGEST or pair in merges:
            continue
        token = known.setdefault(text, len(texts))
        texts += [text] if token == len(texts) else []
        merges[pair] = None
        chain.merge(pair, token)
    return tuple(merges)


class _Chain:
    """Every different piece as tokens in a linked list, and how often each pair of neighbours occurs."""

    def __init__(self, counts: Counter[str], characters: str) -> None:
        ids = {character: token for token, character in enumerate(characters)}
        self._tokens, self._weights = array("i", [-1]), array("q", [0])  # -1 stands between two pieces
        for piece, count in counts.items():
            if len(piece) == 1:  # no pair, and perhaps the mark
                continue
            self._tokens.extend([*(ids[character] for character in piece), -1])
            self._weights.extend([count] * (len(piece) + 1))
        self._next = array("i", range(1, len(self._tokens) + 1))
        self._before = array("i", range(-1, len(self._tokens) - 1))
        self._counts: defaultdict[Pair, int] = defaultdict(int)
        # Of the left one of each pair. Some are gone by the time they are looked at.
        self._places: defaultdict[Pair, array[int]] = defaultdict(partial(array, "i"))
        for place, pair in enumerate(pairwise(self._tokens)):
            if -1 not in pair:
                self._count(pair, self._weights[place], place)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)

    def most_frequent(self) -> Pair | None:
        """The next pair to merge, once; None where no pair occurs twice."""
        while self._heap:
            count, pair = heapq.heappop(self._heap)
            if -count == self._counts[pair]:
                return pair if -count >= _RARE else None
            heapq.heappush(self._heap, (-self._counts[pair], pair))
        return None

    def merge(self, pair: Pair, token: int) -> None:
        """Put a token in the place of a pair, wherever that stands, from left to right."""
        tokens, following, before = self._tokens, self._next, self._before
        fresh: set[Pair] = set()
        for place in sorted(self._places.pop(pair)):
            second = following[place]
            if tokens[place] != pair[0] or second == len(tokens) or tokens[second] != pair[1]:
                continue
            first, last, weight = before[place], following[second], self._weights[place]
            if tokens[first] >= 0:
                self._counts[tokens[first], pair[0]] -= weight
                fresh.add(self._count((tokens[first], token), weight, first))
            if tokens[last] >= 0:
                self._counts[pair[1], tokens[last]] -= weight
                fresh.add(self._count((token, tokens[last]), weight, place))
            tokens[place], tokens[second] = token, -2
            following[place], before[last] = last, place
        for new in fresh:
            heapq.heappush(self._heap, (-self._counts[new], new))

    def _count(self, pair: Pair, weight: int, place: int) -> Pair:
        self._counts[pair] += weight
        self._places[pair].append(place)
        return pair


def texts_of(characters: str, merges: Sequence[Pair]) -> tuple[list[str], list[int]]:
    """The text of every token, and the token that each merge makes. Two merges can make one text: it is one token.

    Raises `ValueError` where a pair has an id that is not there yet, comes twice, or makes a text of more than LONGEST
    characters.
    """
    texts, made, pairs = list(characters), list[int](), set[Pair]()
    known = {text: token for token, text in enumerate(texts)}
    for pair in merges:
        if not all(0 <= token < len(texts) for token in pair) or pair in pairs:
            raise ValueError(f"merge {len(made):,} is no new pair of tokens")
        text = texts[pair[0]] + texts[pair[1]]
        if len(text) > LONGEST:
            raise ValueError(f"merge {len(made):,} makes a token of {len(text):,} characters")
        made.append(known.setdefault(text, len(texts)))
        texts += [text] if made[-1] == len(texts) else []
        pairs.add(pair)
    return texts, made


def merges_of(values: object) -> tuple[Pair, ...]:
    """Merges from untrusted JSON, a list of pairs of whole numbers. Raises ValueError for anything else."""
    if not isinstance(values, list) or len(values) > MOST_TOKENS:
        raise ValueError(f"no list of {MOST_TOKENS:,} or fewer")
    if not all(isinstance(pair, list) and len(pair) == 2 and all(type(one) is int for one in pair) for pair in values):
        raise ValueError("one that is no pair of ids")
    return tuple((left, right) for left, right in values)


class Encoder(dict[str, bytes]):
    """From a piece to its token ids, as bytes of the smallest type that holds them all and BOS; it remembers CACHED
    pieces. Raises `KeyError` for a character that is not in the alphabet."""

    def __init__(self, characters: str, merges: Sequence[Pair], bos: int, mark: str = "") -> None:
        super().__init__()
        self.dtype = fitting(bos)
        self._mark, self._bos = mark, bos
        self._ids = {character: token for token, character in enumerate(characters)}
        made = texts_of(characters, merges)[1]
        self._ranks = {pair: (rank, token) for rank, (pair, token) in enumerate(zip(merges, made, strict=True))}

    def encode(self, texts: Iterable[str]) -> Iterator[Tokens]:
        """The ids of a text that comes in parts, some at a time; the mark becomes BOS."""
        for pieces in cut(texts, self._mark):
            yield np.frombuffer(b"".join(map(self.__getitem__, pieces)), self.dtype)

    def __missing__(self, piece: str) -> bytes:
        own = [self._bos] if piece == self._mark else self._merged([self._ids[character] for character in piece])
        found = np.array(own, self.dtype).tobytes()
        if len(piece) <= SHORT:
            if len(self) >= CACHED:
                self.clear()
            self[piece] = found
        return found

    def _merged(self, tokens: list[int]) -> list[int]:
        """The tokens of a piece after all merges: the earliest learned first, of equals the leftmost."""
        if len(tokens) > SHORT:
            return self._merged_by_a_heap(tokens)
        get, none = self._ranks.get, (len(self._ranks), 0)
        found = [get(pair, none) for pair in pairwise(tokens)]
        while found and (best := min(found)) is not none:
            place = found.index(best)
            tokens[place : place + 2] = [best[1]]
            del found[place]
            if place < len(found):
                found[place] = get((best[1], tokens[place + 1]), none)
            if place:
                found[place - 1] = get((tokens[place - 1], best[1]), none)
        return tokens

    def _merged_by_a_heap(self, tokens: list[int]) -> list[int]:
        """The same, quick for a piece of any length."""
        ranks, size = self._ranks, len(tokens)
        following, before = list(range(1, size + 1)), list(range(-1, size - 1))
        heap = [(*found, place) for place, pair in enumerate(pairwise(tokens)) if (found := ranks.get(pair))]
        heapq.heapify(heap)
        while heap:
            rank, token, place = heapq.heappop(heap)
            last = following[place]
            if last == size or ranks.get((tokens[place], tokens[last]), (-1,))[0] != rank:
                continue  # one of the two is gone
            tokens[place], tokens[last] = token, -1
            following[place] = after = following[last]
            first = before[place]
            if after < size:
                before[after] = place
                if found := ranks.get((token, tokens[after])):
                    heapq.heappush(heap, (*found, place))
            if first >= 0 and (found := ranks.get((tokens[first], token))):
                heapq.heappush(heap, (*found, first))
        return [token for token in tokens if token >= 0]
