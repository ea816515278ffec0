"""Every verb that writes, on a disk that becomes full at a random place of what it writes.

    python -m trials full-run full-store

A small file system in memory is mounted (which root may), what stood there before is laid out, and a file takes all
room but so many pages. The command must fit, or end with exit code 5 and one line; with room again, everything that was
there before must be as it was, or as the command has made it, and nothing half made may be left.
"""

import contextlib
import os
import random
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Final

from microgpt.data.token_folder import open_folder
from microgpt.engines.fused.cache import VARIABLE, _genuine
from microgpt.lab.store.store import Store
from microgpt.training.find import folders
from trials import few
from trials.fault import Fault, Outcome
from trials.forked import Ended, command, warm
from trials.side_by_side import side_by_side
from trials.small import fingerprint, finish, request, resumed, stopped_at

SIZE, PAGE = 8 << 20, 4096
STEPS: Final = 40
TINY: Final = (
    *("--data", "few.txt", "--steps", f"{STEPS}", "--emb", "4", "--head", "2", "--ctx", "8", "--holdout", "0.2"),
    "--quiet",
)
SAVING: Final = ("--engine", "array", "--save-every", "4", "--keep", "every:4")
IT: Final = ("analyze", "steps", "--store", "small/lab.db", "--sweep", "few", "--plot")


@dataclass(frozen=True)
class Case:
    """A command, and how many pages it needs at most. `fits` says that it does without the room that it lacks."""

    arguments: tuple[str, ...]
    pages: int
    fits: bool = False
    set_to: tuple[tuple[str, str], ...] = ()


GROUPS: Final = {
    "run": (
        Case(("train", *TINY, *SAVING, "--out", "small/runs", "--name", "new"), 40),
        Case(("train", "--resume", "small/runs/half"), 30),
        Case(("train", *TINY, "--engine", "array", "--out", "runs", "--losses", "small/losses.csv"), 2),
    ),
    "store": (
        Case(("sweep", "few.toml", "--store", "small/lab.db", "--jobs", "1", "--quiet"), 20),
        Case(("sweep", "few.toml", "--store", "small/new.db", "--jobs", "1", "--quiet"), 26),
    ),
    "products": (
        Case(("prepare", "long.txt", "--out", "small/tokens"), 200),
        Case(("prepare", "long.txt", "--out", "small/tokens", "--tokens", "bytes"), 120),
        Case(("export", "run", "small/old.html", "--force"), 20),
        Case(("export", "run", "small/old.py", "--force"), 6),
        Case(("export", "run", "small/old.safetensors", "--force"), 3),
        Case(("export", "run", "small/model"), 16),
        Case((*IT, "small/old.svg", "--force"), 8),
        Case((*IT, "small/old.png", "--force"), 12),
        Case(("report", "--store", "lab.db", "--out", "small/old-report.html", "--force"), 30),
    ),
    "cache": (
        Case(("train", *TINY, "--engine", "fused", "--out", ""), 60, True, ((VARIABLE, "small/cache"),)),
    ),
}  # fmt: skip
OLD: Final = ("old.html", "old.py", "old.safetensors", "old.svg", "old.png", "old-report.html")


@dataclass
class Count:
    """What came of the trials."""

    trials: int = 0
    refused: int = 0
    wrong: list[str] = field(default_factory=list)


def lacking() -> str:
    """Why no small disk can be had here; empty where it can."""
    return "" if sys.platform == "linux" and os.geteuid() == 0 and _mounts() else "mounting a small disk needs root"


@cache
def _mounts() -> bool:
    with (
        tempfile.TemporaryDirectory() as place,
        contextlib.suppress(subprocess.CalledProcessError),
        _small(Path(place)),
    ):
        return True
    return False


@contextlib.contextmanager
def _small(folder: Path) -> Iterator[None]:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "none", folder], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def tried(group: str, trials: int, seed: int) -> Outcome:
    """Commands of a group on disks of random room."""
    warm()
    counts = side_by_side(partial(fill_up, GROUPS[group]), trials, seed)
    wrong = [told for count in counts for told in count.wrong]
    refused = sum(count.refused for count in counts)
    told = f"{refused} found it full, {trials - refused} had room enough or did without"
    return Outcome.told(trials, wrong, told)


