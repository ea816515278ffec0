"""The store: what goes in comes out, one writes, many read, and what is no valid store is left as it is."""

import contextlib
import hashlib
import itertools
import multiprocessing
import os
import shutil
import sqlite3
import sys
import threading
import time
from dataclasses import fields, replace
from pathlib import Path

import pytest

from microgpt import untrusted
from microgpt.errors import EnvironmentFault, StoreError
from microgpt.lab.store import store as rooms
from microgpt.lab.store.lock import held
from microgpt.lab.store.opening import connect, translated_errors
from microgpt.lab.store.record import Curve, RunRecord
from microgpt.lab.store.schema import COLUMN_OF, COLUMNS, MIGRATIONS, OF_MEMBERS, migrate
from microgpt.lab.store.store import Store
from microgpt.training.request import SCIENTIFIC
from trials.stores import SETTINGS, filled, trained
from trials.waiting import PATIENCE, until


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_what_goes_in_comes_out(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    with Store.open(path) as store:
        assert store.records("few") == [replace(trained(n).record, sweeps=("few",)) for n in range(3)]
        assert [type(value) for value in store.records()[0].settings.values()] == [
            type(SETTINGS[name]) for name in SCIENTIFIC
        ]
        assert store.curves()[trained(1).record.identity] == Curve(2, (3.25, 2.5))
        assert store.sweeps() == {"few": {"levels": 1, "seeds": [0]}}
        assert store.records("none") == []


def test_every_field_and_setting_has_a_column_that_sql_can_read(tmp_path: Path) -> None:
    names = {field.name for field in fields(RunRecord)} - {"settings", *OF_MEMBERS} | set(COLUMN_OF.values())
    with sqlite3.connect(filled(tmp_path / "lab.db")) as connection:
        found = {row[1] for row in connection.execute("PRAGMA table_info(runs)")}
        mean = connection.execute("SELECT emb, avg(loss) FROM runs GROUP BY emb").fetchall()
    assert found == names == set(COLUMNS)
    assert mean[0][0] == 4
    connection.close()


def test_a_run_has_a_role_in_each_sweep(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db", 2)
    with Store.open(path, create=True) as store:
        store.enroll("other", [(trained(0).record.identity, "tuning")])
    with Store.open(path) as store:
        assert [run.role for run in store.records("few")] == ["study", "study"]
        assert [run.role for run in store.records("other")] == ["tuning"]
        assert store.records("other", "study") == []
        assert store.records()[0].sweeps == ("few", "other")
        assert [run.role for run in store.records()] == ["study", "study"]
        assert len(store.records(role="tuning")) == 1


def test_more_seeds_add_to_a_sweep_and_another_plan_replaces_it(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db", 2)
    with Store.open(path, create=True) as store:
        store.begin("few", {"levels": 1, "seeds": [0, 1]})
        assert len(store.records("few")) == 2
        store.begin("few", {"levels": 2, "seeds": [0, 1]})
        assert store.records("few") == []
        assert len(store.records()) == 2  # no run is ever lost


def test_a_run_that_failed_gives_way_to_one_that_did_not(tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    with Store.open(path, create=True) as store:
        store.add(trained(status="failed", loss=None, error="no result: its worker died"))
        store.add(trained())
        assert [run.status for run in store.records()] == ["done"]


def test_a_store_of_an_older_schema_becomes_one_of_the_newest(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    connection = sqlite3.connect(path, isolation_level=None)
    newer = (*MIGRATIONS, ("ALTER TABLE runs ADD COLUMN place TEXT NOT NULL DEFAULT 'here'",))
    migrate(connection, newer)
    migrate(connection, newer)  # once is enough
    assert connection.execute("SELECT count(*), max(place) FROM runs").fetchone() == (3, "here")
    assert connection.execute("PRAGMA user_version").fetchone() == (len(newer),)
    connection.close()


def test_a_migration_that_fails_leaves_the_store_as_it_was(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, (*MIGRATIONS, ("CREATE TABLE more (a)", "no SQL")))
    connection.close()
    with Store.open(path) as store:
        assert len(store.records()) == 3


def check_refused(path: Path, told: str = "") -> None:
    before = digest(path)
    for create in (False, True):
        with pytest.raises(StoreError, match=told), Store.open(path, create=create) as store:
            store.records()
    assert digest(path) == before
    assert {found.name for found in path.parent.iterdir()} <= {path.name, f".{path.name}.lock"}


def test_what_is_no_store_is_left_as_it_is(tmp_path: Path) -> None:
    text = tmp_path / "text.db"
    text.write_text("steps,loss\n1,2\n" * 100)
    check_refused(text, "expected a valid store")
    other = tmp_path / "sub" / "other.db"
    other.parent.mkdir()
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE runs (identity)")
    connection.close()
    check_refused(other, "another kind of SQLite file")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE runs SET loss = 'low'",
        "UPDATE runs SET samples = '[1'",
        "UPDATE runs SET steps = x'00'",
        "UPDATE runs SET seconds = '" + "[" * 5000 + "'",
        "ALTER TABLE runs RENAME TO moved",
        "CREATE TRIGGER late AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
        "DROP TABLE members",
    ],
)
def test_values_that_no_store_has_are_refused(tmp_path: Path, change: str) -> None:
    path = filled(tmp_path / "lab.db")
    with sqlite3.connect(path) as connection:
        connection.execute(change)
    connection.close()
    with pytest.raises(StoreError), Store.open(path) as store:
        store.records()


def test_no_store_is_told_with_the_command_that_makes_one(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="microgpt sweep"):
        Store.open(tmp_path / "lab.db")
    assert not list(tmp_path.iterdir())
    with pytest.raises(StoreError, match="choose another"):
        Store.open(tmp_path / "none" / "lab.db", create=True)


def test_a_store_whose_making_was_cut_short_is_made_again(tmp_path: Path) -> None:
    """Its first pages are written, and the journal that takes them back is there still."""
    path = tmp_path / "lab.db"
    if (child := os.fork()) == 0:
        connection = connect(path, "rwc")
        connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
        with contextlib.suppress(BaseException):
            migrate(connection, [*MIGRATIONS, ["INSERT INTO sweeps VALUES ('', randomblob(99999), '')", "nonsense"]])
        os._exit(0)
    os.waitpid(child, 0)
    shutil.copy(path, tmp_path / "other.db")
    with pytest.raises(StoreError, match="found an empty file"):
        Store.open(path)
    with Store.open(path, create=True) as store:
        assert store.records() == []


def test_a_sweep_that_is_begun_again_keeps_its_members_until_it_enrolls_others(tmp_path: Path) -> None:
    path, seed = tmp_path / "lab.db", trained(0)
    with Store.open(path, create=True) as store:
        store.begin("few", {"axes": (1, 2), "seeds": (0,)})
        store.enroll("few", [(seed.record.identity, "study")])
        store.add(seed)
    with Store.open(path, create=True) as store:
        store.begin("few", {"axes": (1, 2), "seeds": (0, 1)})
        assert len(store.records("few")) == 1  # more seeds take none away, tuples or lists
        store.begin("few", {"axes": (1, 3), "seeds": (0, 1)})
        with Store.open(path) as reader:  # as it would stand after a kill
            assert len(reader.records("few")) == 1


def test_an_empty_file_is_told_as_one_and_with_the_command_that_fills_it(tmp_path: Path) -> None:
    path = tmp_path / "my lab.db"
    path.touch()
    with pytest.raises(
        StoreError, match=r"found an empty file; `microgpt sweep steps --store '.*my lab\.db'` fills it"
    ):
        Store.open(path)
    assert path.stat().st_size == 0
    with Store.open(filled(path)) as store:
        assert len(store.records()) == 3


def test_a_store_that_is_just_being_made_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "lab.db"
    path.touch()
    writer = threading.Timer(0.2, filled, [path])
    writer.start()
    with Store.open(path) as store:
        assert len(store.records()) <= 3
    writer.join()


def _write(path: Path, enough: threading.Event) -> None:
    with Store.open(path, create=True) as store:
        for number in itertools.takewhile(lambda _: not enough.is_set(), itertools.count(100)):
            store.add(trained(number))


def test_a_reader_and_a_writer_do_not_notice_each_other(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    enough, seen = threading.Event(), list[int]()
    writer = threading.Thread(target=_write, args=(path, enough))
    writer.start()

    def look() -> bool:
        with Store.open(path) as store:
            seen.extend((len(store.records("few")), len(store.records())))
        return len(seen) > 20 and seen[-1] > 3

    try:
        until(look)
    finally:
        enough.set()
        writer.join()
    assert set(seen[::2]) == {3}
    assert seen[1::2] == sorted(seen[1::2])
    assert seen[-1] > 3


def _hold(path: Path, ready: object) -> None:
    with Store.open(path, create=True) as store:
        store.add(trained(7))
        store.commit()
        ready.set()  # type: ignore[attr-defined]
        time.sleep(1000)


def test_a_second_writer_waits_and_then_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = filled(tmp_path / "lab.db")
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_hold, args=(path, ready), daemon=True)
    process.start()
    try:
        assert ready.wait(PATIENCE)
        monkeypatch.setattr(rooms, "PATIENCE", 0.2)
        with pytest.raises(StoreError, match="another sweep at work"):
            Store.open(path, create=True)
    finally:
        process.kill()
        process.join()
    with Store.open(path, create=True) as store:  # one that dies lets go
        assert len(store.records()) == 4


def test_a_lock_is_one_process_at_a_time(tmp_path: Path) -> None:
    with held(tmp_path / "lab.db", 0), pytest.raises(StoreError), held(tmp_path / "lab.db", 0):
        pass
    with held(tmp_path / "lab.db", 0):
        pass
    os.mkfifo(tmp_path / ".pipe.db.lock")
    with pytest.raises(EnvironmentFault), held(tmp_path / "pipe.db", 0):
        pass


def _die_in_a_transaction(path: Path, ready: object) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")  # so that pages are written before the commit
    connection.execute("BEGIN IMMEDIATE")
    for _ in range(12):
        connection.execute("INSERT INTO sweeps SELECT hex(randomblob(500)), 'x', 'y' FROM sweeps")
    ready.set()  # type: ignore[attr-defined]
    time.sleep(1000)


def test_a_reader_recovers_what_a_killed_writer_left(tmp_path: Path) -> None:
    path = filled(tmp_path / "lab.db")
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_die_in_a_transaction, args=(path, ready), daemon=True)
    process.start()
    assert ready.wait(PATIENCE)
    process.kill()
    process.join()
    assert (tmp_path / "lab.db-journal").exists()
    with Store.open(path) as store:
        assert len(store.records("few")) == 3
        assert list(store.sweeps()) == ["few"]


def test_a_journal_that_goes_while_it_is_looked_at_is_that_of_a_writer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = filled(tmp_path / "lab.db")
    journal = tmp_path / "lab.db-journal"
    journal.write_bytes(bytes(1000))
    regular = untrusted.regular

    def committed(file: Path) -> int:
        if file.name == journal.name:
            journal.unlink()
        return regular(file)

    monkeypatch.setattr(untrusted, "regular", committed)
    with Store.open(path) as store:
        assert len(store.records("few")) == 3
    assert not journal.exists()


def add_many(path: Path) -> None:
    with Store.open(path, create=True) as store:
        for number in range(3, 2000):
            store.add(trained(number))


@pytest.mark.skipif(sys.platform == "win32", reason="no limits of a file's size")
def test_a_store_that_can_not_grow_is_no_fault_of_the_store(tmp_path: Path) -> None:
    """A quota and a limit of file sizes come as I/O errors, and what was committed stays."""
    import resource

    path = filled(tmp_path / "lab.db")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size, before[1]))
    try:
        with pytest.raises(EnvironmentFault, match=r"disk I/O error; check space, quota") as fault:
            add_many(path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert fault.value.exit_code == 5
    with Store.open(path, create=True) as store:
        assert len(store.records()) >= 3


@pytest.mark.parametrize(
    ("name", "code"),
    [("IOERR_WRITE", 5), ("IOERR_READ", 5), ("IOERR_FSYNC", 5), ("FULL", 5), ("READONLY_DBMOVED", 5), ("CANTOPEN", 5),
     ("IOERR_SHORT_READ", 7), ("CORRUPT", 7), ("NOTADB", 7), ("ERROR", 7), ("BUSY", 7)],
)  # fmt: skip
def test_only_damage_is_told_as_damage(tmp_path: Path, name: str, code: int) -> None:
    error = sqlite3.OperationalError(name)
    error.sqlite_errorcode = getattr(sqlite3, f"SQLITE_{name}")
    with pytest.raises((StoreError, EnvironmentFault)) as fault, translated_errors(tmp_path / "lab.db"):
        raise error
    assert fault.value.exit_code == code
    assert ("valid store" in str(fault.value)) == (code == 7 and name != "BUSY")
