"""The store: every run of every sweep in one SQLite file, which any SQLite tool opens.

One process writes, in the rollback journal (the SQLite of many Pythons loses data when several processes share a
write-ahead log). Readers open it read-only and never notice the writer. What is committed survives a crash and a loss
of power, for which SQLite must sync the folder too: else a journal may come back and undo what was committed. Commits
come every tenth of a second, since each costs syncs.
"""

import contextlib
import functools
import json
import shlex
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from microgpt.collector import gc_disabled
from microgpt.errors import StoreError
from microgpt.lab.store.lock import held
from microgpt.lab.store.opening import check, connect, translated_errors
from microgpt.lab.store.record import Curve, Role, RunRecord, Trained
from microgpt.lab.store.schema import (
    COLUMNS,
    MIGRATIONS,
    columns,
    migrate,
    misfits,
    old_meanings,
    quoted,
    record_of,
    row_of,
)

Members = tuple[tuple[str, Role], ...]  # the sweeps of a run, and its role in each

PATIENCE: Final = 5.0  # seconds to wait for another sweep
BIRTH: Final = 1.0  # seconds in which an empty file may become a store
COMMIT_EVERY: Final = 0.1  # seconds between commits
_NO_SWEEP: Final[Members] = (("", "study"),)  # a run that no sweep claims any more


class Store:
    """An open store. Raises `StoreError` for a file that is damaged, no store, of a newer schema, or locked."""

    def __init__(self, path: Path, connection: sqlite3.Connection, lock: contextlib.ExitStack) -> None:
        self.path, self._connection, self._lock = path, connection, lock
        self._committed = time.monotonic()

    @staticmethod
    def open(path: str | Path, *, create: bool = False) -> "Store":
        """Open a store to read it or, with `create`, to write to it, which one process may do at a time."""
        path = Path(path)
        return _to_write(path) if create else _to_read(path)

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Commit what was added, and let go of the file."""
        try:
            self.commit()
        finally:
            self._connection.close()
            self._lock.close()

    def records(self, sweep: str | None = None, role: Role | None = None) -> list[RunRecord]:
        """The runs of a sweep, or all, by when they came; of one role, or both.

        A run that one sweep studies and another only tuned with counts as studied where no sweep is named.
        """
        with translated_errors(self.path), self._snapshot(), gc_disabled():
            members = self._members(sweep)
            self._check_types("runs")
            found = []
            for row in self._connection.execute(f"SELECT {self._selected()} FROM runs ORDER BY rowid"):
                names, roles = _claimed(members.get(row[0], () if sweep else _NO_SWEEP))
                if role in roles if role else roles:
                    found.append(record_of(row, names, role or ("study" if "study" in roles else "tuning")))
        return found

    def curves(self) -> dict[str, Curve]:
        """The training losses of all runs, by identity."""
        with translated_errors(self.path), self._snapshot():
            self._check_types("curves")
            rows = self._connection.execute("SELECT identity, every, losses FROM curves").fetchall()
            return {
                identity: Curve(int(every), tuple(map(float, json.loads(losses)))) for identity, every, losses in rows
            }

    def sweeps(self) -> dict[str, dict[str, Any]]:
        """The plan of every sweep by its name."""
        with translated_errors(self.path):
            self._check_types("sweeps")
            rows = self._connection.execute("SELECT name, plan FROM sweeps ORDER BY created, name").fetchall()
            plans = {name: json.loads(plan) for name, plan in rows}
            if not all(isinstance(plan, dict) for plan in plans.values()):
                raise ValueError("a sweep whose plan is no JSON object")
            return plans

    def outcomes(self) -> dict[str, tuple[float | None, str]]:
        """The held-out loss (None where it failed) and the error of every run by identity."""
        with translated_errors(self.path):
            self._check_types("runs")
            rows = self._connection.execute("SELECT identity, loss, error FROM runs").fetchall()
        return {identity: (loss, error) for identity, loss, error in rows}

    def begin(self, sweep: str, plan: Mapping[str, Any]) -> None:
        """Note a sweep. A plan that differs in more than its seeds replaces the earlier one's members; runs stay.

        It is committed with the members that are enrolled next: a sweep never loses those it had before.
        """
        before, text = self.sweeps().get(sweep), json.dumps(plan)
        with translated_errors(self.path):
            if before is not None and _lasting(before) != _lasting(json.loads(text)):
                self._change("DELETE FROM members WHERE sweep = ?", (sweep,))
            values = (sweep, text, datetime.now(UTC).isoformat(timespec="seconds"))
            self._change(
                "INSERT INTO sweeps VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET plan = excluded.plan", values
            )

    def enroll(self, sweep: str, members: Iterable[tuple[str, Role]]) -> None:
        """Note which runs a sweep consists of, done or not."""
        with translated_errors(self.path):
            for identity, role in members:
                self._change("INSERT OR IGNORE INTO members VALUES (?, ?, ?)", (sweep, identity, role))
        self.commit()

    def add(self, trained: Trained) -> None:
        """Keep a run, in place of one that failed before; it is committed within a moment of the next call."""
        places = ", ".join("?" * len(COLUMNS))
        names = ", ".join(map(quoted, COLUMNS))
        with translated_errors(self.path):
            self._change(f"INSERT OR REPLACE INTO runs ({names}) VALUES ({places})", row_of(trained.record))
            if curve := trained.curve:
                values = (trained.record.identity, curve.every, json.dumps(curve.losses, separators=(",", ":")))
                self._change("INSERT OR REPLACE INTO curves VALUES (?, ?, ?)", values)
        self.tick()

    def tick(self) -> None:
        """Commit where the last one is long enough ago."""
        if time.monotonic() - self._committed > COMMIT_EVERY:
            self.commit()

    def commit(self) -> None:
        """Make all that was added so far survive whatever comes. Raises `EnvironmentFault` where the disk can't."""
        if self._connection.in_transaction:
            with translated_errors(self.path):
                self._connection.execute("COMMIT")
        self._committed = time.monotonic()

    def _change(self, statement: str, values: Iterable[Any]) -> None:
        if not self._connection.in_transaction:
            self._connection.execute("BEGIN IMMEDIATE")
        self._connection.execute(statement, tuple(values))

    @contextlib.contextmanager
    def _snapshot(self) -> Iterator[None]:
        """Several reads of one state of the store."""
        if self._connection.in_transaction:
            yield
            return
        self._connection.execute("BEGIN")
        try:
            yield
        finally:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _selected(self) -> str:
        """The columns of a record; of a setting that the store has not met, what it meant before there was one."""
        there, meant = columns(self._connection), old_meanings()
        return ", ".join(quoted(name) if name in there else meant[name] for name in COLUMNS)

    def _check_types(self, table: str) -> None:
        """Raise `ValueError` where a value can't be in its column."""
        if misfit := self._connection.execute(misfits(table, columns(self._connection, table))).fetchone():
            raise ValueError(f"{table} {str(misfit[0])[:16]!r} has a value that its column can't hold")

    def _members(self, sweep: str | None) -> dict[str, Members]:
        self._check_types("members")
        where, values = ("WHERE sweep = ?", (sweep,)) if sweep else ("", ())
        found: dict[str, Members] = {}
        rows = self._connection.execute(f"SELECT sweep, identity, role FROM members {where}", values)
        for name, identity, role in rows:
            found[identity] = (*found.get(identity, ()), (name, role))
        return found


