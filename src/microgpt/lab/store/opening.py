"""Opening a store: one that is not valid is reported in one line and left as it is.

A store may come from a stranger, and SQLite does what files say: it plays back a journal that lies beside the store,
which may name any file to be deleted, and it computes what a schema computes. So the store and what lies beside it are
looked at before SQLite sees either, the schema must be ours word for word, and whatever may have no end, as pages that
are each other's children, is read with a bound.
"""

import contextlib
import functools
import re
import sqlite3
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from microgpt import untrusted
from microgpt.errors import CheckpointError, EnvironmentFault, StoreError, file_message
from microgpt.lab.store.schema import APPLICATION, MIGRATIONS, migrate, old_meanings, quoted

DAMAGE: Final = (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_DATA)  # the only I/O errors of the file's own
BUSY: Final = 30.0  # seconds to wait for a reader's or a writer's short lock
LARGEST: Final = 4 << 20  # bytes of a value: the curve of a run takes 10 kB, the plan of 10,000 levels 1 MB
FILE_LIMIT: Final = 1 << 40  # bytes
SCHEMA_LARGEST: Final = 1 << 16  # bytes of a value: our longest has 2 kB
SCHEMA_STEPS: Final = 5_000  # of SQLite's virtual machine for a statement: ours take 71
MOST_STEPS: Final = 1 << 27  # to walk a tree, and no more than its file has bytes: a row takes 3, and 12 bytes or more
RUNS: Final = ["table", "runs", "runs"]
LATER: Final = re.compile(r', "(\w{1,64})" (?:INTEGER|REAL|TEXT) NOT NULL DEFAULT ')  # a column that was added
UNLOGGED: Final = "sqlite3 FILE 'PRAGMA journal_mode = DELETE' makes it one"
STATISTICS: Final = {  # what ANALYZE, which other tools run, adds to a schema
    ("table", name, name, f"CREATE TABLE {name}({columns})")
    for name, columns in (("sqlite_stat1", "tbl,idx,stat"), ("sqlite_stat4", "tbl,idx,neq,nlt,ndlt,sample"))
}
# What stands where in a database and its journal: https://www.sqlite.org/fileformat2.html
FIRST: Final = 100  # bytes that are looked at
FORMAT: Final = slice(18, 20)
ROLLBACK: Final = b"\1\1"
IDENTITY: Final = slice(68, 72)
PAGES_BEFORE: Final = slice(16, 20)  # of a journal: how many the database had
MARK: Final = bytes.fromhex("d9d505f920a163d7")  # begins a journal, and ends one that names another file


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection whose transactions begin and end where the code says so. Raises `StoreError` before SQLite opens
    anything where the file is no store, or where what lies beside it would lead to other files."""
    _look(path)
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)
    connection.setlimit(sqlite3.SQLITE_LIMIT_ATTACHED, 0)
    connection.execute("PRAGMA trusted_schema = OFF")
    if defensive := getattr(sqlite3, "SQLITE_DBCONFIG_DEFENSIVE", None):  # since Python 3.12
        connection.setconfig(defensive)  # type: ignore[attr-defined]
    return connection


def _look(path: Path) -> None:
    """Raise `StoreError` for what SQLite must not open. A file that is empty, or not there, may become a store."""
    real = path.resolve()
    for log in ("-wal", "-shm"):
        if real.with_name(real.name + log).is_symlink() or real.with_name(real.name + log).exists():
            raise StoreError(f"{path}: expected a store alone, found {real.name}{log} beside it; {UNLOGGED}.")
    journal = _journal(path, real)
    header = _bytes(real, path)[0]
    if not header:
        return
    if not header.startswith(b"SQLite format 3\0"):
        if any(header) or not journal:  # of a store whose making was cut short there may be no more than room
            raise _damaged(path, "no SQLite file")
    elif header[FORMAT] != ROLLBACK:
        raise StoreError(f"{path}: expected a store that keeps a journal, found a write-ahead log; {UNLOGGED}.")
    elif header[IDENTITY] != APPLICATION.to_bytes(4) and (not journal or any(journal[PAGES_BEFORE])):
        raise _foreign(path)


def _journal(path: Path, real: Path) -> bytes:
    """The first bytes of the journal beside a store; none where there is none."""
    journal = real.with_name(f"{real.name}-journal")
    try:
        found = journal.lstat()
    except OSError:
        return b""
    first, last = _bytes(journal, path) if stat.S_ISREG(found.st_mode) and found.st_nlink == 1 else (b"", MARK)
    if last == MARK and found.st_size > len(MARK):
        found_it = f"expected a journal of this store alone beside it, found that {journal.name} leads to another file"
        raise StoreError(f"{path}: {found_it}; it was not opened. Remove the journal, or ask for the store without it.")
    return first


def _bytes(file: Path, path: Path) -> tuple[bytes, bytes]:
    """The first FIRST bytes of a file and its last 8; none of one that is not there. Raises `StoreError`."""
    try:
        with untrusted.opened(file, FILE_LIMIT) as (opened, size):
            first = opened.read(FIRST)
            opened.seek(max(0, size - len(MARK)))
            return first, opened.read(len(MARK))
    except CheckpointError as error:
        if not file.exists():  # a journal goes with each commit
            return b"", b""
        raise StoreError(f"{path}: expected a store of runs, found: {error}") from None


def check(path: Path) -> int:
    """The schema of a file that is there. Raises `StoreError`, and changes nothing, where it is no sound store.

    What a crash left in the journal is rolled back on the way, as SQLite does on opening; only a reader can't.
    """
    if not path.exists() or path.stat().st_size == 0:
        return len(MIGRATIONS)
    with contextlib.closing(connect(path, "ro")) as connection:
        try:
            version = _version(connection, path)
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorcode", 0) != sqlite3.SQLITE_READONLY_ROLLBACK:
                raise
            version = _recovered(path)
        _walk(connection, path.stat().st_size)
        if (faults := connection.execute("PRAGMA quick_check(1)").fetchall()) != [("ok",)]:
            raise _damaged(path, str(faults[0][0]))
    return version


def _walk(connection: sqlite3.Connection, size: int) -> None:
    """Read each tree of a file of so many bytes to its end: SQLite's own check has no bound, and crashes in deep ones.

    Raises `sqlite3.Error`.
    """
    connection.set_progress_handler(lambda: 1, SCHEMA_STEPS + min(size, MOST_STEPS))
    for kind, name, table in connection.execute("SELECT type, name, tbl_name FROM sqlite_master").fetchall():
        way = "NOT INDEXED" if kind == "table" else f"INDEXED BY {quoted(name)}"
        connection.execute(f"SELECT sum(1) FROM {quoted(table)} {way}").fetchone()  # count(*) would be a single step
    connection.set_progress_handler(None, 0)
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LARGEST)


def _version(connection: sqlite3.Connection, path: Path) -> int:
    connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, SCHEMA_LARGEST)
    connection.set_progress_handler(lambda: 1, SCHEMA_STEPS)
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise _foreign(path)
    if not 1 <= version <= len(MIGRATIONS):
        advice = "use a newer microgpt" if version > 0 else "restore it, or name another file"
        raise StoreError(f"{path}: expected a store of schema 1 to {len(MIGRATIONS)}, found {version}; {advice}.")
    # Reading a view, a computed column or an index of another's, or writing past his trigger, runs his program.
    schema = _schema(connection) - STATISTICS
    later = tuple(name for *place, text in schema if place == RUNS for name in LATER.findall(text))
    if unknown := [name for name in later if name not in old_meanings()]:
        told = f"its runs set {', '.join(unknown[:5])}, which this one does not know"
        raise StoreError(f"{path}: made by a newer version of microgpt: {told}; use that one.")
    if made := schema ^ _schema_of(version, later):
        name = min(name for _, name, *_ in made)[:80]
        raise StoreError(f"{path}: expected the schema of a store, found another at {name!r}; name another file.")
    return int(version)


def _schema(connection: sqlite3.Connection) -> set[tuple[str, ...]]:
    """Type, name, table and text of everything in a schema."""
    return {tuple(map(str, row)) for row in connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master")}


@functools.cache
def _schema_of(version: int, later: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The schema that the migrations up to a version make, with columns of settings that came later."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection, MIGRATIONS[:version], later)
        return _schema(connection)


def _recovered(path: Path) -> int:
    """The schema of a file whose journal is rolled back. Of one whose making was cut short an empty file is left."""
    with contextlib.closing(connect(path, "rw")) as connection:
        connection.execute("PRAGMA schema_version").fetchone()
        return _version(connection, path) if path.stat().st_size else len(MIGRATIONS)


def _foreign(path: Path) -> StoreError:
    return StoreError(f"{path}: expected a store of runs, found another kind of SQLite file; name another file.")


def _damaged(path: Path, found: str) -> StoreError:
    found = " ".join(found.split())[:200]
    return StoreError(f"{path}: expected a valid store of runs, found: {found}; restore it, or name another file.")


@contextlib.contextmanager
def translated_errors(path: Path) -> Iterator[None]:
    """Translate SQLite errors into one line that helps. Raises `StoreError`, or `EnvironmentFault` for what is no fault
    of the store."""
    try:
        yield
    except sqlite3.Error as error:
        extended = getattr(error, "sqlite_errorcode", 0)
        code = 0 if extended in DAMAGE else extended & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise EnvironmentFault(f"{path}: the disk is full; free some space, what was committed is kept.") from None
        if code in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOLFS):
            advice = "check space, quota and the drive; what was committed is kept"
            raise EnvironmentFault(f"{path}: expected to read or write it, found: {error}; {advice}.") from None
        if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            raise StoreError(f"{path}: expected a store that is free, found it in use; try again soon.") from None
        if code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            kind = StoreError if path.is_dir() else EnvironmentFault
            raise kind(f"{path}: expected a file to open, found: {error}; check path and permissions.") from None
        found = "more rows than it has room for" if code == sqlite3.SQLITE_INTERRUPT else str(error)
        raise _damaged(path, found) from None
    except OSError as error:
        raise EnvironmentFault(file_message(path, error)) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # values that no store of ours has
        raise _damaged(path, str(error)) from None
