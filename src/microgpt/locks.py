"""Locks of folders: one process holds one at a time, and a process that dies lets go."""

import contextlib
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from microgpt.errors import CheckpointError, EnvironmentFault, file_faults

if sys.platform != "win32":
    import fcntl

THERE: Final = sys.platform != "win32"
PATIENCE, PAUSE = 60.0, 0.02  # seconds


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold a folder for this process alone; a process that dies lets go. Raises `CheckpointError` where it is held."""
    with contextlib.ExitStack() as held:
        with file_faults(folder):
            ours = held.enter_context(claimed(folder))
        if ours is False:
            found = "expected a run that nothing else is training, found one in use; wait for it, or begin a new run"
            raise CheckpointError(f"{folder}: {found}.")
        yield


@contextlib.contextmanager
def claimed(folder: Path) -> Iterator[bool | None]:
    """Hold the lock of a folder: True; False where another process has it, None where there are no locks."""
    if not THERE:  # and no folder could be opened
        yield None
        return
    descriptor = os.open(folder, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    try:
        yield flocked(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold a folder for a moment's work, when it is free. Raises `EnvironmentFault` where that takes too long."""
    deadline = time.monotonic() + PATIENCE
    while True:
        with file_faults(folder), claimed(folder) as ours:
            if ours is not False:
                yield
                return
        if time.monotonic() > deadline:
            message = "expected a folder to write in, found it in use by another command; try again"
            raise EnvironmentFault(f"{folder}: {message}.")
        time.sleep(PAUSE)


def flocked(descriptor: int) -> bool | None:
    """Take the lock of an open file until it is closed: True; False where another has it, None where there are none."""
    if sys.platform != "win32":
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            return False
        except OSError:
            pass  # a file system without locks
    return None
