"""Documents and corpora: how texts are cut, which kind is chosen and why, and what becomes a token."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data import documents, slices
from microgpt.data.corpus import Corpus
from microgpt.data.documents import choose_kind
from microgpt.data.reading import Text, read, text_from
from microgpt.errors import UsageError

FIXTURES = Path(__file__).parents[1] / "fixtures"
TEXTS = st.text(alphabet="ab \t\n\u3000", min_size=1).filter(lambda text: not text.isspace())


def all_documents(text: Text, kind: str) -> list[str]:
    corpus = Corpus.of(text, kind)
    return [corpus.document(index) for index in range(corpus.documents)]


@pytest.fixture(params=[1, 3, 1 << 20])
def block(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "BLOCK", request.param)
    monkeypatch.setattr(documents, "BLOCK", request.param)
    monkeypatch.setattr(slices, "_SLICES", request.param)


@pytest.mark.usefixtures("block")
@given(TEXTS)
def test_lines_are_the_stripped_lines_that_are_not_empty(string: str) -> None:
    expected = [line.strip() for line in string.split("\n") if line.strip()]
    assert all_documents(text_from(string), "lines") == expected


@pytest.mark.usefixtures("block")
@given(TEXTS)
def test_paragraphs_are_blocks_between_blank_lines_with_their_line_breaks(string: str) -> None:
    groups: list[list[str]] = [[]]
    for line in string.split("\n"):
        if line.strip():
            groups[-1].append(line)
        else:
            groups.append([])
    expected = ["\n".join(group).strip() for group in groups if group]
    assert all_documents(text_from(string), "paragraphs") == expected


@given(TEXTS)
def test_windows_keep_everything(string: str) -> None:
    corpus = Corpus.of(text_from(string), "windows")
    assert corpus.tokenizer.decode(corpus.tokens) == string
    assert corpus.tokenizer.characters == "".join(sorted(set(string)))


@given(TEXTS, st.sampled_from(["lines", "paragraphs"]))
def test_the_vocabulary_is_that_of_the_documents_and_bos_stands_around_each(string: str, kind: str) -> None:
    corpus = Corpus.of(text_from(string), kind)
    found = all_documents(text_from(string), kind)
    assert corpus.tokenizer.characters == "".join(sorted(set("".join(found))))
    assert (corpus.tokens[corpus.edges] == corpus.tokenizer.bos).all()
    assert (corpus.tokens == corpus.tokenizer.bos).sum() == len(found) + 1
    for index, document in enumerate(found):
        inner = corpus.tokens[corpus.edges[index] + 1 : corpus.edges[index + 1]]
        assert np.array_equal(inner, corpus.tokenizer.encode(document))


def test_the_built_in_names_are_the_list_and_vocabulary_that_golden_runs_use() -> None:
    text = read(["names"])
    corpus = Corpus.of(text)
    assert all_documents(text, "lines") == str(text).split()
    assert (corpus.documents, corpus.tokenizer.vocabulary, corpus.tokenizer.bos) == (29_910, 27, 26)
    assert corpus.tokens.dtype == np.uint8


def test_tokens_can_not_be_changed_by_an_engine() -> None:
    for kind in ("lines", "windows"):
        with pytest.raises(ValueError, match="read-only"):
            Corpus.of(text_from("ab"), kind).tokens[0] = 1


@pytest.mark.parametrize(
    ("name", "kind"), [("lyrics_pt", "paragraphs"), ("places_ja", "lines"), ("chat", "paragraphs")]
)
def test_auto_chooses_the_kind_of_each_fixture_and_names_the_flag(name: str, kind: str) -> None:
    chosen, reason = choose_kind(read([str(FIXTURES / f"{name}.txt")]))
    assert chosen == kind
    assert reason.count("\n") == 0
    assert reason.endswith("changes that")
    assert "--documents" in reason
    assert any(character.isdigit() for character in reason)


def prose(width: int | None) -> str:
    """Four paragraphs of 200 words each, hard-wrapped at a width or in one line."""
    words = [f"{'word' * (1 + number % 3)}" for number in range(200)]
    lines, line = [], ""
    for word in words:
        if width and len(line) + len(word) > width:
            lines.append(line)
            line = ""
        line = f"{line} {word}".strip()
    return "\n\n".join(["\n".join([*lines, line])] * 4)


@pytest.mark.parametrize(
    ("string", "kind"),
    [
        (prose(70), "windows"),
        (prose(None), "windows"),
        (prose(70).replace("\n", " "), "windows"),
        ("\n\n".join(["\n".join("word " * count for count in (30, 20, 35))] * 4), "windows"),
        ("a", "lines"),
        ("2024-01-01\n2024-01-02\n2024-01-03\n", "lines"),
        ("anna\nbob\n\ncarl\ndora\n\nemil\nfritz\n", "lines"),
        ("anna\n\nbob\n\ncarl\n", "lines"),
        ("\n".join(f"name{number}" for number in range(100)) + "\n\n" + "last\nbut one\n", "lines"),
        ("row, row\nrow your boat\n\nrow, row\nall the way\n", "paragraphs"),
    ],
)
def test_auto_judges_by_lengths_blank_lines_and_repetition(string: str, kind: str) -> None:
    assert choose_kind(text_from(string))[0] == kind


def test_what_is_asked_goes_before_what_is_declared_and_that_before_what_is_seen() -> None:
    shakespeare = read(["shakespeare"])
    assert choose_kind(shakespeare)[0] == "windows"
    assert choose_kind(shakespeare, "lines")[0] == "lines"
    assert choose_kind(replace(shakespeare, declared_kind=None))[0] == "paragraphs"
    with pytest.raises(UsageError, match="--documents: expected auto, lines, paragraphs, windows, found 'words'"):
        choose_kind(shakespeare, "words")


def test_a_text_that_begins_with_blanks_for_longer_than_auto_looks_is_still_cut() -> None:
    corpus = Corpus.of(text_from("\n" * (1 << 22) + "a"))
    assert corpus.kind == "windows"
