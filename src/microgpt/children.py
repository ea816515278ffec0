"""Python processes of our own: their start, deaf at first to what a terminal sends and without the working folder on
their path; and their end."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker
from typing import Final, NoReturn

from microgpt.errors import STOPS

HELD_BACK: Final = [number for number in STOPS if number != signal.SIGTERM]  # what a terminal sends to all at once
SAFE_PATH: Final = "PYTHONSAFEPATH"  # https://docs.python.org/3/using/cmdline.html#envvar-PYTHONSAFEPATH
ORPHANED: Final = 3  # the exit code of a process whose parent is gone
ONE: Final = threading.Lock()  # who begins or reaps a process holds it: `multiprocessing` can't do two at once


@contextlib.contextmanager
def starting() -> Iterator[None]:
    """In here a process may be started by `multiprocessing`.

    It begins as `python -c`, which would look for modules in the working folder first, where a stranger may have put
    a `socket.py`. And it begins deaf to Ctrl-C and to a terminal that goes, as this process is for that moment,
    which hears of both afterwards. Threads do so one after another.
    """
    with ONE, _safe_path(), _interrupts_held_back():
        yield


def leave_interrupts() -> None:
    """In a process so started: Ctrl-C, and a terminal that goes, are its parent's to decide."""
    for number in HELD_BACK:
        signal.signal(number, signal.SIG_IGN)


def leave_orphaned() -> NoReturn:
    """In a process so started, whose parent is gone: end at once, with the compiler that may run for it."""
    if compiler := sys.modules.get("microgpt.engines.fused.toolchain"):
        compiler.end_all(for_good=True)
    os._exit(ORPHANED)


def ending(exit_code: int | None) -> str:
    """How a process has ended: "exit code 3", or "signal SIGKILL, Killed; memory may have run out"."""
    if exit_code is None or exit_code >= 0:
        return f"exit code {exit_code}"
    number = -exit_code
    names = {each.value: each.name for each in signal.Signals}
    told = f"signal {names.get(number, number)}, {signal.strsignal(number)}"
    return f"{told}; memory may have run out" if names.get(number) == "SIGKILL" else told


@contextlib.contextmanager
def _safe_path() -> Iterator[None]:
    """For the process and its children: the person's own programs may count on their folder. Under `python -E`, which
    reads no environment, they begin elsewhere and come back once they are set up."""
    if sys.flags.ignore_environment and not sys.flags.safe_path:
        with contextlib.chdir(os.sep):
            yield
        return
    before = os.environ.get(SAFE_PATH)
    os.environ[SAFE_PATH] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[SAFE_PATH]
        else:
            os.environ[SAFE_PATH] = before


@contextlib.contextmanager
def _interrupts_held_back() -> Iterator[None]:
    if sys.platform == "win32":  # which has no signals to hold back
        yield
        return
    resource_tracker.ensure_running()  # which would let signals through again on its way, for the first process
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HELD_BACK)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
