"""A table, once, for every reader: the terminal, Markdown, a page, and (in full precision) CSV and JSON.

The cells that a person reads are made by the columns; the values that a program reads are the fields of the rows.
"""

import csv
import dataclasses
import io
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal

from microgpt.untrusted import visible

if TYPE_CHECKING:
    from rich.table import Table as RichTable

FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")  # with which a spreadsheet would begin to compute
PLAIN: Final = (int, float, type(None))  # which csv writes as they are: a float by its `repr`, None as nothing
GAP: Final = 2  # characters between columns
LONGEST_WORD: Final = 24  # that a narrow terminal must not break
MISSING: Final = "–"


@dataclass(frozen=True)
class Column:
    """One column for people: its title, how a row's cell is written, whether it is a number (set to the right), and
    whether a narrow terminal can spare it."""

    title: str
    show: Callable[[Any], str]
    number: bool = True
    spare: bool = False


@dataclass(frozen=True)
class Table:
    """Rows of one kind with a title and a note. `kind` is their dataclass, which names the values for programs."""

    title: str
    kind: type
    rows: Sequence[Any]
    columns: Sequence[Column]
    note: str = ""

    @property
    def cells(self) -> list[list[str]]:
        """What people read, made harmless: no control characters, no line breaks."""
        return [[plain(column.show(row)) for column in self.columns] for row in self.rows]

    @property
    def values(self) -> list[dict[str, Any]]:
        """What programs read."""
        return [_values(row) for row in self.rows]


def to_csv(table: Table) -> str:
    """Comma-separated values with a header, numbers in full precision, nothing for what is not known.

    Text that a spreadsheet would take for a formula gets an apostrophe before it.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    values = table.values
    names = list(values[0]) if table.rows else [field.name for field in dataclasses.fields(table.kind)]
    writer.writerow(names)
    written = lru_cache(maxsize=1 << 16)(_cell)  # most texts of a column are the same
    writer.writerows(
        [
            value if type(value) in PLAIN else written(value) if type(value) is str else _cell(value)
            for value in row.values()
        ]
        for row in values
    )
    return text.getvalue()


def to_json(tables: Sequence[Table], **more: Any) -> str:
    """One object with the rows of all tables, and what else there is. What is not a finite number is null."""
    rows = [row for table in tables for row in table.values]
    return json.dumps(_finite({"rows": rows, **more}))


def to_markdown(table: Table) -> str:
    """A heading, the table in GitHub's dialect, and the note."""
    edges = [" ---: " if column.number else " --- " for column in table.columns]
    lines = [
        "|".join(["", *(f" {_escaped(column.title)} " for column in table.columns), ""]),
        "|".join(["", *edges, ""]),
    ]
    lines += ["|".join(["", *(f" {_escaped(cell)} " for cell in row), ""]) for row in table.cells]
    return "\n".join([f"### {_escaped(table.title)}", "", *lines, *(["", table.note] if table.note else [])]) + "\n"


def to_rich(table: Table, width: int) -> "RichTable":
    """For a terminal so many characters wide; a narrow one gets no spare columns. Cells are text, never markup."""
    from rich import box
    from rich.table import Table as RichTable
    from rich.text import Text

    columns = list(zip(table.columns, _transposed(table), strict=True))
    if sum(_natural(column, cells) + GAP for column, cells in columns) > width:
        columns = [(column, cells) for column, cells in columns if not column.spare]
    found = RichTable(
        title=Text(visible(table.title), "bold"), title_justify="left", box=box.SIMPLE_HEAD, caption_justify="left"
    )
    found.padding, found.pad_edge = (0, GAP - 1, 0, 0), False
    found.caption = Text(visible(table.note)) if table.note else None
    for column, cells in columns:
        justify: Literal["left", "right"] = "right" if column.number else "left"
        found.add_column(Text(visible(column.title)), justify=justify, min_width=_least(column, cells), overflow="fold")
    for row in zip(*(cells for _, cells in columns), strict=True):
        found.add_row(*map(Text, row))
    return found


def _transposed(table: Table) -> list[list[str]]:
    """The cells column by column."""
    cells = table.cells
    return [[row[place] for row in cells] for place in range(len(table.columns))]


def _natural(column: Column, cells: Sequence[str]) -> int:
    return max(map(len, [column.title, *cells]))


def _least(column: Column, cells: Sequence[str]) -> int:
    """The width below which a number or a word would break."""
    whole = list(cells) if column.number else [word for cell in cells for word in cell.split()]
    return min(LONGEST_WORD, max(map(len, [*column.title.split(), *whole])))


def plain(text: str) -> str:
    """Text for one cell: what could steer a terminal made visible, line breaks as ⏎."""
    return visible(text).replace("\n", "⏎").replace("\t", "\\t")


def number(value: float | None, digits: int = 4, sign: bool = False) -> str:
    """A number with so many digits behind the point, or a dash."""
    return MISSING if value is None or not math.isfinite(value) else f"{value:{'+' if sign else ''},.{digits}f}"


def span(low: float | None, high: float | None, digits: int = 4, sign: bool = False) -> str:
    """`2.3510 to 2.3701`, or a dash where there is no interval."""
    return MISSING if low is None or high is None else f"{number(low, digits, sign)} to {number(high, digits, sign)}"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("<", "&lt;").replace("`", "\\`").replace("*", "\\*")


def _values(row: Any) -> dict[str, Any]:
    own = getattr(row, "to_dict", None)
    return own() if own else {field.name: getattr(row, field.name) for field in dataclasses.fields(row)}


def _cell(value: Any) -> Any:
    text = " ".join(map(str, value)) if isinstance(value, tuple | list) else str(value)
    return f"'{text}" if text.startswith(FORMULA) else text


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
