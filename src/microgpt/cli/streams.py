"""Standard output and standard error, whatever they are: what every verb writes to.

What a stream can't encode is replaced. On a terminal, characters that could steer it are shown; into a pipe or a file
text goes as it is. A stream that fails, since it is full or nobody reads it any more, takes nothing from then on.
"""

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TextIO, cast

from microgpt.untrusted import visible

if TYPE_CHECKING:
    from rich.console import Console


class Unwritable(Exception):  # noqa: N818 - nobody may read any more, which is no error
    """Standard output takes nothing any more. No OSError, of which click would make an exit code of its own."""


class Stream(io.TextIOBase):
    """One of the two. `lost` is its first failure; unless the stream is `patient`, `Unwritable` is raised then."""

    color = True  # click would take escapes away otherwise, from a pipe too

    def __init__(self, inner: TextIO | None, patient: bool) -> None:
        self.inner = inner or open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115, PTH123 - as long as the process
        self.patient, self.lost = patient, cast(OSError | None, None)
        if isinstance(self.inner, io.TextIOWrapper):
            self.inner.reconfigure(errors="replace")

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a name that can't be set
        return self.inner.encoding or "utf-8"

    @property
    def errors(self) -> str:  # type: ignore[override]
        return "replace"

    @property
    def buffer(self) -> Any:
        """Where a shell's completions go, which click writes as bytes."""
        return self.inner.buffer

    def isatty(self) -> bool:
        return self.inner.isatty()

    def fileno(self) -> int:
        return self.inner.fileno()

    def write(self, text: str) -> int:
        return self.write_raw(visible(text) if self.isatty() else text)

    def write_raw(self, text: str) -> int:
        """Write what may steer a terminal."""
        with self._failing():
            self.inner.write(text)
        return len(text)

    def flush(self) -> None:
        with self._failing():
            self.inner.flush()

    def close(self) -> None:
        """Nothing: the stream within is another's, and may be closed when this one is collected."""

    @contextlib.contextmanager
    def _failing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self.lost = self.lost or error
            with contextlib.suppress(OSError):  # what is still in buffers goes nowhere, and all that follows
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, self.inner.fileno())
                os.close(null)
            if not self.patient:
                raise Unwritable from error


class _Raw(io.TextIOBase):
    """A stream for whoever draws on a terminal, and makes visible what is not its own."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.write, self.flush = stream.write_raw, stream.flush  # type: ignore[method-assign]
        self.isatty, self.fileno = stream.isatty, stream.fileno  # type: ignore[method-assign]

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


@contextlib.contextmanager
def ready() -> Iterator[Stream]:
    """Standard output, which fails at once, and standard error, which never does, in place for a command."""
    for descriptor in range(3):  # a file that is opened next must not take the place of a closed one
        try:
            os.fstat(descriptor)
        except OSError:
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    before = sys.stdout, sys.stderr
    out = Stream(sys.stdout, patient=False)
    sys.stdout, sys.stderr = cast(TextIO, out), cast(TextIO, Stream(sys.stderr, patient=True))
    try:
        yield out
    finally:
        sys.stdout, sys.stderr = before


def redraws() -> bool:
    """Whether standard error is a terminal on which a line can be drawn again."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def console(err: bool = False, **settings: Any) -> "Console":
    """Rich on one of the two streams; what it is given to print must be visible already."""
    from rich.console import Console

    stream = sys.stderr if err else sys.stdout
    return Console(file=cast(TextIO, _Raw(stream)) if isinstance(stream, Stream) else stream, **settings)
