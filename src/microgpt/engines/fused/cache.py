"""Where compiled kernels are kept: a folder that only this person can write, each entry named by what it was made from
and by the SHA-256 of its bytes.

A compiled kernel is code that runs with the person's rights, so the folder, the owner of an entry and its bytes are
checked each time before it is used. An entry appears whole, under its one name, or not at all.
"""

import atexit
import contextlib
import functools
import hashlib
import os
import shutil
import stat
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from microgpt import files, locks, untrusted
from microgpt.errors import CheckpointError, EnvironmentFault

VARIABLE: Final = "MICROGPT_CACHE"
SUFFIX: Final = ".dll" if sys.platform == "win32" else ".so"
MOST_ENTRIES: Final = 256
MOST_BYTES: Final = 256 << 20
ENTRY_LIMIT: Final = 64 << 20  # bytes of one entry
LOCKS: Final = "locks"
SCRATCH: Final = ".build-"  # begins the name of a folder in which a compiler works
STALE_SECONDS: Final = 3600.0  # what a build has left behind for so long belongs to nobody
POLL_SECONDS: Final = 0.02


class CacheFault(EnvironmentFault):
    """A folder that can't hold kernels, or from which none may be loaded."""


class CacheWarning(UserWarning):
    """The cache can't be used, so kernels are compiled for this process alone."""


def default_folder() -> Path:
    """$MICROGPT_CACHE, or the person's folder for caches. Raises `CacheFault` where there is no home."""
    given = os.environ.get(VARIABLE)
    if given:
        return Path(given).absolute()
    try:
        return _platform_folder() / "microgpt"
    except RuntimeError:
        raise CacheFault(
            f"Expected a home folder to keep kernels in, found none; set {VARIABLE} to a folder."
        ) from None


def _platform_folder() -> Path:
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return given if given.is_absolute() else Path.home() / ".cache"


def private_folder() -> Path:
    """A folder for this process alone, removed when it ends. Raises `CacheFault` where none can be made."""
    try:
        folder = _private_folder(os.getpid())
    except OSError as error:
        raise CacheFault(
            f"Expected a temporary folder, found none ({error.strerror or error}); set TMPDIR to one."
        ) from None
    prepare(folder)  # what cleans temporary folders may have removed it
    return folder


@functools.lru_cache(maxsize=1)
def _private_folder(process: int) -> Path:
    folder = Path(tempfile.mkdtemp(prefix="microgpt-"))

    def remove() -> None:
        if os.getpid() == process:  # a fork of this process leaves it alone
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def prepare(folder: Path) -> None:
    """Make the folder if there is none, and check that nobody else can put code in it. Raises `CacheFault`."""
    try:
        _make(folder)
        reason = _distrust(folder)
    except OSError as error:
        raise CacheFault(_cannot_keep(folder, error)) from None
    if reason:
        message = f"{folder}: expected a folder that only you can write, found {reason}"
        raise CacheFault(f"{message}; put it right, or set {VARIABLE} to another.")


