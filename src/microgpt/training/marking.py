"""What the best table of counts scores, found by a thread of its own while the model trains."""

import threading

from microgpt.data.counts import Mark, mark
from microgpt.data.dataset import Dataset


class Marking(threading.Thread):
    """Nobody waits for it but who wants the mark, and a process ends without it."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__(name="table of counts", daemon=True)
        self._dataset = dataset
        self.known: Mark | None = None
        self.start()

    def run(self) -> None:
        data = self._dataset
        try:
            self.known = mark(data.split, data.held_out(), data.ctx)
        except MemoryError:  # a training that has enough is not to end for want of it
            return

    def wait(self) -> Mark | None:
        """The mark; None where nothing is held out, or memory was too short for it."""
        self.join()
        return self.known
