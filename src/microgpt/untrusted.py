"""The one place where files are read that anyone may have written: of a limited size, and never more than bytes.

And the one place where text from outside is made harmless for a terminal.
"""

import contextlib
import errno
import os
import re
import stat
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Final

from microgpt.errors import CheckpointError, EnvironmentFault, file_message

NOFOLLOW: Final = getattr(os, "O_NOFOLLOW", 0)
NONBLOCK: Final = getattr(os, "O_NONBLOCK", 0)  # else a named pipe would hang before it could be refused
DEEPEST: Final = 64  # levels of JSON: what is read is walked and told by code that recurses
MOST_VALUES: Final = 300_000  # of JSON: the header of a checkpoint of two thousand layers has fewer
SMALL: Final = 16 << 20  # bytes of a file that may be sparse
# A text, whole or cut short, or what begins a value; without going back, so that no text takes long.
_MARKS: Final = re.compile(r'(?s)"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[{\[,]')
# What could steer a terminal or turn a line around: C0 (but tab and line break), DEL, C1, bidirectional controls, other
# line breaks; and surrogates, which stand for bytes of a name that is no text.
STEERING: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"


def visible(text: str) -> str:
    """Text that can't steer a terminal: each character of STEERING as its escape, \\x1b or \\u202e."""
    return re.sub(STEERING, lambda found: found.group().encode("unicode_escape").decode(), text)


def inside(folder: Path, *names: str) -> Path:
    """A path below a folder, by names that no person typed. Raises `CheckpointError` where it, or one on the way, is a
    link: a folder that came from elsewhere must not lead out of itself."""
    path, is_junction = folder, getattr(os.path, "isjunction", lambda _: False)  # of Windows; since Python 3.12
    for name in names:
        path /= name
        if os.path.islink(path) or is_junction(path):  # noqa: PTH114 - no fault where looking is not permitted
            raise CheckpointError(f"{path}: expected no link here, found one to {os.path.realpath(path)}; remove it.")
    return path


def regular(path: Path, flags: int = os.O_RDONLY) -> int:
    """The descriptor of a regular file. Raises `OSError`."""
    descriptor = os.open(path, flags | NONBLOCK | getattr(os, "O_BINARY", 0), 0o666)
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.EINVAL, "no regular file")


@contextlib.contextmanager
def opened(path: Path, limit: int) -> Iterator[tuple[BinaryIO, int]]:
    """A regular file and its size of at most `limit` bytes. Raises `CheckpointError`, or `EnvironmentFault` where
    reading it is not permitted."""
    try:
        descriptor = regular(path)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if found.st_size > limit:
                raise CheckpointError(f"{path}: expected at most {limit:,} bytes, found {found.st_size:,}; not read.")
            if found.st_size > SMALL and (held := _held(descriptor, found.st_size)) < found.st_size / 4:
                told = f"expected a whole file of {found.st_size:,} bytes, found {held:,} on the disk and holes"
                raise CheckpointError(f"{path}: {told}; it is damaged, or made to look large.")
            yield file, found.st_size
    except PermissionError as error:
        raise EnvironmentFault(file_message(path, error)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise CheckpointError(f"{path}: expected a file that can be read, found: {reason}; check the path.") from None


def _held(descriptor: int, size: int) -> int:
    """Bytes of a file that are not in holes; all of them where the system can't tell.

    Its blocks would tell less: a file system that compresses has fewer for honest files, and none yet for new ones. It
    may also make holes of zeros, as a sparse copy does: at the first step Adam's moments, two thirds of a file, are.
    """
    if sys.platform == "win32":  # which has no such places
        return size
    held = place = 0
    try:
        while place < size:
            start = os.lseek(descriptor, place, os.SEEK_DATA)
            place = os.lseek(descriptor, start, os.SEEK_HOLE)
            held += place - start
    except OSError as error:
        if error.errno != errno.ENXIO:  # which says that no more data follow
            held = size
    os.lseek(descriptor, 0, os.SEEK_SET)
    return held


def read(path: Path, limit: int) -> bytes:
    """All bytes of a regular file of at most `limit`. Raises what `opened` raises."""
    with opened(path, limit) as (file, size):
        return file.read(size)


def parse_json(data: bytes | str, where: str, most: int = MOST_VALUES) -> dict[str, Any]:
    """A JSON object from untrusted bytes, of about `most` values at most.

    Raises `CheckpointError`, also for NaN, for keys that occur twice, and beyond DEEPEST levels.
    """

    import json  # which `visible`, and so `microgpt --help`, can do without

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len(found := dict(pairs)) != len(pairs):
            raise ValueError("a key occurs twice")
        return found

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        text = data if isinstance(data, str) else data.decode("utf-8")
        # Counted in a hundredth of the time; where that is too many, they may be commas within texts.
        if sum(map(text.count, "{[,")) > most and next(islice(_MARKS.finditer(text), most, None), None):
            raise ValueError(f"more than {most:,} values")
        value = json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}: expected JSON, found: {str(error)[:200]}; the file is damaged.") from None
    if not isinstance(value, dict):
        raise CheckpointError(f"{where}: expected a JSON object, found {type(value).__name__}; the file is damaged.")
    if not _is_flat(value):
        raise CheckpointError(f"{where}: expected JSON of at most {DEEPEST} levels, found more; the file is damaged.")
    return value


def _is_flat(value: object) -> bool:
    """Whether lists and objects stand in one another at most DEEPEST deep."""
    level = [value]
    for _ in range(DEEPEST):
        within = [item.values() if isinstance(item, dict) else item for item in level if isinstance(item, dict | list)]
        level = [item for items in within for item in items if isinstance(item, dict | list)]
    return not level
