"""The tokenizer: a bijection between texts of known characters and token ids."""

import json
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, DataError


@given(st.text())
def test_a_text_survives_encoding_and_decoding(text: str) -> None:
    tokenizer = Tokenizer.of(text)
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert tokenizer.decode(ids.tolist()) == text
    assert ids.tolist() == [sorted(set(text)).index(character) for character in text]


@given(st.text(), st.text())
def test_encoding_refuses_exactly_the_texts_with_unknown_characters(known: str, text: str) -> None:
    tokenizer = Tokenizer.of(known)
    unknown = tokenizer.unknown(text)
    assert unknown == "".join(sorted(set(text) - set(known)))
    if unknown:
        with pytest.raises(DataError):
            tokenizer.encode(text)
    else:
        tokenizer.encode(text)


def test_the_refusal_names_the_unknown_characters_with_the_nearest_known_ones() -> None:
    with pytest.raises(DataError, match="doesn't know 'A' \\(nearest known: 'a'\\), '漢', '\\\\udc80'; leave them out"):
        Tokenizer.of("abc").encode("a漢A\udc80b")


def test_ids_are_as_small_as_the_vocabulary_with_bos_allows() -> None:
    for size, kind in ((255, np.uint8), (256, np.uint16), (65_535, np.uint16), (65_536, np.uint32)):
        tokenizer = Tokenizer("".join(map(chr, range(0x10000, 0x10000 + size))))
        assert tokenizer.encode(tokenizer.characters[-1]).dtype == kind
        assert (tokenizer.bos, tokenizer.vocabulary) == (size, size + 1)


def test_bos_has_no_text_and_ids_beyond_it_are_refused() -> None:
    assert Tokenizer("ab").decode([2, 0, 1, 2]) == "ab"
    with pytest.raises(IndexError):
        Tokenizer("ab").decode([3])


def test_a_prompt_is_normalised_as_its_training_text_was() -> None:
    decomposed = unicodedata.normalize("NFD", "é")
    assert Tokenizer("é", "nfc").encode(decomposed).tolist() == [0]
    assert Tokenizer("é", "none").unknown(decomposed) == decomposed


@given(st.text(), st.sampled_from(["nfc", "none"]))
def test_a_tokenizer_survives_json(text: str, normalize: str) -> None:
    tokenizer = Tokenizer(Tokenizer.of(text).characters, normalize)  # type: ignore[arg-type]
    assert Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


@pytest.mark.parametrize("values", [{}, {"characters": "ba"}, {"characters": "aa"}, {"characters": 3}])
def test_damaged_values_are_a_checkpoint_error(values: dict[str, object]) -> None:
    with pytest.raises(CheckpointError):
        Tokenizer.from_dict(values)
    with pytest.raises(CheckpointError):
        Tokenizer.from_dict({"characters": "ab", "normalize": "nfd"})
