"""Ctrl-C, or a notebook's stop button, in a training of the library: what was learned is saved before it ends."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Final

from microgpt.data.choices import IN_MEMORY
from microgpt.errors import MicrogptError
from microgpt.library.run import Run
from microgpt.library.telling import say
from microgpt.model.schedule import learning_rates
from microgpt.training.loop import new_folder
from microgpt.training.tables import LOSSES

OUT: Final = Path("runs")  # where a run goes that was to have no folder


class Interruption:
    """Whether the training was interrupted. It waits for the end of a chunk of steps once there is something to lose;
    before, and the second time, it ends all at once."""

    def __init__(self) -> None:
        self.awaited = self.came = False

    def notice(self, number: int, frame: FrameType | None) -> None:
        if self.came or not self.awaited:
            raise KeyboardInterrupt
        self.came = True


@contextmanager
def noticed() -> Iterator[Interruption]:
    """Notice Ctrl-C where Python's own handler has it, which is in the main thread alone; then raise what it would
    have raised."""
    interruption = Interruption()
    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield interruption
        return
    signal.signal(signal.SIGINT, interruption.notice)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if interruption.came:
        raise KeyboardInterrupt


def keep(run: Run) -> None:
    """See that an interrupted run is in a folder, and say how to go on."""
    told = f"interrupted after step {run.step:,} of {run.checkpoint.trained.request.settings.steps:,}"
    try:
        path = run.path or _saved(run)
    except MicrogptError as error:
        say(f"{told}, and not saved: {error}")
        return
    again = ", text=…" if run.checkpoint.trained.provenance.sources == (IN_MEMORY,) else ""
    found = "" if path.parent == OUT else repr(str(path))
    say(f"{told}, and saved: microgpt.load({found}) finds it, microgpt.resume({str(path)!r}{again}) goes on")


def _saved(run: Run) -> Path:
    """A new run folder for a run in memory."""
    rates = learning_rates(run.checkpoint.trained.request.settings, 0, len(run.losses)).tolist()
    rows = zip(range(1, len(run.losses) + 1), run.losses.tolist(), rates, strict=True)
    return new_folder(run.checkpoint, OUT, LOSSES.rows(rows)).path
