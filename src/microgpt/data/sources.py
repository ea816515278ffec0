"""Where text comes from: built-in texts, the endless source, files, folders, standard input. Nothing else opens any."""

import math
import os
import select
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from microgpt import untrusted
from microgpt.data.choices import BUILTINS, NAMES, STANDARD_INPUT, Unasked, is_built_in, made_length
from microgpt.data.formats import BYTES_READ, no_text
from microgpt.data.markov import ENDLESS
from microgpt.errors import DataError, EnvironmentFault, MicrogptError, UsageError, nearest

CHUNK: Final = 1 << 20  # bytes
TURN: Final = 0.1  # seconds
UNASKED: Final = 1 << 30  # bytes of a text that no person named: half a minute
UNASKED_FILES: Final = 100_000  # of its folders, which count too
_MADE: Final = 256  # bytes that are read in the time that a character is made in
_NAMED: Final = 3  # how many skipped files a note names


@dataclass(frozen=True)
class Source:
    """One stream of bytes: the name that a person knows it by, and its path (None: standard input), or how many
    characters of the endless source it is. One that was not `asked` for by that name is a regular file and no link."""

    name: str
    path: Path | None
    asked: bool = True
    made: int = 0


def located(sources: Sequence[str]) -> tuple[list[Source], list[str]]:
    """The streams that sources mean, in order, and notes on what was left out.

    Raises DataError where a folder can't be listed or holds no text file, for a length that can't be made, and where
    `Unasked` ones are large; EnvironmentFault where listing it is not permitted.
    """
    if not sources:
        raise UsageError(f"--data: expected at least one source, found none; {', '.join(NAMES)} are built in")
    most = UNASKED_FILES / len(sources) if isinstance(sources, Unasked) else math.inf
    found = [_locate(source, most) for source in sources]
    streams = [stream for streams, _ in found for stream in streams]
    if most < math.inf and sum(map(_size, streams)) > UNASKED:
        raise _large(sources[0])
    return streams, [note for _, notes in found for note in notes]


def _size(stream: Source) -> int:
    """Bytes of a file, or as many as cost what making a text costs."""
    with suppress(OSError):  # reading it will say so
        return stream.path.stat().st_size if stream.path else stream.made * _MADE
    return 0


def _locate(source: str, most: float) -> tuple[list[Source], list[str]]:
    if source == STANDARD_INPUT:
        return [Source("standard input", None)], []
    if length := made_length(source):
        return [Source(source, None, made=length)], of_that_name(source)
    if source in BUILTINS:
        return [Source(source, BUILTINS[source].path)], of_that_name(source)
    path = Path(source)
    if os.path.isdir(path):  # noqa: PTH112 - where looking is not permitted, opening it as a file will say so
        return _folder(path, most)
    return [Source(source, path) if math.isinf(most) else Source(source, Path(os.path.realpath(path)), asked=False)], []


def _large(name: str) -> DataError:
    return DataError(
        f"{name}: expected the text of the run, found one too large to be read without --data; name it there"
    )


def of_that_name(source: str) -> list[str]:
    """A note where a file or a folder here has the name of a built-in text, which is taken."""
    if not (is_built_in(source) and os.path.lexists(source)):
        return []
    return [f"{source}: took the built-in text; ./{source} means the file or folder of that name"]


def chunks(source: Source) -> Iterator[bytes]:
    """The raw bytes, CHUNK at a time. Raises DataError where the source is missing, can't be read or is no text,
    EnvironmentFault where reading it is not permitted."""
    if source.made:
        yield from (part.encode("ascii") for part in ENDLESS.parts(source.made))
        return
    try:
        with _opened(source) as stream:
            read = _reader(stream)
            chunk = read()
            if what := no_text(chunk):
                raise DataError(f"{source.name}: expected text, found {what}")
            while chunk:
                yield chunk
                chunk = read()
    except FileNotFoundError:
        raise DataError(_missing(source.name)) from None
    except (OSError, ValueError) as error:
        raise _unreadable(source.name, error) from None


