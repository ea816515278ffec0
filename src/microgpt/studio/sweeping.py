"""The sweep that a person begins on the page Scaling: a process of its own, watched and stopped by a pipe.

What is done is in the store at once, so a sweep that was stopped, or whose studio is gone, goes on when it is begun
again.
"""

import contextlib
import multiprocessing
import threading
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Final

from microgpt.children import ending, leave_interrupts, starting
from microgpt.errors import EnvironmentFault, MicrogptError, UsageError
from microgpt.machine import cores

OFFERED: Final = {
    "steps": "how the loss falls with longer training",
    "params": "how it falls with larger models",
    "laws": "sizes and lengths crossed, to fit a law to",
    "ideas": "changes of the model, each by itself, against a base",
}
CLOSING: Final = 15.0  # seconds that the last runs have at the end


class Sweeps:
    """At most one sweep at a time; what is told of the last one stays."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._told: dict[str, Any] = {"running": False}
        self._pipe: Connection | None = None
        self._listener: threading.Thread | None = None

    def status(self) -> dict[str, Any]:
        """{"running", "what", "done", "failed", "waiting", "seconds_left", "note", "error"}, as far as it is known."""
        return {**self._told, "offered": OFFERED}

    def start(self, what: object) -> dict[str, Any]:
        """Begin a sweep that the program brings. Raises `UsageError`, or `EnvironmentFault` where one runs."""
        if not isinstance(what, str) or what not in OFFERED:
            raise UsageError(f"expected one of {', '.join(OFFERED)}, found {str(what)[:40]!r}.")
        with self._lock:
            if self._told["running"]:
                raise EnvironmentFault("a sweep is under way already; wait for its end, or stop it.")
            context = multiprocessing.get_context("spawn")
            near, far = context.Pipe()
            process = context.Process(target=work, args=(far, what, str(self._store)), name=f"sweep {what}")
            try:
                with starting():
                    process.start()
            except OSError as error:
                told = f"expected to start a process for this sweep, found: {error.strerror or error}"
                raise EnvironmentFault(f"{told}; end other programs, or look whether the disk is full.") from None
            finally:
                far.close()
            self._told = {"running": True, "what": what}
            self._pipe = near  # type: ignore[assignment, unused-ignore]  # Windows names its pipes otherwise
            self._listener = threading.Thread(target=self._listen, args=(near, process), daemon=True)
            self._listener.start()
        return self.status()

    def stop(self) -> dict[str, Any]:
        """Have it end, with what is done in the store."""
        with self._lock, contextlib.suppress(OSError):
            if self._pipe:
                self._pipe.send("stop")
        return self.status()

    def close(self) -> None:
        """Stop, and wait for the end."""
        self.stop()
        if self._listener:
            self._listener.join(CLOSING)

    def _listen(self, pipe: Connection, process: Any) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self._told = {**self._told, **pipe.recv()}
        wait([process.sentinel])
        process.join()
        with self._lock:
            self._pipe = None
            if process.exitcode and "error" not in self._told:
                self._told["error"] = f"its process ended ({ending(process.exitcode)}); what was done is in the store."
            self._told["running"] = False
        pipe.close()


def work(pipe: Connection, what: str, store: str) -> None:
    """The whole life of the process. Once the studio is gone its pipe is closed, and the sweep ends."""
    leave_interrupts()
    stopped = threading.Event()

    def obey() -> None:
        with contextlib.suppress(EOFError, OSError):
            pipe.recv()
        stopped.set()

    threading.Thread(target=obey, daemon=True).start()
    try:
        _carry_out(pipe, what, Path(store), stopped)
    except MicrogptError as error:
        _tell(pipe, error=" ".join(str(error).split()).replace(store, Path(store).name))


def _carry_out(pipe: Connection, what: str, path: Path, stopped: threading.Event) -> None:
    from microgpt.lab.store.store import Store
    from microgpt.lab.sweep.coordinator import Done, Planned, Status, SweepFinished, sweep
    from microgpt.lab.sweep.equal_time import at_equal_time
    from microgpt.lab.sweep.executors import LocalProcesses
    from microgpt.lab.sweep.plan import BUILT_IN, plan
    from microgpt.lab.sweep.texts import Texts

    texts = Texts()
    planned = plan(BUILT_IN[what], texts)
    with Store.open(path, create=True) as store, contextlib.closing(LocalProcesses(cores())) as executor:
        if what == "ideas":
            planned = at_equal_time(planned, texts, store.sweeps().get(planned.name))
        for record in sweep(planned, store, executor, texts, stopped.is_set):
            match record:
                case Planned(runs, skipped):
                    _tell(pipe, runs=runs, skipped=skipped)
                case Done(run) if run.status == "failed":
                    _tell(pipe, note=f"a run failed: {run.error}")
                case Status(done, failed, waiting, seconds_left):
                    _tell(pipe, done=done, failed=failed, waiting=waiting, seconds_left=seconds_left)
                case SweepFinished(done=done, skipped=skipped, failed=failed):
                    _tell(pipe, done=done, skipped=skipped, failed=failed, stopped=stopped.is_set())


def _tell(pipe: Connection, **news: Any) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        pipe.send(news)
