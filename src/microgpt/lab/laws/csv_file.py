"""Runs from anywhere: a CSV with a column for parameters, one for tokens or FLOP, and one for the loss."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from microgpt.errors import DataError, nearest
from microgpt.lab.laws.points import Floats, Ints, levels, points
from microgpt.lab.laws.rows import NOTHING, counting, fault, listed, once, part, units, values, varying, whole
from microgpt.lab.laws.sheet import WORDS, Decimal, Sheet, decimal_mark, number, read_sheet
from microgpt.lab.laws.table import MOST_GROUPS, RunTable, best_of, kept_below
from microgpt.model.settings import counted, shown

LARGEST: Final = 1e100  # of a number, and its inverse the smallest: products of three are numbers still
MOST_APART: Final = 1e9  # of two weights: beyond, the lighter run is lost in the rounding of the heavier one


@dataclass(frozen=True)
class Columns:
    """The names of the columns. Of `tokens` and `flop` one is needed: tokens = flop / (6 params). `unique` says how
    many different tokens each run had, where data repeats, and `weights` how much it counts in a fit."""

    params: str = "params"
    tokens: str | None = None
    flop: str | None = None
    loss: str = "loss"
    unique: str | None = None
    weights: str | None = None

    @property
    def used(self) -> list[str]:
        """Those that are read, each once."""
        named = self.params, self.loss, self.tokens, self.flop, self.unique, self.weights
        return list(dict.fromkeys(filter(None, named)))


@dataclass(frozen=True)
class Reading:
    """How a file is read where it does not tell by itself. `where` are pairs of a column and what its rows must have;
    `best_of` keeps of each size and length the run that is lowest in this column; `strict` refuses rows in which a
    number is missing; `pair` is the column of the labels."""

    decimal: Decimal | None = None
    where: tuple[tuple[str, str], ...] = ()
    strict: bool = False
    best_of: str | None = None
    pair: str | None = None


@dataclass(frozen=True, eq=False)
class Opened:
    """The rows that count, and their numbers by column, (rows,) each."""

    sheet: Sheet
    columns: Columns
    decimal: Decimal
    numbers: dict[str, Floats]
    notes: tuple[str, ...]
    said: tuple[str, ...]

    @property
    def tokens(self) -> Floats:
        columns, numbers = self.columns, self.numbers
        return numbers[columns.tokens or ""] if columns.tokens else self.flop / (6 * numbers[columns.params])

    @property
    def flop(self) -> Floats:
        columns, numbers = self.columns, self.numbers
        return numbers[columns.flop] if columns.flop else 6 * numbers[columns.params] * self.tokens


def read_csv(path: Path, columns: Columns, drop_highest: int = 0, reading: Reading = Reading()) -> RunTable:
    """The points of a CSV. Raises `DataError` in one line for whatever is wrong with it.

    Exact copies of a row are one run, and rows in which a number is missing are left out: the table's notes say so, and
    what else varies. `said` is how the numbers are written, where that is not by commas and points.
    """
    more = [reading.pair] if reading.pair else []
    return _table(open_csv(path, columns, reading, more), path.name, drop_highest, reading.best_of, reading.pair)


def read_groups(path: Path, columns: Columns, drop_highest: int, reading: Reading, by: str) -> dict[str, RunTable]:
    """A table for each value of a column. Raises `DataError`, also for a column of too many values."""
    whole_file = open_csv(path, columns, reading, [by])
    texts = [cell.text for cell in whole_file.sheet.cells(by)]
    there = list(dict.fromkeys(texts))
    if len(there) > MOST_GROUPS:
        found = f"{by} has {len(there):,}: {listed([shown(text) for text in there])}"
        raise DataError(f"{path}: expected a column of at most {MOST_GROUPS} values, found that {found}.")
    tables = {}
    for text in there:
        chosen = np.array([each == text for each in texts])
        rows = tuple(row for row, member in zip(whole_file.sheet.rows, chosen, strict=True) if member)
        numbers = {name: column[chosen] for name, column in whole_file.numbers.items()}
        group = replace(whole_file, sheet=replace(whole_file.sheet, rows=rows), numbers=numbers)
        tables[text] = _table(group, f"{path.name}, {by} = {text or 'blank'}", drop_highest, reading.best_of)
    return tables


def open_csv(
    path: Path, columns: Columns, reading: Reading, more: Sequence[str] = (), faults: list[str] | None = None
) -> Opened:
    """The rows that count, with their numbers; `more` are columns that must be there too. Raises `DataError`; with a
    list of `faults`, what is wrong in a row goes there instead, and runs without a finite loss stay, as NaN."""
    sheet = read_sheet(path, {*columns.used, "tokens", "flop"}, faults)
    notes = list[str]()
    if columns.flop is None and columns.tokens is None:
        columns = _guessed(columns, sheet.names, notes)
    needed = list(dict.fromkeys([*columns.used, *filter(None, [reading.best_of])]))
    for name in [*needed, *(name for name, _ in reading.where), *more]:
        _check_there(sheet, name)
    decimal, said = _decimal(sheet, columns, reading.decimal)
    for name, value in reading.where:
        sheet = part(sheet, name, value, decimal)
    wanted = needed if faults is None else [name for name in needed if name != columns.loss]
    sheet = whole(once(sheet, notes), wanted, reading.strict, notes)
    if faults is not None:
        sheet = _readable(sheet, needed, columns.loss, decimal, faults)
    if columns.weights:
        sheet = counting(sheet, columns.weights, decimal, notes)
    if (by := reading.best_of) and by not in columns.used:
        _check_orders(sheet, by, decimal)
    numbers = {name: _numbers(sheet, name, decimal, faults is not None and name == columns.loss) for name in needed}
    return Opened(sheet, columns, decimal, numbers, tuple(notes), said)


def _table(opened: Opened, source: str, drop_highest: int, by: str | None, pair: str | None = None) -> RunTable:
    columns, numbers = opened.columns, opened.numbers
    params, loss, tokens = numbers[columns.params], numbers[columns.loss], opened.tokens
    unique = numbers[columns.unique] if columns.unique else None
    weights = _weights(opened, numbers[columns.weights]) if columns.weights else None
    found = points(params, tokens, loss, unique, opened.flop, weights)
    notes = [
        *opened.notes,
        *units(params, tokens, loss, (columns.params, columns.tokens or columns.flop or "", columns.loss)),
    ]
    kept, sheet, skipped = np.arange(len(loss)), opened.sheet, {*columns.used, pair or ""}
    if by:
        kept = best_of(found.cells, numbers[by])
        skipped |= {by, *(name for name in sheet.names if name and _within(values(sheet, name), found.cells))}
        sheet = replace(sheet, rows=tuple(sheet.rows[i] for i in kept))
        notes.append(
            f"Of each size and length the run of the lowest {by} counts: {len(kept):,} of {counted(len(loss), 'run')}."
        )
    notes += varying(sheet, skipped, levels(params[kept]), levels(tokens[kept]))
    left = kept[kept_below(loss[kept], drop_highest)]
    taken = found.take(left)
    dropped = len(kept) - len(left)
    labels = tuple(cells[i] for i in left) if pair and (cells := values(opened.sheet, pair)) else ()
    return RunTable(taken, source, {"all": taken.params}, None, (), dropped, tuple(notes), opened.said, labels)


def _within(texts: Sequence[str], cells: Ints) -> bool:
    """Whether a column differs within a cell: then the best of the cell is the best of it."""
    return len({*zip(cells, texts, strict=True)}) > len({*cells})


def _line(names: Sequence[str]) -> str:
    """The columns there are, in a line: a name may have line breaks."""
    return " ".join(", ".join(names)[:300].split())


def _guessed(columns: Columns, names: Sequence[str], notes: list[str]) -> Columns:
    """With neither --tokens nor --flop, the column of one of these names."""
    if {"tokens", "flop"} <= {*names}:
        notes.append("There are columns tokens and flop: tokens counts, and flop is not read; --flop flop takes it.")
    for name in ("tokens", "flop"):
        if name in names:
            return replace(columns, **{name: name})
    raise DataError(f"Expected --tokens COLUMN or --flop COLUMN, found neither; there are: {_line(names)}.")


def _check_there(sheet: Sheet, name: str) -> None:
    if name not in sheet.names:
        near = nearest(name, sheet.names)
        hint = f"did you mean {shown(near)}?" if near else f"there are: {_line(sheet.names)}."
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


def _readable(sheet: Sheet, names: Sequence[str], loss: str, decimal: Decimal, faults: list[str]) -> Sheet:
    """The rows whose cells are all numbers that can be; what is wrong with the others goes to `faults`."""
    bad: dict[int, str] = {}
    for name in names:
        for cell in sheet.cells(name):
            missing = name == loss and cell.text.lower() in NOTHING
            if not missing and _positive(cell.text, decimal) is None:
                bad.setdefault(cell.line, fault(sheet, cell.line, name, cell.text).removeprefix(f"{sheet.path}: "))
    faults += bad.values()
    rows = tuple(row for row in sheet.rows if row.line not in bad)
    if not rows:
        raise DataError(f"{sheet.path}: expected rows of numbers, found none; the first: {next(iter(bad.values()))}")
    return replace(sheet, rows=rows)


def _positive(text: str, decimal: Decimal) -> float | None:
    value = number(text, decimal)
    return value if value is not None and 1 / LARGEST <= value <= LARGEST else None


def _numbers(sheet: Sheet, name: str, decimal: Decimal, missing: bool) -> Floats:
    """A column as positive numbers (rows,), as NaN where there is none and that may be `missing`."""
    found = np.empty(len(sheet.rows))
    for i, cell in enumerate(sheet.cells(name)):
        value = _positive(cell.text, decimal)
        if value is None and not missing:
            beyond = (number(cell.text, decimal) or 0) > 0
            expected = f"a number from {1 / LARGEST:g} to {LARGEST:g}" if beyond else "a positive number"
            raise DataError(fault(sheet, cell.line, name, cell.text, expected))
        found[i] = math.nan if value is None else value
    return found


def _check_orders(sheet: Sheet, name: str, decimal: Decimal) -> None:
    """Raise `DataError` for a column that no best run can be found by."""
    wrong = next((cell for cell in sheet.cells(name) if _positive(cell.text, decimal) is None), None)
    if wrong:
        raise DataError(
            f"{sheet.path}: --best-of takes a column of positive numbers such as loss, found {name!r} with "
            f"{shown(wrong.text)} in row {wrong.line}; name another column."
        )


def _weights(opened: Opened, weights: Floats) -> Floats:
    light, heavy = weights.min(), weights.max()
    if heavy > MOST_APART * light:
        raise DataError(
            f"{opened.sheet.path}: --weights takes numbers of which the largest is up to {MOST_APART:g} times the "
            f"smallest, found {light:g} to {heavy:g} in column {opened.columns.weights!r}; give 0 to leave a run out."
        )
    return weights