@functools.lru_cache  # most runs of a store are of the same sweeps
def _claimed(members: Members) -> tuple[tuple[str, ...], set[Role]]:
    """The sweeps that a run is a member of, and its roles in them."""
    return tuple(sorted({name for name, _ in members if name})), {role for _, role in members}


def _to_write(path: Path) -> Store:
    with contextlib.ExitStack() as stack:
        stack.enter_context(held(path, PATIENCE))
        with translated_errors(path):
            check(path)
            connection = connect(path, "rwc")
            stack.callback(connection.close)
            for pragma in ("journal_mode = DELETE", "synchronous = EXTRA"):
                connection.execute(f"PRAGMA {pragma}").fetchall()
            migrate(connection)
        return Store(path, connection, stack.pop_all())


def _to_read(path: Path) -> Store:
    with translated_errors(path):
        there = path.is_file()
    if not there:
        raise StoreError(f"{path}: expected a store of runs, found none; `microgpt sweep steps` makes one.")
    if _stays_empty(path):
        raise _empty(path)
    with translated_errors(path):
        if check(path) < len(MIGRATIONS):
            _to_write(path).close()
        if path.stat().st_size == 0:
            raise _empty(path)
        return Store(path, connect(path, "ro"), contextlib.ExitStack())


def _empty(path: Path) -> StoreError:
    fill = f"`microgpt sweep steps --store {shlex.quote(str(path))}`"
    return StoreError(f"{path}: expected a store of runs, found an empty file; {fill} fills it.")


def _stays_empty(path: Path) -> bool:
    """Whether a file has no bytes, and is none that a sweep has made just now and is about to fill."""
    deadline = time.monotonic() + BIRTH
    while (empty := path.stat().st_size == 0) and time.monotonic() < deadline:
        time.sleep(BIRTH / 20)
    return empty


def _lasting(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan without its seeds: more of them add to a sweep, anything else makes it another."""
    return {name: value for name, value in plan.items() if name != "seeds"}
