"""Kill a training at random moments, again and again, and look at what is left.

    python -m bench.faults.kills --kills 1000

A child process trains runs one after another, saving at every step; where it finds one that was cut short, it resumes
it. The parent kills it (SIGKILL) after a random time, then opens every run folder as a resume would. It counts kills
that landed inside a save, folders that could not be read, and finished runs that were lost or changed.
"""

import argparse
import hashlib
import json
import mmap
import os
import random
import signal
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.errors import MicrogptError
from microgpt.files import Operation
from microgpt.recipes import resolve
from microgpt.training.find import folders
from microgpt.training.loop import train
from microgpt.training.records import Progress
from microgpt.training.resume import resume

STEPS = 60
LONGEST = 0.1  # seconds from the first step to the kill
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


def child(place: Path, shared: mmap.mmap) -> None:
    """Train for ever. It tells by a byte whether it is inside a save."""

    def watch(moment: str, operation: Operation) -> None:
        if moment == "before" and operation.kind in ("open", "create", "make folder"):
            shared[SAVING] = 1
        elif moment == "after" and operation.kind == "sync folder":
            shared[SAVING] = 0

    tiny: dict[str, Any] = {"steps": STEPS, "emb": 4, "head": 2, "ctx": 8, "samples": 3, "engine": "array"}
    asked = resolve(
        "default", tiny | {"data": (str(place / "names.txt"),), "out": str(place / "runs"), "save_every": 1}
    )
    with files.watched(watch):
        cut_short = [folder for folder in folders(place / "runs") if folder.status != "finished"]
        while True:
            records = resume(cut_short.pop().path) if cut_short else train(asked)
            for record in records:
                if isinstance(record, Progress):
                    shared[TRAINING] = 1


def kill_once(place: Path, stream: random.Random, count: Count) -> None:
    """Start a child, kill it at a random moment of its training."""
    shared = mmap.mmap(-1, 2)
    count.resumed += any(folder.status != "finished" for folder in folders(place / "runs"))
    pid = os.fork()
    if pid == 0:
        try:
            child(place, shared)
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


def kills(number: int, seed: int = 0) -> Count:
    """So many kills in a folder of their own."""
    count, stream, finished = Count(), random.Random(seed), dict[str, str]()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "names.txt").write_text(NAMES.replace(" ", "\n") + "\n")
        for _ in range(number):
            kill_once(place, stream, count)
            look(place, finished, count)
    return count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    count = kills(arguments.kills, arguments.seed)
    print(json.dumps(asdict(count) | {"seconds": round(time.perf_counter() - start, 1)}, indent=1))


if __name__ == "__main__":
    main()
