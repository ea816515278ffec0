"""What a process asks of the file system, recorded call by call by recorder.c, which is loaded before the C library."""

import os
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

SOURCE: Final = Path(__file__).with_name("recorder.c")
UNDER, TO = "RECORD_UNDER", "RECORD_TO"
_HEAD: Final = struct.Struct("=IIQIIII")

Kind = Literal["open", "create", "write", "cut", "sync", "rename", "remove", "make folder", "mark"]
_KINDS: Final[dict[str, Kind]] = {
    "o": "open", "c": "create", "w": "write", "t": "cut", "s": "sync", "r": "rename", "u": "remove", "m": "make folder",
    "!": "mark",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One call that succeeded. `descriptor` names the file in a write, a cut or a sync; `place` is a write's offset
    or the size that a cut leaves; a mark, which the process writes itself, has its text in `data`."""

    kind: Kind
    descriptor: int
    place: int
    path: str
    target: str
    data: bytes


def lacking() -> str:
    """Why nothing can be recorded here; empty where it can."""
    if sys.platform != "linux":
        return "the recorder is for Linux"
    return "" if shutil.which("cc") else "no C compiler for the recorder"


def record(work: Callable[[Path], None], folder: Path, log: Path) -> list[Call]:
    """Do `work(folder)`, a function of a module, in a process of its own, and give back its calls below the folder."""
    library = log.with_suffix(".so")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(SOURCE), "-ldl"], check=True)
    code = f"import pathlib, {work.__module__} as scenes; scenes.{work.__name__}(pathlib.Path({str(folder)!r}))"
    environment = os.environ | {"LD_PRELOAD": str(library), UNDER: str(folder), TO: str(log)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    return list(_calls(log.read_bytes()))


def mark(text: str) -> None:
    """Note in the log that something has been acknowledged, where this process is being recorded."""
    if log := os.environ.get(TO):
        data = text.encode()
        with _appending(log) as descriptor:
            os.write(descriptor, _HEAD.pack(ord("!"), 0, 0, 0, 0, len(data), 0) + data)


@contextmanager
def _appending(log: str) -> Iterator[int]:
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _calls(data: bytes) -> Iterator[Call]:
    place = 0

    def take(size: int) -> bytes:
        nonlocal place
        place += size
        return data[place - size : place]

    while place < len(data):
        kind, descriptor, where, path, target, size, _ = _HEAD.unpack(take(_HEAD.size))
        paths = take(path).decode(), take(target).decode()
        yield Call(_KINDS[chr(kind)], descriptor, where, *paths, take(size))
