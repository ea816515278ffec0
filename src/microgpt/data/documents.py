"""What a document is in a given text: a line, a paragraph, or (windows) the running text as a whole."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from microgpt.data.choices import KINDS, Kind
from microgpt.data.reading import Text
from microgpt.data.slices import BLOCK, Positions, Tokens, digests, position_type
from microgpt.errors import UsageError

_WRAP: Final = 50  # characters: narrower lines are not taken for wrapped prose
_EVEN: Final = 0.7  # share of lines near the full width from which a text counts as wrapped
_GROUP: Final = 20  # lines: larger blocks between blank lines are sections of a list
_ENTRY: Final = 12  # characters: lines as short as this, never repeated, are entries of a list
_PARAGRAPH: Final = 400  # characters: longer blocks are prose
_LINE: Final = 200  # characters: longer lines are prose
_JUDGED: Final = 1 << 22  # characters that `auto` looks at
MEANS: Final[dict[Kind, str]] = {
    "lines": "each line is one document",
    "paragraphs": "each paragraph is one document",
    "windows": "the text is read as running text",
}


@dataclass(frozen=True, eq=False)
class Lines:
    """The lines that are not blank, without the blanks at their ends, as slices; shapes (lines,).

    `opens` tells whether a blank line, or nothing, stands before.
    """

    starts: Positions
    stops: Positions
    opens: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]

    def __len__(self) -> int:
        return len(self.starts)


def find_lines(symbols: Tokens, alphabet: str, breaks: str = "\n") -> Lines:
    """The lines of symbols over an alphabet; a line ends at any character of `breaks`."""
    ends = np.array([character in breaks for character in alphabet])
    blank = np.array([character.isspace() for character in alphabet]) | ends
    kind = position_type(len(symbols))
    number = 0
    found = [(np.empty(0, kind), np.empty(0, kind), np.empty(0, kind))]
    for first in range(0, len(symbols), BLOCK):
        block = symbols[first : first + BLOCK]
        numbers = np.cumsum(ends[block], dtype=kind) + number
        ink = np.flatnonzero(~blank[block]).astype(kind)
        edge = numbers[ink[1:]] != numbers[ink[:-1]]
        starts, stops = ink[np.append(True, edge)[: len(ink)]], ink[np.append(edge, True)[: len(ink)]]
        found.append((numbers[starts], starts + first, stops + first + 1))
        number = int(numbers[-1])
    columns = [np.concatenate(column) for column in zip(*found, strict=True)]
    del found
    return _merged(*columns)


def _merged(numbers: Positions, starts: Positions, stops: Positions) -> Lines:
    """Joins the parts of lines that stand across two blocks, then forgets the line numbers."""
    fresh = np.append(True, numbers[1:] != numbers[:-1])[: len(numbers)]
    last = np.append(fresh[1:], True)[: len(numbers)]
    numbers = numbers[fresh]
    opens = np.append(True, numbers[1:] - numbers[:-1] > 1)[: len(numbers)]
    return Lines(starts[fresh], stops[last], opens)


def documents_of(lines: Lines, kind: Kind) -> tuple[Positions, Positions]:
    """Starts and stops of the documents of kind lines or paragraphs, shapes (documents,)."""
    if kind == "lines":
        return lines.starts, lines.stops
    closes = np.append(lines.opens[1:], True)
    return lines.starts[lines.opens], lines.stops[closes]


def choose_kind(text: Text, kind: str = "auto") -> tuple[Kind, str]:
    """The kind of document, and one sentence that says why and which flag overrides it.

    A kind that is not "auto" stands; then comes what a built-in text declares; else lengths, blank lines and
    repetition in the first four million characters decide. Raises UsageError for an unknown kind, or one that a text
    prepared as token files can't have.
    """
    if text.counts is not None and kind in ("auto", "windows"):
        return "windows", f"{MEANS['windows']}, as the text was prepared"
    if text.counts is not None and kind in KINDS:
        raise UsageError(
            f"--documents: expected windows for {text.name}, which was prepared as token files, found {kind}; name the "
            "text itself instead"
        )
    for known in KINDS:
        if kind == known:
            return known, f"{MEANS[known]}, as chosen"
    if kind != "auto":
        raise UsageError(f"--documents: expected auto, {', '.join(KINDS)}, found {kind!r}; choose one of them")
    chosen, reason = (text.declared_kind, "") if text.declared_kind else _judge(text.symbols[:_JUDGED], text.alphabet)
    others = " or ".join(other for other in KINDS if other != chosen)
    because = f" ({reason})" if reason else ""
    return chosen, f"{MEANS[chosen]}{because}; --documents {others} changes that"


def _judge(symbols: Tokens, alphabet: str) -> tuple[Kind, str]:
    """The kind by what the lines look like, and the figures that decided."""
    lines = find_lines(symbols, alphabet)
    if not len(lines):
        return "windows", f"the first {len(symbols):,} characters are blank"
    lengths = lines.stops - lines.starts
    width, even = _wrapping(lengths, lines.opens)
    if width >= _WRAP and even >= _EVEN:
        return "windows", f"{even:.0%} of the lines break near {width} characters, like running text"
    groups = int(lines.opens.sum())
    starts, stops = documents_of(lines, "paragraphs")
    line, group = float(lengths.mean()), float((stops - starts).mean())
    repeated = 1 - len(np.unique(digests(symbols, lines.starts, lines.stops))) / len(lines)
    figures = f"{len(lines):,} lines of {line:.0f} characters on average"
    if 1 < groups < len(lines) <= groups * _GROUP:
        figures += f" in {groups:,} blocks between blank lines, {repeated:.0%} of the lines repeated"
        if group > _PARAGRAPH:
            return "windows", f"{figures}, {group:.0f} characters a block, like prose"
        return ("lines" if line <= _ENTRY and not repeated else "paragraphs"), figures
    return ("lines" if line <= _LINE else "windows"), f"{figures}, {'few' if groups > 1 else 'no'} blank lines"


def _wrapping(lengths: Positions, opens: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> tuple[int, float]:
    """The width at which lines break, and the share of lines near it; the last line of a block may be short."""
    inner = lengths[:-1][~opens[1:]]
    if not len(inner):
        return 0, 0.0
    width = int(np.quantile(inner, 0.95))
    return width, float(((inner >= 0.8 * width) & (inner <= 1.05 * width)).mean())
