"""What is done while its file operations are recorded, and what a disk with a part of them must still hold.

A scene does its work in a folder and notes by a mark each state that the program has acknowledged. `check` is handed a
folder as death or a loss of power left it, and the number of marks at that time: it opens what is there as the program
does, and raises unless that is the state of the last mark or of the next.
"""

import contextlib
import functools
import hashlib
import sqlite3
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from microgpt.data.token_folder import Header, is_token_folder, open_folder
from microgpt.data.token_writing import write_folder
from microgpt.errors import StoreError
from microgpt.export import export
from microgpt.lab.store.store import Store
from microgpt.training import checkpoint as checkpoints
from microgpt.training.find import folders
from microgpt.training.loop import train
from microgpt.training.records import Finished, Progress, Record, Saved
from microgpt.training.resume import resume
from microgpt.training.run_folder import RunFolder
from trials.recording import mark
from trials.small import fingerprint, finish, request, resumed
from trials.stores import trained

EVERY, STEPS, STOP = 4, 12, 8
SAVED: Final = ("0", "4", "8", "8", "12", "finished")  # what is acknowledged after so many marks; the stop saves too
RUNS: Final = 18  # in the store
TEXT: Final = "emma ølivia āva\n" * 400


@dataclass(frozen=True)
class Scene:
    """`act` is a function of its module, so that another process finds it."""

    name: str
    what: str
    act: Callable[[Path], None]
    check: Callable[[Path, int], None]


# A training that saves, is stopped, and goes on.


def train_and_resume(folder: Path) -> None:
    seen: list[int] = []
    asked = request(folder, steps=STEPS, save_every=EVERY, keep=f"every:{EVERY}", eval_every=EVERY)
    for record in train(asked, stop=partial(seen.__contains__, STOP)):
        if isinstance(record, Progress):
            seen.append(record.step)
        _mark_saves(record)
    for record in resume(folder / "runs" / "run"):
        _mark_saves(record)


def _mark_saves(record: Record) -> None:
    if isinstance(record, Saved):
        mark(f"saved {record.step}")
    elif isinstance(record, Finished):
        mark("finished")


def check_run(place: Path, marks: int) -> None:
    found = list(folders(place / "runs"))
    assert found or not marks, "a run that was acknowledged is gone"
    for folder in found:
        _check_folder(folder, marks)


def _check_folder(folder: RunFolder, marks: int) -> None:
    whole = _whole_run()
    acknowledged = SAVED[marks]
    checkpoint, rows, _ = folder.reopen()
    step = checkpoint.state.step
    assert fingerprint(checkpoint) == whole.at_step[step], "weights of no step"
    assert rows.tolist() == whole.rows[:step], "losses of other steps"
    if acknowledged == "finished":
        assert folder.status == "finished", "the end was acknowledged and is gone"
    else:
        assert step >= int(acknowledged), "a save that was acknowledged is gone"
    if folder.status == "finished":
        assert (step, _tables(folder.path)) == (STEPS, whole.tables), "finished, but not all is there"
    else:
        assert not list(folder.path.rglob(".*")), "what was broken off was left"
        _check_end(folder)


@functools.cache
def _ends() -> set[bytes]:
    """States from which a resume came to the right end."""
    return set()


def _check_end(folder: RunFolder) -> None:
    data = (path.read_bytes() for path in sorted(folder.path.rglob("*")) if path.is_file())
    state = hashlib.sha256(b"\0".join(data)).digest()
    if state not in _ends():
        end = resumed(folder.path)
        assert fingerprint(end.checkpoint) == _whole_run().at_step[STEPS], "a resume came to another end"
        assert _tables(folder.path) == _whole_run().tables, "a resume wrote other tables"
        _ends().add(state)


@dataclass(frozen=True)
class _Whole:
    """A training that nothing disturbed."""

    at_step: dict[int, str]
    rows: list[list[float]]
    tables: dict[str, bytes]


@functools.cache
def _whole_run() -> _Whole:
    at_step: dict[int, str] = {}
    with tempfile.TemporaryDirectory() as place:
        asked, folder = request(Path(place), steps=STEPS, save_every=EVERY, eval_every=EVERY), Path(place) / "runs/run"
        for _ in train(asked):
            checkpoint = checkpoints.read(folder / "weights.safetensors")
            at_step[checkpoint.state.step] = fingerprint(checkpoint)
        rows = RunFolder(folder).reopen()[1].tolist()
        return _Whole(at_step, rows, _tables(folder))


def _tables(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in ("losses.csv", "evaluations.csv", "samples.txt")}


# A text made into tokens.


def prepare_twice(folder: Path) -> None:
    for unit in ("characters", "bytes"):
        _prepare(folder, unit)
        mark(unit)


def _prepare(folder: Path, unit: Any) -> Header:
    with tempfile.TemporaryDirectory() as elsewhere:
        text = Path(elsewhere) / "text.txt"
        text.write_text(TEXT, "utf-8")
        return write_folder([str(text)], folder / f"tokens-{unit}", tokens=unit)[0]