def _make(folder: Path) -> None:
    """Make a folder and those above it that are not there, each for this person alone, whatever the umask."""
    if not folder.parent.is_dir():
        _make(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir(mode=0o700)


def _cannot_keep(folder: Path, error: OSError) -> str:
    reason = error.strerror or error
    return f"{folder}: expected to keep kernels in it, found: {reason}; set {VARIABLE} to a folder that you can write."


def _distrust(folder: Path) -> str:
    """Why code from a folder can't be trusted; empty where it can."""
    found = folder.lstat()
    if stat.S_ISLNK(found.st_mode) or not stat.S_ISDIR(found.st_mode):
        return "a symbolic link" if stat.S_ISLNK(found.st_mode) else "something that is no folder"
    if _foreign(found):
        return "one that belongs to another user"
    if _open_to_others(found):
        return "one that others can write (chmod 700 makes it yours)"
    replaceable = [parent for parent in folder.resolve().parents if _replaceable(parent.stat())]
    return f"one inside {replaceable[0]}, where others can put another in its place" if replaceable else ""


def _foreign(found: os.stat_result) -> bool:
    if sys.platform == "win32":  # where the person's folders are closed to others by their access lists
        return False
    return found.st_uid != os.geteuid()


def _open_to_others(found: os.stat_result) -> bool:
    return sys.platform != "win32" and bool(found.st_mode & (stat.S_IWGRP | stat.S_IWOTH))


def _replaceable(above: os.stat_result) -> bool:
    """Whether somebody else may rename what stands in a folder. A sticky one, as /tmp is, keeps that to the owners of
    what stands there and to its own."""
    others = _open_to_others(above) and not above.st_mode & stat.S_ISVTX
    return others or (_foreign(above) and above.st_uid != 0)


def find(folder: Path, key: str) -> Path | None:
    """An entry of this key whose bytes are as they were written, or None."""
    for path in sorted(folder.glob(f"{key}.*{SUFFIX}")):
        if _genuine(path):
            with contextlib.suppress(OSError):
                os.utime(path)  # used last now
            return path
    return None


def _genuine(path: Path) -> bool:
    try:
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or _foreign(found) or _open_to_others(found):
            return False
        return path.name.split(".")[1] == _digest(untrusted.read(path, ENTRY_LIMIT))
    except (OSError, CheckpointError, EnvironmentFault):
        return False


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(folder: Path, key: str, data: bytes) -> Path:
    """Keep the bytes of a compiled kernel, and what was used last of all others. Raises `CacheFault`."""
    path = folder / f"{key}.{_digest(data)}{SUFFIX}"
    try:
        files.replace(path, data, mode=0o600)
    except EnvironmentFault as fault:
        if not _genuine(path):  # Windows replaces no library that another process has loaded, which is the same
            raise CacheFault(str(fault)) from None
    prune(folder, keep=path)
    return path


def prune(folder: Path, keep: Path) -> None:
    """Drop what was used least lately beyond the limits, and what died in the making. Others may do the same at once,
    and whoever misses an entry makes it anew."""
    room, places = MOST_BYTES, MOST_ENTRIES
    for path, found in _by_use(folder):
        room, places = room - found.st_size, places - 1
        if path != keep and (room < 0 or places < 0):
            with contextlib.suppress(OSError):
                path.unlink()
    _tidy(folder)


def _by_use(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """The entries, last used first."""
    entries = []
    for path in folder.glob(f"*{SUFFIX}"):
        with contextlib.suppress(OSError):
            entries.append((path, path.lstat()))
    return sorted(entries, key=lambda entry: entry[1].st_mtime_ns, reverse=True)


def _tidy(folder: Path) -> None:
    for path in [*folder.glob(f"{SCRATCH}*"), *folder.glob(f".*{files.PART}")]:
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime < STALE_SECONDS:
                continue
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink()


@contextlib.contextmanager
def working(folder: Path) -> Iterator[Path]:
    """A folder inside the cache for a compiler to work in, removed afterwards. Raises `CacheFault`."""
    try:
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=folder, ignore_cleanup_errors=True) as scratch:
            yield Path(scratch)
    except OSError as error:
        raise CacheFault(_cannot_keep(folder, error)) from None


@contextlib.contextmanager
def one_of(folder: Path, names: Sequence[str], seconds: float) -> Iterator[None]:
    """Hold one of these locks of a folder. After `seconds` go on without: what a lock saves here is work, and a stopped
    process must not stop all others. Raises `CacheFault`."""
    locks = [folder / LOCKS / name for name in names]
    deadline = time.monotonic() + seconds
    with contextlib.ExitStack() as held:
        while not any(_taken(held, lock) for lock in locks) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
        yield


def _taken(held: contextlib.ExitStack, lock: Path) -> bool:
    try:
        lock.mkdir(mode=0o700, parents=True, exist_ok=True)
        held.enter_context(locks.locked(lock))
    except CheckpointError:
        return False
    except OSError as error:
        raise CacheFault(_cannot_keep(lock.parent.parent, error)) from None
    except EnvironmentFault as fault:
        raise CacheFault(str(fault)) from None
    return True
