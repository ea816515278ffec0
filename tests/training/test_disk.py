"""Death and loss of power, replayed from the recorded calls of the real program; and that the replay would notice."""

import itertools
import os
from pathlib import Path

import pytest

from trials import power
from trials.disk import recorded, survives
from trials.recording import Call, lacking, mark, record
from trials.scenes import SCENES, Scene

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "it can be recorded")


def test_a_commit_of_the_store_is_told_when_its_journal_can_not_come_back(tmp_path: Path) -> None:
    """A journal that is removed and comes back after a loss of power takes the commit back: its folder is synced."""
    (store,) = [scene for scene in SCENES if scene.name == "store"]
    calls, root = recorded(store, tmp_path)
    marks = [place for place, call in enumerate(calls) if call.kind == "mark"]
    for first, mark_ in itertools.pairwise(marks):
        removed = max(place for place in range(first, mark_) if calls[place].kind == "remove")
        assert any(call.kind == "open" and call.path == root for call in calls[removed:mark_])
    assert len(marks) > 10


# Programs that forget something, each in another way, and whether the replay finds it.

DATA = b"new" * 1000


def in_place(folder: Path) -> None:
    _write(folder / "it", b"old" * 1000, sync=True)
    _sync(folder)
    mark("old")
    _write(folder / "it", DATA, sync=True)
    mark("new")


def without_sync(folder: Path) -> None:
    _first(folder)
    _write(folder / ".it", DATA, sync=False)
    (folder / ".it").replace(folder / "it")
    _sync(folder)
    mark("new")


def without_sync_of_the_folder(folder: Path) -> None:
    _first(folder)
    _write(folder / ".it", DATA, sync=True)
    (folder / ".it").replace(folder / "it")
    mark("new")


def rightly(folder: Path) -> None:
    without_sync_of_the_folder(folder)


def _first(folder: Path) -> None:
    _write(folder / "it", b"old" * 1000, sync=True)
    _sync(folder)
    mark("old")


def _write(path: Path, data: bytes, *, sync: bool) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def check(place: Path, marks: int) -> None:
    found = (place / "it").read_bytes() if (place / "it").exists() else b""
    assert marks == 0 or found in (b"old" * 1000, DATA)[marks - 1 :]


def faults(scene: Scene, place: Path) -> set[str]:
    calls, root = recorded(scene, place)
    told = {survives(scene, make(), marks, place / "state") for make, marks in power.losses(calls, root)}
    return {line[-13:] for line in told if line}


@pytest.mark.long
@pytest.mark.parametrize(
    ("act", "lost_after"), [(in_place, {1}), (without_sync, {1, 2}), (without_sync_of_the_folder, {2})]
)
def test_the_replay_finds_a_program_that_forgets_something(act, lost_after, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    assert faults(Scene("it", "", act, check), tmp_path) == {f"after {marks} marks)"[-13:] for marks in lost_after}


@pytest.mark.long
def test_a_program_that_forgets_nothing_passes(tmp_path: Path) -> None:
    def finally_synced(calls: list[Call]) -> list[Call]:
        *before, last = calls  # the folder is synced just before the last mark
        return [*before, Call("open", 99, 0, str(tmp_path / "disk"), "", b""), Call("sync", 99, 0, "", "", b""), last]

    (tmp_path / "disk").mkdir()
    calls = finally_synced(record(rightly, tmp_path / "disk", tmp_path / "calls"))
    scene = Scene("it", "", rightly, check)
    states = power.losses(calls, str(tmp_path / "disk"))
    assert not any(survives(scene, make(), marks, tmp_path / "state") for make, marks in states)


def test_a_write_that_was_not_synced_is_torn_at_sectors() -> None:
    calls = [Call("create", 3, 0, "/place/it", "", b""), Call("write", 3, 100, "", "", bytes(range(1, 251)) * 10)]
    contents = {make().get("it") for seed in range(20) for make, _ in power.losses(calls, "/place", seed)}
    assert None in contents  # the name did not come to be
    assert b"" in contents
    whole = bytes(100) + bytes(range(1, 251)) * 10
    assert whole in contents
    for content in contents - {None}:
        assert content is not None
        for place in range(0, len(content), power.SECTOR):
            piece = content[place : place + power.SECTOR]
            assert piece == whole[place : place + len(piece)] or not any(piece)
    assert len(contents) > 10
