"""Characters as numbers: their code points, and their places among the characters of a text."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from microgpt.data.slices import Tokens, blocks, fitting


def codes_of(text: str) -> NDArray[np.uint32]:
    """The code point of each character. Shape (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def text_of(codes: NDArray[np.uint32]) -> str:
    """The inverse of `codes_of`."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


class Symbols:
    """Characters as they come, numbered in the order of their first appearance until all are known."""

    def __init__(self) -> None:
        self.has_ink = False
        self._codes = np.empty(0, dtype=np.uint32)
        self._numbers = np.zeros(0x110000, dtype=np.uint32)  # by code point; untouched pages cost no memory
        self._known = np.zeros(0x110000, dtype=np.bool_)
        self._type = fitting(0)
        self._buffer = bytearray()  # grows in place, where a list of arrays would be held twice on joining
        self._joint = ""
        self._tail = ""

    def add_file(self, pieces: Iterator[str]) -> bool:
        """Whether the file holds more than blanks. A blank line is set before it if a file came before."""
        self._joint = "\n" * (2 - len(self._tail) + len(self._tail.rstrip("\n"))) if self._tail else ""
        ink = False
        for piece in pieces:
            if piece:
                self._add(self._joint + piece)
                self._tail = (self._tail + piece)[-2:]
                self._joint = ""
                ink = ink or not piece.isspace()
        self.has_ink |= ink
        return ink

    def _add(self, piece: str) -> None:
        codes = codes_of(piece)
        present = np.zeros(int(codes.max()) + 1, dtype=np.bool_)
        present[codes] = True
        fresh = np.flatnonzero(present & ~self._known[: len(present)]).astype(np.uint32)
        self._known[fresh] = True
        self._numbers[fresh] = np.arange(len(self._codes), len(self._codes) + len(fresh))
        self._codes = np.concatenate([self._codes, fresh])
        self._widen(fitting(len(self._codes)))
        self._keep(self._numbers[codes].astype(self._type))

    @property
    def characters(self) -> str:
        """The distinct characters so far, in the order of their first appearance."""
        return text_of(self._codes)

    @property
    def has_lone_surrogates(self) -> bool:
        """Whether halves of characters occur, as in a text that was decoded wrongly."""
        return bool(((self._codes >= 0xD800) & (self._codes <= 0xDFFF)).any())

    def _keep(self, numbers: Tokens) -> None:
        self._buffer += numbers.tobytes()

    def _widen(self, wanted: np.dtype[np.unsignedinteger]) -> None:
        if wanted != self._type:
            self._buffer = bytearray(np.frombuffer(self._buffer, dtype=self._type).astype(wanted).tobytes())
            self._type = wanted

    def sorted(self) -> tuple[str, Tokens]:
        """The sorted alphabet, and the symbols as places in it (read-only)."""
        order = np.argsort(self._codes)
        table = np.argsort(order).astype(self._type)
        symbols: Tokens = np.frombuffer(self._buffer, dtype=self._type)
        for block in blocks(symbols):
            block[:] = table[block]
        symbols.flags.writeable = False
        return text_of(self._codes[order]), symbols
