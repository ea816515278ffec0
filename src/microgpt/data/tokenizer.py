"""Text to token ids and back: the sorted characters of a text, the tokens that merges make of them, and BOS after the
last; or bytes, and BOS."""

import codecs
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt.data.byte_pairs import Encoder, Pair, merges_of, texts_of
from microgpt.data.choices import MOST_TOKENS, NORMALIZATIONS, Normalization, Unit
from microgpt.data.decoding import check_marks
from microgpt.data.nearest import refusal
from microgpt.data.slices import Tokens, fitting
from microgpt.data.symbols import codes_of, text_of
from microgpt.data.token_folder import BYTES, is_alphabet
from microgpt.errors import CheckpointError, DataError


@dataclass(frozen=True)
class Tokenizer:
    """`characters` are sorted and distinct; the place of each is its token id. `merges` are pairs of ids in the order
    in which they were learned (see byte_pairs), each of which makes a token; their ids follow.

    With `normalize` "nfc" a text to encode is normalised first, as the text it was made from was. Where `unit` is
    "bytes" a token is a byte of UTF-8, its id its number, and `characters` is BYTES: no text has an unknown one.
    Raises ValueError for merges that can't be.
    """

    characters: str
    normalize: Normalization = "none"
    unit: Unit = "characters"
    merges: tuple[Pair, ...] = ()

    def __post_init__(self) -> None:
        if self.merges and (self.unit == "bytes" or self.bos > MOST_TOKENS):
            raise ValueError(f"merges are of characters, and make {MOST_TOKENS:,} tokens at most")
        if self.unit == "bytes" and (self.characters, self.normalize) != (BYTES, "none"):
            raise ValueError("bytes have the 256 of BYTES as their characters, and are never normalised")

    @staticmethod
    def of(text: str) -> "Tokenizer":
        """The tokenizer of a text as it stands."""
        return Tokenizer("".join(sorted(set(text))))

    @cached_property
    def texts(self) -> tuple[str, ...]:
        """The text of every token but BOS; that of a byte is the character of its number."""
        return tuple(texts_of(self.characters, self.merges)[0])

    @property
    def bos(self) -> int:
        """The id of the token that begins and ends a document."""
        return len(self.texts if self.merges else self.characters)

    @property
    def vocabulary(self) -> int:
        """How many tokens there are, BOS among them."""
        return self.bos + 1

    @property
    def tokens(self) -> str:
        """What a token is, as `--tokens` has it."""
        return f"bpe:{self.bos}" if self.merges else self.unit

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """How many characters each token is, (vocabulary,). BOS counts as one, a byte that goes on with a character as
        none: so all that is held out has one number of characters, whatever its tokens are."""
        if self.unit == "bytes":
            return np.array([byte & 0xC0 != 0x80 for byte in range(256)] + [True], np.int64)
        return np.array([*map(len, self.texts), 1], np.int64)

    def encode(self, text: str) -> Tokens:
        """Token ids, shape (tokens,), in 8, 16 or 32 bits as the vocabulary needs; BOS never occurs.

        Raises DataError that names unknown characters, each with the nearest known one.
        """
        if self.unit == "bytes":
            return np.frombuffer(text.encode("utf-8", "surrogatepass"), np.uint8).astype(fitting(self.bos))
        text = self._normalized(text)
        ids = self._ids(text)
        if (ids == self.bos).any():
            raise DataError(refusal(self.unknown(text), self.characters))
        if self.merges:
            return np.concatenate([ids[:0], *self._encoder.encode([text])])
        return ids

    def decode(self, ids: Iterable[int] | NDArray[np.integer[Any]]) -> str:
        """The text of token ids; BOS has none, and bytes that are no UTF-8 become U+FFFD. Raises IndexError for an id
        beyond the vocabulary."""
        array = np.asarray(ids if isinstance(ids, np.ndarray) else list(ids), dtype=np.int64)
        if self.merges:
            texts = [*self.texts, ""]
            return "".join([texts[token] for token in array.tolist()])
        codes = self._codes[array[array != self.bos]]
        return (
            text_of(codes) if self.unit == "characters" else codes.astype(np.uint8).tobytes().decode("utf-8", "replace")
        )

    def decode_rows(self, ids: NDArray[np.integer[Any]], counts: NDArray[np.int64]) -> list[str]:
        """The texts of the first `counts` (n,) tokens of each row of ids (n, m), as `decode` gives them."""
        if self.unit == "bytes" or self.merges:
            return [self.decode(row[:count]) for row, count in zip(ids, counts.tolist(), strict=True)]
        shown = (np.arange(ids.shape[1]) < counts[:, None]) & (ids != self.bos)  # (n, m)
        text, ends = text_of(self._codes[ids[shown]]), shown.sum(axis=1).cumsum().tolist()
        return [text[start:end] for start, end in zip([0, *ends], ends, strict=False)]

    def pieces(self, ids: Iterable[int]) -> Iterator[str]:
        """The text of one token after another, empty for BOS and for a byte that only begins a character; they join to
        what `decode` gives. Half a character at the end makes one piece more."""
        if self.unit == "characters":
            texts = [*self.texts, ""]
            yield from (texts[token] for token in ids)
            return
        decoder = codecs.getincrementaldecoder("utf-8")("replace")
        for token in ids:
            yield decoder.decode(bytes([token]) if token != self.bos else b"")
        if rest := decoder.decode(b"", final=True):
            yield rest

    def grown(self, more: str) -> "Tokenizer":
        """The same with these characters too; what is a token stays one, under the id of `places_in`."""
        characters = "".join(sorted({*self.characters, *more}))
        if self.unit == "bytes" or characters == self.characters:
            return self
        places = self.places_in(characters)
        merges = tuple((int(places[one]), int(places[other])) for one, other in self.merges)
        return replace(self, characters=characters, merges=merges)

    def places_in(self, characters: str) -> NDArray[np.intp]:
        """The id that each token has once these are the characters, its own among them, (vocabulary,)."""
        place = {character: number for number, character in enumerate(characters)}
        first = [place[character] for character in self.characters]
        return np.array([*first, *range(len(place), len(place) + self.vocabulary - len(first))], np.intp)

    def unknown(self, text: str) -> str:
        """The distinct characters of a text that are not in the vocabulary, sorted."""
        if self.unit == "bytes":
            return ""
        return "".join(sorted(set(self._normalized(text)) - set(self.characters)))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON."""
        if self.unit == "bytes":
            return {"unit": self.unit}
        merges = {"merges": [list(pair) for pair in self.merges]} if self.merges else {}
        return {"characters": self.characters, "normalize": self.normalize, **merges}

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
        try:
            return Tokenizer(characters, normalize, merges=merges_of(values.get("merges", [])))
        except ValueError as error:
            raise CheckpointError(f"tokenizer: expected merges of tokens, found: {error}; it is damaged") from None

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
    def _encoder(self) -> Encoder:
        return Encoder(self.characters, self.merges, self.bos)

    @cached_property
    def _codes(self) -> NDArray[np.uint32]:
        return codes_of(self.characters)

    @cached_property
    def _table(self) -> Tokens:
        """From code point to id; the last entry, never a known character, stands for all beyond it."""
        table = np.full(int(self._codes.max(initial=0)) + 2, self.bos, dtype=fitting(self.bos))
        table[self._codes] = np.arange(len(self.characters))
        return table
