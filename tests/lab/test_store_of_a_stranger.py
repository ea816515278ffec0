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
from microgpt.lab.store import Store
from tests.lab.test_store import filled

VERBS = ("analyze runs", "analyze steps", "report", "laws", "predict 1e4 1e6", "frontier 1e9")
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
        "import resource, sys\nfrom microgpt.lab.store import Store\nfrom microgpt.errors import StoreError\n"
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
