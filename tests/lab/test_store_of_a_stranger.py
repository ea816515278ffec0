"""A store that a stranger made, with what lies beside it: SQLite is not let near what would reach other files."""

import contextlib
import os
import sqlite3
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from microgpt.cli.app import microgpt
from microgpt.errors import StoreError
from microgpt.lab.store import opening
from microgpt.lab.store.store import Store
from trials.stores import filled

VERBS = (
    "analyze runs",
    "analyze steps",
    "analyze ideas",
    "report",
    "laws",
    "predict 1e4 1e6",
    "frontier 1e9",
    "compare lr=0.1 lr=0.2",
    "suggest 1e9",
)
MAGIC = bytes.fromhex("d9d505f920a163d7")


def journal_that_names(victim: str, pages: int) -> bytes:
    """A hot journal of no pages whose end names a super-journal: SQLite deletes that once it has played it back."""
    name = victim.encode()
    header = MAGIC + struct.pack(">IIIII", 0, 0, pages, 512, 4096)
    end = struct.pack(">I", (1 << 30) // 4096 + 1) + name + struct.pack(">II", len(name), sum(name)) + MAGIC
    return header.ljust(512, b"\0") + end


def hot(path: Path, victim: Path | str) -> None:
    path.with_name(f"{path.name}-journal").write_bytes(journal_that_names(str(victim), path.stat().st_size // 4096))


def test_sqlite_by_itself_deletes_what_a_journal_names(tmp_path: Path) -> None:
    """The attack is one: where this fails, the tests below prove nothing."""
    path, victim = filled(tmp_path / "lab.db"), tmp_path / "thesis.txt"
    victim.write_text("years of work")
    hot(path, victim)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("SELECT * FROM runs").fetchall()
    assert not victim.exists()


@pytest.mark.parametrize("is_store", [True, False])
def test_no_verb_plays_back_a_journal_that_leads_to_another_file(tmp_path: Path, is_store: bool) -> None:
    path, victim = tmp_path / "lab.db", tmp_path / "thesis.txt"
    victim.write_text("years of work")
    if is_store:
        filled(path)
    else:
        with contextlib.closing(sqlite3.connect(path)) as connection:
            connection.execute("CREATE TABLE notes (text)")
    for named in (str(victim), os.path.relpath(victim)):
        hot(path, named)
        for verb in VERBS:
            done = CliRunner().invoke(microgpt, [*verb.split(), "--store", str(path)])
            assert isinstance(done.exception, StoreError), (verb, done)
            assert victim.exists(), verb
    with pytest.raises(StoreError, match="leads to another file"), Store.open(path, create=True):
        pass
    assert victim.exists()


def test_a_journal_that_is_a_link_or_has_two_names_is_not_played_back(tmp_path: Path) -> None:
    path, victim = filled(tmp_path / "lab.db"), tmp_path / "thesis.txt"
    victim.write_bytes(journal_that_names("none", 1)[:512])
    for make in (os.symlink, os.link):
        make(victim, path.with_name("lab.db-journal"))
        with pytest.raises(StoreError, match="leads to another file"):
            Store.open(path)
        path.with_name("lab.db-journal").unlink()
    assert victim.exists()


def test_a_write_ahead_log_is_not_opened(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    (tmp_path / "lab.db-wal").symlink_to(tmp_path / "nowhere")
    with pytest.raises(StoreError, match="journal_mode = DELETE"):
        Store.open(path)
    (tmp_path / "lab.db-wal").unlink()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    with pytest.raises(StoreError, match="journal_mode = DELETE"):
        Store.open(path)
    assert {found.name for found in tmp_path.iterdir()} <= {"lab.db", ".lab.db.lock"}


@pytest.mark.parametrize(
    "change",
    [
        "CREATE INDEX late ON runs (zeroblob(1000000000))",
        "CREATE TABLE more (x CHECK (length(zeroblob(1000000000)) > x))",
        "CREATE VIEW more AS SELECT randomblob(1000000000)",
        "CREATE TABLE more (x, y GENERATED ALWAYS AS (hex(zeroblob(1000000000))))",
        "DROP INDEX runs_by_size",
    ],
)
def test_a_schema_that_is_not_ours_word_for_word_is_not_read(tmp_path: Path, change: str) -> None:
    path = filled(tmp_path / "lab.db", runs=0)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(change)
    for create in (False, True):
        with pytest.raises(StoreError, match="found another at"):
            Store.open(path, create=create)


def leaf(page: bytearray, start: int, named: bytes, without: bool) -> bytes:
    """A leaf, whose header begins at a place, with its cells alone that have these bytes, or have not."""
    (count,) = struct.unpack_from(">H", page, start + 3)
    places = struct.unpack_from(f">{count}H", page, start + 8)
    kept = [place for place in places if (named in page[place : place + 40]) != without]
    header = struct.pack(f">BHHHB{len(kept)}H", 13, 0, len(kept), min(places), 0, *kept)
    return header + page[len(header) :]


def inner(children: list[int], size: int, start: int = 0) -> bytes:
    """An inner page of a table's tree, whose header begins at a place."""
    end = size - 5 * (len(children) - 1)
    places = range(end, size, 5)
    header = struct.pack(f">BHHHBI{len(places)}H", 5, 0, len(places), end, 0, children[-1], *places)
    cells = b"".join(struct.pack(">IB", child, 127) for child in children[:-1])
    return (bytes(start) + header).ljust(end, b"\0") + cells


def grown(path: Path, table: str, levels: int, width: int) -> Path:
    """A store with so many more levels in a table's tree, in each of which all children of the one page are the next.

    Of the schema's own table only the indices come again and again: SQLite refuses a second table of one name.
    """
    with contextlib.closing(sqlite3.connect(path)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_master"))
    root, data = roots.get(table, 1), path.read_bytes()
    size, start, named = int.from_bytes(data[16:18]), 100 * (root == 1), b"autoindex" * (root == 1)
    before, first = data[: (root - 1) * size], len(data) // size + 1
    page = bytearray(data[len(before) : root * size])
    pages = [leaf(page, start, named, without=bool(named)), leaf(page, start, named, without=False)][not named :]
    for _ in range(levels):
        pages.append(inner([first + len(pages) - 1] * width, size))
    top = inner([first, first + len(pages) - 1], size, start)
    whole = bytearray(before + page[:start] + top[start:] + data[root * size :] + b"".join(pages))
    whole[28:32] = (len(whole) // size).to_bytes(4)
    path.write_bytes(whole)
    return path


@pytest.mark.parametrize("table", ["runs", "sweeps", "sqlite_master"])
def test_pages_that_all_have_one_child_are_not_read_for_ever(tmp_path: Path, table: str) -> None:
    """Some kilobytes of them have more rows than anyone could wait for: 300 to the power of 6."""
    path = grown(filled(tmp_path / "lab.db"), table, levels=6, width=300)
    assert path.stat().st_size < 100_000
    for create in (False, True):
        with pytest.raises(StoreError, match="expected a valid store of runs, found: more rows than") as caught:
            Store.open(path, create=create)
        assert caught.value.exit_code == 7


def test_a_tree_that_is_too_deep_never_comes_to_the_check_that_would_crash(tmp_path: Path) -> None:
    path = grown(filled(tmp_path / "lab.db"), "runs", levels=30, width=2)
    with pytest.raises(StoreError, match="found: database disk image is malformed"):
        Store.open(path)


def test_the_bounds_are_far_from_what_a_store_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "lab.db", runs=50)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ANALYZE")
    monkeypatch.setattr(opening, "SCHEMA_STEPS", opening.SCHEMA_STEPS // 50)
    monkeypatch.setattr(opening, "MOST_STEPS", path.stat().st_size // 50)
    with Store.open(path) as store:
        assert len(store.records()) == 50
    plan = {"levels": ["x" * 1_000_000]}  # beyond what a value of the schema may have
    for _ in range(2):
        with Store.open(path, create=True) as store:
            store.begin("long", plan)
    with Store.open(path) as store:
        assert store.sweeps()["long"] == plan


def test_a_trigger_by_the_name_of_statistics_is_none(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db", runs=0)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "CREATE TRIGGER mine AFTER INSERT ON sweeps BEGIN DELETE FROM runs; END; PRAGMA writable_schema = ON;"
            "UPDATE sqlite_master SET name = 'sqlite_stat1', sql = replace(sql, 'mine', 'sqlite_stat1')"
            "WHERE type = 'trigger'; PRAGMA writable_schema = OFF;"
        )
    for create in (False, True):
        with pytest.raises(StoreError, match="found another at 'sqlite_stat1'"):
            Store.open(path, create=create)


def test_what_sqlite_itself_adds_is_no_fault(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("ANALYZE")
    with Store.open(path) as store:
        assert len(store.records()) == 3


def test_values_beyond_all_need_are_refused_without_their_memory(tmp_path: Path) -> None:
    """In a process that may have 500 MB: 200 above what the imports take."""
    path = filled(tmp_path / "lab.db")
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE runs SET samples = '[\"' || hex(zeroblob(50000000)) || '\"]'")
        connection.execute(
            "UPDATE sweeps SET plan = '{\"a\":[' || replace(hex(zeroblob(15000000)), '00', '[],') || '0]}'"
        )
        connection.commit()
    program = (
        "import resource, sys\nfrom microgpt.lab.store.store import Store\nfrom microgpt.errors import StoreError\n"
        "store = Store.open(sys.argv[1])\nbefore = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for read in (store.records, store.sweeps, store.outcomes):\n"
        "    try:\n        read()\n    except StoreError as error:\n        print(error)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)"
    )
    done = subprocess.run([sys.executable, "-c", program, str(path)], capture_output=True, text=True, check=True)
    *told, grown = done.stdout.splitlines()
    assert len(told) >= 2
    assert int(grown) < 100


def test_a_lock_can_be_held_only_by_who_may_write(tmp_path: Path) -> None:
    before = os.umask(0o002)
    try:
        filled(tmp_path / "lab.db")
    finally:
        os.umask(before)
    assert (tmp_path / ".lab.db.lock").stat().st_mode & 0o044 == 0


def test_a_live_writer_is_no_fault_of_the_store(tmp_path: Path) -> None:
    """Its journal comes and goes while others open the store."""
    path, done = filled(tmp_path / "lab.db"), threading.Event()

    def write() -> None:
        with contextlib.closing(sqlite3.connect(path, timeout=60)) as connection:
            while not done.is_set():
                connection.execute("UPDATE runs SET error = error || ''")
                connection.commit()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(100):
            with Store.open(path) as store:
                assert len(store.records()) == 3
    finally:
        done.set()
        writer.join()
