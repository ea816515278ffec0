"""Runs from anywhere: a CSV with a column for parameters, one for tokens or FLOP, and one for the loss."""

import difflib
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.points import Floats, Ints, levels, points
from microgpt.lab.laws.sheet import WORDS, Decimal, Sheet, decimal_mark, number, read_sheet
from microgpt.lab.laws.table import Table, kept_below
from microgpt.lab.schema import FACTS
from microgpt.model.settings import counted, shown

LARGEST: Final = 1e100  # of a number, and its inverse the smallest: products of three are numbers still
MOST_NAMED: Final = 5  # rows or values in a sentence
NO_LOSS: Final = frozenset(
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
_RATE: Final = re.compile(r"\blr\b|learning.?rate", re.I)


@dataclass(frozen=True)
class Columns:
    """The names of the columns. Of `tokens` and `flop` one is needed: tokens = flop / (6 params). `unique` says how
    many different tokens each run had, where data repeats."""

    params: str = "params"
    tokens: str | None = None
    flop: str | None = None
    loss: str = "loss"
    unique: str | None = None

    @property
    def used(self) -> list[str]:
        """Those that are read, each once."""
        return list(dict.fromkeys(filter(None, (self.params, self.loss, self.tokens, self.flop, self.unique))))


@dataclass(frozen=True)
class Reading:
    """How a file is read where it does not tell by itself. `where` are pairs of a column and what its rows must have;
    `strict` refuses rows without a loss."""

    decimal: Decimal | None = None
    where: tuple[tuple[str, str], ...] = ()
    strict: bool = False


def read_csv(path: Path, columns: Columns, drop_highest: int = 0, reading: Reading = Reading()) -> Table:
    """The points of a CSV. Raises `DataError` in one line for whatever is wrong with it.

    Exact copies of a row are one run, and rows without a loss are left out: the table's notes say so, and what else
    varies. `said` is how the numbers are written, where that is not by commas and points.
    """
    sheet = read_sheet(path, {*columns.used, "tokens", "flop"})
    notes = list[str]()
    if columns.flop is None and columns.tokens is None:
        columns = _guessed(columns, sheet.names, notes)
    for name in [*columns.used, *(name for name, _ in reading.where)]:
        _check_there(sheet, name)
    decimal, said = _decimal(sheet, columns, reading.decimal)
    for name, value in reading.where:
        sheet = _part(sheet, name, value, decimal)
    sheet = _with_loss(_once(sheet, notes), columns.loss, reading.strict, notes)
    found = {name: _numbers(sheet, name, decimal) for name in columns.used}
    params, loss = found[columns.params], found[columns.loss]
    flop = found[columns.flop] if columns.flop else None
    tokens = found[columns.tokens] if columns.tokens else found[str(columns.flop)] / (6 * params)
    unique = found[columns.unique] if columns.unique else np.full(len(loss), np.inf)
    notes += _varying(sheet, columns.used, levels(params), levels(tokens))
    work = 6 * params * tokens if flop is None else flop
    kept = kept_below(loss, drop_highest)
    whole = points(params, tokens, loss, unique, work).take(kept)
    return Table(whole, path.name, {"all": whole.params}, dropped=len(loss) - len(kept), notes=tuple(notes), said=said)


def _listed(names: Sequence[str]) -> str:
    """The columns there are, in a line: a name may have line breaks."""
    return " ".join(", ".join(names)[:300].split())


def _named(texts: Sequence[str]) -> str:
    more = len(texts) - MOST_NAMED
    return ", ".join(texts[:MOST_NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _guessed(columns: Columns, names: Sequence[str], notes: list[str]) -> Columns:
    """With neither --tokens nor --flop, the column of one of these names."""
    if {"tokens", "flop"} <= {*names}:
        notes.append("There are columns tokens and flop: tokens counts, and flop is not read; --flop flop takes it.")
    for name in ("tokens", "flop"):
        if name in names:
            return replace(columns, **{name: name})
    raise DataError(f"Expected --tokens COLUMN or --flop COLUMN, found neither; there are: {_listed(names)}.")


def _check_there(sheet: Sheet, name: str) -> None:
    if name not in sheet.names:
        near = difflib.get_close_matches(name, sheet.names, 1)
        hint = f"did you mean {shown(near[0])}?" if near else f"there are: {_listed(sheet.names)}."
        raise DataError(f"{sheet.path}: expected a column {name!r}, found none; {hint}")


def _decimal(sheet: Sheet, columns: Columns, told: Decimal | None) -> tuple[Decimal, tuple[str, ...]]:
    """The decimal mark, and how the file is read where that is worth telling."""
    counts = {columns.params, columns.tokens or "", columns.unique or ""}
    mark, cell = (told, None) if told else decimal_mark(sheet, columns.used, columns.loss, counts)
    if (sheet.separator, mark) == (",", ".") and cell is None:
        return mark, ()
    example = f", so that {shown(cell.text)} is {cell.values[mark]:,.15g}" if cell else ""
    separator = "tabs" if sheet.separator == "\t" else sheet.separator
    return mark, (f"{sheet.path.name} is read with {separator} and decimal {WORDS[mark]}{example}.",)


def _part(sheet: Sheet, name: str, value: str, decimal: Decimal) -> Sheet:
    """The rows that have this value, as a text or as a number. Raises `DataError` where none has."""
    texts = [cell.text for cell in sheet.cells(name)]
    numbers = {number(value, decimal), number(value, ".")} - {None}
    rows = [
        row for row, text in zip(sheet.rows, texts, strict=True) if text == value or number(text, decimal) in numbers
    ]
    if not rows:
        there = _named([shown(text) for text in dict.fromkeys(texts)])
        raise DataError(f"{sheet.path}: expected rows with {name} = {value}, found none; there are: {there}.")
    return replace(sheet, rows=tuple(rows))


def _once(sheet: Sheet, notes: list[str]) -> Sheet:
    """Each row once: of exact copies the first."""
    first = {row.fields: row for row in reversed(sheet.rows)}
    copies = [f"row {row.line} of row {first[row.fields].line}" for row in sheet.rows if row is not first[row.fields]]
    if copies:
        notes.append(
            f"Exact copies count once, {len(copies):,} of {counted(len(sheet.rows), 'row')}: {_named(copies)}."
        )
    return replace(sheet, rows=tuple(reversed(first.values())))


def _with_loss(sheet: Sheet, name: str, strict: bool, notes: list[str]) -> Sheet:
    """The rows that have a loss at all. Raises `DataError` where none has or, `strict`, where one has none."""
    without = {cell.line: cell for cell in sheet.cells(name) if cell.text.lower() in NO_LOSS}
    rows = tuple(row for row in sheet.rows if row.line not in without)
    if without and (strict or not rows):
        cell = next(iter(without.values()))
        raise DataError(_fault(sheet, cell.line, name, cell.text))
    if without:
        named = _named([f"row {line} ({cell.text or 'blank'})" for line, cell in without.items()])
        notes.append(f"Left out without a loss, {len(without):,} of {counted(len(sheet.rows), 'row')}: {named}.")
    return replace(sheet, rows=rows)


def _fault(sheet: Sheet, line: int, name: str, text: str) -> str:
    found = repr(text[:40]) if text else "nothing"
    return f"{sheet.path}: row {line}, column {name!r}: expected a positive number, found {found}; mend it."


def _numbers(sheet: Sheet, name: str, decimal: Decimal) -> Floats:
    """A column as positive numbers (rows,)."""
    found = np.empty(len(sheet.rows))
    for i, cell in enumerate(sheet.cells(name)):
        value = number(cell.text, decimal)
        found[i] = math.nan if value is None else value
        if not 1 / LARGEST <= found[i] <= LARGEST:
            raise DataError(_fault(sheet, cell.line, name, cell.text))
    return found


def _varying(sheet: Sheet, used: Sequence[str], sizes: Ints, lengths: Ints) -> list[str]:
    """A warning of the columns that make runs differ beyond size, length and chance.

    A column may follow the size, as a tuned learning rate does, or the length; one that is new in most rows is a name
    or a measurement.
    """
    told = []
    for name in sheet.names:
        if not name or name in used or name.lower() in _CHANCE:
            continue
        texts = [cell.text for cell in sheet.cells(name)]
        values = list(dict.fromkeys(texts))
        follows = any(len({*zip(axis, texts, strict=True)}) == len({*axis}) for axis in (sizes, lengths))
        if len(values) > 1 and not follows and (2 * len(values) <= len(texts) or _RATE.search(name)):
            told.append(f"{name[:40]} ({_named([text[:40] or 'blank' for text in values])})")
    if not told:
        return []
    return [
        f"Besides size and length, runs differ in {_named(told)}, and the law takes them as alike; "
        "--where COLUMN=VALUE takes those of one value."
    ]
