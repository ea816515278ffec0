"""The command line carried out in a fork of this process, as another user or with little room, and what it said."""

import contextlib
import importlib
import os
import pkgutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from trials.fault import as_by_itself

NOBODY: Final = 65534
PATIENCE: Final = 30  # seconds; a command that takes longer is ended by SIGALRM
LAZY: Final = ("matplotlib.backends.backend_svg", "matplotlib.backends.backend_agg", "scipy.stats", "scipy.optimize")
_AS_IS: Final[Mapping[str, str]] = {}
LEFT_OUT: Final = ("remote_code", "engines.torch", "__main__", "export.onnx")


@dataclass(frozen=True)
class Told:
    """What a command ended with."""

    arguments: tuple[str, ...]
    code: int
    out: str
    err: str

    def wrong(self, code: int) -> str:
        """Why this is not the one line that a person should see, with this exit code; empty where it is."""
        said = [line for line in self.err.splitlines() if line.startswith("microgpt: ")]
        if "Traceback" in self.err + self.out or "unexpected" in self.err:
            return f"{' '.join(self.arguments)}: a traceback: {self.err[-300:]}"
        if self.code != code or len(said) != (code != 0):
            return f"{' '.join(self.arguments)}: exit code {self.code}: {self.err[-300:]!r}"
        return ""


def warm() -> None:
    """Import all that a verb may import, so that a fork needs no file of the installation, whoever it is."""
    import microgpt

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


def carry_out(*arguments: str, folder: Path, user: int | None = None, set_to: Mapping[str, str] = _AS_IS) -> Told:
    """A command line in a folder, as a user, with variables of the environment set to something."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        if (child := os.fork()) == 0:
            os.environ.update(set_to)
            _live(arguments, folder, user, out.fileno(), err.fileno())
        _, status = os.waitpid(child, 0)
        return Told(arguments, os.waitstatus_to_exitcode(status), _all(out), _all(err))


def _all(file: IO[str]) -> str:
    file.seek(0)
    return file.read()


def _live(arguments: Sequence[str], folder: Path, user: int | None, out: int, err: int) -> None:
    """The whole life of the fork."""
    code = 70
    signal.alarm(PATIENCE)
    try:
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", closefd=False)
        as_by_itself()
        os.chdir(folder)
        if user is not None and os.geteuid() == 0:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
        from microgpt.cli.app import run

        code = run(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


@contextlib.contextmanager
def common_ground() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)
