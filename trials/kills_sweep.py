"""Kill a sweep at random moments, again and again, and look at its store and for its workers.

    python -m trials kills-sweep

A child carries out `microgpt sweep` with two workers. The parent kills it (SIGKILL) after a random time, waits for the
workers to end by themselves, and opens the store; the next child goes on. A sweep that comes to its end must have the
table of one that nobody killed, and the next begins with a new store.
"""

import contextlib
import os
import random
import signal
import sqlite3
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from microgpt.cli.app import run
from microgpt.errors import MicrogptError
from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.store import Store
from trials import few
from trials.fault import Fault, Outcome, no_linux
from trials.side_by_side import side_by_side

COMMITS: Final = (1, 6)  # of a start before the kill: the first are of the plan, then come those of runs
LONGEST: Final = 0.6  # seconds from then to the kill …
AIMED: Final = 0.5  # … and for this share of the kills on to a commit, and to a moment within so many seconds of it
WITHIN: Final = 0.006
PATIENCE: Final = 5.0  # seconds that workers have to notice that they are orphans


COUNTED: Final = {
    "kills": "",
    "lost": "",
    "inside_a_commit": "inside a commit",
    "runs": "runs kept",
    "runs_lost": "of them lost",
    "sweeps_finished": "sweeps ended",
    "other_tables": "with another table",
    "orphans": "workers left",
}


@dataclass
class Count:
    """What the kills did."""

    kills: int = 0
    inside_a_commit: int = 0
    runs: int = 0
    runs_lost: int = 0
    stores_unreadable: int = 0
    orphans: int = 0
    sweeps_finished: int = 0
    other_tables: int = 0
    known: dict[str, RunRecord] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # in words

    @property
    def lost(self) -> int:
        """Kills after which something was wrong, at most one for each."""
        return min(self.kills, self.runs_lost + self.stores_unreadable + self.orphans + self.other_tables)


def start(place: Path) -> int:
    """A sweep in a session of its own, which is what its workers are known by."""
    pid = os.fork()
    if pid == 0:
        code = 70
        with contextlib.suppress(BaseException):
            os.setsid()
            os.chdir(place)
            code = run(["sweep", "few.toml", "--jobs", "2", "--quiet", "--json"])
        os._exit(code)
    return pid


def kill_once(place: Path, stream: random.Random, count: Count) -> None:
    """Start a sweep, and kill it at a random moment after some commits, unless it comes to its end before."""
    path, journal = place / "lab.db", place / "lab.db-journal"
    before, pid = _state(path), start(place)
    for _ in range(stream.choice(COMMITS)):
        while (now := _state(path)) == before and not _ended(pid):
            time.sleep(0.001)
        before = now
    time.sleep(stream.uniform(0, LONGEST))
    if stream.random() < AIMED:
        while not journal.exists() and not _ended(pid):
            time.sleep(0.0002)
        time.sleep(stream.uniform(0, WITHIN))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status)
    count.kills += killed
    count.inside_a_commit += killed and journal.exists()
    count.orphans += _orphans(pid)
    _look(path, count)
    if not killed:
        _end(place, count, os.waitstatus_to_exitcode(status))


def _state(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_mtime_ns, found.st_size


def _ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _orphans(session: int) -> int:
    """How many processes of a session are still there after a while; they are ended."""
    deadline = time.monotonic() + PATIENCE
    while (left := _members(session)) and time.monotonic() < deadline:
        time.sleep(0.01)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return len(left)


def _members(session: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.append(int(folder.name))
    return found


def _look(path: Path, count: Count) -> None:
    """Open the store as a reader does; runs that it had before must be there as they were."""
    try:
        with Store.open(path) as store:
            runs = {record.identity: record for record in store.records()}
        with contextlib.closing(sqlite3.connect(path)) as connection:
            sound = connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    except MicrogptError as fault:
        # A kill before the store's first commit leaves an empty file, or none: there was nothing to lose.
        sound, runs = not count.known and ("found an empty file" in str(fault) or not path.exists()), {}
        count.wrong += [] if sound else [str(fault)]
    count.stores_unreadable += not sound
    lost = [(record, runs.get(identity)) for identity, record in count.known.items() if runs.get(identity) != record]
    count.runs_lost += len(lost)
    count.wrong += [f"{before} became {after}" for before, after in lost[:1]]
    count.runs += len(runs.keys() - count.known.keys())
    count.known = runs


def _end(place: Path, count: Count, code: int) -> None:
    """A sweep came to its end: hold its table against the calm one's, and begin anew."""
    count.sweeps_finished += 1
    count.other_tables += code != 0 or few.table(place / "lab.db") != few.table(place / "calm.db")
    for path in place.glob("lab.db*"):
        path.unlink()
    count.known = {}


def kills(number: int, seed: int = 0) -> Count:
    """So many kills in a folder of their own; at last a sweep that nobody kills ends what is left."""
    count, stream = Count(), random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        few.text(place)
        (place / "few.toml").write_text(few.design_file(10, 20, 400, seeds=16))
        _to_its_end(place)
        (place / "lab.db").rename(place / "calm.db")
        while count.kills < number:
            kill_once(place, stream, count)
        _end(place, count, _to_its_end(place))
    return count


def _to_its_end(place: Path) -> int:
    _, status = os.waitpid(start(place), 0)
    return os.waitstatus_to_exitcode(status)


def tried(trials: int, seed: int) -> Outcome:
    """The kills, in two places side by side."""
    counts = side_by_side(kills, trials, seed)
    total = {name: sum(getattr(count, name) for count in counts) for name in COUNTED}
    told = ", ".join(f"{total[name]} {words}" for name, words in COUNTED.items() if words)
    wrong = [line for count in counts for line in count.wrong]
    aimed = total["sweeps_finished"] > 0  # or no table was held against the calm one's
    return Outcome(total["kills"], total["kills"] - total["lost"] if aimed else 0, "; ".join([told, *wrong[:2]]))


FAULTS = (
    Fault(
        1,
        "kills-sweep",
        "kill -9 at a random moment of a sweep",
        "the store opens and is sound, its runs are as they were, no worker is left, the next start goes on",
        300,
        tried,
        no_linux,
    ),
)
