"""What the best table of counts scores, found by a thread of its own while the model trains."""

import threading

from microgpt.data.counts import Mark, Table, Told, mark, told
from microgpt.data.dataset import Dataset


class Marking(threading.Thread):
    """Nobody waits for it but who wants the mark, and a process ends without it."""

    def __init__(self, dataset: Dataset, mixes: bool) -> None:
        """Where a model `mixes` with a table, that one of its own tokens is made too."""
        super().__init__(name="table of counts", daemon=True)
        self._dataset, self._mixes = dataset, mixes
        self.known: Mark | None = None
        self.told: Told | None = None
        self.table: Table | None = None
        self.start()

    def run(self) -> None:
        data = self._dataset
        try:
            held_out = data.held_out()
            self.known = mark(data.split, held_out, data.ctx)
            if self._mixes:
                self.told = told(data.split, held_out, data.ctx) if held_out else None
                self.table = Table(data.split, self.told.order if self.told else 0)
        except MemoryError:  # a training that has enough is not to end for want of it
            return

    def wait(self) -> Mark | None:
        """The mark; None where nothing is held out, or memory was too short for it."""
        self.join()
        return self.known
