"""The tables of a store, how each older schema becomes the next, and what a row is as a record."""

import contextlib
import dataclasses
import functools
import json
import sqlite3
import sys
from collections.abc import Iterator, Sequence
from typing import Any, Final

from microgpt.lab.store.record import RunRecord
from microgpt.model.settings import LARGEST_NUMBER
from microgpt.training.request import BEFORE, DECLARED, SCIENTIFIC

APPLICATION: Final = 0x6D677074  # "mgpt", which tells a store from other SQLite files

# Each entry makes the schema of its number, counted from 1, of the one before. An entry is never changed once released.
MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE runs (
            identity TEXT PRIMARY KEY NOT NULL,
            status TEXT NOT NULL CHECK (status IN ('done', 'failed')),
            error TEXT NOT NULL,
            data TEXT NOT NULL,
            data_sha256 TEXT NOT NULL,
            kind TEXT NOT NULL,
            engine TEXT NOT NULL,
            precision TEXT NOT NULL,
            steps INTEGER NOT NULL,
            batch INTEGER NOT NULL,
            lr REAL NOT NULL,
            beta1 REAL NOT NULL,
            beta2 REAL NOT NULL,
            warmup INTEGER NOT NULL,
            decay TEXT NOT NULL,
            seed INTEGER NOT NULL,
            emb INTEGER NOT NULL,
            head INTEGER NOT NULL,
            layer INTEGER NOT NULL,
            ctx INTEGER NOT NULL,
            ff INTEGER NOT NULL,
            norm_embeddings INTEGER NOT NULL,
            norm_head INTEGER NOT NULL,
            initial TEXT NOT NULL,
            initial_scale REAL NOT NULL,
            documents TEXT NOT NULL,
            encoding TEXT NOT NULL,
            normalize TEXT NOT NULL,
            holdout REAL NOT NULL,
            split_seed INTEGER NOT NULL,
            "order" TEXT NOT NULL,
            golden INTEGER NOT NULL,
            params INTEGER NOT NULL,
            params_embedding INTEGER NOT NULL,
            params_head INTEGER NOT NULL,
            params_body INTEGER NOT NULL,
            tokens INTEGER NOT NULL,
            unique_tokens INTEGER NOT NULL,
            epochs REAL NOT NULL,
            flop REAL NOT NULL,
            loss REAL,
            loss_se REAL,
            training_loss REAL,
            unigram REAL NOT NULL,
            uniform REAL NOT NULL,
            holdout_documents INTEGER NOT NULL,
            samples TEXT NOT NULL,
            seconds TEXT NOT NULL,
            version TEXT NOT NULL,
            "commit" TEXT NOT NULL,
            machine TEXT NOT NULL,
            finished TEXT NOT NULL
        )
        """,
        """
        CREATE TABLE curves (
            identity TEXT PRIMARY KEY NOT NULL,
            every INTEGER NOT NULL,
            losses TEXT NOT NULL
        ) WITHOUT ROWID
        """,
        "CREATE TABLE sweeps (name TEXT PRIMARY KEY NOT NULL, plan TEXT NOT NULL, created TEXT NOT NULL)",
        """
        CREATE TABLE members (
            sweep TEXT NOT NULL,
            identity TEXT NOT NULL,
            role TEXT NOT NULL CHECK (role IN ('study', 'tuning')),
            PRIMARY KEY (sweep, identity, role)
        ) WITHOUT ROWID
        """,
        "CREATE INDEX members_by_identity ON members (identity)",
        "CREATE INDEX runs_by_size ON runs (params, steps, seed)",
    ),
)

OF_MEMBERS: Final = ("sweeps", "role")  # what the table members says of a run
JSON: Final = ("samples", "seconds")
TEXTS: Final = frozenset({str})
NUMBERS: Final = frozenset({int, float})
COUNTED: Final = (
    "params",
    "params_embedding",
    "params_head",
    "params_body",
    "tokens",
    "unique_tokens",
    "epochs",
    "flop",
)
FACTS: Final = tuple(
    field.name for field in dataclasses.fields(RunRecord) if field.name not in ("settings", *OF_MEMBERS)
)
COLUMN_OF: Final = {name: f"setting_{name}" if name in FACTS else name for name in SCIENTIFIC}  # tokens is a fact too
COLUMNS: Final = (*FACTS, *COLUMN_OF.values())
_SETTING_OF: Final = {column: name for name, column in COLUMN_OF.items()}
SWITCHES: Final = tuple(name for name in SCIENTIFIC if DECLARED[name].metadata["kind"] is bool)
TYPES: Final = {int: "INTEGER", float: "REAL", bool: "INTEGER", str: "TEXT"}

_decode = json.JSONDecoder().raw_decode


def old_meanings() -> dict[str, str]:
    """The columns of settings that came after the first stores, each with what runs without it meant, as SQL has it. A
    store has columns of those that it has met; runs of an older one have none."""
    came = {name: BEFORE[name] for name in SCIENTIFIC if name in BEFORE}
    texts = {name: "'" + value.replace("'", "''") + "'" for name, value in came.items() if isinstance(value, str)}
    return {COLUMN_OF[name]: texts.get(name) or str(value + 0) for name, value in came.items()}


def columns(connection: sqlite3.Connection, table: str = "runs") -> list[str]:
    """The columns that a table has."""
    return [str(name) for _, name, *_ in connection.execute(f"PRAGMA table_info({table})")]


def migrate(
    connection: sqlite3.Connection,
    migrations: Sequence[Sequence[str]] = MIGRATIONS,
    later: Sequence[str] | None = None,
) -> None:
    """Bring a store to the newest schema in one transaction; one that is there already is left alone. `later` are the
    settings to have columns of, by default all that came after the first stores."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    known = columns(connection)
    missing = [name for name in (old_meanings() if later is None else later) if name not in known]
    if version == len(migrations) and not missing:
        return
    added = [
        f"ALTER TABLE runs ADD COLUMN {quoted(name)} {TYPES[DECLARED[_SETTING_OF[name]].metadata['kind']]} "
        f"NOT NULL DEFAULT {old_meanings()[name]}"
        for name in missing
    ]
    connection.execute("BEGIN IMMEDIATE")
    try:
        for statement in (*(statement for step in migrations[version:] for statement in step), *added):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION}")
        connection.execute(f"PRAGMA user_version = {len(migrations)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise


def tables() -> set[str]:
    """The names of a store's tables."""
    return set(_declared())


def misfits(table: str, there: Sequence[str]) -> str:
    """A query for a row that has a value which its column can't hold, of the columns that are there: SQLite itself
    takes any value in any column. A count is finite and at least 0.
    """
    allowed = {"TEXT": ("text",), "INTEGER": ("integer",), "REAL": ("real",)}
    conditions = []
    for name, kind, needed in _declared()[table]:
        if name not in there:
            continue
        types = allowed[kind] if needed else (*allowed[kind], "null")
        conditions.append(f"typeof({quoted(name)}) NOT IN ({', '.join(map(repr, types))})")
    if table == "runs":
        conditions += [f"{name} NOT BETWEEN 0 AND {sys.float_info.max!r}" for name in COUNTED]
        conditions += [limit for name in SCIENTIFIC if COLUMN_OF[name] in there for limit in _beyond(name)]
    return f"SELECT * FROM {table} WHERE {' OR '.join(conditions)} LIMIT 1"


def _beyond(name: str) -> Iterator[str]:
    """Conditions, in SQL, for a value of a setting that is out of its bounds."""
    bounds = DECLARED[name].metadata["bounds"]
    for bound, sign in (("low", "<"), ("above", "<="), ("high", ">")):
        if bounds[bound] is not None:
            yield f"{quoted(COLUMN_OF[name])} {sign} {bounds[bound]!r}"
    if DECLARED[name].metadata["kind"] is int:
        yield f"{quoted(COLUMN_OF[name])} > {LARGEST_NUMBER}"


@functools.cache
def _declared() -> dict[str, list[tuple[str, str, bool]]]:
    """Every table of an empty store, with name, type and need of each column."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        found = {name: connection.execute(f"PRAGMA table_info({name})").fetchall() for name in names}
    return {table: [(name, kind, bool(needed)) for _, name, kind, needed, *_ in rows] for table, rows in found.items()}


def _of_type(text: str, kind: type, members: frozenset[type]) -> Any:
    """A list or an object in JSON, with members of these types alone. Raises `ValueError` or `TypeError`."""
    values, end = _decode(text := text.strip())  # a third of the time that json.loads takes
    if end < len(text):
        raise ValueError("expected one value of JSON, found more")
    inside = values.values() if isinstance(values, dict) else values
    if type(values) is not kind or not members.issuperset(map(type, inside)):
        raise TypeError(f"expected a {kind.__name__} of texts or numbers, found other JSON")
    return values


def quoted(name: str) -> str:
    """A column's name as SQL has it: `order` and `commit` are words of its own."""
    return f'"{name}"'


def row_of(record: RunRecord) -> list[Any]:
    """A record in the order of COLUMNS."""
    facts = {name: getattr(record, name) for name in FACTS}
    facts["samples"] = json.dumps(list(record.samples), ensure_ascii=False)
    facts["seconds"] = json.dumps(dict(record.seconds))
    return [*facts.values(), *(record.settings[name] for name in SCIENTIFIC)]


def record_of(row: Sequence[Any], sweeps: tuple[str, ...], role: Any) -> RunRecord:
    """The inverse of `row_of`, for untrusted values: ValueError or TypeError where they can't be a record's."""
    facts: dict[str, Any] = dict(zip(FACTS, row, strict=False))
    settings = dict(zip(SCIENTIFIC, row[len(FACTS) :], strict=True))
    for name in SWITCHES:
        settings[name] = bool(settings[name])
    facts["samples"] = tuple(_of_type(facts["samples"], list, TEXTS))
    facts["seconds"] = _of_type(facts["seconds"], dict, NUMBERS)
    record = RunRecord.__new__(RunRecord)
    # All fields at once: a frozen dataclass sets each by a call, which takes a third of the time of reading a store.
    vars(record).update(facts, sweeps=sweeps, role=role, settings=settings)
    return record