def fill_up(cases: tuple[Case, ...], trials: int, seed: int) -> Count:
    """So many trials in a folder of their own."""
    count, stream = Count(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        _lay_out(place)
        for number in range(trials):
            case = cases[number % len(cases)]
            shutil.rmtree(place / "runs", ignore_errors=True)
            (place / "small").mkdir(exist_ok=True)
            with _small(place / "small"):
                count.trials += 1
                try:
                    told = _trial(place, case, stream.randrange(case.pages))
                    count.refused += told.code != 0 or "warning: " in told.err
                except Exception as fault:
                    count.wrong.append(f"{' '.join(case.arguments)}: {type(fault).__name__}: {fault}"[:300])
    return count


def _trial(place: Path, case: Case, pages: int) -> Ended:
    """Leave so many pages, carry out the command, make room again, and look. Raises AssertionError."""
    small = place / "small"
    shutil.copytree(place / "old", small, dirs_exist_ok=True)
    with (small / "fill").open("wb") as file:
        with contextlib.suppress(OSError):
            while True:
                os.write(file.fileno(), bytes(PAGE))
        os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - pages * PAGE)
    told = command(case.arguments, place, set_to=dict(case.set_to))
    (small / "fill").unlink()
    assert told.code in ((0,) if case.fits else (0, 5)), f"exit code {told.code}: {told.err[-200:]}"
    assert not (wrong := told.wrong(told.code)), wrong
    assert told.code == 0 or "free some" in told.err, f"does not say that the disk is full: {told.err[-200:]}"
    _look(place, told)
    return told


def _look(place: Path, told: Ended) -> None:
    small = place / "small"
    for name in OLD:
        same = (small / name).read_bytes() == (place / "old" / name).read_bytes()
        assert same or (told.code == 0 and f"small/{name}" in told.arguments), f"{name} is another"
    if told.code:
        left = [path.name for path in small.rglob(".*") if not path.name.endswith(".lock")]
        assert not left, f"left: {left[0]}"
    if (small / "tokens").exists():
        open_folder(small / "tokens")
    if (small / "model").exists():
        assert told.code == 0, "half a folder"
    assert all(map(_genuine, (small / "cache").glob("*.so"))), "half a kernel in the cache"
    for folder in folders(small / "runs"):
        if folder.status != "finished":
            assert fingerprint(resumed(folder.path).checkpoint) == _end(place), f"{folder.name} ends otherwise"
    _look_at_store(small / "lab.db", place / "lab.db")
    if (small / "new.db").exists() and (small / "new.db").stat().st_size:
        Store.open(small / "new.db", create=True).close()


def _look_at_store(path: Path, before: Path) -> None:
    with Store.open(path) as store, Store.open(before) as old:
        there, had = store.outcomes(), old.outcomes()
    assert had.items() <= there.items(), "runs of the store are gone"
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@cache
def _end(place: Path) -> str:
    """Where a training of these settings comes to that nothing has disturbed."""
    return fingerprint(finish(request(place, steps=STEPS, out="", name="")).checkpoint)


def _lay_out(place: Path) -> None:
    """A text, a run, a store; and what stands on the small disk before each trial."""
    few.text(place)
    (place / "long.txt").write_text("emma olivia\nava\n" * 25_000)
    (place / "few.toml").write_text(few.design_file(10, 20, seeds=12, lr="0.01"))
    finish(request(place, steps=5, out=str(place), name="run"))
    old = place / "old"
    stopped_at(request(place, steps=STEPS, save_every=4, keep="every:4", name="half", out=str(old / "runs")), 4)
    few.carry_out(few.planned(place), place / "lab.db")
    shutil.copy(place / "lab.db", old / "lab.db")
    for name in OLD:
        (old / name).write_bytes(b"what was there before")


FAULTS = tuple(
    Fault(
        7,
        f"full-{group}",
        f"The disk is full: {what}",
        "a small disk with room for a random part of what a command writes: exit code 5 and one line, or it did "
        "without; what was there before is intact, and nothing half made is left",
        trials,
        partial(tried, group),
        lacking,
    )
    for group, what, trials in (
        ("run", "a training", 150),
        ("store", "a sweep", 40),
        ("products", "tokens, exports, pictures, a report", 220),
        ("cache", "the cache of kernels", 20),
    )
)
