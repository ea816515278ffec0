"""Python's collector of cycles, and what is better off without it."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def gc_disabled() -> Iterator[None]:
    """Without the collector, for what is over in seconds and makes a million objects without a cycle, as the graph of a
    step or the records of a large store: looking through them again and again takes a tenth of the time or more."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
