"""Every error a person can meet, each with its exit code.

A message says what was expected, what was found and what to do, in one line. The command line prints that line
and leaves with `exit_code`; a library caller catches `MicrogptError` or one of its kinds.
"""

import contextlib
import errno
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import ClassVar, Final

LONGEST: Final = 1000  # characters of a wrong word that are looked at: no more are typed

# The exit code of each signal that ends a command, after saving what can be saved. SIGHUP comes when a terminal goes.
STOPS: Final[dict[int, int]] = {
    getattr(signal, name): 128 + getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP")
    if hasattr(signal, name)
}


class MicrogptError(Exception):
    """Any failure that the person can understand and act on."""

    exit_code: ClassVar[int] = 1


class UsageError(MicrogptError):
    """A flag, a value or a combination of settings that can't be."""

    exit_code = 2


class DataError(MicrogptError):
    """A text that can't be read, split or tokenized; or a prompt with unknown characters."""

    exit_code = 3


class CheckpointError(MicrogptError):
    """A run folder or a weights file that is missing, damaged or of another kind."""

    exit_code = 4


class EnvironmentFault(MicrogptError):  # noqa: N818 - Python's own EnvironmentError is another thing
    """The machine lacks something: a compiler, disk space, a permission, a package."""

    exit_code = 5


class DivergedError(MicrogptError):
    """The loss or an update is not finite."""

    exit_code = 6


class StoreError(MicrogptError):
    """A store of runs that is locked, damaged or of a newer schema."""

    exit_code = 7


def nearest(word: str, known: Iterable[str], alike: float = 0.6) -> str:
    """The known word that is most like a wrong one, to ask whether it was meant; "" where none is as much `alike`, from
    0 (any word) to 1 (the same)."""
    import difflib

    return next(iter(difflib.get_close_matches(word[:LONGEST], list(known), 1, alike)), "")


@contextlib.contextmanager
def file_faults(path: Path) -> Iterator[None]:
    """Turn what the operating system says into one line that helps. Raises `EnvironmentFault`."""
    try:
        yield
    except OSError as error:
        raise EnvironmentFault(file_message(path, error)) from None


def file_message(path: Path | str, error: OSError) -> str:
    """What was expected of a path, what the operating system says of it, and what to do."""
    advice = {
        errno.ENOSPC: "free some space; what was saved before is kept",
        errno.EDQUOT: "free some of your quota; what was saved before is kept",
        errno.EACCES: "get permission, or choose another folder",
        errno.EPERM: "get permission, or choose another folder",
        errno.EROFS: "choose a folder that can be written",
    }.get(error.errno or 0, "check the folder, or choose another")
    return f"{path}: expected to read or write it, found: {error.strerror or error}; {advice}."
