"""From a text of any length to a folder of tokens, in bounded memory: what `microgpt prepare` does.

Bytes are written as they come. Characters are numbered as they come, because their sorted places are known only at the
end; those numbers stand in a nameless file, which a second pass turns into token ids. Of byte pairs that pass learns
the merges, from the beginning of the text, and a third encodes all of it.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt import files
from microgpt.data.byte_pairs import MOST_LEARNED, Encoder, Pair, cut, learn
from microgpt.data.choices import Normalization, Unit, size_of
from microgpt.data.decoding import check
from microgpt.data.reading import gather, name_of, raw
from microgpt.data.slices import Tokens, blocks, fitting
from microgpt.data.symbols import Symbols, codes_of, text_of
from microgpt.data.token_folder import BYTES, HEADER, TOKENS, Header
from microgpt.errors import DataError, UsageError

Listener = Callable[[int], None]  # hears, again and again, how many bytes more were read; what it raises ends the work
LEARNED: Final = 0.8  # share of a text that merges are learned from at most: what is held out stands at its end
_FEWEST: Final = 2  # tokens, of which the first predicts the second


def write_folder(
    sources: Sequence[str],
    folder: Path,
    *,
    tokens: str = "characters",
    encoding: str = "utf-8",
    normalize: Normalization = "nfc",
    listener: Listener = lambda _: None,
) -> tuple[Header, tuple[str, ...]]:
    """Write texts, one after another with a blank line between two, as a new folder of tokens (characters, bytes or
    bpe:N), which appears whole.

    Gives its header, and notes on the text. Memory: some megabytes for any length, and for byte pairs the different
    pieces of what they are learned from; disk: the tokens, and but for bytes as much again as characters meanwhile.
    Raises what `read` raises; `UsageError` where the folder is there already or bytes are to be decoded; `DataError`
    for more byte pairs than the text has; `EnvironmentFault` where it can't be written.
    """
    check(encoding, normalize)
    size = size_of(tokens)
    if tokens == "bytes" and encoding != "utf-8":
        raise UsageError(
            f"--encoding {encoding} is of no use for --tokens bytes, which stay as they are; leave it out."
        )
    found: list[tuple[Header, tuple[str, ...]]] = []

    def fill(temporary: Path) -> None:
        if tokens == "bytes":
            found.append(_write_bytes(sources, temporary, listener))
        else:
            found.append(_write_characters(sources, temporary, encoding, normalize, listener, size))
        files.replace(temporary / HEADER, found[0][0].to_json())

    taken = "expected a new --out, found something of that name; choose another, or remove it."
    files.make_folder(folder, fill, taken)
    return found[0]


def _write_bytes(sources: Sequence[str], folder: Path, listener: Listener) -> tuple[Header, tuple[str, ...]]:
    pieces, notes = raw(sources)
    with _Output(folder / TOKENS, len(BYTES)) as output:
        for piece in pieces:
            output.add(np.frombuffer(piece, np.uint8))
            listener(len(piece))
    return output.header(name_of(sources), "bytes", BYTES, "none"), tuple(notes)


def _write_characters(
    sources: Sequence[str], folder: Path, encoding: str, normalize: Normalization, listener: Listener, size: int
) -> tuple[Header, tuple[str, ...]]:
    """Characters or, with a `size`, so many tokens of byte pairs."""
    # Scratch, not a product: it has no name, so that nothing is left of it however this ends.
    with tempfile.TemporaryFile(dir=folder) as scratch:
        numbered = _Spooled(scratch)
        _, notes = gather(sources, numbered, encoding=encoding, normalize=normalize, listener=listener)
        alphabet, begin = numbered.in_order()[0], 0
        merges: tuple[Pair, ...] = ()
        if size:
            begin = max(1, min(MOST_LEARNED, int(LEARNED * numbered.size)))
            merges = learn(cut(_texts(*numbered.in_order(0, begin))), alphabet, size)
        encoder, learned_from = Encoder(alphabet, merges, size), 0
        with _Output(folder / TOKENS, max(size, len(alphabet))) as output:
            for first, last in ((0, begin), (begin, numbered.size)):
                learned_from = output.size
                part = numbered.in_order(first, last)
                for block in encoder.encode(_texts(*part)) if merges else part[1]:
                    output.add(block)
                    listener(0)
    header = output.header(name_of(sources), "characters", alphabet, normalize)
    return replace(header, merges=merges, learned_from=learned_from if merges else 0), tuple(notes)


def _texts(alphabet: str, numbers: Iterator[Tokens]) -> Iterator[str]:
    codes = codes_of(alphabet)
    return (text_of(codes[block]) for block in numbers)


@dataclass(frozen=True)
class _Stretch:
    """So many numbers of the scratch file that have one type."""

    dtype: np.dtype[Any]
    size: int


class _Spooled(Symbols):
    """Characters as they come, with their numbers in a file. Each stretch keeps the width it was written in."""

    def __init__(self, scratch: IO[bytes]) -> None:
        super().__init__()
        self._scratch = scratch
        self._stretches: list[_Stretch] = []

    def _keep(self, numbers: Tokens) -> None:
        self._scratch.write(numbers.tobytes())
        self._stretches.append(_Stretch(numbers.dtype, len(numbers)))

    def _widen(self, wanted: np.dtype[np.unsignedinteger[Any]]) -> None:
        self._type = wanted

    @property
    def size(self) -> int:
        """How many symbols there are."""
        return sum(stretch.size for stretch in self._stretches)

    def in_order(self, first: int = 0, last: int | None = None) -> tuple[str, Iterator[Tokens]]:
        """The sorted alphabet, and the symbols from place `first` to before `last` as places in it, piece by piece."""
        order = np.argsort(self._codes)
        table = np.argsort(order).astype(fitting(len(order)))
        return text_of(self._codes[order]), self._translated(table, first, self.size if last is None else last)

    def _translated(self, table: Tokens, first: int, last: int) -> Iterator[Tokens]:
        self._scratch.seek(0)
        place = 0
        for stretch in self._stretches:
            data = self._scratch.read(stretch.size * stretch.dtype.itemsize)
            part = slice(max(0, first - place), max(0, last - place))
            yield table[np.frombuffer(data, stretch.dtype)[part]]
            place += stretch.size


class _Output(AbstractContextManager["_Output"]):
    """`tokens.bin` as it grows, with its hash and the counts of its token ids."""

    def __init__(self, path: Path, size: int) -> None:
        self._path, self._writing = path, files.writing(path)
        self._dtype = fitting(size - 1).newbyteorder("<")
        self._digest = hashlib.sha256()
        self._counts: NDArray[np.int64] = np.zeros(size, np.int64)

    def __enter__(self) -> "_Output":
        self._write = self._writing.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self._writing.__exit__(*error)

    @property
    def size(self) -> int:
        """Tokens so far."""
        return int(self._counts.sum())

    def add(self, tokens: Tokens) -> None:
        for block in blocks(tokens):
            data = block.astype(self._dtype, copy=False).tobytes()
            self._counts += np.bincount(block, minlength=len(self._counts))
            self._digest.update(data)
            self._write(data)

    def header(self, name: str, unit: Unit, characters: str, normalize: Normalization) -> Header:
        """What was written. Raises `DataError` where it is too short to predict anything."""
        header = Header(name, unit, characters, normalize, self._digest.hexdigest(), self._counts)
        if header.tokens < _FEWEST:
            raise DataError(f"{name}: expected at least {_FEWEST} tokens, found {header.tokens}; give more text.")
        return header
