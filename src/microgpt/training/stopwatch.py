"""Where the time of a run went."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Final

from microgpt.training.records import Seconds

SECONDS: Final = tuple(declared.name for declared in fields(Seconds))


@dataclass
class Stopwatch:
    """Seconds by what they were spent on; `before` are those of the run's earlier sessions."""

    before: dict[str, float] = field(default_factory=dict)
    spent: dict[str, float] = field(default_factory=dict)
    start: float = field(default_factory=time.perf_counter)

    @contextlib.contextmanager
    def measure(self, what: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.spent[what] = self.spent.get(what, 0.0) + time.perf_counter() - start

    def seconds(self) -> Seconds:
        now = self.spent | {"total": time.perf_counter() - self.start}
        return Seconds(*(round(now.get(key, 0.0) + self.before.get(key, 0.0), 4) for key in SECONDS))
