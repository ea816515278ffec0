"""File operations watched: a process that dies at one of them, and one for which they fail."""

import errno
from dataclasses import dataclass
from typing import Literal

from microgpt.files import Operation

Moment = Literal["before", "after"]


class Death(BaseException):
    """The process is gone: nothing that follows may touch a file."""


@dataclass
class Dying:
    """Counts moments and dies at one of them, for good: what tidies up afterwards dies as well."""

    at: int | None
    moments: int = 0

    def __call__(self, moment: Moment, operation: Operation) -> None:
        self.moments += 1
        if self.at is not None and self.moments >= self.at:
            raise Death


@dataclass
class Failing:
    """Lets the n-th operation of certain kinds fail as the operating system would."""

    error: int
    kinds: tuple[str, ...]
    at: int
    met: int = 0

    def __call__(self, moment: Moment, operation: Operation) -> None:
        if moment == "before" and operation.kind in self.kinds:
            self.met += 1
            if self.met == self.at:
                raise OSError(self.error, errno.errorcode[self.error])
