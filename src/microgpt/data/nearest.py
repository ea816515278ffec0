"""The known character that stands nearest to an unknown one: what to write instead of É, “ or …"""

import unicodedata
from collections.abc import Collection, Iterator
from typing import Final

LONGEST_SUBSTITUTE: Final = 3  # characters that may stand for one: ... for an ellipsis, but no sentence for a ligature
_NAMED: Final = 8  # unknown characters that one message names

# Each character can stand for all others of its row; what stands further left is taken first.
_ALIKE: Final = (
    "'’‘‚‛′´`ʼ‹›",
    '"”“„‟″«»',
    "-‐‑–—−‒―",
    " \t\u00a0\u2009\u202f",
    "\n\r\u2028\u2029\u0085",
    "/⁄∕",
    ".·•‧",
)
_WITHOUT_STROKE: Final = {
    "ø": "o", "Ø": "O", "đ": "d", "Đ": "D", "ð": "d", "Ð": "D", "ł": "l", "Ł": "L", "ħ": "h", "Ħ": "H", "ŧ": "t",
    "Ŧ": "T", "ı": "i", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE", "ß": "ss", "þ": "th", "Þ": "TH",
}  # fmt: skip


def nearest(character: str, known: Collection[str]) -> str | None:
    """What to write for a character with known ones alone, one to LONGEST of them; None where nothing is near.

    In this order: the letter in another case, its normal forms (NFC, NFKC, NFD), what looks alike in print (quotes,
    dashes, blanks), the letter without accents or strokes. A character that leaves ink is never near to a blank.
    """
    forms = (form for variant in _variants(character) for form in _cases(variant))
    return next((form for form in forms if _stands_for(form, character, known)), None)


def refusal(unknown: str, known: Collection[str]) -> str:
    """One sentence on the unknown characters of a text, each with the nearest known one; it names eight at most."""
    names = [_named(character, nearest(character, known)) for character in unknown[:_NAMED]]
    more = f" and {len(unknown) - _NAMED} more" if len(unknown) > _NAMED else ""
    them = "them" if len(unknown) > 1 else "it"
    typed = " A backslash stands for itself: in most shells $'a\\nb' types a new line." if "\\" in unknown else ""
    advice = f"leave {them} out or train on a text that has {them}."
    return f"the model doesn't know {', '.join(names)}{more}; {advice}{typed}"


def _stands_for(form: str, character: str, known: Collection[str]) -> bool:
    spelled = 0 < len(form) <= LONGEST_SUBSTITUTE and all(letter in known for letter in form)
    return spelled and (character.isspace() or not form.isspace())


def _variants(character: str) -> Iterator[str]:
    """The character itself first, then what differs from it more and more."""
    yield character
    for form in ("NFC", "NFKC", "NFD"):
        yield unicodedata.normalize(form, character)
    yield from next((row for row in _ALIKE if character in row), "")
    if character.isspace():
        yield " "
    base = "".join(mark for mark in unicodedata.normalize("NFKD", character) if not unicodedata.combining(mark))
    yield base
    yield "".join(_WITHOUT_STROKE.get(letter, letter) for letter in base)


def _cases(text: str) -> Iterator[str]:
    """A text as it stands, in lower and in upper case, where that has as many characters (the ß becomes no SS)."""
    return (form for form in (text, text.lower(), text.upper()) if len(form) == len(text))


def _named(character: str, near: str | None) -> str:
    """A character in quotes, a combining mark by its number, since it would change the quote before it."""
    shown = ascii(character) if unicodedata.combining(character) else repr(character)
    return shown if near is None else f"{shown} (nearest known: {near!r})"
