"""How many threads the matrix products use: NumPy leaves that to its BLAS, which threadpoolctl can tell."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

from threadpoolctl import ThreadpoolController

Pinned = Callable[[], AbstractContextManager[Any]]


def pinned(threads: int) -> Pinned:
    """A maker of contexts in which BLAS uses so many threads."""
    controller = ThreadpoolController()
    return lambda: controller.limit(limits=threads, user_api="blas")
