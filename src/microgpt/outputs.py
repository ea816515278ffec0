"""The one place that every file passes which a command writes where a person named it, before the command begins.

What the command reads, what belongs to a run and what is a store is never written over; any other file that this
program did not write, only with --force. It knows its own by a mark in the first bytes.
"""

import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Final

from microgpt import __version__, files
from microgpt.data.sources import UNASKED_FILES
from microgpt.errors import UsageError, file_faults
from microgpt.training.run_folder import HISTORY, OWN, REPORT, WEIGHTS
from microgpt.training.tables import LOSSES

HEAD: Final = 1 << 20  # bytes of a file in which its mark stands
STORE: Final = b"SQLite format 3\0"
GENERATOR: Final = f'<meta name="generator" content="microgpt {__version__}">'
BANNER: Final = f"# Written by microgpt {__version__}.\n"
PRODUCER: Final = "microgpt"
MARKS: Final[dict[str, bytes]] = {
    ".csv": LOSSES.header,
    ".html": GENERATOR.encode().partition(b" " + __version__.encode())[0],
    ".onnx": b"\x12\x08" + PRODUCER.encode(),  # ModelProto.producer_name, after the version of the format
    ".png": b"Software\0" + PRODUCER.encode(),
    ".py": BANNER.encode().partition(b" " + __version__.encode())[0],
    ".safetensors": b'\\"training\\": null',  # what was exported; the state of a training is worth more
    ".toml": BANNER.encode().partition(b" " + __version__.encode())[0],
    ".svg": f"<dc:title>{PRODUCER}</dc:title>".encode(),
}


def destination(
    named: str | Path,
    endings: Sequence[str],
    *,
    flag: str = "",
    reads: Iterable[str | Path] = (),
    force: bool = False,
    heads: Iterable[bytes] = (),
) -> Path:
    """Where to write what a person named, a link followed. `reads` are the files and folders that the command reads,
    `heads` the first bytes, besides the marks, by which it knows its own. Folders on the way are made on writing.

    Raises `UsageError` for an ending that is none of `endings`, for a file that must not be replaced or, without
    `force`, that is not this program's; `EnvironmentFault` where the file can't be written.
    """
    path = Path(named)
    with file_faults(path):
        path = path.resolve() if path.is_symlink() else path
        if not path.is_dir() and path.suffix.lower() not in endings:
            what = f"{flag} takes" if flag else f"{named}: expected"
            raise UsageError(f"{what} a file that ends in {' or '.join(endings)}, found {path.suffix or named}.")
        if path.exists() and not path.is_dir():
            _check_replaced(path, named, reads, force, tuple(heads))
        if _of_run(path):
            raise _mine(named, f"one of the run {path.parent}")
    files.probe(path)
    return path


def write(path: Path, data: bytes) -> None:
    """Write what `destination` has given. Raises `EnvironmentFault`."""
    with file_faults(path):
        files.make_parents(path)
    files.replace(path, data)


def _check_replaced(
    path: Path, named: str | Path, reads: Iterable[str | Path], force: bool, heads: tuple[bytes, ...]
) -> None:
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise UsageError(f"{named}: expected a regular file to replace, found something else; name another.")
    for read in _files(reads):
        with suppress(OSError):
            if os.path.samestat(found, read.stat()):
                raise _mine(named, f"{read}, which this command reads")
    with path.open("rb") as file:
        head = file.read(HEAD)
    if head.startswith(STORE):
        raise _mine(named, "a store")
    own = MARKS.get(path.suffix.lower(), STORE) in head or head.startswith(heads)
    if head and not own and not force:
        found_there = "expected a new file, or one that microgpt wrote before, found another"
        raise UsageError(f"{named}: {found_there}; name another, or add --force to replace it.")


def _mine(named: str | Path, found: str) -> UsageError:
    return UsageError(f"{named}: expected a name of its own for what is written, found {found}; name another.")


def _files(reads: Iterable[str | Path]) -> Iterator[Path]:
    """Files as they are, and all below folders, unless a checkpoint says that its text is in a vast one."""
    for read in map(Path, reads):
        yield read
        yield from islice((Path(parent) / name for parent, _, names in os.walk(read) for name in names), UNASKED_FILES)


def _of_run(path: Path) -> bool:
    """Whether a path is that of a file which a run has or may come to have."""
    folder = path.absolute().parent
    run = folder.parent if folder.name == HISTORY else folder
    named = folder.name == HISTORY or path.name in OWN
    return named and (run / WEIGHTS).exists() and (run / REPORT).exists()
