"""The process of one training: a normal run, which tells its studio of itself by a pipe, event by event as JSON.

What kills it, a kernel that fails or a lack of memory, kills it alone. The studio says by the same pipe what the person
wants; when the pipe closes the studio is gone, and the training is saved and ends.
"""

import contextlib
import gc
import json
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.children import leave_interrupts, leave_orphaned
from microgpt.data.split import Split
from microgpt.errors import EnvironmentFault, MicrogptError
from microgpt.recipes.budget import fit
from microgpt.studio.answers import finite
from microgpt.studio.control import ACTIONS, Control
from microgpt.studio.history import read_looks, write_looks
from microgpt.studio.watched import Watched
from microgpt.training.loop import train
from microgpt.training.records import Evaluated, Finished, Interrupted, Note, Record, Saved, Started
from microgpt.training.request import Request
from microgpt.training.resume import resume

POINTS: Final = 1000  # of a curve; more steps share points
REST: Final = 0.5  # seconds between two events that only tell the step
ENDED: Final = ("finished", "stopped", "failed")
ORPHANED: Final = 2.5  # seconds to save in, once the studio is gone
NOTHING_YET: Final = 2.0  # seconds to end in, for a training that has nothing to save

Begin = Callable[["Worker"], Iterator[Record]]


def work(pipe: Connection, begin: Begin, history: bool, paused: bool) -> None:
    """The whole life of the process."""
    leave_interrupts()
    worker = Worker(pipe, history, paused)
    signal.signal(signal.SIGTERM, lambda *_: worker.control.end())
    threading.Thread(target=worker.obey, daemon=True).start()
    gc.freeze()  # what is there now stays: collecting garbage in mid-training need not look through it
    worker.carry_out(begin)


def trained(request: Request, split: Split, worker: "Worker") -> Iterator[Record]:
    """A new run."""
    return train(request, stop=worker.control.stop, split=split, observer=worker.watched)


def resumed(run: Path, changes: Mapping[str, Any], worker: "Worker") -> Iterator[Record]:
    """A run that goes on, after the looks at it that are known."""
    for look in read_looks(run):
        worker.publish("look", look)
    yield from resume(run, changes, stop=worker.control.stop, observer=worker.watched)


def fitted(given: Mapping[str, Any], seconds: float, worker: "Worker") -> Iterator[Record]:
    """The training that makes the most of a time, after a short measurement; none where that was stopped."""
    began = time.perf_counter()
    worker.tell_phase("measuring")

    def tell(text: str) -> None:
        worker.publish("note", {"text": text, "warning": False})

    found = fit(given, seconds, began=began, stop=worker.control.stop, tell=tell)
    if worker.control.stopped:  # before there was anything to save
        return
    tell(found.told)
    yield from train(
        found.request,
        stop=worker.control.stop,
        split=found.split,
        deadline=found.deadline,
        most=found.most,
        observer=worker.watched,
    )


