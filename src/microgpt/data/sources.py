"""Where text comes from: built-in texts, the endless source, files, folders, standard input. Nothing else opens any."""

import difflib
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Final, cast

from microgpt.data.choices import BUILTINS, NAMES, STANDARD_INPUT, made_length
from microgpt.data.markov import ENDLESS
from microgpt.errors import DataError, EnvironmentFault, MicrogptError

CHUNK: Final = 1 << 20  # bytes
_NAMED: Final = 3  # how many skipped files a note names


@dataclass(frozen=True)
class Source:
    """One stream of bytes: the name that a person knows it by, and its path (None: standard input), or how many
    characters of the endless source it is."""

    name: str
    path: Path | None
    in_folder: bool = False
    made: int = 0


def locate(source: str) -> tuple[list[Source], list[str]]:
    """The streams that a source means, in order, and notes on what was left out.

    Raises DataError where a folder can't be listed or holds no text file, and for a length that can't be made;
    EnvironmentFault where listing it is not permitted.
    """
    if source == STANDARD_INPUT:
        return [Source("standard input", None)], []
    if source in BUILTINS:
        return [Source(source, BUILTINS[source].path)], []
    if length := made_length(source):
        return [Source(source, None, made=length)], []
    path = Path(source)
    return _folder(path) if _is_folder(path) else ([Source(source, path)], [])


def chunks(source: Source) -> Iterator[bytes]:
    """The raw bytes, CHUNK at a time. Raises DataError where the source is missing or can't be read,
    EnvironmentFault where that is not permitted."""
    if source.made:
        yield from (part.encode("ascii") for part in ENDLESS.parts(source.made))
        return
    try:
        with _opened(source) as stream:
            # Not `read`, which goes on waiting for the rest of a chunk where a signal comes between two parts of it.
            yield from iter(lambda: stream.read1(CHUNK), b"")
    except FileNotFoundError:
        raise DataError(_missing(source.name)) from None
    except (OSError, ValueError) as error:
        raise _unreadable(source.name, error) from None


def _opened(source: Source) -> AbstractContextManager[BufferedReader]:
    if source.path is not None:
        return source.path.open("rb")
    if not hasattr(sys.stdin, "buffer"):
        raise OSError("this process has no standard input of bytes")
    return nullcontext(cast(BufferedReader, sys.stdin.buffer))


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:  # not allowed to look: opening it as a file will say so
        return False


def _folder(folder: Path) -> tuple[list[Source], list[str]]:
    files = list(_files(folder))
    texts = [file for file in files if file.suffix.lower() == ".txt" and not file.name.startswith(".")]
    skipped = [str(file.relative_to(folder)) for file in files if file not in set(texts)]
    if not texts:
        found = f"found {_listed(skipped)}" if skipped else "found it empty"
        raise DataError(f"{folder}: expected a folder with .txt files, {found}; name the files themselves")
    notes = [f"{folder}: skipped {_listed(skipped)} (a folder gives its .txt files)"] if skipped else []
    return [Source(str(file), file, in_folder=True) for file in texts], notes


def _files(folder: Path) -> Iterator[Path]:
    """Every file below a folder, sorted by path; links to folders are not followed."""

    def refuse(error: OSError) -> None:
        raise _unreadable(str(error.filename), error)

    found = [Path(parent) / name for parent, _, names in os.walk(folder, onerror=refuse) for name in names]
    return iter(sorted(found))


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _missing(name: str) -> str:
    path = Path(name)
    beside: list[str] = []
    with suppress(OSError):
        beside = [str(path.with_name(entry.name)) for entry in path.parent.iterdir()]
    near = difflib.get_close_matches(name, [*NAMES, *beside], n=1)
    advice = f"did you mean {near[0]}?" if near else f"check the path, or use a built-in text: {', '.join(NAMES)}"
    return f"{name}: expected a text file, a folder or a built-in text, found nothing of that name; {advice}"


def _unreadable(name: str, error: Exception) -> MicrogptError:
    kind = EnvironmentFault if isinstance(error, PermissionError) else DataError
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return kind(f"{name}: expected a file that can be read, found: {reason}; check its path and permissions")
