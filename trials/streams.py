"""What a training is told by a person who goes: a signal, a terminal or a reader that is gone; and compilers that must
not stay behind.

After each trial the folder is read. What is lost is the time between the last save and the moment of death.
"""

import contextlib
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from microgpt.cli import app
from microgpt.engines.fused import toolchain
from microgpt.training.run_folder import WEIGHTS, RunFolder
from trials.fault import Fault, Outcome, no_linux
from trials.forked import waited
from trials.lanes import orphans
from trials.stops import KINDS, Count, counted, forked, outcome, stop, stopped
from trials.stops_works import PATIENCE, SMALL, WORKS

MOST_LOST: Final = 3.0  # seconds of steps
LONGEST: Final = 4.0  # seconds until the trial's moment
GOING: Final = (*KINDS, "standard output", "standard error")  # signals, or whose reader goes some time before SIGTERM


def going(trials: int, seed: int) -> Outcome:
    """A training whose person, terminal or reader goes at a random moment."""
    counts = counted(trials, seed, _gone, WORKS["array"].modules)
    most = max(count.slowest_second for count in counts)
    return outcome(counts, f"at most {most:.1f} s of steps were lost, and no run")


def _gone(home: Path, number: int, stream: random.Random, count: Count) -> str:
    """One trial: what was wrong, or nothing. The seconds of steps that were lost are counted."""
    kind = GOING[number % len(GOING)]
    pipes = {descriptor: os.pipe() for descriptor in (1, 2)}
    pid = forked((*SMALL, "--engine", "array"), home, home / "cache", pipes)
    for _, writer in pipes.values():
        os.close(writer)
    readers = {descriptor: reader for descriptor, (reader, _) in pipes.items()}
    weights = home / "runs" / "run" / WEIGHTS
    deadline = time.monotonic() + PATIENCE
    while not weights.exists() and time.monotonic() < deadline:
        time.sleep(0.005)
    time.sleep(stream.uniform(0, LONGEST))
    if isinstance(kind, str):
        os.close(readers.pop(GOING.index(kind) - len(KINDS) + 1))
        time.sleep(stream.uniform(0, LONGEST))
    ended = kind if isinstance(kind, signal.Signals) else signal.SIGTERM
    moment = time.time()
    stop(pid, ended)
    status = waited(pid, PATIENCE)
    for reader in readers.values():
        os.close(reader)
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return f"{kind}: it went on"
    code = os.waitstatus_to_exitcode(status)
    if (128 - code if code < 0 else code) != 128 + ended:
        return f"{kind}: ended with {code}"
    checkpoint, rows, _ = RunFolder(weights.parent).reopen()
    if checkpoint.state.step != len(rows):
        return f"{kind}: saved step {checkpoint.state.step} and {len(rows)} losses"
    lost = moment - weights.stat().st_mtime
    count.slowest_second = max(count.slowest_second, lost)
    return "" if lost <= MOST_LOST else f"{kind}: {lost:.1f} s of steps are lost"


def compiling(trials: int, seed: int) -> Outcome:
    """A signal at a random moment of a compiler's life: compilers started one after another, or a training's own."""
    work = replace(WORKS["fused"], longest=1.0, cold=1)

    def trial(home: Path, number: int, stream: random.Random, count: Count) -> str:
        return _started(home, number, stream) if number % 4 else stopped(work, home, number // 4, stream, count)

    counts = counted(trials, seed, trial, work.modules)
    return outcome(counts, f"{sum(count.orphans for count in counts)} compilers outlived their command")


def _started(home: Path, number: int, stream: random.Random) -> str:
    """One signal while compilers that would never end are started, each for a millisecond, as a verb does it."""
    pid = os.fork()
    if not pid:
        os.setpgid(0, 0)
        with contextlib.suppress(BaseException), app._Interruptible():
            (home / "begun").touch()
            while True:
                toolchain.run(("/bin/sleep", "600"), 0.001)
        os._exit(0)
    while not (home / "begun").exists():
        time.sleep(0.001)
    time.sleep(stream.uniform(0, 0.05))
    stop(pid, KINDS[number % 3])
    if waited(pid, PATIENCE) is None:
        os.kill(pid, signal.SIGKILL)
        return "it went on"
    return f"left processes: {left}" if (left := orphans()) else ""


FAULTS: Final = (
    Fault(
        25,
        "going",
        "a training whose terminal, reader or person goes",
        "a signal, or a closed standard output or error and then SIGTERM, at random moments; at most 3 s are lost",
        200,
        going,
        no_linux,
    ),
    Fault(
        25,
        "stops-compiling",
        "Ctrl-C, SIGTERM or SIGHUP while a compiler is started or runs",
        "at a random moment; no compiler outlives the command",
        500,
        compiling,
        no_linux,
    ),
)
