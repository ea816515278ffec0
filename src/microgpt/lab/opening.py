"""Opening a store: what is no sound one is told in one line and left as it is."""

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from microgpt.errors import EnvironmentFault, StoreError, file_message
from microgpt.lab.schema import APPLICATION, MIGRATIONS, tables

DAMAGE: Final = (sqlite3.SQLITE_IOERR_SHORT_READ, sqlite3.SQLITE_IOERR_DATA)  # the only I/O errors of the file's own
BUSY: Final = 30.0  # seconds to wait for a reader's or a writer's short lock


def connect(path: Path, mode: str) -> sqlite3.Connection:
    """A connection whose transactions begin and end where the code says so."""
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY, isolation_level=None)
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def check(path: Path, mode: str) -> int:
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
        if mode == "rw" and (faults := connection.execute("PRAGMA quick_check(1)").fetchall()) != [("ok",)]:
            raise _damaged(path, str(faults[0][0]))
    return version


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    kinds = connection.execute("SELECT name, type FROM sqlite_master WHERE type <> 'index'").fetchall()
    disguised = [name for name, kind in kinds if kind == "trigger" or (kind == "view" and name in tables())]
    if application != APPLICATION or disguised:  # reading a view or writing past a trigger runs another's program
        raise StoreError(f"{path}: expected a store of runs, found another kind of SQLite file; name another file.")
    if not 1 <= version <= len(MIGRATIONS):
        advice = "use a newer microgpt" if version > 0 else "restore it, or name another file"
        raise StoreError(f"{path}: expected a store of schema 1 to {len(MIGRATIONS)}, found {version}; {advice}.")
    if made := [name for name in tables() if _is_made(connection, name)]:
        raise StoreError(f"{path}: expected a table of runs, found one that computes {made[0]}; name another file.")
    return int(version)


def _is_made(connection: sqlite3.Connection, table: str) -> bool:
    """Whether reading a table runs another's program: a virtual one, or one with columns that are computed."""
    rows = connection.execute("SELECT sql FROM sqlite_master WHERE name = ?", (table,)).fetchall()
    virtual = any(str(sql).lstrip().upper().startswith("CREATE VIRTUAL") for (sql,) in rows)
    return virtual or any(hidden for *_, hidden in connection.execute(f"PRAGMA table_xinfo({table})"))


def _recovered(path: Path) -> int:
    """The schema of a file whose journal is rolled back. Of one whose making was cut short an empty file is left."""
    with contextlib.closing(connect(path, "rw")) as connection:
        connection.execute("PRAGMA schema_version").fetchone()
        return _version(connection, path) if path.stat().st_size else len(MIGRATIONS)


def _damaged(path: Path, found: str) -> StoreError:
    found = " ".join(found.split())[:200]
    return StoreError(f"{path}: expected a sound store of runs, found: {found}; restore it, or name another file.")


@contextlib.contextmanager
def told(path: Path) -> Iterator[None]:
    """Turn what SQLite says into one line that helps. Raises `StoreError`, or `EnvironmentFault` for what is no fault
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
        raise _damaged(path, str(error)) from None
    except OSError as error:
        raise EnvironmentFault(file_message(path, error)) from None
    except (ValueError, TypeError, OverflowError, RecursionError) as error:  # values that no store of ours has
        raise _damaged(path, str(error)) from None