class Worker:
    """A training seen from its own process."""

    def __init__(self, pipe: Connection, history: bool, paused: bool) -> None:
        self._pipe, self._history = pipe, history
        self.control = Control(self.tell_phase, paused=paused)
        self.watched = Watched(self.control, self.publish, history=history)
        self._step, self._told = 0, 0.0
        self._folder: Path | None = None
        self._looks: list[dict[str, Any]] = []
        self._notes: list[dict[str, Any]] = []
        self._written = 0  # looks and notes that are in the folder
        self._unkept = False  # whether it was told that they can't be kept
        self._curve = Curve(1)

    def obey(self) -> None:
        """Do what the studio says, for as long as there is one."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                ACTIONS[self._pipe.recv()](self.control)
                if self.control.stopped:
                    self._end_without_a_run()
        self.control.end()
        time.sleep(ORPHANED)
        leave_orphaned()

    def _end_without_a_run(self) -> None:
        """A single step of a large model may take minutes: where nothing is to be saved, nobody waits for it."""
        time.sleep(NOTHING_YET)
        if self._folder is None:
            self.tell_phase("stopped")
            leave_orphaned()

    def publish(self, kind: str, values: Mapping[str, Any]) -> None:
        """Tell the studio of an event."""
        event = {"kind": kind, **values}
        if kind == "losses":
            self._step = event["step"]
            event["points"] = self._curve.add(event.pop("first"), event.pop("losses"))
            if not event["points"] and not self.control.stepping and time.monotonic() - self._told < REST:
                return
            self._told = time.monotonic()
        event = finite(event)
        if kind == "look":
            self._looks.append(event)
        elif kind == "note":
            self._notes.append(event)
        with contextlib.suppress(OSError):  # the studio is gone, and what was trained is to be saved
            self._pipe.send_bytes(json.dumps(event, allow_nan=False).encode())

    def tell_phase(self, phase: str, **more: Any) -> None:
        self.publish("phase", {"phase": phase, "step": self._step, "last": phase in ENDED, **more})

    def carry_out(self, begin: Begin) -> None:
        """Train, and tell how it ended."""
        phase, more = "failed", dict[str, Any]()
        try:
            self.tell_phase("preparing")
            for record in begin(self):
                phase = self._hear(record) or phase
        except MicrogptError as error:
            more = {"error": str(error), "code": error.exit_code}
        except MemoryError:
            more = {"error": "There is not enough memory for this; smaller sizes or a smaller batch need less."}
        except Exception as error:
            more = {"error": f"unexpected {type(error).__name__}: {error}"}
        if fault := self.watched.close():
            self.publish("note", {"text": fault, "warning": True})
        if not more and phase == "failed" and self.control.stopped:  # before it began
            phase = "stopped"
        if more:
            self._notes.append({"text": more["error"], "warning": True})
        self._write_looks()
        self.tell_phase(phase if not more else "failed", **more)

    def _hear(self, record: Record) -> str | None:
        """Tell the page what the loop tells; the phase that it ends in, if it ends."""
        match record:
            case Started():
                self._started(record)
            case Note(text, warning):
                self.publish("note", {"text": text, "warning": warning})
            case Evaluated(step, held_out):
                told = {"loss": held_out.per_character, "se": held_out.per_character_se}
                self.publish("evaluated", {"step": step, **told})
            case Saved(step):
                self._write_looks()
                self.publish("saved", {"step": step})
            case Finished(result):
                self.publish("finished", {"result": result.to_dict()})
                return "finished"
            case Interrupted(step):
                self.publish("stopped", {"step": step})
                return "stopped"
        return None

    def _started(self, record: Started) -> None:
        self._folder = Path(record.run) if record.run else None
        self._curve = Curve(max(1, -(-record.settings.steps // POINTS)))
        about = asdict(record) | {"run": self._folder.name if self._folder else ""}
        self.publish("started", {"about": about, "per_point": self._curve.width})
        self.tell_phase("training")

    def _write_looks(self) -> None:
        """Keep what there is to show of this training; without it the run is whole."""
        known = len(self._looks) + len(self._notes)
        if not self._history or not self._folder or known == self._written:
            return
        self._written = known
        try:
            write_looks(self._folder, self._looks, self._notes)
        except EnvironmentFault as fault:
            if not self._unkept:
                self.publish("note", {"text": f"what it wrote on its way is not kept: {fault}", "warning": True})
            self._unkept = True


class Curve:
    """Losses step by step to points of `width` steps each: (last step, mean loss)."""

    def __init__(self, width: int) -> None:
        self.width, self._rest = width, np.empty(0)

    def add(self, first: int, losses: NDArray[np.float64]) -> list[tuple[int, float]]:
        whole = np.concatenate([self._rest, losses])  # (steps since the last point,)
        before = first - 1 - len(self._rest)
        count = len(whole) // self.width
        means = whole[: count * self.width].reshape(count, self.width).mean(axis=1)
        self._rest = whole[count * self.width :]
        return [(before + place * self.width, mean) for place, mean in enumerate(means.tolist(), 1)]
