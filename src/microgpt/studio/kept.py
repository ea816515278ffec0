"""What was made last stays in memory, a few values at most."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar
from weakref import WeakValueDictionary

Value = TypeVar("Value")


class Kept(Generic[Value]):
    """Values by their keys, each made once; the one that was not asked for the longest goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._values: OrderedDict[Hashable, tuple[Value]] = OrderedDict()
        self._lock = threading.Lock()  # never held while a value is made
        self._turns: WeakValueDictionary[Hashable, threading.Lock] = WeakValueDictionary()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value of a key, made now where there is none. What `make` raises is not kept."""
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            made = self._values.get(key) or (make(),)
            with self._lock:
                self._values[key] = made
                self._values.move_to_end(key)
                while len(self._values) > self._most:
                    self._values.popitem(last=False)
        return made[0]
