"""Byte pairs are those of the library tokenizers, learned from the training part alone; what is encoded is decoded."""

import json
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data import byte_pairs
from microgpt.data.byte_pairs import LONGEST, PIECES, Encoder, cut, learn
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.memory import text_of, text_of_documents
from microgpt.data.reading import read, text_from
from microgpt.data.retokenize import retokenized
from microgpt.data.split import Split
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, DataError

ALPHABETS = ("ab", "ab ", "abc \n", "aé日😀 \n", "abcdefgh  \n", "a\u0301e\r\t x", "ſßİ\u00a0\u2028 \U0010ffff\n")
PROSE = "the cat sat on the mat, and the dog sat on the log.\nthen they sat together on the hat\n" * 6


def learned(text: str, extra: int) -> Tokenizer:
    """As many as `extra` more tokens than characters, or as many as there can be."""
    characters = "".join(sorted(set(text)))
    try:
        merges = learn(cut([text]), characters, len(characters) + extra)
    except DataError as error:
        merges = learn(cut([text]), characters, int(str(error).rpartition("bpe:")[2].rstrip(".")))
    return Tokenizer(characters, merges=merges)


def of_library(text: str, characters: str, size: int) -> Any:
    """What the library tokenizers learns from a text with the same pieces."""
    library = pytest.importorskip("tokenizers", reason="tokenizers is not installed (extra huggingface)")
    made = library.Tokenizer(library.models.BPE())
    pieces = library.Regex(PIECES.format(mark=""))
    made.pre_tokenizer = library.pre_tokenizers.Split(pieces, "isolated")
    trainer = library.trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, initial_alphabet=list(characters), show_progress=False
    )
    made.train_from_iterator([text], trainer)
    return made


def texts(count: int, seed: int) -> Iterator[tuple[str, str, int]]:
    """A text, another of its characters, and how many tokens to learn."""
    stream = random.Random(seed)
    for _ in range(count):
        text = "".join(stream.choices(stream.choice(ALPHABETS), k=stream.randint(1, stream.choice([20, 80, 300]))))
        other = "".join(stream.choices(sorted(set(text)), k=stream.randint(1, 120)))
        yield text, other, stream.randint(0, stream.choice([5, 40]))


@pytest.mark.parametrize("count", [2000, pytest.param(100_000, marks=pytest.mark.long)])
def test_merges_and_encodings_are_those_of_the_library(count: int) -> None:
    for text, other, extra in texts(count, seed=count):
        tokenizer = learned(text, extra)
        library = of_library(text, tokenizer.characters, len(tokenizer.characters) + extra)
        told = json.loads(library.to_str())["model"]
        assert [tuple(told["vocab"][one] for one in pair) for pair in told["merges"]] == list(tokenizer.merges)
        assert library.encode(other).ids == tokenizer.encode(other).tolist()


def test_merges_of_prose_are_those_of_the_library() -> None:
    text = str(read(["shakespeare"]))[:200_000]
    tokenizer = learned(text, 500)
    library = of_library(text, tokenizer.characters, tokenizer.bos)
    assert library.encode(text).ids == tokenizer.encode(text).tolist()
    assert [library.id_to_token(token) for token in range(tokenizer.bos)] == list(tokenizer.texts)


@given(st.text(min_size=1), st.integers(0, 60), st.data())
def test_what_is_encoded_is_decoded(text: str, extra: int, data: st.DataObject) -> None:
    tokenizer = learned(text * 2, extra)
    other = data.draw(st.text(st.sampled_from(tokenizer.characters)))
    ids = tokenizer.encode(other)
    assert tokenizer.decode(ids) == "".join(tokenizer.pieces(ids.tolist())) == other
    assert int(tokenizer.lengths[ids].sum()) == len(other)
    assert Tokenizer.from_dict(json.loads(json.dumps(tokenizer.to_dict()))) == tokenizer


@given(st.lists(st.text("ab \n", max_size=9)))
def test_a_text_in_parts_is_encoded_as_in_one(parts: list[str]) -> None:
    tokenizer = learned(PROSE + "ab ba", 40)
    encoder = Encoder(tokenizer.characters, tokenizer.merges, tokenizer.bos)
    found = [token for block in encoder.encode(parts) for token in block.tolist()]
    assert found == tokenizer.encode("".join(parts)).tolist()


def test_an_encoder_remembers_a_bounded_number_of_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_pairs, "CACHED", 50)
    encoder = Encoder("0123456789 ", ((0, 1), (1, 2)), 13)
    text = " ".join(map(str, range(1000)))
    ids = [token for block in encoder.encode([text]) for token in block.tolist()]
    assert len(encoder) <= 50
    assert ids == Tokenizer("0123456789 ", merges=((0, 1), (1, 2))).encode(text).tolist()


def test_a_text_of_one_long_piece_is_learned_and_encoded() -> None:
    text = "".join(random.Random(0).choices("ACGT", k=20_000))
    tokenizer = learned(text, 60)
    assert tokenizer.decode(tokenizer.encode(text)) == text
    assert len(tokenizer.encode(text)) < len(text) / 2


