"""Which rows of a sheet count: those of one value, each once, with all their numbers; and what else differs in them."""

import re
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Final

from microgpt.errors import DataError
from microgpt.lab.laws.points import Floats, Ints
from microgpt.lab.laws.sheet import Cell, Decimal, Sheet, number
from microgpt.lab.store.schema import FACTS
from microgpt.model.settings import counted, shown

MOST_NAMED: Final = 5  # rows or values in a sentence
NOTHING: Final = frozenset(
    ["", "nan", "-nan", "inf", "+inf", "infinity", "na", "n/a", "#n/a", "#num!", "#div/0!", "null", "none"]
)
# columns that differ from run to run without making it another kind of run
_CHANCE: Final = {"seed", "run", "id", "name", "flops", "time", *FACTS} - {
    "status",
    "data",
    "kind",
    "engine",
    "precision",
}
MOST_NATS: Final = 20.0  # a vocabulary of 500 million has that where nothing is learned
RATE: Final = re.compile(r"(?<![a-z])lr(?![a-z])|learning.?rate", re.I)


def values(sheet: Sheet, name: str) -> list[str]:
    """The texts of a column, from top to bottom."""
    return [cell.text for cell in sheet.cells(name)]


def listed(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def part(sheet: Sheet, name: str, value: str, decimal: Decimal) -> Sheet:
    """The rows that have this value, as a text or as a number. Raises `DataError` where none has."""
    texts = values(sheet, name)
    numbers = {number(value, decimal), number(value, ".")} - {None}
    rows = [
        row for row, text in zip(sheet.rows, texts, strict=True) if text == value or number(text, decimal) in numbers
    ]
    if not rows:
        there = listed([shown(text) for text in dict.fromkeys(texts)])
        raise DataError(f"{sheet.path}: expected rows with {name} = {value}, found none; there are: {there}.")
    return replace(sheet, rows=tuple(rows))


def once(sheet: Sheet, notes: list[str]) -> Sheet:
    """Each row once: of exact copies the first."""
    first = {row.fields: row for row in reversed(sheet.rows)}
    copies = [f"row {row.line} of row {first[row.fields].line}" for row in sheet.rows if row is not first[row.fields]]
    if copies:
        notes.append(
            f"Exact copies count once, {len(copies):,} of {counted(len(sheet.rows), 'row')}: {listed(copies)}."
        )
    return replace(sheet, rows=tuple(reversed(first.values())))


def whole(sheet: Sheet, names: Sequence[str], strict: bool, notes: list[str]) -> Sheet:
    """The rows that have something in all of these columns. Raises `DataError` where none has or, `strict`, where one
    has not."""
    without: dict[int, Cell] = {}
    for name in names:
        for cell in sheet.cells(name):
            if cell.text.lower() in NOTHING:
                without.setdefault(cell.line, cell)
    rows = tuple(row for row in sheet.rows if row.line not in without)
    if without and (strict or not rows):
        cell = next(iter(without.values()))
        raise DataError(fault(sheet, cell.line, cell.column, cell.text))
    for name in names:
        told = [f"row {cell.line} ({cell.text or 'blank'})" for cell in without.values() if cell.column == name]
        if told:
            of = counted(len(sheet.rows), "row")
            notes.append(f"Left out without {shown(name)}, {len(told):,} of {of}: {listed(told)}.")
    return replace(sheet, rows=rows)


def counting(sheet: Sheet, name: str, decimal: Decimal, notes: list[str]) -> Sheet:
    """The rows whose weight is not 0. Raises `DataError` where all are."""
    none = {cell.line for cell in sheet.cells(name) if number(cell.text, decimal) == 0}
    rows = tuple(row for row in sheet.rows if row.line not in none)
    if not rows:
        raise DataError(f"{sheet.path}: --weights takes a column of positive numbers, found {name!r} with 0 alone.")
    if none:
        told, of = [f"row {line}" for line in sorted(none)], counted(len(sheet.rows), "row")
        notes.append(f"Left out with a weight of 0 in {shown(name)}, {len(told):,} of {of}: {listed(told)}.")
    return replace(sheet, rows=rows)


def fault(sheet: Sheet, line: int, name: str, text: str, expected: str = "a positive number") -> str:
    found = repr(text[:40]) if text else "nothing"
    return f"{sheet.path}: row {line}, column {name!r}: expected {expected}, found {found}; correct it."


def telling(sheet: Sheet, used: Collection[str | None], sizes: Ints, lengths: Ints) -> list[str]:
    """The columns that make runs differ beyond size, length and chance.

    A column may follow the size, as a tuned learning rate does, or the length; one that is new in most rows is a name
    or a measurement.
    """
    told = []
    for name in sheet.names:
        if not name or name in used or name.lower() in _CHANCE:
            continue
        texts = values(sheet, name)
        there = len({*texts})
        follows = any(len({*zip(axis, texts, strict=True)}) == len({*axis}) for axis in (sizes, lengths))
        if there > 1 and not follows and (2 * there <= len(texts) or RATE.search(name)):
            told.append(name)
    return told


def varying(sheet: Sheet, used: Collection[str], sizes: Ints, lengths: Ints) -> list[str]:
    """A warning of the columns that make runs differ beyond size, length and chance."""
    told = []
    for name in telling(sheet, used, sizes, lengths):
        there = [text[:40] or "blank" for text in dict.fromkeys(values(sheet, name))]
        told.append(f"{name[:40]} ({listed(there)})")
    if not told:
        return []
    return [
        f"Besides size and length, runs differ in {listed(told)}, and the law treats them as equal; --where "
        "COLUMN=VALUE takes those of one value, --group COLUMN fits each, --best-of loss takes the best."
    ]


def units(params: Floats, tokens: Floats, loss: Floats, names: tuple[str, str, str]) -> list[str]:
    """Questions about numbers that can't be in the units that are expected; `names` are their columns."""
    asked = []
    for column, name, least, what in ((params, names[0], 10, "parameters"), (tokens, names[1], 1000, "tokens")):
        if column.max() < least:
            asked.append(
                f"Column {shown(name)} gives {column.min():.3g} to {column.max():.3g} {what} a run, which is "
                "impossible: are they thousands, millions or billions? Write them out; only E and the exponents are "
                "right as they are."
            )
    if loss.min() > MOST_NATS:
        asked.append(
            f"Column {shown(names[2])} has {loss.min():.3g} to {loss.max():.3g}, more nats than any token costs: is it "
            "a perplexity or a sum? A law takes nats per token, the logarithm of the perplexity."
        )
    return asked
