"""Where runs are computed: the seam at which a cluster plugs in, and processes of this machine."""

import contextlib
import multiprocessing
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Final, Protocol

from microgpt.children import ending, starting
from microgpt.lab.store.record import Trained
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.worker import Lost, Outcome, work

QUICK: Final = 0.1  # seconds; a worker whose runs take less is handed the next one while it is at the last
ENDING: Final = 2.0  # seconds a worker has to end by itself


class Executor(Protocol):
    """Takes specifications and gives back what came of them, in any order."""

    jobs: int

    @property
    def room(self) -> bool:
        """Whether it would begin another run soon."""
        ...

    def submit(self, spec: Spec) -> None:
        """Take a run."""
        ...

    def outcomes(self, seconds: float) -> list[Outcome]:
        """What came in since, waiting so long for a first one."""
        ...

    def working(self) -> Sequence[Spec | None]:
        """The run that each worker is at."""
        ...

    def close(self) -> None:
        """End the workers, and with them what they are at."""
        ...


@dataclass(eq=False)
class _Worker:
    """A process, its pipe, and the runs it was handed: the first is under way. `quick` are runs like its last one."""

    process: SpawnProcess
    connection: Connection
    queue: deque[Spec] = field(default_factory=deque)
    quick: bool = False

    @property
    def room(self) -> bool:
        return len(self.queue) < (2 if self.quick else 1)


class LocalProcesses:
    """So many processes of this machine, each kept alive for many runs. `out` is where they write run folders, if at
    all. They are started by spawn, so that they share no thread, lock or open file with this one."""

    def __init__(self, jobs: int, out: str = "") -> None:
        self.jobs, self._out = jobs, out
        self._context = multiprocessing.get_context("spawn")
        self._waiting: deque[Spec] = deque()  # handed to a worker that died before it began them
        self.workers = [self._start() for _ in range(jobs)]

    @property
    def room(self) -> bool:
        return not self._waiting and any(worker.room for worker in self.workers)

    def submit(self, spec: Spec) -> None:
        worker = min(self.workers, key=lambda worker: (len(worker.queue), not worker.room))
        worker.queue.append(spec)
        with contextlib.suppress(OSError):  # it died: its pipe will say so
            worker.connection.send(spec)

    def outcomes(self, seconds: float) -> list[Outcome]:
        by_pipe = {worker.connection: worker for worker in self.workers}
        found: list[Outcome] = []
        for connection in wait(list(by_pipe), seconds):
            found += self._hear(by_pipe[connection])  # type: ignore[index]  # what goes in comes out
        while self._waiting and any(worker.room for worker in self.workers):
            self.submit(self._waiting.popleft())
        return found

    def working(self) -> list[Spec | None]:
        return [worker.queue[0] if worker.queue else None for worker in self.workers]

    def close(self) -> None:
        for worker in self.workers:
            worker.connection.close()
            if worker.queue:
                worker.process.terminate()
        for worker in self.workers:
            worker.process.join(ENDING)
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _hear(self, worker: _Worker) -> Iterator[Outcome]:
        """What a worker has said, or that it died; then another takes its place."""
        try:
            while worker.connection.poll():
                outcome: Outcome = worker.connection.recv()
                worker.queue.popleft()
                worker.quick = quick(outcome)
                yield outcome
        except (EOFError, OSError):
            yield from self._bury(worker)

    def _bury(self, worker: _Worker) -> Iterator[Outcome]:
        worker.connection.close()
        worker.process.join()
        self.workers[self.workers.index(worker)] = self._start()
        yield from self._lost(worker.queue, f"its worker ended ({ending(worker.process.exitcode)})")

    def _lost(self, queue: deque[Spec], reason: str) -> Iterator[Outcome]:
        """Of the runs that a dead worker was handed the first was under way; the others wait for another worker."""
        if queue:
            yield Lost(queue.popleft(), reason)
        self._waiting.extend(queue)

    def _start(self) -> _Worker:
        here, there = self._context.Pipe()
        process = self._context.Process(target=work, args=(there, self._out), daemon=True)
        with starting():
            process.start()
        there.close()
        return _Worker(process, here)  # type: ignore[arg-type, unused-ignore]  # Windows names its pipes otherwise


def quick(outcome: Outcome) -> bool:
    """Whether a run took so little that its worker should be handed the next one while it is at the last."""
    return isinstance(outcome, Trained) and outcome.record.seconds.get("total", QUICK) < QUICK