def test_no_token_is_longer_than_the_longest() -> None:
    tokenizer = learned("a" * 3000, 40)
    assert max(map(len, tokenizer.texts)) <= LONGEST
    with pytest.raises(DataError, match="tokens at most"):
        learn(cut(["a" * 3000]), "a", 3000)


@pytest.mark.parametrize("kind", ["lines", "paragraphs", "windows"])
@pytest.mark.parametrize("tokens", ["bytes", "bpe:35"])
def test_both_parts_stay_the_same_text(kind: str, tokens: str) -> None:
    plain = Split.of(Corpus.of(text_of(PROSE + "ein Löwe\n\nim Schatten\n"), kind), 0.3, 1)
    made = retokenized(plain, tokens)
    for name in ("training", "held_out"):
        old, new = getattr(plain, name), getattr(made, name)
        assert len(old) == len(new)
        for before, after in zip(
            zip(old.starts, old.stops, strict=True), zip(new.starts, new.stops, strict=True), strict=True
        ):
            told = [
                split.corpus.tokenizer.decode(split.corpus.tokens[slice(*ends)])
                for split, ends in ((plain, before), (made, after))
            ]
            assert told[0] == told[1]
            first, last = (split.corpus.tokens[ends[0]] for split, ends in ((plain, before), (made, after)))
            assert (first == plain.corpus.tokenizer.bos) == (last == made.corpus.tokenizer.bos)
    assert made.unseen_characters == plain.unseen_characters
    assert made.held_out_in_training == plain.held_out_in_training


@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_what_is_held_out_teaches_no_merge(kind: str) -> None:
    """Another held-out part of the same characters changes nothing."""
    lines = [f"{left}{right} sat" for left in ("ab", "ba", "cd", "dc") for right in ("th", "ht", "is", "si")]
    first = Split.of(Corpus.of(text_of_documents(lines * 4), kind), 0.3, 0)
    symbols = first.corpus.tokens.copy()
    for start, stop in zip(first.held_out.starts, first.held_out.stops, strict=True):
        own = symbols[start + 1 : stop - 1]  # between the marks, if there are any
        own[:] = np.resize([first.corpus.tokenizer.characters.index(one) for one in "td"], len(own))  # again and again
    other = replace(first, corpus=replace(first.corpus, tokens=symbols))
    one, two = (retokenized(split, "bpe:13").corpus.tokenizer for split in (first, other))
    assert one == two
    assert one.merges


def test_the_largest_number_that_a_text_can_give_is_told_and_works() -> None:
    split = Split.of(Corpus.of(text_from("ab ab\nab ab cd"), "windows"), 0.0, 0)
    with pytest.raises(
        DataError, match=r"--tokens bpe:99: this text gives (\d+) tokens at most; take bpe:\1\."
    ) as told:
        retokenized(split, "bpe:99")
    most = str(told.value).rpartition("take ")[2].rstrip(".")
    assert retokenized(split, most).corpus.tokenizer.texts[-2:] == ("ab", " ab")
    with pytest.raises(DataError, match="a token for each of the text's 6 characters at least; take bpe:6 or more"):
        retokenized(split, "bpe:5")


def test_losses_of_knowing_little_are_told_per_character() -> None:
    split = Split.of(Corpus.of(text_of(PROSE), "windows"), 0.2, 0)
    plain, made = (Dataset.of(part, ctx=8) for part in (split, retokenized(split, "bpe:35")))
    counts, lengths = made.split.training_counts, made.split.corpus.tokenizer.lengths
    assert plain.characters == plain.characters_measured == 1.0
    assert made.characters == (counts @ lengths) / counts.sum() > 1.3
    assert plain.uniform == np.log(plain.vocabulary)
    assert made.uniform == np.log(made.vocabulary) / made.characters_measured


def test_texts_are_found_in_the_training_part_wherever_their_tokens_end() -> None:
    split = Split.of(Corpus.of(text_of(PROSE), "windows"), 0.2, 0)
    made = retokenized(split, "bpe:35")
    for text in ("e cat sa", "n the mat, and t", "the cat flew"):
        assert made.contains(text, 8) == split.contains(text, 8) == ("flew" not in text)


HOSTILE: dict[str, Any] = {
    "no list": "ab",
    "no pairs": [[0, 1, 2]],
    "words": [["a", "b"]],
    "switches": [[True, False]],
    "ids to come": [[0, 3]],
    "its own id": [[0, 2]],
    "below zero": [[-1, 0]],
    "twice": [[0, 1], [0, 1]],
    "texts that double": [[0, 0], *([token, token] for token in range(2, 60))],
    "too many": [[0, 1]] * (1 << 17),
    "beyond all": [[0, 10**30]],
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_merges_are_refused_in_a_sentence(name: str) -> None:
    with pytest.raises(CheckpointError, match=r"tokenizer: expected merges of tokens, found: .*; it is damaged"):
        Tokenizer.from_dict({"characters": "ab", "normalize": "none", "merges": HOSTILE[name]})


def test_a_tokenizer_of_characters_is_told_as_it_was(tmp_path: Path) -> None:
    assert Tokenizer("ab", "nfc").to_dict() == {"characters": "ab", "normalize": "nfc"}
