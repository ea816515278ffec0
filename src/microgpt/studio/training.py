"""One training of the studio: a process of its own, with a list of events that any page can read.

Events are numbered from 0 and never change, so a page that comes late, or comes back, asks from the first it has not
seen. Each is kept as the JSON that it came as. Pages ask a few times a second instead of holding a stream open: a
browser allows six connections to a host, so that the seventh tab, and each of its buttons, would wait for good.
"""

import contextlib
import json
import multiprocessing
import os
import secrets
import sys
import threading
from multiprocessing.connection import wait
from typing import Any, Final

from microgpt.children import ONE, ending, starting
from microgpt.errors import EnvironmentFault
from microgpt.studio.worker import ENDED, Begin, work

# Linux forks a process that has imported what it needs. Elsewhere that is not safe: there a training begins later.
FORKS: Final = sys.platform == "linux" and sys.version_info >= (3, 11, 1)  # before, other users could ask the server
CONTEXT: Final = multiprocessing.get_context("forkserver" if FORKS else "spawn")


def warm_up() -> None:
    """Have trainings begin at once."""
    if FORKS:
        from multiprocessing import forkserver

        CONTEXT.set_forkserver_preload(["microgpt.studio.forked"])
        with contextlib.suppress(OSError), starting():  # which the first training meets again, and tells
            os.environ["MICROGPT_STUDIO"] = str(os.getpid())  # whose end it is to notice
            forkserver.ensure_running()
            del os.environ["MICROGPT_STUDIO"]


class LiveTraining:
    """One training under way, or ended."""

    def __init__(self, name: str, threads: int, begin: Begin, *, history: bool = True, paused: bool = False) -> None:
        self.id, self.name, self.threads = secrets.token_hex(4), name, threads
        self.phase, self.run, self.step, self.saved = "preparing", "", 0, 0
        self.events: list[str] = []
        self._lock = threading.Lock()
        self._pipe, self._far_end = CONTEXT.Pipe()
        asked = (self._far_end, begin, history, paused)
        self.process = CONTEXT.Process(target=work, args=asked, daemon=True, name=f"training {self.id}")  # type: ignore[attr-defined]  # each context has its own
        self._listener = threading.Thread(target=self._listen, daemon=True, name=f"training {self.id}")

    def start(self) -> None:
        """Raises `EnvironmentFault` where there can be no further process."""
        try:
            with starting():
                self.process.start()
        except OSError as error:
            told = f"expected to start a process for this training, found: {error.strerror or error}"
            raise EnvironmentFault(f"{told}; end other programs, or look whether the disk is full.") from None
        finally:
            self._far_end.close()
        self._listener.start()

    def ask(self, action: str) -> None:
        """One of the methods of `Control`."""
        with self._lock, contextlib.suppress(OSError):  # it has ended
            self._pipe.send(action)

    def join(self, seconds: float) -> None:
        """Wait so long for the process to end, then end it."""
        self._listener.join(seconds)
        with contextlib.suppress(ValueError):  # it is closed
            self.process.kill()
        self._listener.join()

    @property
    def ended(self) -> bool:
        return self.phase in ENDED

    def summary(self) -> dict[str, Any]:
        return {"id": self.id, "name": self.name, "run": self.run, "phase": self.phase, "events": len(self.events)}

    def _listen(self) -> None:
        """Hear the process until its end, and say how it ended where it could not."""
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._hear(self._pipe.recv_bytes().decode())
        wait([self.process.sentinel])
        with ONE:
            self.process.join()
        if not self.ended:
            stays = f"what was saved until step {self.saved:,} stays: go on with it from the list of runs"
            stays = stays if self.run else "nothing was saved yet: begin it anew"
            error = f"the training's process ended ({ending(self.process.exitcode)}); {stays}."
            last = {"kind": "phase", "phase": "failed", "step": self.step, "last": True, "error": error}
            self._hear(json.dumps(last | {"code": EnvironmentFault.exit_code}))
        self._pipe.close()
        self.process.close()

    def _hear(self, text: str) -> None:
        """Add an event."""
        event = json.loads(text)
        match event["kind"]:
            case "saved":
                self.saved = event["step"]
                return
            case "started":
                self.run, self.saved = event["about"]["run"], event["about"]["step"]
            case "losses" | "phase":
                self.step = event["step"]
                self.phase = event.get("phase", self.phase)
        self.events.append(text)
