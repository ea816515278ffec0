"""A long text on disk as tokens: one array in a file, and a header that says what its numbers mean.

`tokens.bin` holds the token ids of running text, in 8, 16 or 32 little-endian bits, and `tokens.json` all else. The
array is mapped into memory and never loaded: the system reads what a step asks for, and may forget it again.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import numpy as np
from numpy.typing import NDArray

from microgpt import files, untrusted
from microgpt.data.byte_pairs import Pair, merges_of, texts_of
from microgpt.data.choices import MOST_TOKENS, NORMALIZATIONS, UNITS, Normalization, Unit, is_built_in
from microgpt.data.slices import Tokens, fitting
from microgpt.data.symbols import codes_of
from microgpt.errors import CheckpointError, DataError

SCHEMAS: Final = (1, 2)  # a folder has the lowest that can tell it: 2 has merges
TOKENS: Final = "tokens.bin"
HEADER: Final = "tokens.json"
HEADER_LIMIT: Final = 28 << 20  # bytes: what every character there is, with its count, needs at most
MOST_CHARACTERS: Final = 0x110000
TOKENS_LIMIT: Final = 1 << 50  # bytes
BYTES: Final = "".join(map(chr, range(256)))  # the vocabulary of bytes, each as the character of its number
_KEYS: Final = {
    "schema",
    "name",
    "unit",
    "characters",
    "normalize",
    "kind",
    "vocabulary",
    "bits",
    "tokens",
    "sha256",
    "counts",
}
_LEARNED: Final = {"merges", "learned_from"}


@dataclass(frozen=True, eq=False)
class Header:
    """What `tokens.json` says. Token ids are places in `characters`, and beyond them tokens that `merges` make, which
    were learned from the first `learned_from` tokens; `counts`, (tokens,), is how often each occurs.

    `sha256` is that of `tokens.bin`. For bytes `characters` is BYTES, and every text can be told in them.
    """

    name: str
    unit: Unit
    characters: str
    normalize: Normalization
    sha256: str
    counts: NDArray[np.int64]
    merges: tuple[Pair, ...] = ()
    learned_from: int = 0

    @property
    def kind_of_tokens(self) -> str:
        """What a token is, as `--tokens` has it."""
        return f"bpe:{len(self.counts)}" if self.merges else self.unit

    @property
    def tokens(self) -> int:
        """How many tokens the text has."""
        return int(self.counts.sum())

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of `tokens.bin`. The mark of begin and end, which running text lacks, needs no room in it."""
        return fitting(len(self.counts) - 1).newbyteorder("<")

    def to_json(self) -> bytes:
        """The inverse of `header_of`."""
        return (json.dumps(self._values(), allow_nan=False) + "\n").encode("ascii")

    def _values(self) -> dict[str, Any]:
        learned = {"merges": [list(pair) for pair in self.merges], "learned_from": self.learned_from}
        return {
            "schema": 2 if self.merges else 1,
            "name": self.name,
            "unit": self.unit,
            "kind": "windows",
            "vocabulary": len(self.counts) + 1,
            "tokens": self.tokens,
            "bits": 8 * self.dtype.itemsize,
            "sha256": self.sha256,
            "normalize": self.normalize,
            "characters": self.characters if self.unit == "characters" else None,
            "counts": self.counts.tolist(),
        } | (learned if self.merges else {})


def is_token_folder(source: str) -> bool:
    """Whether a source is a folder that `prepare` wrote."""
    try:
        return not is_built_in(source) and (Path(source) / HEADER).is_file()
    except (OSError, ValueError):  # not allowed to look, or no path at all: reading it will say so
        return False


def open_folder(folder: Path) -> tuple[Header, Tokens]:
    """The header, and the tokens as a read-only map of the file, shape (tokens,).

    All of the file is read once, a megabyte at a time, for its hash: a damaged array is found here and not as a wrong
    result later. Raises `DataError` where the folder is damaged or has changed since it was prepared.
    """
    try:
        path, told = untrusted.inside(folder, TOKENS), untrusted.inside(folder, HEADER)
        header = header_of(untrusted.read(told, HEADER_LIMIT), str(told))
        with untrusted.opened(path, TOKENS_LIMIT) as (file, size):
            expected = header.tokens * header.dtype.itemsize
            if size != expected:
                raise DataError(_changed(path, f"{expected:,} bytes", f"{size:,}"))
            _verify(file, header, path)
            # Of the very file that was verified, whatever its name means by now. A plain view makes cheap slices.
            return header, np.asarray(np.memmap(file, dtype=header.dtype, mode="r"))
    except CheckpointError as error:  # the reader of untrusted files speaks of checkpoints
        raise DataError(str(error)) from None


