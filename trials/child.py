"""A command line carried out in a process of its own, forked from this one, so that a trial takes milliseconds."""

import os
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from microgpt.cli import app
from trials.fault import as_by_itself

PATIENCE = 30.0  # seconds
MEMORY = 4 << 30  # bytes of addresses beyond those that this process has


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal; what it wrote; whether it was cut short."""

    code: int
    out: str
    err: str
    late: bool = False

    @property
    def lines(self) -> list[str]:
        """What it said went wrong: one line for each failure."""
        return [line for line in self.err.splitlines() if line.startswith("microgpt: ")]

    def refused(self, *codes: int) -> bool:
        """Whether it ended with one of these codes, one short line and no traceback."""
        plain = "Traceback" not in self.err and len(self.lines) == 1 and len(self.lines[0]) < 600
        return self.code in codes and plain and not self.late


def command(arguments: Sequence[str], folder: Path, patience: float = PATIENCE) -> Ended:
    """`microgpt ARGUMENTS` in a folder, with bounded memory; killed after so many seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks: the threads of BLAS hold no locks here
            pid = os.fork()
        if pid == 0:
            _inside(arguments, folder, out.fileno(), err.fileno())
        status, late = _awaited(pid, patience)
        return Ended(os.waitstatus_to_exitcode(status), _read(out), _read(err), late)


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _inside(arguments: Sequence[str], folder: Path, out: int, err: int) -> None:
    code = 99
    try:
        os.dup2(out, 1), os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = open(os.devnull), open(1, "w"), open(2, "w")  # noqa: SIM115, PTH123
        as_by_itself()
        os.chdir(folder)
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY + pages * resource.getpagesize(), resource.RLIM_INFINITY))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        code = app.run(list(arguments))
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _awaited(pid: int, patience: float) -> tuple[int, bool]:
    """The status that a child ends with, and whether it had to be killed."""
    deadline, pause = time.monotonic() + patience, 0.0005
    while time.monotonic() < deadline:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return status, False
        time.sleep(pause)
        pause = min(pause * 1.5, 0.02)
    os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1], True
