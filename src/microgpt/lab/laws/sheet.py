"""A CSV as spreadsheets of several countries write it: rows of text, and what a text is as a number.

Separator and decimal mark are found from the whole file. RFC 4180 has the quotes; `sep=;` as a first line is Excel's.
"""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Literal

from microgpt import untrusted
from microgpt.errors import CheckpointError, DataError
from microgpt.model.settings import shown

Decimal = Literal[".", ","]

MOST_BYTES: Final = 16 << 20
MOST_ROWS: Final = 100_000
MOST_FIELDS: Final = 1_000_000  # with all separators, for each makes a sheet of its own
SEPARATORS: Final = (",", ";", "\t", "|")
WORDS: Final[dict[Decimal, str]] = {".": "point", ",": "comma"}
OTHER: Final[dict[Decimal, Decimal]] = {".": ",", ",": "."}
_BOMS: Final = (b"\xff\xfe", b"\xfe\xff")  # of UTF-16, as "Unicode text" has it
_PLAIN: Final = r"[+-]?(?:[0-9]+(?:{0}[0-9]*)?|{0}[0-9]+)(?:[eE][+-]?[0-9]+)?"
_GROUPED: Final = (
    r"[+-]?[1-9][0-9]{{0,2}}(?P<mark>[{1} \u00a0\u2009\u202f'’_])(?:[0-9]{{2,3}}(?P=mark))*[0-9]{{3}}(?:{0}[0-9]*)?"
)
_NUMBER: Final[dict[Decimal, re.Pattern[str]]] = {
    ".": re.compile(f"{_PLAIN}|{_GROUPED}".format(r"\.", ",")),
    ",": re.compile(f"{_PLAIN}|{_GROUPED}".format(",", ".")),
}


@dataclass(frozen=True)
class Row:
    """The fields of one row, and the line of the file in which it begins, from 1."""

    line: int
    fields: tuple[str, ...]


@dataclass(frozen=True)
class Cell:
    """One text of a column that is read as numbers."""

    line: int
    column: str
    text: str

    @cached_property
    def values(self) -> dict[Decimal, float | None]:
        """What it is with either decimal mark; None where it is no number."""
        return {mark: number(self.text, mark) for mark in WORDS}

    @property
    def sure(self) -> bool:
        """Whether one mark alone makes it a number."""
        return None in self.values.values()

    @property
    def decimal(self) -> Decimal:
        """The mark that makes it the smaller number, or a number at all: the other one would part thousands."""
        point, comma = self.values.values()
        return "." if comma is None or (point is not None and point < comma) else ","

    def __str__(self) -> str:
        point, comma = ("no number" if value is None else f"{value:,.15g}" for value in self.values.values())
        where = f"row {self.line}, column {shown(self.column)}"
        return f"{where}: {shown(self.text)} is {point} with a decimal point and {comma} with a decimal comma"


