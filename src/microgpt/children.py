"""The start of Python processes of our own: deaf at first to what a terminal sends, and without the working folder on
their path."""

import contextlib
import os
import signal
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Final

from microgpt.errors import STOPS

HELD_BACK: Final = [number for number in STOPS if number != signal.SIGTERM]  # what a terminal sends to all at once
SAFE_PATH: Final = "PYTHONSAFEPATH"  # https://docs.python.org/3/using/cmdline.html#envvar-PYTHONSAFEPATH


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """In here a process may be started by `multiprocessing`.

    It begins as `python -c`, which would look for modules in the working folder first, where a stranger may have put
    a `socket.py`. And it begins deaf to Ctrl-C and to a terminal that goes, as this process is for that moment,
    which hears of both afterwards.
    """
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"  # for the child and its children: the person's own programs may count on their folder
    try:
        with _interrupts_held_back():
            yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # which would let signals through again on its way, for the first process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
