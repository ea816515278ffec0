"""Sources to one clean text in memory: an alphabet, and one, two or four bytes a character."""

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from microgpt.data.byte_pairs import Pair
from microgpt.data.choices import Kind, Normalization, Unit, kind_of
from microgpt.data.decoding import BREAKS, IS_UTF_8, MARKS, REPLACED, check, clean
from microgpt.data.markov import ENDLESS
from microgpt.data.slices import Positions, Tokens, blocks
from microgpt.data.sources import Source, chunks, located
from microgpt.data.symbols import Symbols, codes_of, text_of
from microgpt.data.token_folder import BYTES, is_token_folder, open_folder
from microgpt.errors import DataError, UsageError

_USUAL: Final = "\t\n\v\f\r\x1b\x85"  # control characters that texts have


@dataclass(frozen=True, eq=False)
class Text:
    """A text that was read: `symbols` are places in `alphabet`, the sorted distinct characters.

    The type of `symbols`, shape (characters,), also holds the number len(alphabet), which is free for BOS. `sha256`
    is that of the raw bytes of all files in order. `declared_kind` is what a built-in text says of itself.

    `unit` is what a symbol stands for; the alphabet of bytes is BYTES. A text that was prepared as token files stays on
    disk: `symbols` is a map of them, `sha256` is theirs, and `counts`, (tokens,), how often each occurs; where they
    were merged, `merges` says how, and the first `learned_from` of them are those that it was learned from.
    `cuts` are the starts and stops of its documents, of the declared kind, where they are known; shapes (documents,).
    """

    name: str
    sources: tuple[str, ...]
    alphabet: str
    symbols: Tokens
    sha256: str
    declared_kind: Kind | None = None
    normalize: Normalization = "nfc"
    notes: tuple[str, ...] = ()
    unit: Unit = "characters"
    counts: NDArray[np.int64] | None = None
    cuts: tuple[Positions, Positions] | None = None
    merges: tuple[Pair, ...] = ()
    learned_from: int = 0

    def __len__(self) -> int:
        return len(self.symbols)

    def __str__(self) -> str:
        codes = codes_of(self.alphabet)
        return "".join(text_of(codes[block]) for block in blocks(self.symbols))


def read(sources: Sequence[str], *, encoding: str = "utf-8", normalize: Normalization = "nfc") -> Text:
    """Reads built-in texts, files, folders (every .txt below, sorted) or `-`, one after another, as one text.

    A blank line stands between two files. Memory: the symbols, and a few megabytes; a folder of tokens, which stands
    alone, is mapped and not loaded. Raises UsageError for an unknown encoding or normalisation; DataError for what is
    missing, unreadable, undecodable, empty or blank.
    """
    check(encoding, normalize)
    if any(map(is_token_folder, sources)):
        return _prepared(sources, encoding, normalize)
    gathered = Symbols()
    sha256, notes = gather(sources, gathered, encoding=encoding, normalize=normalize)
    alphabet, symbols = gathered.sorted()
    kinds = set(map(kind_of, sources))
    return Text(
        name=name_of(sources),
        sources=tuple(sources),
        alphabet=alphabet,
        symbols=symbols,
        sha256=sha256,
        declared_kind=kinds.pop() if len(kinds) == 1 else None,
        normalize=normalize,
        notes=tuple(notes),
    )


def read_bytes(sources: Sequence[str]) -> Text:
    """The same as bytes, which stay as they are. Raises DataError for what is missing, unreadable or empty."""
    if any(map(is_token_folder, sources)):
        return _prepared(sources)
    pieces, notes = raw(sources)
    symbols = np.frombuffer(b"".join(pieces), np.uint8)
    if not len(symbols):
        raise DataError(f"{', '.join(sources)}: expected bytes, found empty files; give a file with text")
    sha256 = hashlib.sha256(symbols.data).hexdigest()
    return Text(name_of(sources), tuple(sources), BYTES, symbols, sha256, "windows", "none", tuple(notes), "bytes")


def _prepared(sources: Sequence[str], encoding: str = "utf-8", normalize: Normalization = "nfc") -> Text:
    """A folder of tokens as a Text. Raises DataError where it is damaged, UsageError for what it can't be asked."""
    folder = next(filter(is_token_folder, sources))
    if len(sources) > 1:
        raise UsageError(f"--data: expected the tokens {folder} alone, found {len(sources)} texts; prepare them as one")
    header, symbols = open_folder(Path(folder))
    if encoding != "utf-8" or (normalize == "none" and header.normalize != "none" and header.unit == "characters"):
        flag = f"--encoding {encoding}" if encoding != "utf-8" else f"--normalize {normalize}"
        raise UsageError(f"{flag}: {folder} was decoded when it was prepared; leave it out, or prepare the text so")
    return Text(
        name=header.name,
        sources=tuple(sources),
        alphabet=header.characters,
        symbols=symbols,
        sha256=header.sha256,
        declared_kind="windows",
        normalize=header.normalize,
        unit=header.unit,
        counts=header.counts,
        merges=header.merges,
        learned_from=header.learned_from,
    )


