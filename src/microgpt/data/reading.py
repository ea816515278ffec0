"""Sources to one clean text in memory: an alphabet, and one, two or four bytes a character."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import NAMES, Kind, Normalization, kind_of
from microgpt.data.decoding import BREAKS, MARKS, REPLACED, check, clean
from microgpt.data.markov import ENDLESS
from microgpt.data.slices import Tokens, blocks, fitting
from microgpt.data.sources import Source, chunks, locate
from microgpt.errors import DataError, UsageError


@dataclass(frozen=True, eq=False)
class Text:
    """A text that was read: `symbols` are places in `alphabet`, the sorted distinct characters.

    The type of `symbols`, shape (characters,), also holds the number len(alphabet), which is free for BOS. `sha256`
    is that of the raw bytes of all files in order. `declared_kind` is what a built-in text says of itself.
    """

    name: str
    sources: tuple[str, ...]
    alphabet: str
    symbols: Tokens
    sha256: str
    declared_kind: Kind | None = None
    normalize: Normalization = "nfc"
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.symbols)

    def __str__(self) -> str:
        codes = codes_of(self.alphabet)
        return "".join(text_of(codes[block]) for block in blocks(self.symbols))


def read(sources: Sequence[str], *, encoding: str = "utf-8", normalize: Normalization = "nfc") -> Text:
    """Reads built-in texts, files, folders (every .txt below, sorted) or `-`, one after another, as one text.

    A blank line stands between two files. Memory: the symbols, and a few megabytes. Raises UsageError for an unknown
    encoding or normalisation; DataError for what is missing, unreadable, undecodable, empty or blank.
    """
    check(encoding, normalize)
    if not sources:
        raise UsageError(f"--data: expected at least one source, found none; {', '.join(NAMES)} are built in")
    notes: list[str] = []
    found: list[Source] = []
    for name in sources:
        streams, left_out = locate(name)
        found += streams
        notes += left_out
    digest = hashlib.sha256()
    changes: Counter[str] = Counter()
    gathered = _Symbols()
    for source in found:
        notes += [f"{source.name}: {ENDLESS.told}"] if source.made else []
        raw = _hashed(chunks(source), digest)
        pieces = clean(raw, name=source.name, encoding=encoding, normalize=normalize, changes=changes)
        if not gathered.add_file(pieces):
            notes.append(_blank(source))
    if not gathered.has_ink:
        raise DataError(f"{', '.join(sources)}: expected text, found only blank files; give a file with text")
    alphabet, symbols = gathered.sorted()
    if any("\ud800" <= character <= "\udfff" for character in alphabet):
        raise DataError(f"{', '.join(sources)}: expected {encoding}, found lone surrogates; try another --encoding")
    kinds = set(map(kind_of, sources))
    return Text(
        name=_name(sources),
        sources=tuple(sources),
        alphabet=alphabet,
        symbols=symbols,
        sha256=digest.hexdigest(),
        declared_kind=kinds.pop() if len(kinds) == 1 else None,
        normalize=normalize,
        notes=(*notes, *_remarks(changes)),
    )


def text_from(string: str, name: str = "text") -> Text:
    """A Text of a string as it stands: nothing is normalised. Raises DataError where it is blank."""
    gathered = _Symbols()
    if not gathered.add_file(iter([string])):
        raise DataError(f"{name}: expected text, found a blank string; give at least one character")
    alphabet, symbols = gathered.sorted()
    sha256 = hashlib.sha256(string.encode("utf-8", "surrogatepass")).hexdigest()
    return Text(name, (name,), alphabet, symbols, sha256, normalize="none")


def codes_of(text: str) -> NDArray[np.uint32]:
    """The code point of each character. Shape (characters,)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")


def text_of(codes: NDArray[np.uint32]) -> str:
    """The inverse of `codes_of`."""
    return codes.astype("<u4").tobytes().decode("utf-32-le", "surrogatepass")


class _Symbols:
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
        self._joint = "\n" * (2 - len(self._tail) + len(self._tail.rstrip("\n"))) if self._buffer else ""
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
        self._buffer += self._numbers[codes].astype(self._type).tobytes()

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


def _hashed(raw: Iterator[bytes], digest: "hashlib._Hash") -> Iterator[bytes]:
    for chunk in raw:
        digest.update(chunk)
        yield chunk


def _blank(source: Source) -> str:
    """A note for a blank file of a folder. Raises DataError for one that was named by itself."""
    if not source.in_folder:
        raise DataError(f"{source.name}: expected text, found an empty file or only blank lines; give one with text")
    return f"{source.name} is empty or blank"


def _name(sources: Sequence[str]) -> str:
    first = "standard input" if sources[0] == "-" else Path(sources[0]).name or sources[0]
    return first if len(sources) == 1 else f"{first} and {len(sources) - 1} more"


def _remarks(changes: Counter[str]) -> Iterator[str]:
    if changes[MARKS]:
        yield "a byte-order mark was dropped"
    if changes[BREAKS]:
        yield "line breaks were turned into LF"
    if changes[REPLACED]:
        yield f"normalised to NFC: {changes[REPLACED]:,} characters replaced; --normalize none keeps them"
