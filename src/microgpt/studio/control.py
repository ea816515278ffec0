"""What a person asks of a training from another thread: wait, take one step, go on, stop."""

import threading
import time
from collections.abc import Callable
from typing import Final

Tell = Callable[[str], None]


class Control:
    """The loop asks `stop` before each of its chunks of steps; while the training is paused the answer takes as long
    as the pause. Nothing else of the run is touched, so it ends with the same weights."""

    def __init__(self, tell: Tell, *, paused: bool = False) -> None:
        self._changed = threading.Condition()
        self._tell, self._paused, self._steps, self._stopped = tell, paused, 0, False
        self._waited = 0.0
        self.stepping = False  # whether the chunk to come is to be one step

    def pause(self) -> None:
        with self._changed:
            self._paused = True

    def go_on(self) -> None:
        with self._changed:
            self._paused, self._steps = False, 0
            self._changed.notify_all()

    def step(self) -> None:
        """Take one step, and wait again."""
        with self._changed:
            self._paused = True
            self._steps += 1
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    @property
    def stopped(self) -> bool:
        return self._stopped

    def stop(self) -> bool:
        """The loop's question; waits while the training is paused and no step is asked for."""
        with self._changed:
            if self._paused and not self._steps and not self._stopped:
                self._wait()
            self.stepping = self._steps > 0
            self._steps -= self.stepping
            return self._stopped

    def waited(self) -> float:
        """Seconds of pauses since this was last asked."""
        with self._changed:
            waited, self._waited = self._waited, 0.0
        return waited

    def _wait(self) -> None:
        start = time.perf_counter()
        self._tell("paused")
        self._changed.wait_for(lambda: not self._paused or self._steps > 0 or self._stopped)
        self._waited += time.perf_counter() - start
        if not self._paused:
            self._tell("training")


# What a page may ask for, by its name.
ACTIONS: Final[dict[str, Callable[[Control], None]]] = {
    "pause": Control.pause,
    "go_on": Control.go_on,
    "step": Control.step,
    "end": Control.end,
}
