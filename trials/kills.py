"""Kill a training at random moments, again and again, and look at what is left.

    python -m trials kills-array kills-fused kills-atomic

A child process trains runs one after another, saving at every step; where it finds one that was cut short, it resumes
it. The parent kills it (SIGKILL) after a random time, then opens every run folder as a resume would. It counts kills
that landed inside a save, folders that could not be read, and finished runs that were lost or changed.
"""

import hashlib
import mmap
import os
import random
import signal
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.engines import available
from microgpt.errors import MicrogptError
from microgpt.files import Operation
from microgpt.recipes import resolve
from microgpt.training.find import folders
from microgpt.training.loop import train
from microgpt.training.records import Progress
from microgpt.training.request import Request
from microgpt.training.resume import resume
from trials.fault import Fault, Outcome
from trials.side_by_side import side_by_side

STEPS = 60
LONGEST = 0.2  # seconds from the first step to the kill
TRAINING, SAVING = 0, 1  # bytes that the child shares with its parent
NAMES = "emma olivia ava isabella sophia mia charlotte amelia evelyn abigail harper emily liam noah oliver elijah"


@dataclass
class Count:
    """What the kills did."""

    kills: int = 0
    inside_a_save: int = 0
    resumed: int = 0
    finished_runs: int = 0
    finished_runs_lost: int = 0
    unreadable_folders: int = 0
    rows_that_do_not_fit: int = 0
    left_behind: int = 0  # hidden folders and files that the next start has not removed

    @property
    def lost(self) -> int:
        """Kills after which something was wrong, at most one for each."""
        wrong = self.finished_runs_lost + self.unreadable_folders + self.rows_that_do_not_fit + self.left_behind
        return min(self.kills, wrong)


def child(place: Path, engine: str, shared: mmap.mmap) -> None:
    """Train for ever. It tells by a byte whether it is inside a save."""

    def watch(moment: str, operation: Operation) -> None:
        if moment == "before" and operation.kind in ("open", "create", "make folder"):
            shared[SAVING] = 1
        elif moment == "after" and operation.kind == "sync folder":
            shared[SAVING] = 0

    asked = request(place, engine)
    with files.watched(watch):
        cut_short = [folder for folder in folders(place / "runs") if folder.status != "finished"]
        while True:
            records = resume(cut_short.pop().path) if cut_short else train(asked)
            for record in records:
                if isinstance(record, Progress):
                    shared[TRAINING] = 1


def request(place: Path, engine: str) -> Request:
    """A training of some tenths of a second that saves at every step."""
    tiny: dict[str, Any] = {"steps": STEPS, "emb": 4, "head": 2, "ctx": 8, "samples": 3, "engine": engine}
    where = {"data": (str(place / "names.txt"),), "out": str(place / "runs"), "save_every": 1}
    return resolve("default", tiny | where)


def kill_once(place: Path, engine: str, stream: random.Random, count: Count) -> None:
    """Start a child, kill it at a random moment of its training."""
    shared = mmap.mmap(-1, 2)
    count.resumed += any(folder.status != "finished" for folder in folders(place / "runs"))
    pid = os.fork()
    if pid == 0:
        try:
            child(place, engine, shared)
        finally:
            os._exit(1)
    deadline = time.monotonic() + 30
    while not shared[TRAINING] and time.monotonic() < deadline:
        time.sleep(0.001)
    time.sleep(stream.uniform(0, LONGEST))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if not os.WIFSIGNALED(status):
        raise RuntimeError("the child ended before it was killed")
    count.kills += 1
    count.inside_a_save += shared[SAVING]


def look(place: Path, finished: dict[str, str], count: Count) -> None:
    """Open every folder as a resume would, and compare the finished ones with what they were."""
    for folder in folders(place / "runs"):
        try:
            checkpoint, rows, _ = folder.reopen()
        except MicrogptError:
            count.unreadable_folders += 1
            continue
        count.rows_that_do_not_fit += checkpoint.state.step != len(rows)
        if folder.status == "finished":
            finished.setdefault(folder.name, _digest(folder.path))
    count.finished_runs = len(finished)
    kept = {folder.name: _digest(folder.path) for folder in folders(place / "runs") if folder.name in finished}
    count.finished_runs_lost = sum(kept.get(name) != digest for name, digest in finished.items())


def _digest(folder: Path) -> str:
    parts = [path.read_bytes() for path in sorted(folder.glob("*")) if path.is_file()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def kills(number: int, seed: int = 0, engine: str = "array") -> Count:
    """So many kills in a folder of their own, and at last a training that nobody kills."""
    count, stream, finished = Count(), random.Random(seed), dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "names.txt").write_text(NAMES.replace(" ", "\n") + "\n")
        list(train(replace(request(place, engine), out="")))  # what the engine compiles is compiled now
        for _ in range(number):
            kill_once(place, engine, stream, count)
            look(place, finished, count)
        for cut_short in [folder.path for folder in folders(place / "runs") if folder.status != "finished"]:
            list(resume(cut_short))
        list(train(request(place, engine)))
        count.left_behind = len(list((place / "runs").rglob(".*")))
    return count


def tried(engine: str, trials: int, seed: int) -> Outcome:
    """The kills of an engine, in two places side by side."""
    counts = side_by_side(partial(kills, engine=engine), trials, seed)
    names = ("kills", "lost", "inside_a_save", "resumed", "finished_runs", "finished_runs_lost")
    total = {name: sum(getattr(count, name) for count in counts) for name in names}
    told = f"{total['inside_a_save']} inside a save, {total['resumed']} resumed, "
    told += f"{total['finished_runs']} runs finished, {total['finished_runs_lost']} of them lost"
    aimed = total["inside_a_save"] > 0  # or nothing was tried
    return Outcome(total["kills"], total["kills"] - total["lost"] if aimed else 0, told)


def _missing(engine: str) -> str:
    return {found.name: found.reason or "" for found in available()}[engine]


FAULTS = tuple(
    Fault(
        1,
        f"kills-{engine}",
        f"kill -9 at a random moment of a training ({engine})",
        "it saves at every step; afterwards every run opens at a saved step, and finished runs are unchanged",
        trials,
        partial(tried, engine),
        partial(_missing, engine),
    )
    for engine, trials in (("atomic", 200), ("array", 300), ("fused", 200))
)
