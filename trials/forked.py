"""The command line carried out in forks of this process, so that a trial takes milliseconds, and how they ended."""

import contextlib
import importlib
import os
import pkgutil
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver, resource_tracker
from pathlib import Path
from typing import IO, Final

import microgpt
from microgpt.cli import app

PATIENCE: Final = 30.0  # seconds
MEMORY: Final = 4 << 30  # bytes of addresses beyond those that this process has
NOBODY: Final = 65534
LAZY: Final = ("matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "scipy.stats", "scipy.optimize")
LEFT_OUT: Final = ("remote_code", "engines.torch", "__main__", "export.onnx")
_AS_IS: Final[Mapping[str, str]] = {}


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, negative for a signal; what it wrote; whether it was cut short."""

    arguments: tuple[str, ...]
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

    def wrong(self, code: int) -> str:
        """Why this is not the one line that a person should see, with this exit code; empty where it is."""
        if "Traceback" in self.err + self.out or "unexpected" in self.err:
            return f"{' '.join(self.arguments)}: a traceback: {self.err[-300:]}"
        if self.code != code or len(self.lines) != (code != 0):
            return f"{' '.join(self.arguments)}: exit code {self.code}: {self.err[-300:]!r}"
        return ""


def command(
    arguments: Sequence[str],
    folder: Path,
    patience: float = PATIENCE,
    user: int | None = None,
    set_to: Mapping[str, str] = _AS_IS,
) -> Ended:
    """`microgpt ARGUMENTS` in a folder, with bounded memory, as a user, with variables of the environment set to
    something; killed after so many seconds."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks: the threads of BLAS hold no locks here
            pid = os.fork()
        if pid == 0:
            os.environ.update(set_to)
            _inside(arguments, folder, out.fileno(), err.fileno(), user)
        status = waited(pid, patience)
        if late := status is None:
            os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
        return Ended(tuple(arguments), os.waitstatus_to_exitcode(status), _read(out), _read(err), late)


def waited(pid: int, seconds: float) -> int | None:
    """The status in which a child has ended, or None where it goes on for so long."""
    deadline, pause = time.monotonic() + seconds, 0.0005
    while True:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return status
        if time.monotonic() > deadline:
            return None
        time.sleep(pause)
        pause = min(pause * 1.5, 0.01)


def as_by_itself() -> None:
    """Be as a process that was started by itself, for a fork that carries out a command: where tests are run, warnings
    may be errors, and the parent may have a resource tracker and a server of forks, no children of its fork."""
    tracker, server = resource_tracker._resource_tracker, forkserver._forkserver  # type: ignore[attr-defined]
    for descriptor in (tracker._fd, server._forkserver_alive_fd):
        if descriptor is not None:
            os.close(descriptor)
    tracker.__init__()
    server.__init__()
    warnings.resetwarnings()
    for kind in (DeprecationWarning, PendingDeprecationWarning, ImportWarning, ResourceWarning):
        warnings.simplefilter("ignore", kind)


def _read(stream: IO[bytes]) -> str:
    stream.seek(0)
    return stream.read().decode("utf-8", "replace")


def _inside(arguments: Sequence[str], folder: Path, out: int, err: int, user: int | None) -> None:
    """The whole life of the fork."""
    code = 70
    try:
        os.dup2(out, 1), os.dup2(err, 2)
        sys.stdin, sys.stdout, sys.stderr = open(os.devnull), open(1, "w"), open(2, "w")  # noqa: SIM115, PTH123
        as_by_itself()
        os.chdir(folder)
        pages = int(Path("/proc/self/statm").read_text().split()[0]) if Path("/proc/self/statm").exists() else 0
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY + pages * resource.getpagesize(), resource.RLIM_INFINITY))
        signal.signal(signal.SIGINT, signal.default_int_handler)
        if user is not None and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        code = app.run(list(arguments))
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError):
                stream.flush()
        os._exit(code)


def warm() -> None:
    """Import all that a verb may import, so that a fork needs no file of the installation, whoever it is."""
    for module in pkgutil.walk_packages(microgpt.__path__, "microgpt."):
        if any(part in module.name for part in LEFT_OUT):
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:  # an extra that is not installed here
            if str(error.name).startswith("microgpt"):
                raise
    for name in LAZY:
        importlib.import_module(name)


@contextlib.contextmanager
def common_ground() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
