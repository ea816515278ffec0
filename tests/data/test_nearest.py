"""What to write for a character that a model doesn't know: always with known ones, and only what is near."""

import string
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data.nearest import LONGEST_SUBSTITUTE, nearest, refusal

ASCII = string.ascii_letters + string.digits + "'\"-./ \n"
CHARACTER = st.characters()
ALPHABET = st.text(max_size=30) | st.just(ASCII)


@given(CHARACTER, ALPHABET)
def test_what_is_near_is_short_and_known(character: str, known: str) -> None:
    near = nearest(character, known)
    assert near is None or (0 < len(near) <= LONGEST_SUBSTITUTE and set(near) <= set(known))


@given(CHARACTER, ALPHABET, ALPHABET)
def test_a_larger_vocabulary_is_never_further_away(character: str, known: str, more: str) -> None:
    assert nearest(character, known) is None or nearest(character, known + more) is not None


@given(CHARACTER, ALPHABET, st.randoms(use_true_random=False))
def test_the_order_of_the_known_does_not_matter(character: str, known: str, random: st.DataObject) -> None:
    shuffled = list(known)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert nearest(character, known) == nearest(character, shuffled)


@given(CHARACTER.filter(lambda character: not character.isspace()), ALPHABET)
def test_what_leaves_ink_is_never_near_to_a_blank(character: str, known: str) -> None:
    near = nearest(character, known)
    assert near is None or not near.isspace()


@given(CHARACTER)
def test_a_known_character_is_the_nearest_to_itself_and_nothing_is_near_to_an_empty_vocabulary(character: str) -> None:
    assert nearest(character, character) == character
    assert nearest(character, "") is None


@given(st.characters(categories=["Lu", "Ll"]))
def test_the_other_case_is_near_where_it_is_one_character(letter: str) -> None:
    for other in {letter.lower(), letter.upper()} - {letter}:
        if len(other) == 1:
            assert nearest(letter, other) == other


@given(st.sampled_from(string.ascii_letters), st.sampled_from("\u0300\u0301\u0302\u0303\u0308\u030a\u030c\u0327"))
def test_an_accent_is_left_out_where_it_is_not_known(base: str, accent: str) -> None:
    composed = unicodedata.normalize("NFC", base + accent)
    if len(composed) == 1:
        assert nearest(composed, string.ascii_letters) == base
        assert nearest(composed, base.swapcase()) == base.swapcase()
        assert nearest(composed, base + accent) == base + accent  # nothing is lost


@pytest.mark.parametrize(
    ("character", "near"),
    [
        ("É", "E"), ("Å", "A"), ("Ａ", "A"), ("²", "2"), ("ﬁ", "fi"), ("ß", "ss"), ("ø", "o"), ("Ł", "L"), ("Æ", "AE"),
        ("‘", "'"), ("’", "'"), ("“", '"'), ("„", '"'), ("»", '"'), ("–", "-"), ("—", "-"), ("−", "-"), ("…", "..."),
        ("\t", " "), ("\u00a0", " "), ("\u3000", " "), ("\r", "\n"), ("\u2028", "\n"),
        ("漢", None), ("!", None), ("\u200b", None), ("\u0301", None), ("\udc80", None), ("¨", None), ("ﷺ", None),
    ],
)  # fmt: skip
def test_ascii_stands_for_what_looks_like_it_and_for_nothing_else(character: str, near: str | None) -> None:
    assert nearest(character, ASCII) == near


def test_a_text_of_typographic_quotes_is_near_to_ascii_ones() -> None:
    assert [nearest(mark, "“”’—") for mark in "\"'-"] == ["”", "’", "—"]


def test_the_other_case_comes_before_the_letter_without_its_accent() -> None:
    assert nearest("É", "eé") == "é"


def test_a_refusal_says_what_to_write_instead() -> None:
    assert refusal("É—漢", "abcde-") == (
        "the model doesn't know 'É' (nearest known: 'e'), '—' (nearest known: '-'), '漢'; "
        "leave them out or train on a text that has them."
    )
    assert refusal("\u0301", "a") == ("the model doesn't know '\\u0301'; leave it out or train on a text that has it.")


def test_a_refused_backslash_comes_with_how_to_type_a_new_line() -> None:
    assert refusal("\\", "an\n").endswith("A backslash stands for itself: in most shells $'a\\nb' types a new line.")


def test_a_refusal_names_eight_at_most() -> None:
    assert "more" not in refusal("ABCDEFGH", "")
    assert "'H' and 2 more; leave" in refusal("ABCDEFGHIJ", "")
