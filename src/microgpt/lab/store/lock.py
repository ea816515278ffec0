"""A lock that one process holds at a time and that a process which dies lets go of."""

import contextlib
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from microgpt.errors import EnvironmentFault, StoreError, file_message
from microgpt.locks import THERE, flocked
from microgpt.untrusted import NOFOLLOW, NONBLOCK

PAUSE: Final = 0.05  # seconds between two tries


@contextlib.contextmanager
def held(path: Path, patience: float) -> Iterator[None]:
    """Hold the lock of a store beside it, waiting so many seconds at most. Raises `StoreError` where another has it,
    `EnvironmentFault` where the folder can't be written.

    The file stands beside the store and not in it: closing any descriptor of a database drops SQLite's own locks.
    """
    if not THERE:  # SQLite's own locks must do
        yield
        return
    lock = path.with_name(f".{path.name}.lock")
    try:
        # For who may write alone: a reader could hold it for good.
        descriptor = os.open(lock, os.O_WRONLY | os.O_CREAT | NOFOLLOW | NONBLOCK, 0o622)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise StoreError(f"{path}: expected a folder to write in, found: {error.strerror}; choose another.") from None
    except OSError as error:
        raise EnvironmentFault(file_message(path, error)) from None
    try:
        _take(descriptor, path, time.monotonic() + patience)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, path: Path, deadline: float) -> None:
    while flocked(descriptor) is False:
        if time.monotonic() > deadline:
            message = "expected a store that nothing else writes to, found another sweep at work on it"
            raise StoreError(f"{path}: {message}; wait for it, or name another store with --store.")
        time.sleep(PAUSE)
