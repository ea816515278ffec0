"""One training of the studio: a normal run in a thread of its own, with a list of events that any page can read.

Events are numbered from 0 and never change, so a page that comes late, or comes back, reads from the first it has not
seen. Each is kept as its JSON and not as numbers: floats that outlive a step stand among those of the next steps, whose
memory is never given back then and falls into disorder: after some trainings `atomic` would take half as long again.
The engine lets go of the interpreter while it computes, so the server answers meanwhile.
"""

import json
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.errors import MicrogptError
from microgpt.studio.answers import finite
from microgpt.studio.control import Control
from microgpt.studio.looks import write_looks
from microgpt.training.records import Evaluated, Finished, Interrupted, Note, Record, Started

POINTS: Final = 1000  # of a curve; more steps share points
REST: Final = 0.5  # seconds between two events that only tell the step
ENDED: Final = ("finished", "stopped", "failed")

Begin = Callable[["Training"], Iterator[Record]]


class Training:
    """One training under way, or ended."""

    def __init__(self, name: str, threads: int, begin: Begin, *, history: bool = True, paused: bool = False) -> None:
        self.id, self.name, self.threads, self.history = secrets.token_hex(4), name, threads, history
        self.control = Control(self.tell_phase, paused=paused)
        self.phase, self.run, self.step, self._told = "preparing", "", 0, 0.0
        self.folder: Path | None = None
        self.at_end: list[Callable[[], str | None]] = []  # each says what went wrong, if something did
        self.events: list[str] = []
        self._wakers: set[Callable[[], None]] = set()
        self._lock = threading.Lock()
        self._curve = _Curve(1)
        self._thread = threading.Thread(target=self._work, args=(begin,), daemon=True, name=f"training {self.id}")

    def start(self) -> None:
        self._thread.start()

    def join(self, seconds: float) -> None:
        self._thread.join(seconds)

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    def summary(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "run": self.run, "phase": self.phase, "events": len(self.events)}

    def publish(self, kind: str, values: Mapping[str, Any]) -> None:
        """Add an event, and wake the pages that wait for one."""
        event = {"kind": kind, **values}
        if kind == "losses":
            self.step = event["step"]
            event["points"] = self._curve.add(event.pop("first"), event.pop("losses"))
            if not event["points"] and not self.control.stepping and time.monotonic() - self._told < REST:
                return
            self._told = time.monotonic()
        text = json.dumps(finite(event), allow_nan=False)
        with self._lock:
            self.events.append(text)
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    def tell_phase(self, phase: str, **more: Any) -> None:
        self.phase = phase
        self.publish("phase", {"phase": phase, "step": self.step, "last": self.ended, **more})

    def subscribe(self, wake: Callable[[], None]) -> Callable[[], None]:
        """Have `wake` called at each new event; what is returned ends that."""
        with self._lock:
            self._wakers.add(wake)

        def end() -> None:
            with self._lock:
                self._wakers.discard(wake)

        return end

    def _work(self, begin: Begin) -> None:
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
        for end in self.at_end:
            if fault := end():
                self.publish("note", {"text": fault, "warning": True})
        self.tell_phase(phase if not more else "failed", **more)

    def _hear(self, record: Record) -> str | None:
        """Tell the page what the loop tells; the phase that it ends in, if it ends."""
        match record:
            case Started():
                self._started(record)
            case Note(text, warning):
                self.publish("note", {"text": text, "warning": warning})
            case Evaluated(step, held_out):
                self.publish("evaluated", {"step": step, "loss": held_out.loss, "se": held_out.se})
            case Finished(result):
                self.publish("finished", {"result": result.to_dict()})
                self._write_looks()
                return "finished"
            case Interrupted(step):
                self.publish("stopped", {"step": step})
                self._write_looks()
                return "stopped"
        return None

    def _started(self, record: Started) -> None:
        self.folder = Path(record.run) if record.run else None
        self.run = self.folder.name if self.folder else ""
        self._curve = _Curve(max(1, -(-record.settings.steps // POINTS)))
        about = asdict(record) | {"run": self.run}
        self.publish("started", {"about": about, "per_point": self._curve.width})
        self.tell_phase("training")

    def _write_looks(self) -> None:
        if self.history and self.folder:
            write_looks(self.folder, [event for event in map(json.loads, self.events) if event["kind"] == "look"])


class _Curve:
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
