"""Many slices of one flat array at once. Here a document is a slice, never a Python object for each character.

Everything works block by block, so that no temporary grows with the text: an index costs eight bytes a character.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

Tokens = NDArray[np.unsignedinteger[Any]]
Positions = NDArray[np.signedinteger[Any]]

BLOCK: Final = 1 << 20  # elements
_SLICES: Final = 1 << 16  # slices whose ends are Python numbers at one time


@dataclass(frozen=True, eq=False)
class Views(Sequence[Tokens]):
    """The slices `tokens[start:stop]` as a sequence, each made when it is asked for; with a table, `table[slice]`.

    A list of them would need a hundred bytes for each.
    """

    tokens: Tokens
    starts: Positions
    stops: Positions
    table: Tokens | None = None

    def __len__(self) -> int:
        return len(self.starts)

    @overload
    def __getitem__(self, place: int) -> Tokens: ...

    @overload
    def __getitem__(self, place: slice) -> "Views": ...

    def __getitem__(self, place: int | slice) -> "Tokens | Views":
        if isinstance(place, slice):
            return Views(self.tokens, self.starts[place], self.stops[place], self.table)
        tokens = self.tokens[self.starts[place] : self.stops[place]]
        return tokens if self.table is None else self.table[tokens]


def fitting(largest: int) -> np.dtype[np.unsignedinteger[Any]]:
    """The smallest unsigned type (8, 16 or 32 bits) that holds `largest`."""
    return np.dtype(np.uint8 if largest < 1 << 8 else np.uint16 if largest < 1 << 16 else np.uint32)


def position_type(size: int) -> np.dtype[np.signedinteger[Any]]:
    """The smaller of the signed 32 and 64 bit types that holds every position up to `size`."""
    return np.dtype(np.int32 if size < 1 << 31 else np.int64)


def blocks(array: Tokens) -> Iterator[Tokens]:
    """Views of at most BLOCK elements, in order."""
    return (array[first : first + BLOCK] for first in range(0, len(array), BLOCK))


def joined(array: Tokens, starts: Positions, stops: Positions) -> Iterator[Tokens]:
    """The slices `array[start:stop]` laid end to end, in blocks of at most BLOCK elements."""
    ends = np.cumsum(stops - starts, dtype=position_type(len(array) + len(starts)))
    begins = ends - (stops - starts)
    shifts = starts - begins  # from a place in the result to its place in the array
    total = int(ends[-1]) if len(ends) else 0
    for first in range(0, total, BLOCK):
        last = min(first + BLOCK, total)
        # A bound of another type than the array would convert the whole array.
        low = np.searchsorted(ends, ends.dtype.type(first), "right")
        high = np.searchsorted(begins, begins.dtype.type(last), "left")
        counts = np.minimum(ends[low:high], last) - np.maximum(begins[low:high], first)
        yield array[np.arange(first, last) + np.repeat(shifts[low:high], counts)]


def count(pieces: Iterator[Tokens], size: int) -> NDArray[np.int64]:
    """How often each of 0 … size - 1 occurs in all the pieces. Shape (size,)."""
    counts = np.zeros(size, dtype=np.int64)
    for piece in pieces:
        counts += np.bincount(piece, minlength=size)
    return counts


def translated(array: Tokens, table: Tokens) -> Tokens:
    """`table[array]`, in the type of the table; a fresh array of the same shape."""
    result = np.empty(len(array), dtype=table.dtype)
    for source, target in zip(blocks(array), blocks(result), strict=True):
        target[:] = table[source]
    return result


def digests(array: Tokens, starts: Positions, stops: Positions) -> NDArray[np.int64]:
    """A 64-bit number for each slice, equal where the slices are equal. Shape as `starts`.

    They are salted for each process: compare them at once and never keep them. Different slices share a number with
    a chance of one in a hundred thousand among ten million of them.
    """
    values = np.empty(len(starts), dtype=np.int64)
    view = array.view(np.uint8).data
    for first in range(0, len(starts), _SLICES):
        few = slice(first, first + _SLICES)
        pairs = zip(*((ends[few].astype(np.int64) * array.itemsize).tolist() for ends in (starts, stops)), strict=True)
        values[few] = [hash(view[start:stop].tobytes()) for start, stop in pairs]
    return values


def matching(array: Tokens, starts: Positions, wanted: Tokens) -> Positions:
    """Those of `starts` from which `array` goes on exactly as `wanted`; each has room for all of it."""
    for place, token in enumerate(wanted):
        if not len(starts):
            break
        starts = starts[array[starts + place] == token]
    return starts
