"""The tables of a run folder: `losses.csv` and `evaluations.csv`, a row for a step, numbers in full precision."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from microgpt import files, untrusted

TABLE_LIMIT: Final = 1 << 30  # bytes


@dataclass(frozen=True)
class Table:
    """A kind of table: its file and its columns, of which the first is the step."""

    file: str
    columns: tuple[str, ...]

    @property
    def header(self) -> bytes:
        return (",".join(self.columns) + "\n").encode()

    def rows(self, rows: Iterable[tuple[int, *tuple[float, ...]]]) -> bytes:
        """Rows as bytes. `repr` of a float is the shortest text that gives the same float back."""
        return "".join(",".join(map(repr, row)) + "\n" for row in rows).encode()

    def read(self, folder: Path, last_step: int) -> tuple[list[list[float]], int]:
        """The rows up to a step, and the bytes that they take with the header (0 where the header is not there).

        Reading ends at the first row that is not whole or not in order; what stands after it can't be trusted.
        """
        path = untrusted.inside(folder, self.file)
        data = untrusted.read(path, TABLE_LIMIT) if path.exists() else b""
        if not data.startswith(self.header):
            return [], 0
        size, before, rows = len(self.header), 0, []
        for line in data[size:].splitlines(keepends=True):
            row = self._row(line)
            if not row or not before < row[0] <= last_step:
                break
            rows.append(row)
            before, size = int(row[0]), size + len(line)
        return rows, size

    def cut(self, folder: Path, last_step: int) -> list[list[float]]:
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


LOSSES: Final = Table("losses.csv", ("step", "loss", "lr"))
EVALUATIONS: Final = Table("evaluations.csv", ("step", "loss", "se"))
