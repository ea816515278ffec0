"""Text to token ids and back: the sorted characters of a text, and BOS after the last of them; or bytes, and BOS."""

import codecs
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import NORMALIZATIONS, Normalization, Unit
from microgpt.data.decoding import check_marks
from microgpt.data.nearest import refusal
from microgpt.data.slices import Tokens, fitting
from microgpt.data.symbols import codes_of, text_of
from microgpt.data.token_folder import BYTES, is_alphabet
from microgpt.errors import CheckpointError, DataError


@dataclass(frozen=True)
class Tokenizer:
    """`characters` are sorted and distinct; the place of each is its token id.

    With `normalize` "nfc" a text to encode is normalised first, as the text it was made from was. Where `unit` is
    "bytes" a token is a byte of UTF-8, its id its number, and `characters` is BYTES: no text has an unknown one.
    """

    characters: str
    normalize: Normalization = "none"
    unit: Unit = "characters"

    def __post_init__(self) -> None:
        if self.unit == "bytes" and (self.characters, self.normalize) != (BYTES, "none"):
            raise ValueError("bytes have the 256 of BYTES as their characters, and are never normalised")

    @staticmethod
    def of(text: str) -> "Tokenizer":
        """The tokenizer of a text as it stands."""
        return Tokenizer("".join(sorted(set(text))))

    @property
    def bos(self) -> int:
        """The id of the token that begins and ends a document."""
        return len(self.characters)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are: the characters and BOS."""
        return len(self.characters) + 1

    def encode(self, text: str) -> Tokens:
        """Token ids, shape (characters,), in 8, 16 or 32 bits as the vocabulary needs; BOS never occurs.

        Raises DataError that names unknown characters, each with the nearest known one.
        """
        if self.unit == "bytes":
            return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(fitting(self.bos))
        ids = self._ids(self._normalized(text))
        if (ids == self.bos).any():
            raise DataError(refusal(self.unknown(text), self.characters))
        return ids

    def decode(self, ids: Iterable[int] | NDArray[np.integer[Any]]) -> str:
        """The text of token ids; BOS has none, and bytes that are no UTF-8 become U+FFFD. Raises IndexError for an id
        beyond the vocabulary."""
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        codes = self._codes[array[array != self.bos]]
        return (
            text_of(codes) if self.unit == "characters" else codes.astype(np.uint8).tobytes().decode("utf-8", "replace")
        )

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of one token after another, empty for BOS and for a byte that only begins a character; they join to
        what `decode` gives. Half a character at the end makes one piece more."""
        if self.unit == "characters":
            texts = [*self.characters, ""]
            yield from (texts[token] for token in ids)
            return
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in ids:
            yield decoder.decode(bytes([token]) if token != self.bos else b"")
        if rest := decoder.decode(b"", final=True):
            yield rest

    def unknown(self, text: str) -> str:
        """The distinct characters of a text that are not in the vocabulary, sorted."""
        if self.unit == "bytes":
            return ""
        return "".join(sorted(set(self._normalized(text)) - set(self.characters)))

    def to_dict(self) -> dict[str, str]:
        """Plain values for JSON."""
        if self.unit == "bytes":
            return {"unit": self.unit}
        return {"characters": self.characters, "normalize": self.normalize}

    @staticmethod
    def from_dict(values: Mapping[str, object]) -> "Tokenizer":
        """The inverse of `to_dict`. Raises CheckpointError where the values can't be a tokenizer."""
        if values == {"unit": "bytes"}:
            return Tokenizer(BYTES, unit="bytes")
        characters, normalize = values.get("characters"), values.get("normalize", "none")
        if not isinstance(characters, str) or not is_alphabet(characters):
            raise CheckpointError(
                "tokenizer: expected sorted, distinct, whole characters, found others; the file is damaged"
            )
        if normalize not in NORMALIZATIONS:
            raise CheckpointError(f"tokenizer: expected normalize nfc or none, found {normalize!r}; it is damaged")
        return Tokenizer(characters, normalize)

    def _normalized(self, text: str) -> str:
        if self.normalize != "nfc":
            return text
        check_marks(text, "the text")
        return unicodedata.normalize("NFC", text)

    def _ids(self, text: str) -> Tokens:
        """Ids, with BOS for every character that is unknown."""
        table = self._table
        return table[np.minimum(codes_of(text), len(table) - 1)]

    @cached_property
    def _codes(self) -> NDArray[np.uint32]:
        return codes_of(self.characters)

    @cached_property
    def _table(self) -> Tokens:
        """From code point to id; the last entry, never a known character, stands for all beyond it."""
        table = np.full(int(self._codes.max(initial=0)) + 2, self.bos, dtype=fitting(self.bos))
        table[self._codes] = np.arange(len(self.characters))
        return table