def gather(
    sources: Sequence[str],
    symbols: Symbols,
    *,
    encoding: str,
    normalize: Normalization,
    listener: Callable[[int], None] = lambda _: None,
) -> tuple[str, list[str]]:
    """Adds all sources to `symbols`; the SHA-256 of their raw bytes, and notes. `listener` hears of each chunk.

    Raises DataError for what is missing, unreadable, undecodable, empty or blank.
    """
    found, notes = located(sources)
    digest = hashlib.sha256()
    changes: Counter[str] = Counter()
    for source in found:
        notes += [f"{source.name}: {ENDLESS.told}"] if source.made else []
        heard = _hashed(chunks(source), digest, listener)
        pieces = clean(heard, name=source.name, encoding=encoding, normalize=normalize, changes=changes)
        if not symbols.add_file(pieces):
            notes.append(_blank(source))
    if not symbols.has_ink:
        raise DataError(f"{', '.join(sources)}: expected text, found only blank files; give a file with text")
    if symbols.has_lone_surrogates:
        raise DataError(f"{', '.join(sources)}: expected {encoding}, found lone surrogates; try another --encoding")
    return digest.hexdigest(), [*notes, *remarks(changes, encoding), *_doubts(symbols.characters)]


def sha256_of(sources: Sequence[str]) -> str:
    """What the `sha256` of the Text of these sources would be, without decoding them. Raises DataError."""
    if any(map(is_token_folder, sources)):
        return _prepared(sources).sha256
    digest = hashlib.sha256()
    for source in located(sources)[0]:
        for chunk in chunks(source):
            digest.update(chunk)
    return digest.hexdigest()


def raw(sources: Sequence[str]) -> tuple[Iterator[bytes], list[str]]:
    """The bytes of all sources, with a blank line between two files, and notes on what was left out."""
    found, notes = located(sources)
    return _with_blank_lines(map(chunks, found)), notes


def _with_blank_lines(streams: Iterator[Iterator[bytes]]) -> Iterator[bytes]:
    tail = b""
    for stream in streams:
        missing = b"\n" * (2 - len(tail) + len(tail.rstrip(b"\n"))) if tail else b""
        for chunk in stream:
            yield missing + chunk
            tail, missing = (tail + missing + chunk)[-2:], b""


def text_from(string: str, name: str = "text") -> Text:
    """A Text of a string as it stands: nothing is normalised. Raises DataError where it is blank."""
    gathered = Symbols()
    if not gathered.add_file(iter([string])):
        raise DataError(f"{name}: expected text, found a blank string; give at least one character")
    alphabet, symbols = gathered.sorted()
    sha256 = hashlib.sha256(string.encode("utf-8", "surrogatepass")).hexdigest()
    return Text(name, (name,), alphabet, symbols, sha256, normalize="none")


def _hashed(stream: Iterator[bytes], digest: "hashlib._Hash", listener: Callable[[int], None]) -> Iterator[bytes]:
    for chunk in stream:
        digest.update(chunk)
        listener(len(chunk))
        yield chunk


def _blank(source: Source) -> str:
    """A note for a blank file of a folder. Raises DataError for one that was named by itself."""
    if source.asked:
        raise DataError(f"{source.name}: expected text, found an empty file or only blank lines; give one with text")
    return f"{source.name} is empty or blank"


def name_of(sources: Sequence[str]) -> str:
    """What a text of these sources is called."""
    first = "standard input" if sources[0] == "-" else Path(sources[0]).name or sources[0]
    return first if len(sources) == 1 else f"{first} and {len(sources) - 1} more"


def remarks(changes: Counter[str], encoding: str = "utf-8") -> Iterator[str]:
    """What cleaning a text has changed."""
    if changes[IS_UTF_8]:
        yield f"the text looks like utf-8, but --encoding reads it as {encoding}; leave --encoding out to read utf-8"
    if changes[MARKS]:
        yield "a byte-order mark was dropped"
    if changes[BREAKS]:
        yield "line breaks were turned into LF"
    if changes[REPLACED]:
        yield f"normalised to NFC: {changes[REPLACED]:,} characters replaced; --normalize none keeps them"


def _doubts(characters: str) -> Iterator[str]:
    """Signs that bytes were decoded wrongly, now or before."""
    if controls := sorted(c for c in characters if category(c) == "Cc" and c not in _USUAL):
        yield (
            f"the text has {len(controls)} control characters such as U+{ord(controls[0]):04X}: it may not be plain "
            "text, or may need another --encoding (cp1252 instead of latin-1)"
        )
    if "\ufffd" in characters:
        yield "the text has U+FFFD, which stands for what was lost when it was decoded before"
