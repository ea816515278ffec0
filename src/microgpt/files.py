"""The one place where files are written: so that a crash leaves the old or the new.

A file is replaced whole: a temporary file in the same folder is written and synced, takes the old one's name, and the
folder is synced. Every file operation passes through `_operation`, where a test may watch, fail or die.
"""

import contextlib
import errno
import glob
import os
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from microgpt.errors import file_faults
from microgpt.locks import claimed

CHUNK: Final = 1 << 20  # bytes of one write
PART: Final = ".part"  # ends the name of what is not yet whole

Kind = Literal["make folder", "create", "write", "sync", "replace", "sync folder", "open", "cut", "remove"]


@dataclass(frozen=True)
class Operation:
    """One thing asked of the file system; `source` is the name that a replaced file had before."""

    kind: Kind
    path: Path
    source: Path | None = None


Watcher = Callable[[Literal["before", "after"], Operation], None]


def _ignore(moment: Literal["before", "after"], operation: Operation) -> None:
    """What watches when nobody does."""


_watcher: Watcher = _ignore


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Call a watcher before and after each file operation of the process. What it raises happens there: for tests."""
    global _watcher
    before, _watcher = _watcher, watcher
    try:
        yield
    finally:
        _watcher = before


@contextlib.contextmanager
def _operation(kind: Kind, path: Path, source: Path | None = None) -> Iterator[None]:
    operation = Operation(kind, path, source)
    _watcher("before", operation)
    yield
    _watcher("after", operation)


def replace(path: Path, data: bytes, mode: int = 0o666) -> None:
    """Write a file whole, or leave the old one as it was. Raises `EnvironmentFault`."""
    with file_faults(path):
        temporary = _hidden(path)
        try:
            with _operation("create", temporary):
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
            _write(descriptor, temporary, data)
            with _operation("replace", path, temporary):
                temporary.replace(path)
        except BaseException:
            _remove(temporary)
            raise
        sync_folder(path.parent)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A new file that is written piece by piece and synced at its end, for what fills a folder of `make_folder`.

    Raises `OSError`, which `make_folder` turns into an error for a person.
    """
    with _operation("create", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        yield lambda data: _write_all(descriptor, path, data)
        with _operation("sync", path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, which is made if there is none, and sync it. Raises `EnvironmentFault`."""
    with file_faults(path):
        with _operation("open", path):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o666)
        _write(descriptor, path, data)


def cut(path: Path, size: int) -> None:
    """Keep the first `size` bytes of a file. Raises `EnvironmentFault`."""
    with file_faults(path), _operation("cut", path), path.open("rb+") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def make_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Make a folder that nobody sees before `fill` has filled it. Raises `EnvironmentFault` where it can't be."""
    with file_faults(path):
        _make_parents(path.parent)
        tidy_folders(path.parent, path.name)
        with _hidden_folder(path) as temporary:
            try:
                fill(temporary)
                with _operation("replace", path, temporary):
                    temporary.rename(path)
            except BaseException:
                _remove_folder(temporary)
                raise
        sync_folder(path.parent)


def _hidden(path: Path) -> Path:
    """A new name beside a path, for what is not yet whole. Raises `OSError` where a path has no name, as / has none."""
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")


@contextlib.contextmanager
def _hidden_folder(path: Path) -> Iterator[Path]:
    """A new folder beside the one that it will be, held while it is filled, so that whoever tidies leaves it alone."""
    with contextlib.ExitStack() as held:
        while True:
            temporary = _hidden(path)
            with _operation("make folder", temporary):
                temporary.mkdir()
            if _hold(held, temporary):
                break
        yield temporary


def _hold(held: contextlib.ExitStack, folder: Path) -> bool:
    """Hold a folder that was made just now; False where someone tidied before that."""
    try:
        return held.enter_context(claimed(folder)) is not False and folder.is_dir()
    except FileNotFoundError:
        return False


def _make_parents(folder: Path) -> None:
    """Make a folder and those above it that are not there, and let their names survive a loss of power too."""
    if not folder.is_dir():
        _make_parents(folder.parent)
        folder.mkdir(exist_ok=True)
        sync_folder(folder.parent)


def tidy(folder: Path) -> int:
    """Remove what writes that died have left in a folder; say how many files it was."""
    left = list(folder.glob(f".*{PART}"))
    for path in left:
        _remove(path)
    return len(left)


def tidy_folders(folder: Path, name: str = "*") -> int:
    """Remove what processes that died in `make_folder` have left in a folder, of one name or of any; say how many.

    A folder that a live process is filling is held by it and stays, as does every one where there are no locks.
    """
    removed = 0
    for path in folder.glob(f".{name if name == '*' else glob.escape(name)}.{'[0-9a-f]' * 8}{PART}"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_dir():
                continue
            with claimed(path) as ours:
                if ours:
                    _remove_folder(path)
                    removed += 1
    return removed


def sync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power. A system that can't sync a folder has nothing to lose."""
    with _operation("sync folder", folder), contextlib.suppress(PermissionError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _write(descriptor: int, path: Path, data: bytes) -> None:
    try:
        _write_all(descriptor, path, data)
        with _operation("sync", path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, path: Path, data: bytes) -> None:
    view = memoryview(data)
    while len(view):
        with _operation("write", path):
            view = view[os.write(descriptor, view[:CHUNK]) :]


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError), _operation("remove", path):
        path.unlink()


def _remove_folder(folder: Path) -> None:
    for path in sorted(folder.rglob("*"), reverse=True):
        if not path.is_dir():
            _remove(path)
    with contextlib.suppress(OSError), _operation("remove", folder):
        for path in sorted([folder, *folder.rglob("*")], reverse=True):
            path.rmdir()
