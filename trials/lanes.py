"""Trials side by side: lanes are processes that share the work, and to which all orphans below them are handed."""

import contextlib
import ctypes
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from microgpt.errors import STOPS
from trials.forked import as_by_itself

LANES: Final = 2
ORPHANED: Final = 5.0  # seconds in which what a command has started must have ended too
SUBREAPER: Final = 36  # PR_SET_CHILD_SUBREAPER of prctl


def lanes(trials: int, run: Callable[[range], dict[str, Any]]) -> Iterator[dict[str, Any] | None]:
    """What each lane tells of its share of the trials; None for one that died."""
    reading = []
    for first in range(LANES):
        here, there = os.pipe()
        if os.fork() == 0:
            try:
                # What a shell starts in the background ignores Ctrl-C, or SIGHUP, and so would all that is tried.
                for number in STOPS:
                    signal.signal(number, signal.SIG_DFL)
                as_by_itself()
                # Streams of its own, also where a test captures the usual ones.
                sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
                sys.stderr = os.fdopen(2, "w", 1, encoding="utf-8", errors="backslashreplace", closefd=False)
                ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
                os.write(there, json.dumps(run(range(first, trials, LANES))).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                for pid in _reaped():  # what holds the pipe open would let its reader wait for ever
                    os.kill(pid, signal.SIGKILL)
                os._exit(0)
        os.close(there)
        reading.append(here)
    for here in reading:
        with os.fdopen(here) as told:
            text = told.read()
        yield json.loads(text) if text else None
        os.wait()


def orphans() -> list[str]:
    """Processes that were handed to this lane and do not end by themselves; they are ended here."""
    deadline = time.monotonic() + ORPHANED
    while children := _reaped():
        if time.monotonic() > deadline:
            for pid in children:
                os.kill(pid, signal.SIGKILL)
            return list(children.values())
        time.sleep(0.005)
    return []


def _reaped() -> dict[int, str]:
    """The children that are alive with their command lines, when those that have ended are reaped."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    alive = {}
    for pid in map(int, Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()):
        with contextlib.suppress(OSError):
            alive[pid] = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")[:100]
    return alive
