"""What was made last stays in memory: a few values, of so many bytes at most."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar
from weakref import WeakValueDictionary

Value = TypeVar("Value")

ROOM: Final = 1 << 30  # bytes of all values together


class Kept(Generic[Value]):
    """Values by their keys, each made once; the one that was not asked for the longest goes first. Two may be larger
    than the room: a page that compares them would else make them in turns."""

    def __init__(self, most: int, size: Callable[[Value], int] = lambda _: 0) -> None:
        self._most, self._size = most, size  # in bytes
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
                while len(self._values) > self._most or (len(self._values) > 2 and self._bytes() > ROOM):
                    self._values.popitem(last=False)
        return made[0]

    def _bytes(self) -> int:
        return sum(self._size(value) for (value,) in self._values.values())
