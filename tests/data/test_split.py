"""The split: nothing is trained on that is held out, and the same seed holds out the same."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data.corpus import Corpus
from microgpt.data.reading import read, text_from
from microgpt.data.split import Part, Split
from microgpt.errors import DataError, UsageError

LISTS = st.lists(st.text(alphabet="abc", min_size=1, max_size=3), min_size=1, max_size=30)
SHARES = st.floats(0.01, 0.99)


def split_of(names: list[str], holdout: float, split_seed: int = 0) -> Split:
    return Split.of(Corpus.of(text_from("\n".join(names)), "lines"), holdout, split_seed)


def texts(split: Split, part: Part) -> list[str]:
    decode = split.corpus.tokenizer.decode
    return [decode(split.corpus.tokens[start:stop]) for start, stop in zip(part.starts, part.stops, strict=True)]


@given(LISTS, SHARES, st.integers(0, 2**64))
def test_no_document_stands_on_both_sides_and_none_is_lost(names: list[str], holdout: float, seed: int) -> None:
    unique = set(names)
    if len(unique) < 2:
        with pytest.raises(
            DataError, match=f"expected at least 2 different lines .* found {len(unique)};.*--holdout 0"
        ):
            split_of(names, holdout, seed)
        return
    split = split_of(names, holdout, seed)
    training, held_out = texts(split, split.training), texts(split, split.held_out)
    assert training == [name for name in names if name not in held_out]
    assert len(held_out) == len(set(held_out)) == min(max(1, round(holdout * len(unique))), len(unique) - 1)
    assert set(training) | set(held_out) == unique
    assert held_out == sorted(held_out, key=names.index)
    assert split.held_out_in_training == 0


def test_the_split_depends_on_its_seed_alone() -> None:
    corpus = Corpus.of(read(["names"]))
    first, again, other = (Split.of(corpus, 0.1, seed) for seed in (7, 7, 8))
    assert np.array_equal(first.held_out.starts, again.held_out.starts)
    assert not np.array_equal(first.held_out.starts, other.held_out.starts)
    assert len(first.held_out) == 2991


@given(LISTS)
def test_without_holdout_everything_is_trained_on_in_file_order(names: list[str]) -> None:
    split = split_of(names, 0)
    assert texts(split, split.training) == names
    assert len(split.held_out) == 0


@given(st.text(alphabet="ab\n ", min_size=1, max_size=60), SHARES)
def test_of_running_text_the_last_share_is_held_out(string: str, holdout: float) -> None:
    text = text_from("x" + string)
    if len(text) < 4:
        with pytest.raises(DataError, match="expected at least 4 characters"):
            Split.of(Corpus.of(text, "windows"), holdout, 0)
        return
    split = Split.of(Corpus.of(text, "windows"), holdout, 0)
    (training,), (held_out,) = texts(split, split.training), texts(split, split.held_out)
    assert training + held_out == str(text)
    assert len(held_out) == min(max(2, round(holdout * len(text))), len(text) - 2)


@pytest.mark.parametrize(("holdout", "seed"), [(-0.1, 0), (1, 0), (float("nan"), 0), (0.1, -1)])
def test_impossible_shares_and_seeds_are_usage_errors(holdout: float, seed: int) -> None:
    with pytest.raises(UsageError):
        split_of(["a", "b"], holdout, seed)


def test_a_text_with_nothing_to_predict_is_refused() -> None:
    with pytest.raises(DataError, match="expected at least 2 characters, found 1; give more text"):
        Split.of(Corpus.of(text_from("a"), "windows"), 0, 0)


def test_characters_that_only_the_held_out_part_has_are_counted() -> None:
    split = Split.of(Corpus.of(text_from("aabbaabb" + "cd"), "windows"), 0.2, 0)
    assert split.unseen_characters == 2
    assert split_of(["ab", "ba", "ab"], 0.5).unseen_characters == 0
    assert split_of(["a", "b"], 0.5).unseen_characters == 1


def test_long_held_out_lines_that_are_trained_on_too_are_counted() -> None:
    refrain, short = "and round and round it goes", "la la la"
    verses = [f"{verse}\n{refrain}\n{short}" for verse in ("one", "two", "three", "four")]
    paragraphs = Split.of(Corpus.of(text_from("\n\n".join(verses)), "paragraphs"), 0.5, 0)
    assert len(paragraphs.held_out) == 2
    assert paragraphs.held_out_in_training == 2
    windows = Split.of(Corpus.of(text_from("\n".join([refrain, "x" * 30, short, refrain, refrain])), "windows"), 0.5, 0)
    assert windows.held_out_in_training == 2
    assert Split.of(windows.corpus, 0, 0).held_out_in_training == 0


def test_contains_tells_whole_training_documents_from_parts_and_held_out_ones() -> None:
    split = split_of(["anna", "bob", "hannah"], 0.34)
    (held_out,) = texts(split, split.held_out)
    for name in ("anna", "bob", "hannah"):
        assert split.contains(name, 16) == (name != held_out)
        assert split.contains(name[:3], 3) == (name != held_out), "what a model of ctx 3 sees of it"
        assert split.contains(name, 3) == (name != held_out), "a text longer than that"
    assert not any(split.contains(text, 16) for text in ("", "ann", "annah", "zoe", "annabob"))
    assert not any(split.contains(text, 3) for text in ("an", "zoe", "nna"))


@given(st.text(alphabet="ab", min_size=4, max_size=12), st.text(alphabet="abc", min_size=1, max_size=4))
def test_running_text_contains_what_stands_anywhere_in_its_training_part(string: str, wanted: str) -> None:
    split = Split.of(Corpus.of(text_from(string), "windows"), 0.3, 0)
    (training,) = texts(split, split.training)
    assert split.contains(wanted, 16) == (wanted in training)


def test_training_counts_are_those_of_the_predicted_tokens() -> None:
    assert split_of(["ab", "b"], 0).training_counts.tolist() == [1, 2, 2]
    assert Split.of(Corpus.of(text_from("abb"), "windows"), 0, 0).training_counts.tolist() == [0, 2, 0]