def header_of(data: bytes, where: str) -> Header:
    """A header from untrusted bytes. Raises `DataError`, or `CheckpointError` for what is no JSON."""
    damaged = DataError(f"{where}: expected the header of token files, found other values; prepare the text again.")
    if data.count(b"{") + data.count(b"[") > 1000 + MOST_TOKENS:  # those of it are merges, and a few in its texts
        raise damaged
    # What is not ASCII would take four times its bytes, and `to_json` writes none.
    values = untrusted.parse_json(data.decode("ascii", "replace"), where, MOST_CHARACTERS + len(_KEYS))
    if values.get("schema") not in SCHEMAS:
        known = " or ".join(map(str, SCHEMAS))
        raise DataError(
            f"{where}: expected token files of schema {known}, found {str(values.get('schema'))[:40]!r}; prepare the "
            "text again, or take the version of microgpt that wrote it."
        )
    unit, characters = values.get("unit"), values.get("characters")
    if unit == "bytes" and characters is None:
        characters = BYTES
    header = None
    try:
        merges = merges_of(values.get("merges", []))
        if isinstance(characters, str) and is_alphabet(characters) and _is_sound(values, characters, merges):
            counts = np.array(values["counts"], np.int64)
            normalize, learned = cast(Normalization, values["normalize"]), values.get("learned_from", 0)
            about = (values["name"], cast(Unit, unit), characters, normalize, values["sha256"], counts)
            header = Header(*about, merges, learned)
    except ValueError:  # merges that can't be
        raise damaged from None
    if header is None or header._values() != values or header.learned_from > header.tokens:
        raise damaged
    return header


def is_alphabet(text: str) -> bool:
    """Whether the characters are sorted, distinct and whole; a text of any length is told without a list of them."""
    codes = codes_of(text[:MOST_CHARACTERS])
    return len(codes) == len(text) and bool((codes[1:] > codes[:-1]).all() and (codes >> 11 != 0xD800 >> 11).all())


def _is_sound(values: dict[str, Any], characters: str, merges: tuple[Pair, ...]) -> bool:
    """Whether all values are of their types; that they agree with one another is asked later."""
    texts = all(isinstance(values.get(name), str) for name in ("name", "sha256")) and values["sha256"].isalnum()
    choices = values.get("unit") in UNITS and values.get("normalize") in NORMALIZATIONS
    known = values.get("unit") != "bytes" or (characters == BYTES and values.get("normalize") == "none")
    learned = values.get("learned_from", 0)
    told = not merges or (values.get("unit") == "characters" and type(learned) is int and 0 < learned < TOKENS_LIMIT)
    size = len(texts_of(characters, merges)[0]) if merges else len(characters)
    keys = values.keys() - (_LEARNED if merges else set())
    return keys == _KEYS and texts and choices and known and told and _are_counts(values, size)


def _are_counts(values: dict[str, Any], size: int) -> bool:
    counts = values.get("counts")
    if not isinstance(counts, list) or len(counts) != size:
        return False
    return all(type(value) is int and 0 <= value < TOKENS_LIMIT for value in counts) and 0 < sum(counts) < TOKENS_LIMIT


def _verify(file: BinaryIO, header: Header, path: Path) -> None:
    """Raise `DataError` unless the hash is the header's and every token is one of the vocabulary."""
    digest, largest = hashlib.sha256(), 0
    while data := file.read(files.CHUNK):
        digest.update(data)
        largest = max(largest, int(np.frombuffer(data, header.dtype).max()))
    if largest >= len(header.counts):
        raise DataError(_changed(path, f"token ids below {len(header.counts)}", str(largest)))
    if digest.hexdigest() != header.sha256:
        found = f"another ({digest.hexdigest()[:12]}…)"
        raise DataError(_changed(path, f"the tokens of SHA-256 {header.sha256[:12]}…", found))


def _changed(path: Path, expected: str, found: str) -> str:
    return f"{path}: expected {expected}, found {found}; the file has changed since: prepare the text again."
