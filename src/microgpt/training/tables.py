"""The tables of a run folder: `losses.csv` and `evaluations.csv`, a row for a step, numbers in full precision."""

import math
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microgpt import files, untrusted

TABLE_LIMIT: Final = 1 << 30  # bytes
LONGEST_ROW: Final = 200  # bytes: three numbers in full precision have less than half

Rows = NDArray[np.float64]  # (rows, columns)


@dataclass(frozen=True)
class StepTable:
    """A kind of table: its file and its columns, of which the first is the step."""

    file: str
    columns: tuple[str, ...]

    @property
    def header(self) -> bytes:
        return (",".join(self.columns) + "\n").encode()

    def rows(self, rows: Iterable[tuple[int, *tuple[float, ...]]]) -> bytes:
        """Rows as bytes. `repr` of a float is the shortest text that gives the same float back."""
        return "".join(",".join(map(repr, row)) + "\n" for row in rows).encode()

    def read(self, folder: Path, last_step: int) -> tuple[Rows, int]:
        """The rows up to a step, and the bytes that they take with the header (0 where the header is not there).

        Reading ends at the first row that is not whole or not in order; what stands after it can't be trusted.
        """
        path, numbers, before, size = untrusted.inside(folder, self.file), array("d"), 0.0, 0
        if path.exists():
            with untrusted.opened(path, TABLE_LIMIT) as (file, _):
                size = len(self.header) if file.read(len(self.header)) == self.header else 0
                while size and (row := self._row(line := file.readline(LONGEST_ROW))) and before < row[0] <= last_step:
                    numbers.extend(row)  # 8 bytes each, and never more rows than steps
                    before, size = row[0], size + len(line)
        return np.asarray(numbers).reshape(-1, len(self.columns)), size

    def copied(self, folder: Path, last_step: int) -> bytes:
        """The rows up to a step as they stand in the file."""
        if not (size := self.read(folder, last_step)[1]):
            return b""
        with untrusted.opened(untrusted.inside(folder, self.file), TABLE_LIMIT) as (file, _):
            return file.read(size)[len(self.header) :]

    def cut(self, folder: Path, last_step: int) -> Rows:
        """Drop what stands after a step, as after a crash between the rows and the commit; return the rest."""
        rows, size = self.read(folder, last_step)
        path = folder / self.file
        found = path.lstat() if size else None
        if found is None or found.st_size > size or found.st_nlink > 1:  # of two names one may be another run's
            files.replace(path, untrusted.read(path, TABLE_LIMIT)[:size] if found else self.header)
        return rows

    def _row(self, line: bytes) -> list[float]:
        try:
            row = [float(cell) for cell in line.split(b",")] if line.endswith(b"\n") else []
        except ValueError:
            return []
        sound = len(row) == len(self.columns) and row[0].is_integer() and all(map(math.isfinite, row[1:]))
        return row if sound else []


LOSSES: Final = StepTable("losses.csv", ("step", "loss", "lr"))
EVALUATIONS: Final = StepTable("evaluations.csv", ("step", "loss", "se"))
