"""Watching a piece of code that reads what it can't trust: what it runs, what it writes, how long and how large."""

import codecs
import contextlib
import os
import sys
import time
from collections.abc import Iterator
from typing import Any, Final

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

FORBIDDEN: Final = (
    "exec", "compile", "import", "pickle.", "os.system", "os.exec", "os.fork", "os.posix_spawn", "os.remove",
    "os.rename", "os.chmod", "shutil.", "subprocess.", "socket.", "marshal.", "ctypes.",
)  # fmt: skip
WRITING: Final = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
SECONDS: Final = 1.0  # of the processor, which other work on the machine does not lengthen
ROOM: Final = 1 << 30  # bytes that reading may take beyond what the process has
_events: list[str] | None = None
for _name in ("unicode_escape", "idna", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
    codecs.lookup(_name)  # Python imports its own codecs when they are first used, which is no foreign code


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _events is None:
        return
    if event == "open":
        _, mode, flags = arguments
        writes = (isinstance(mode, str) and set(mode) & set("wax+")) or (isinstance(flags, int) and flags & WRITING)
        if writes:
            _events.append(f"open {arguments[0]!r} to write")
    elif event.startswith(FORBIDDEN):
        _events.append(event)


sys.addaudithook(_audit)  # it can't be taken off again, so it listens only inside `audited`


@contextlib.contextmanager
def audited() -> Iterator[list[str]]:
    """What a piece of code did that reading a file never needs."""
    global _events
    _events = []
    try:
        yield _events
    finally:
        _events = None


@contextlib.contextmanager
def bounded(room: int = ROOM) -> Iterator[None]:
    """Let the process take so many bytes more; what is beyond raises `MemoryError`. Linux alone tells its size."""
    if resource is None or not sys.platform.startswith("linux"):
        yield
        return
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - a path object for each trial costs more than it says
        size = int(file.read().split()[0]) * resource.getpagesize()
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    limit = size + room if hard == resource.RLIM_INFINITY else min(size + room, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


@contextlib.contextmanager
def punctual(seconds: float = SECONDS) -> Iterator[None]:
    """Raises `AssertionError` where a piece of code computed for longer."""
    began = time.thread_time()
    yield
    spent = time.thread_time() - began
    assert spent < seconds, f"it took {spent:.1f} s"