def check_tokens(place: Path, marks: int) -> None:
    for number, unit in enumerate(("characters", "bytes")):
        folder = place / f"tokens-{unit}"
        assert is_token_folder(str(folder)) == folder.exists(), "half a folder of tokens"
        assert folder.exists() or marks <= number, "tokens that were acknowledged are gone"
        if folder.exists():
            header, tokens = open_folder(folder)
            assert (header.sha256, len(tokens)) == _whole_tokens(unit), "other tokens"


@functools.cache
def _whole_tokens(unit: str) -> tuple[str, int]:
    with tempfile.TemporaryDirectory() as place:
        header = _prepare(Path(place), unit)
        return header.sha256, header.tokens


# A store that is made, written to run by run and in larger commits, closed and opened again.


def fill_store(folder: Path) -> None:
    with Store.open(folder / "lab.db", create=True) as store:
        store.begin("few", {"seeds": [0]})
        store.enroll("few", [(trained(number).record.identity, "study") for number in range(RUNS)])
        mark("enrolled")
    for first in range(0, RUNS, 6):
        with Store.open(folder / "lab.db", create=True) as store:
            for number in range(first, first + 6):
                store.add(trained(number))
                if number % 6 != 3:  # the fourth goes with the fifth
                    store.commit()
                    mark(f"run {number}")


def check_store(place: Path, marks: int) -> None:
    path = place / "lab.db"
    if not path.exists() or not path.stat().st_size:
        assert not marks, "the store is gone"
        return
    if marks % 2:  # a reader first: it must bring back what a writer left half done
        with Store.open(path) as store:
            store.records()
    elif not marks:  # nor may it take a store whose making was cut short for something else
        with contextlib.suppress(StoreError), Store.open(path) as store:
            store.records()
    with Store.open(path, create=True) as store:
        found = _contents(store)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert found in _commits()[marks : marks + 2], "neither the last commit nor the next"


Contents = tuple[dict[str, Any], int, list[Any], int]


def _contents(store: Store) -> Contents:
    members = store._connection.execute("SELECT count(*) FROM members").fetchone()[0]
    return store.sweeps(), members, store.records(), len(store.curves())


@functools.cache
def _commits() -> list[Contents]:
    """What the store holds after each commit that is marked; first of all, nothing."""
    with tempfile.TemporaryDirectory() as place, Store.open(Path(place) / "lab.db", create=True) as store:
        states = [_contents(store)]
        store.begin("few", {"seeds": [0]})
        store.enroll("few", [(trained(number).record.identity, "study") for number in range(RUNS)])
        states.append(_contents(store))
        for number in range(RUNS):
            store.add(trained(number))
            if number % 6 != 3:
                states.append(_contents(store))
    return states


# A model that is exported over an earlier one, to files and to a folder.


@functools.cache
def _models() -> tuple[checkpoints.Checkpoint, checkpoints.Checkpoint]:
    with tempfile.TemporaryDirectory() as place:
        first, second = (finish(request(Path(place), steps=steps, name=f"{steps}")) for steps in (3, 5))
        return first.checkpoint, second.checkpoint


EXPORTS: Final = ("model.html", "model.py", "model.safetensors")


def export_twice(folder: Path) -> None:
    for number, model in enumerate(_models()):
        for name in EXPORTS:
            export(model, folder / name)
            mark(f"{name} {number}")
    export(_models()[0], folder / "model")
    mark("folder")


def check_exports(place: Path, marks: int) -> None:
    for number, name in enumerate(EXPORTS):
        found = (place / name).read_bytes() if (place / name).exists() else None
        there = (marks > number) + (marks > number + len(EXPORTS))  # exports of this name that were acknowledged
        before = [None, *_exported(name)]
        in_flight = marks in (number, number + len(EXPORTS))
        assert found in before[there : there + 1 + in_flight], f"{name}: neither the old one nor the new"
    folder = place / "model"
    assert folder.exists() or marks <= 2 * len(EXPORTS), "the folder is gone"
    if folder.exists():
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == _exported_folder(), "half a folder"


@functools.cache
def _exported(name: str) -> tuple[bytes, ...]:
    with tempfile.TemporaryDirectory() as place:
        path = Path(place) / name
        found = []
        for model in _models():
            export(model, path)
            found.append(path.read_bytes())
        return tuple(found)


@functools.cache
def _exported_folder() -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as place:
        export(_models()[0], Path(place) / "model")
        return {path.name: path.read_bytes() for path in (Path(place) / "model").iterdir()}


SCENES: Final = (
    Scene("run", "a training that saves, stops and goes on", train_and_resume, check_run),
    Scene("prepare", "a text made into tokens", prepare_twice, check_tokens),
    Scene("store", "a store written run by run", fill_store, check_store),
    Scene("export", "exports over earlier ones", export_twice, check_exports),
)