def _opened(source: Source) -> AbstractContextManager[BinaryIO]:
    if source.path and not source.asked:  # what was a regular file may be a link or a pipe by now
        return os.fdopen(untrusted.regular(source.path, os.O_RDONLY | untrusted.NOFOLLOW), "rb")
    if source.path is not None:
        return source.path.open("rb")
    if not hasattr(sys.stdin, "buffer"):
        raise OSError("this process has no standard input of bytes")
    return nullcontext(sys.stdin.buffer)


def _reader(stream: BinaryIO) -> Callable[[], bytes]:
    """What reads the next bytes, CHUNK at most. What comes from a pipe or a terminal is waited for in turns: a signal
    that comes just before a read begins would be heard only once the read is over, which may be never."""
    try:
        descriptor = stream.fileno()
        waits = sys.platform != "win32" and not stat.S_ISREG(os.fstat(descriptor).st_mode)
    except OSError:  # one in memory
        waits = False
    if not waits:
        return lambda: stream.read(CHUNK)

    def read() -> bytes:
        while not select.select([descriptor], [], [], TURN)[0]:
            pass
        return os.read(descriptor, CHUNK)

    return read


def _folder(folder: Path, most: float) -> tuple[list[Source], list[str]]:
    files = list(_files(folder, most))
    texts = [file for file in files if file.suffix.lower() == ".txt" and not file.name.startswith(".")]
    read = set(texts)
    skipped = [str(file.relative_to(folder)) for file in files if file not in read]
    reasons = {file: reason for file in texts if (reason := _unfit(file, folder))}
    unfit = [f"{file.relative_to(folder)} ({reason})" for file, reason in reasons.items()]
    if len(texts) == len(unfit):
        found = f"found {_listed(unfit + skipped)}" if files else "found it empty"
        raise DataError(f"{folder}: expected a folder with .txt files, {found}; name the files themselves")
    notes = [f"{folder}: skipped {_listed(skipped)} (a folder gives its .txt files)"] if skipped else []
    notes += [f"{folder}: left out {_listed(unfit)}"] if unfit else []
    kept = [file for file in texts if file not in reasons]
    return [Source(str(file), Path(os.path.realpath(file)), asked=False) for file in kept], notes


def _unfit(file: Path, folder: Path) -> str | None:
    """Why a file of a folder is left out; None where it is read. A named pipe is never opened: it might never end."""
    try:
        if not stat.S_ISREG(file.stat().st_mode):
            return "no regular file"
        if file.is_symlink() and not file.resolve().is_relative_to(folder.resolve()):
            return "a link that leads out of the folder"
        with os.fdopen(untrusted.regular(file), "rb") as stream:
            return no_text(stream.read(BYTES_READ))
    except FileNotFoundError:
        return "a link to nothing"
    except OSError:  # reading it will say so
        return None


def _files(folder: Path, most: float) -> Iterator[Path]:
    """Every file below a folder, of `most`, and every link to a folder, which is not followed; sorted by path."""

    def refuse(error: OSError) -> None:
        raise _unreadable(str(error.filename), error)

    found: list[Path] = []
    for parent, folders, names in os.walk(folder, onerror=refuse):
        if (most := most - len(names) - len(folders)) < 0:
            raise _large(str(folder))
        found += [Path(parent) / name for name in names]
        found += [path for name in folders if (path := Path(parent) / name).is_symlink()]
    return iter(sorted(found))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _missing(name: str) -> str:
    path = Path(name)
    if path.is_symlink():
        return f"{name}: expected a text, found a link to {path.readlink()}, where nothing is; correct the link"
    beside: list[str] = []
    with suppress(OSError):
        beside = [str(path.with_name(entry.name)) for entry in path.parent.iterdir()]
    near = nearest(name, [*NAMES, *beside])
    advice = f"did you mean {near}?" if near else f"check the path, or use a built-in text: {', '.join(NAMES)}"
    return f"{name}: expected a text file, a folder or a built-in text, found nothing of that name; {advice}"


def _unreadable(name: str, error: Exception) -> MicrogptError:
    kind = EnvironmentFault if isinstance(error, PermissionError) else DataError
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return kind(f"{name}: expected a file that can be read, found: {reason}; check its path and permissions")
