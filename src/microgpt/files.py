"""The one place where files are written: so that a crash leaves the old or the new.

A file is replaced whole: a temporary file in the same folder is written and synced, takes the old one's name, and the
folder is synced. Every file operation passes through `_operation`, where a test may watch, fail or die.
"""

import contextlib
import errno
import functools
import glob
import os
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from microgpt import untrusted
from microgpt.errors import UsageError, file_faults
from microgpt.locks import claimed

CHUNK: Final = 1 << 20  # bytes of one write
PART: Final = ".part"  # ends the name of what is not yet whole
NEW: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)

Kind = Literal["make folder", "create", "write", "sync", "replace", "sync folder", "open", "remove"]


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
        with _hidden(path, functools.partial(_create, mode=mode)) as temporary:
            _write(_own(temporary), temporary, data)
            with _operation("replace", path, temporary):
                temporary.replace(path)
        sync_folder(path.parent)


def probe(path: Path) -> None:
    """Prove that a file could be written, by making one beside it or, of a folder that is not there, above it; and tidy
    that place. Raises `EnvironmentFault`."""
    with file_faults(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with contextlib.suppress(FileNotFoundError):
            os.lstat(path)  # says what is too long, or below a file
        folder = next(folder for folder in path.absolute().parents if folder.exists())
        tidy_dead(folder)
        with _hidden(folder / path.name, _create) as temporary:
            _remove(temporary)


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A new file that is written piece by piece and synced at its end, for what fills a folder of `make_folder`.

    Raises `OSError`, which `make_folder` turns into an error for a person.
    """
    with _operation("create", path):
        descriptor = os.open(path, NEW, 0o666)
    try:
        yield lambda data: _write_all(descriptor, path, data)
        with _operation("sync", path):
            os.fsync(descriptor)
    finally:
        os.close(descriptor)


def append(path: Path, data: bytes) -> None:
    """Add to the end of a file, which is made if there is none, and sync it. A file of other names too, be it a backup
    made of links or another run's, keeps what it has: this name gets a file of its own. Raises `EnvironmentFault`."""
    with file_faults(path):
        with _operation("open", path):
            descriptor = untrusted.regular(path, os.O_WRONLY | untrusted.NOFOLLOW | os.O_CREAT | os.O_APPEND)
        if os.fstat(descriptor).st_nlink < 2:
            _write(descriptor, path, data)
            return
        os.close(descriptor)
    replace(path, path.read_bytes() + data)


def make_folder(path: Path, fill: Callable[[Path], None], taken: str = "expected a new folder, found one") -> None:
    """Make a folder that nobody sees before `fill` has filled it.

    Raises `UsageError` that says `taken` where there is something of that name, also where it came meanwhile;
    `EnvironmentFault` where the folder can't be made.
    """

    def refuse_taken() -> None:
        if path.exists():
            raise UsageError(f"{path}: {taken}")

    with file_faults(path):
        refuse_taken()
        make_parents(path)
        tidy_dead(path.parent, path.name)
        try:
            with _hidden(path, _create_folder) as temporary:
                fill(temporary)
                with _operation("replace", path, temporary):
                    temporary.rename(path)
        except OSError:
            refuse_taken()
            raise
        sync_folder(path.parent)


def fill_folder(path: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into an empty folder: all of them, the last one last, or none. Raises `EnvironmentFault`."""
    with file_faults(path), _hidden(path / path.name, _create_folder) as temporary:
        moved: list[Path] = []
        try:
            for name, data in contents.items():
                replace(temporary / name, data)
            for name in contents:
                with _operation("replace", path / name, temporary / name):
                    (temporary / name).rename(path / name)
                moved.append(path / name)
        except BaseException:
            for file in moved:
                _remove(file)
            raise
        finally:
            _remove_folder(temporary)
        sync_folder(path)


@contextlib.contextmanager
def _hidden(path: Path, create: Callable[[Path], None]) -> Iterator[Path]:
    """A new file or folder beside the one that it will be, held meanwhile, so that whoever tidies leaves it alone, and
    removed where what is done with it, or its own making, ends with an error or a stop.

    Raises `OSError`, also where a path has no name, as / has none.
    """
    if not path.name:
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    with contextlib.ExitStack() as held:
        while True:
            temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}{PART}")
            try:
                create(temporary)
                if not _hold(held, temporary):
                    continue
                yield temporary
                return
            except BaseException:
                (_remove_folder if temporary.is_dir() else _remove)(temporary)
                raise


def _create(file: Path, mode: int = 0o666) -> None:
    with _operation("create", file):
        os.close(os.open(file, NEW, mode))


def _own(path: Path) -> int:
    """The descriptor of a regular file of this name alone, to write to. Raises `OSError`."""
    descriptor = untrusted.regular(path, os.O_WRONLY | untrusted.NOFOLLOW)
    if os.fstat(descriptor).st_nlink < 2:
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EMLINK, "a hard link")


def _create_folder(folder: Path) -> None:
    with _operation("make folder", folder):
        folder.mkdir()


def _hold(held: contextlib.ExitStack, path: Path) -> bool:
    """Hold what was made just now; False where someone tidied before that."""
    try:
        return held.enter_context(claimed(path)) is not False and path.exists()
    except FileNotFoundError:
        return False


def make_parents(path: Path) -> None:
    """Make the folders above a path that are not there, and let their names survive a loss of power too."""
    if not path.parent.is_dir():
        make_parents(path.parent)
        path.parent.mkdir(exist_ok=True)
        sync_folder(path.parent.parent)


def tidy(folder: Path) -> int:
    """Remove what writes that died have left in a folder; say how many files it was."""
    left = list(folder.glob(f".*{PART}"))
    for path in left:
        _remove(path)
    return len(left)


def tidy_dead(folder: Path, name: str = "*") -> int:
    """Remove what processes that died while they wrote have left in a folder, of one name or of any; say how many.

    What a live process is writing is held by it and stays, as does all where there are no locks.
    """
    removed = 0
    for path in folder.glob(f".{name if name == '*' else glob.escape(name)}.{'[0-9a-f]' * 8}{PART}"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or not (path.is_dir() or path.is_file()):
                continue
            with claimed(path) as ours:
                if ours:
                    (_remove_folder if path.is_dir() else _remove)(path)
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
    with _operation("remove", folder):
        shutil.rmtree(folder, ignore_errors=True)  # which follows no link, also none that comes meanwhile
