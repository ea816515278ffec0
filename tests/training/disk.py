"""File operations watched: a process that dies at one of them, and a disk that forgets what was not synced."""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from microgpt.files import Operation

Moment = Literal["before", "after"]


class Death(BaseException):
    """The process is gone: nothing that follows may touch a file."""


@dataclass
class Dying:
    """Counts moments and dies at one of them, for good: what tidies up afterwards dies as well."""

    at: int | None
    moments: int = 0

    def __call__(self, moment: Moment, operation: Operation) -> None:
        self.moments += 1
        if self.at is not None and self.moments >= self.at:
            raise Death


@dataclass
class Failing:
    """Lets the n-th operation of certain kinds fail as the operating system would."""

    error: int
    kinds: tuple[str, ...]
    at: int
    met: int = 0

    def __call__(self, moment: Moment, operation: Operation) -> None:
        if moment == "before" and operation.kind in self.kinds:
            self.met += 1
            if self.met == self.at:
                raise OSError(self.error, errno.errorcode[self.error])


@dataclass
class File:
    """A file's bytes now, and those that would survive a loss of power."""

    now: bytes = b""
    synced: bytes = b""


@dataclass
class Disk:
    """What a disk holds: names as the process sees them, and names that would survive a loss of power."""

    names: dict[Path, File] = field(default_factory=dict)
    durable: dict[Path, File] = field(default_factory=dict)

    def __call__(self, moment: Moment, operation: Operation) -> None:
        if moment == "after":
            self._follow(operation)

    def _follow(self, operation: Operation) -> None:
        path, source = operation.path, operation.source
        if operation.kind in ("create", "open"):
            self.names.setdefault(path, File())
        elif operation.kind == "write":
            self.names[path].now = path.read_bytes()
        elif operation.kind == "sync":
            self.names[path].synced = self.names[path].now
        elif operation.kind == "cut":
            self.names[path].now = self.names[path].synced = path.read_bytes()
        elif operation.kind == "replace" and source is not None:
            self.names = _renamed(self.names, source, path)
            if path.is_dir():  # what is synced inside a folder moves with it once its new name is synced
                self._moved = (source, path)
        elif operation.kind == "sync folder":
            self._sync_folder(path)
        elif operation.kind == "remove":
            self.names.pop(path, None)

    _moved: tuple[Path, Path] | None = None

    def _sync_folder(self, folder: Path) -> None:
        if self._moved and self._moved[1].parent == folder:
            self.durable = _renamed(self.durable, *self._moved)
            self._moved = None
        self.durable = {path: file for path, file in self.durable.items() if path.parent != folder}
        self.durable |= {path: file for path, file in self.names.items() if path.parent == folder}

    def images(self) -> Iterator[dict[Path, bytes]]:
        """What a loss of power may leave: no name that was not synced, or every name; never bytes not synced."""
        yield {path: file.synced for path, file in self.durable.items()}
        yield {path: file.synced for path, file in self.names.items()}


def _renamed(names: dict[Path, File], source: Path, target: Path) -> dict[Path, File]:
    moved = {target / path.relative_to(source): file for path, file in names.items() if path.is_relative_to(source)}
    rest = {path: file for path, file in names.items() if not path.is_relative_to(source)}
    return {**rest, **moved}
