"""Death and loss of power at every file operation: recorded from the real program, replayed, and opened again.

    python -m trials disk-run disk-store

The calls of a process are recorded below Python and SQLite (recording.py). From every prefix of them the folders are
made that death or a loss of power may leave (power.py), and each is opened as the program does (scenes.py).
"""

import multiprocessing
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from microgpt.machine import cores
from trials import power
from trials.fault import Fault, Outcome
from trials.power import Disk, Image, State
from trials.recording import Call, lacking, record
from trials.scenes import SCENES, Scene

ROUNDS: Final = 40  # of random choices at most
States = Callable[[list[Call], str, int], Iterator[State]]


def recorded(scene: Scene, place: Path) -> tuple[list[Call], str]:
    """The calls of a scene and its folder. Replaying them all must give the folder as it is: so none was missed."""
    folder = place / "disk"
    folder.mkdir()
    calls = record(scene.act, folder, place / "calls")
    disk = Disk(str(folder))
    for call in calls:
        disk.follow(call)
    assert disk.whole() == _read(folder), "the recorder missed a call"
    return calls, str(folder)


def _read(folder: Path) -> Image:
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): None if path.is_dir() else path.read_bytes() for path in found}


def states(calls: list[Call], root: str, made: States, most: int, seed: int) -> list[State]:
    """Up to so many different states at random, each once; where one round has fewer, more rounds are made."""
    known: set[tuple[bytes, int]] = set()
    found: list[State] = []
    for number in range(seed, seed + ROUNDS):
        before, of_this = len(found), list(made(calls, root, number))
        for make, marks in random.Random(number).sample(of_this, len(of_this)):
            if len(found) == most:
                return found
            if (key := (power.digest(make()), marks)) not in known:
                known.add(key)
                found.append((make, marks))
        if len(found) == before:
            break
    return found


def survives(scene: Scene, image: Image, marks: int, place: Path) -> str:
    """What is wrong with a state; empty where nothing is."""
    place.mkdir()
    for path, data in image.items():
        if data is None:
            (place / path).mkdir(parents=True)
        else:
            (place / path).parent.mkdir(parents=True, exist_ok=True)
            (place / path).write_bytes(data)
    try:
        scene.check(place, marks)
    except Exception as fault:
        return f"{type(fault).__name__}: {fault} (after {marks} marks)"
    finally:
        shutil.rmtree(place)
    return ""


def replay(scene: Scene, made: States, trials: int, seed: int) -> Outcome:
    """Record a scene and open so many of the states that it may leave."""
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        place = Path(folder)
        calls, root = recorded(scene, place)
        tried = states(calls, root, made, trials, seed)
        faults = _in_parallel(scene, tried, place)
    return Outcome.told(len(tried), faults, f"{len(calls)} calls recorded")


def _in_parallel(scene: Scene, tried: list[State], place: Path) -> list[str]:
    """What is wrong with any of the states, looked for by a process on each core."""
    with multiprocessing.get_context("fork").Pool(cores(), _keep, (scene, tried, place)) as pool:
        return [fault for fault in pool.imap_unordered(_try, range(len(tried)), chunksize=16) if fault]


_work: tuple[Scene, list[State], Path]


def _keep(*work: object) -> None:
    global _work
    _work = work  # type: ignore[assignment]


def _try(number: int) -> str:
    scene, tried, place = _work
    make, marks = tried[number]
    return survives(scene, make(), marks, place / f"state{number}")


def _memory() -> str | None:
    """Where states are made: what counts here is what a disk holds, not the disk."""
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


DEATH = "the process dies at each of its calls, and in the midst of each write; what it wrote is opened again"
POWER = "after each call, what was not synced is dropped, torn or reordered; what is left is opened again"
SIZES: Final = {"run": (800, 6000), "prepare": (180, 1200), "store": (1500, 6000), "export": (600, 2500)}


def _faults(scene: Scene) -> tuple[Fault, Fault]:
    deaths, losses = SIZES[scene.name]
    return (
        Fault(
            2,
            f"death-{scene.name}",
            f"Death at each file operation: {scene.what}",
            f"{DEATH}: the old state or the new",
            deaths,
            partial(replay, scene, power.deaths),
            lacking,
        ),
        Fault(
            3,
            f"power-{scene.name}",
            f"Loss of power: {scene.what}",
            f"{POWER}: the old state or the new, and all that was acknowledged",
            losses,
            partial(replay, scene, power.losses),
            lacking,
        ),
    )


FAULTS = tuple(fault for scene in SCENES for fault in _faults(scene))
