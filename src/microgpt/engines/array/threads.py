"""How many threads the matrix products use: NumPy leaves that to its BLAS, which threadpoolctl can tell."""

import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from threadpoolctl import ThreadpoolController

Pinned = Callable[[], AbstractContextManager[Any]]


def pinned(threads: int) -> Pinned:
    """A maker of contexts in which BLAS uses so many threads."""
    controller = ThreadpoolController()
    return lambda: _held(controller, threads)


class _Holders:
    """Who computes now, with how many threads of BLAS, and what undoes that: BLAS has one number for the process."""

    changed, count, threads = threading.Condition(), 0, 0
    limit: Any = None


@contextmanager
def _held(controller: ThreadpoolController, threads: int) -> Iterator[None]:
    """Threads that ask for one number share it, and the last to leave undoes it; who asks for another waits."""
    with _Holders.changed:
        _Holders.changed.wait_for(lambda: not _Holders.count or _Holders.threads == threads)
        if not _Holders.count:
            _Holders.threads, _Holders.limit = threads, controller.limit(limits=threads, user_api="blas")
        _Holders.count += 1
    try:
        yield
    finally:
        with _Holders.changed:
            _Holders.count -= 1
            if not _Holders.count:
                _Holders.limit.restore_original_limits()
                _Holders.changed.notify_all()
