"""Python's collector of cycles, and what is better off without it."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without the collector, which looks again and again at the million objects of a large store and finds no cycle: a
    tenth of the time of what reads one. For what is over in seconds."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