@dataclass(frozen=True)
class Sheet:
    """The rows below the header, as many fields each as there are names; blank rows are left out."""

    path: Path
    separator: str
    header: Row
    rows: tuple[Row, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return self.header.fields

    def cells(self, name: str) -> list[Cell]:
        """A column, from top to bottom."""
        place = self.names.index(name)
        return [Cell(row.line, name, row.fields[place] if place < len(row.fields) else "") for row in self.rows]


def number(text: str, decimal: Decimal) -> float | None:
    """A number with this decimal mark, in groups of thousands or without; None for any other text.

    >>> number("1.234.567,5", ","), number("1 234,5", ","), number("1,234", "."), number("1,5", ".")
    (1234567.5, 1234.5, 1234.0, None)
    """
    found = _NUMBER[decimal].fullmatch(text)
    if not found:
        return None
    plain = text if found["mark"] is None else text.replace(found["mark"], "")
    return float(plain.replace(decimal, "."))


def read_sheet(path: Path, known: Collection[str], told_odd: list[str] | None = None) -> Sheet:
    """A file as rows; of two separators the one counts that finds more of the `known` names, then equally long rows.

    Raises `DataError`, with the row as the file counts its lines, for what is no table or can be read in two ways. With
    a list `told_odd` rows that are too long or too short are left out, and told there.
    """
    text, separators = _decoded(path), [*SEPARATORS]
    if told := re.match(r'"?sep=(\t|[^\w\s".+-])"?(?=[\r\n])', text):
        text, separators = text[told.end() :], [told[1]]  # its line stays, as a blank one
    if (marks := sum(map(text.count, [*separators, "\n", "\r"]))) > MOST_FIELDS:
        raise DataError(f"{path}: expected at most {MOST_FIELDS:,} fields, found {marks:,}; fit a part of them.")
    found, faults = list[Sheet](), list[DataError]()
    for separator in [each for each in separators if each in text] or separators[:1]:
        try:
            found.append(_parsed(path, text, separator))
        except DataError as error:
            faults.append(error)
    if not found:
        raise faults[0]
    scores = [(len({*sheet.names} & {*known}), not _odd(sheet), len(sheet.names)) for sheet in found]
    best = [sheet for sheet, score in zip(found, scores, strict=True) if score == max(scores)]
    if len(best) > 1 and len(best[0].names) > 1:
        told_both = ", or ".join(f"{shown(one.names[0])} with {one.separator!r}" for one in best[:2])
        lines = " or ".join(f"sep={one.separator}" for one in best[:2])
        raise DataError(f"{path}: the first column is {told_both}; put {lines} into a first line.")
    sheet = best[0] if told_odd is None else _even(best[0], told_odd)
    _check(sheet)
    return sheet


def decimal_mark(
    sheet: Sheet, columns: Iterable[str], loss: str, counts: Collection[str]
) -> tuple[Decimal, Cell | None]:
    """The mark with which all cells of these columns are numbers, and a cell, if any, that the other makes another one.

    A loss is below 1,000, so that in 2.288 the mark is decimal. A count is whole, so that in 10.000 it hardly is: that
    decides nothing by itself, but where it goes against the rest, or nothing else decides, the file can be read in two
    ways. Only between commas it is plain: a mark in quotes is of thousands then. Raises `DataError`.
    """
    against: dict[Decimal, Cell] = {}  # the first cell that can't be so
    doubts: dict[Decimal, Cell] = {}  # the first that is hardly so
    open_cells = list[Cell]()
    for name in columns:
        cells = [cell for cell in sheet.cells(name) if len({*cell.values.values()}) > 1]
        fractions = {cell.decimal for cell in cells if cell.sure and cell.decimal in cell.text}
        for cell in cells:
            mark = cell.decimal
            if cell.sure or name == loss:
                against.setdefault(OTHER[mark], cell)
                continue
            open_cells.append(cell)
            if name in counts and mark not in fractions and (mark, sheet.separator) != (".", ","):
                doubts.setdefault(mark, cell)
    return _decided(sheet, against, doubts, open_cells), next(iter(open_cells), None)


def _decided(sheet: Sheet, against: dict[Decimal, Cell], doubts: dict[Decimal, Cell], both: Sequence[Cell]) -> Decimal:
    left: list[Decimal] = [mark for mark in WORDS if mark not in {**against, **doubts}]
    if left and (against or not both or sheet.separator == ","):
        return left[0]
    cells = list(dict.fromkeys([*against.values(), *doubts.values(), *both]))[: 2 if against else 1]
    found = "; ".join(map(str, cells))
    raise DataError(f"{sheet.path}: expected numbers with one meaning, found {found}; choose --decimal point or comma.")


def _decoded(path: Path) -> str:
    try:
        data = untrusted.read(path, MOST_BYTES)
        return data.decode("utf-16" if data[:2] in _BOMS else "utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a CSV in UTF-8, found other bytes; save it as UTF-8.") from None
    except CheckpointError as error:
        raise DataError(str(error)) from None


def _parsed(path: Path, text: str, separator: str) -> Sheet:
    lines = (found[0] for found in re.finditer(r"[^\r\n]*(?:\r\n?|\n)|[^\r\n]+", text))  # a StringIO has it all again
    reader = csv.reader(lines, delimiter=separator, strict=True, skipinitialspace=True)
    rows, line = list[Row](), 1
    try:
        for fields in reader:
            if any(map(str.strip, fields)):
                rows.append(Row(line, tuple(map(str.strip, fields))))
            if len(rows) > MOST_ROWS + 1:
                raise DataError(f"{path}: expected at most {MOST_ROWS:,} runs, found more; fit a part of them.")
            line = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{path}: row {line}: expected a CSV, found: {error}; save it anew.") from None
    if len(rows) < 2:
        found = "a header alone" if rows else "nothing"
        raise DataError(f"{path}: expected a header and one row for each run, found {found}.")
    return Sheet(path, separator, rows[0], tuple(rows[1:]))


def _odd(sheet: Sheet) -> Row | None:
    """The first row with more or fewer fields than the header; names at its end that are blank need no fields."""
    least, most = _lengths(sheet)
    return next((row for row in sheet.rows if not least <= len(row.fields) <= most), None)


def _even(sheet: Sheet, told: list[str]) -> Sheet:
    """The sheet without such rows, of which it is told, unless all are."""
    least, most = _lengths(sheet)
    kept = tuple(row for row in sheet.rows if least <= len(row.fields) <= most)
    if kept:
        told += [_of_length(sheet, row) for row in sheet.rows if not least <= len(row.fields) <= most]
    return replace(sheet, rows=kept or sheet.rows)


def _lengths(sheet: Sheet) -> tuple[int, int]:
    return max(place for place, name in enumerate(sheet.names, 1) if name), len(sheet.names)


def _check(sheet: Sheet) -> None:
    name, times = Counter(filter(None, sheet.names)).most_common(1)[0]
    if times > 1:
        found = f"{shown(name)} {times} times"
        raise DataError(f"{sheet.path}: row {sheet.header.line}: expected each column once, found {found}; rename one.")
    if row := _odd(sheet):
        raise DataError(f"{sheet.path}: {_of_length(sheet, row)}")


def _of_length(sheet: Sheet, row: Row) -> str:
    found = f"expected {len(sheet.names)} fields, as the header has, found {len(row.fields)}"
    advice = " (a decimal comma needs quotes, or ; between the fields)" if sheet.separator == "," else ""
    return f"row {row.line}: {found}; correct it{advice}."
