"""The weights of a training's looks, written into `history/` by a thread: training never waits for the disk."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final

from microgpt.errors import MicrogptError
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.run_folder import RunFolder

LIMIT: Final = 256 << 20  # bytes that the weights of one training may take on the disk …
WAITING: Final = 64 << 20  # … and in memory while they wait for it


class History:
    """Keeps the weights of some steps; those beyond the limits are left out."""

    def __init__(self, folder: RunFolder | None) -> None:
        self._folder, self._left = folder, LIMIT if folder else 0
        self._writer = ThreadPoolExecutor(1, "history")
        self._waiting: list[Future[None]] = []

    def keep(self, checkpoint: Checkpoint) -> None:
        """Have the weights of this step written, soon."""
        size = checkpoint.state.weights.nbytes
        self._waiting = [write for write in self._waiting if not write.done() or write.exception()]
        full = size > self._left or size * len(self._waiting) > WAITING
        if self._folder and not full:
            self._left -= size
            self._waiting.append(self._writer.submit(self._folder.keep, checkpoint))

    def close(self) -> str | None:
        """Wait until all is written; what went wrong, if something did: the run itself is whole without it."""
        self._writer.shutdown(wait=True)
        faults = [fault for write in self._waiting if (fault := write.exception())]
        if not faults:
            return None
        kind = "" if isinstance(faults[0], MicrogptError) else f"{type(faults[0]).__name__}: "
        return f"not all weights of the way are kept: {kind}{faults[0]}"
