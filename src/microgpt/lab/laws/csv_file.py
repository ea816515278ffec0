"""Runs from anywhere: a CSV with a column for parameters, one for tokens or FLOP, and one for the loss."""

import csv
import difflib
import io
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from microgpt import untrusted
from microgpt.errors import CheckpointError, DataError
from microgpt.lab.laws.points import points
from microgpt.lab.laws.table import Table, kept_below
from microgpt.model.settings import shown

MOST_BYTES: Final = 64 << 20
MOST_ROWS: Final = 100_000
LARGEST: Final = 1e100  # of a number, and its inverse the smallest: products of three are numbers still


@dataclass(frozen=True)
class Columns:
    """The names of the columns. Of `tokens` and `flop` one is needed: tokens = flop / (6 params). `unique` says how
    many different tokens each run had, where data repeats."""

    params: str = "params"
    tokens: str | None = None
    flop: str | None = None
    loss: str = "loss"
    unique: str | None = None


def read_csv(path: Path, columns: Columns, drop_highest: int = 0) -> Table:
    """The points of a CSV. Raises `DataError` in one line for whatever is wrong with it."""
    rows, names = _rows(path)
    if columns.flop is None and columns.tokens is None:
        columns = _guessed(columns, names)
    wanted = [columns.params, columns.loss, *filter(None, [columns.tokens, columns.flop, columns.unique])]
    found = {name: _numbers(path, rows, names, name) for name in wanted}
    params, loss = found[columns.params], found[columns.loss]
    flop = found[columns.flop] if columns.flop else None
    tokens = found[columns.tokens] if columns.tokens else found[str(columns.flop)] / (6 * params)
    unique = found[columns.unique] if columns.unique else np.full(len(loss), np.inf)
    work = 6 * params * tokens if flop is None else flop
    kept = kept_below(loss, drop_highest)
    whole = points(params, tokens, loss, unique, work).take(kept)
    return Table(whole, path.name, {"all": whole.params}, dropped=len(loss) - len(kept))


def _rows(path: Path) -> tuple[list[list[str]], list[str]]:
    """The rows below the header, each with its fields, and the header."""
    try:
        text = untrusted.read(path, MOST_BYTES).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DataError(f"{path}: expected a CSV in UTF-8, found other bytes; save it as UTF-8.") from None
    except CheckpointError as error:
        raise DataError(str(error)) from None
    head = text.partition("\n")[0]
    delimiter = max(",;\t", key=head.count)
    try:
        lines = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    except csv.Error as error:
        raise DataError(f"{path}: expected a CSV, found: {error}; save it anew.") from None
    if len(lines) < 2:
        raise DataError(f"{path}: expected a header and one row for each run, found {len(lines)} rows.")
    if len(lines) > MOST_ROWS:
        raise DataError(f"{path}: expected at most {MOST_ROWS:,} runs, found {len(lines) - 1:,}; fit a part of them.")
    return lines[1:], [name.strip() for name in lines[0]]


def _listed(names: list[str]) -> str:
    """The columns there are, in a line: a name may have line breaks."""
    return " ".join(", ".join(names)[:300].split())


def _guessed(columns: Columns, names: list[str]) -> Columns:
    """With neither --tokens nor --flop, the column of one of these names."""
    for name in ("tokens", "flop"):
        if name in names:
            return Columns(**{**columns.__dict__, name: name})
    raise DataError(f"Expected --tokens COLUMN or --flop COLUMN, found neither; there are: {_listed(names)}.")


def _numbers(path: Path, rows: list[list[str]], names: list[str], name: str) -> np.ndarray:
    """A column as positive numbers (rows,)."""
    if name not in names:
        near = difflib.get_close_matches(name, names, 1)
        hint = f"did you mean {shown(near[0])}?" if near else f"there are: {_listed(names)}."
        raise DataError(f"{path}: expected a column {name!r}, found none; {hint}")
    place = names.index(name)
    found = np.empty(len(rows))
    for i, row in enumerate(rows):
        text = row[place].strip() if place < len(row) else ""
        try:
            found[i] = float(text)
        except ValueError:
            found[i] = math.nan
        if not 1 / LARGEST <= found[i] <= LARGEST:
            what = repr(text[:40]) if text else "nothing"
            raise DataError(f"{path}: row {i + 2}, column {name!r}: expected a positive number, found {what}; mend it.")
    return found
