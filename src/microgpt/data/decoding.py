"""Bytes to clean text, piece by piece: decoded, without byte-order mark, line breaks as LF, normalised to NFC.

Each function takes the pieces of one file and yields pieces that join to the same text however the file was chunked.
"""

import codecs
import functools
import io
import unicodedata
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import NORMALIZATIONS, Normalization
from microgpt.data.encodings import advice, advice_on_nul, decoded_part
from microgpt.data.symbols import codes_of
from microgpt.errors import DataError, UsageError

MARKS, BREAKS, REPLACED, IS_UTF_8 = "marks", "breaks", "replaced", "is utf-8"
_MARK = "\ufeff"
_MOST_MARKS = 256  # accents and the like on one letter: sorting them, as NFC does, takes the square of their number


def check(encoding: str, normalize: str) -> None:
    """Raises UsageError where Python has no such text encoding, or there is no such normalisation."""
    try:
        "a".encode(encoding)
        codecs.getincrementaldecoder(encoding)
        if codecs.lookup(encoding).name in ("idna", "punycode"):  # for names: of a text they take the square
            raise LookupError
    except (LookupError, ValueError):
        raise UsageError(
            f"--encoding: expected a text encoding that Python knows, found {encoding!r}; "
            "utf-8, latin-1, utf-16 and shift_jis are some"
        ) from None
    if normalize not in NORMALIZATIONS:
        raise UsageError(f"--normalize: expected {' or '.join(NORMALIZATIONS)}, found {normalize!r}; choose one")


def clean(
    chunks: Iterable[bytes], *, name: str, encoding: str, normalize: Normalization, changes: Counter[str]
) -> Iterator[str]:
    """The clean text of one file in pieces, some of them empty; `changes` counts marks, line breaks, replacements, and
    whether a file that is read in another encoding looks like UTF-8.

    Raises DataError with the byte offset and the line of the first undecodable byte or NUL.
    """
    chunks = iter(chunks)
    head = next(chunks, b"")
    if not codecs.lookup(encoding).name.startswith("utf") and not head.isascii():
        changes[IS_UTF_8] += decoded_part(head, "utf-8") is not None
    chunks = chain([head], chunks)
    pieces = with_line_feeds(without_mark(decoded(chunks, name, encoding), changes), changes)
    return composed(pieces, name, changes) if normalize == "nfc" else pieces


def decoded(chunks: Iterable[bytes], name: str, encoding: str) -> Iterator[str]:
    """Strictly decoded pieces. Raises DataError with the byte offset, the line and a better `--encoding` to try."""
    decoder = codecs.getincrementaldecoder(encoding)()
    offset, line = 0, 1
    head = before = b""
    for chunk in chain(chunks, [b""]):
        head = head or chunk
        state = decoder.getstate()
        try:
            piece = decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            # The decoder puts the bytes it kept from earlier chunks before this one.
            data, start = (error.object, error.start) if chunk else (before, len(before) - len(error.object))
            place = offset + error.start - (len(error.object) - len(chunk))
            found = error.object[error.start : error.start + 1].hex()
            line += (decoded_part(error.object[: error.start], encoding) or "").count("\n")
            raise DataError(
                f"{name}: expected {encoding}, found 0x{found} in line {line}, at byte {place}; "
                f"{advice(head, data, start, encoding)}"
            ) from None
        except UnicodeError as error:
            raise DataError(
                f"{name}: expected {encoding}, found: {error}; {advice(head, chunk, 0, encoding)}"
            ) from None
        if "\0" in piece:
            decoder.setstate(state)
            place = offset + _nul(decoder, chunk) - len(state[0])
            raise DataError(f"{name}: expected text, found a NUL at byte {place}; {advice_on_nul(head)}")
        offset, line, before = offset + len(chunk), line + piece.count("\n"), chunk
        yield piece


def without_mark(pieces: Iterable[str], changes: Counter[str]) -> Iterator[str]:
    """Drops a byte-order mark at the very beginning."""
    begun = False
    for piece in pieces:
        if piece and not begun:
            begun = True
            changes[MARKS] += piece.startswith(_MARK)
            yield piece.removeprefix(_MARK)
        else:
            yield piece


def with_line_feeds(pieces: Iterable[str], changes: Counter[str]) -> Iterator[str]:
    """CR LF and lone CR become LF, also where a pair stands across two pieces."""
    decoder = io.IncrementalNewlineDecoder(None, translate=True)
    for piece in pieces:
        yield decoder.decode(piece)
    yield decoder.decode("", final=True)
    changes[BREAKS] += decoder.newlines not in (None, "\n")


def composed(pieces: Iterable[str], name: str, changes: Counter[str]) -> Iterator[str]:
    """NFC. A piece is cut where no character can join the one before it; the rest waits for the next piece."""
    rest = ""
    for piece in pieces:
        cut = next((place for place in range(len(piece) - 1, -1, -1) if _stands_alone(piece[place])), None)
        if cut is None:
            rest += piece
            check_marks(rest[-2 * _MOST_MARKS :], name)
        else:
            yield _nfc(rest + piece[:cut], name, changes)
            rest = piece[cut:]
    yield _nfc(rest, name, changes)


def _stands_alone(character: str) -> bool:
    """Whether it never combines with what stands before: true of all below U+0300, and of CJK ideographs."""
    return character < "\u0300" or "\u3400" <= character <= "\u9fff"


def check_marks(text: str, name: str) -> None:
    """Raises DataError where a letter has so many combining marks that normalising it would take for ever."""
    if text.isascii():
        return
    marks = _combining()[codes_of(text)]
    if np.count_nonzero(marks) <= _MOST_MARKS:
        return
    edges = np.flatnonzero(np.concatenate([[True], ~marks, [True]]))
    if int(np.diff(edges).max()) > _MOST_MARKS + 1:
        raise DataError(
            f"{name}: expected text, found more than {_MOST_MARKS} combining marks on one letter; remove them, or keep "
            "them with --normalize none"
        )


@functools.cache
def _combining() -> NDArray[np.bool_]:
    """Whether a character stands on the one before it, by code point."""
    table = np.zeros(0x110000, np.bool_)
    table[[code for code in range(0x300, 0x20000) if unicodedata.combining(chr(code))]] = True
    return table


def _nfc(text: str, name: str, changes: Counter[str]) -> str:
    check_marks(text, name)
    if unicodedata.is_normalized("NFC", text):
        return text
    result = unicodedata.normalize("NFC", text)
    changes[REPLACED] += (Counter(text) - Counter(result)).total()
    return result


def _nul(decoder: codecs.IncrementalDecoder, chunk: bytes) -> int:
    """How many bytes, those kept by the decoder included, stand before the first NUL of the chunk."""
    state, ends = decoder.getstate(), range(len(chunk) + 1)

    def piece(end: int) -> str:
        decoder.setstate(state)
        return decoder.decode(chunk[:end])

    # Halved, for of a long shift of UTF-7 each byte would be decoded once for every one that follows.
    last = bisect_left(ends, True, key=lambda end: "\0" in piece(end))
    place = bisect_left(ends, len(piece(last - 1)), key=lambda end: len(piece(end)))
    return place and len(state[0]) + place
