"""The workers on a cluster as their driver sees them: who is at which run, and who takes the place of one that died."""

import functools
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final

import ray

from microgpt.data.corpus import Corpus
from microgpt.errors import EnvironmentFault
from microgpt.lab.cluster.asked import Asked
from microgpt.lab.cluster.worker import Versions, Worker
from microgpt.lab.sweep.executors import quick
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts, reading
from microgpt.lab.sweep.worker import Lost, Outcome

STARTS: Final = 3  # of workers that died before they said a word, one after another, until that is a fault
WITHOUT_WORKERS: Final = 60.0  # seconds without any worker that are borne
SHIPPED: Final = 64 << 20  # bytes of tokens that travel to the workers; longer texts they read by their path


@dataclass(eq=False)
class Seat:
    """A worker and the runs it was handed: the first is under way. It is `ready` once it has said a word."""

    actor: Any
    queue: deque[Spec] = field(default_factory=deque)
    texts: set[tuple[object, ...]] = field(default_factory=set)
    ready: bool = False
    quick: bool = False

    @property
    def room(self) -> int:
        return (2 if self.quick else 1) - len(self.queue) if self.ready else 0


@dataclass(frozen=True, eq=False)
class Heard:
    """A worker has answered, about a run or (without one) at its start; or its answer can't come any more."""

    seat: Seat
    spec: Spec | None
    answer: "Future[Any]"


class Actors:
    """So many workers on the cluster that this process has joined. `tell` is called, from any thread, with what they
    say, which is then to be given to `hear`."""

    def __init__(self, asked: Asked, jobs: int, tell: Callable[[Heard], None]) -> None:
        self._asked, self._tell = asked, tell
        device = "cuda" if asked.gpus else "cpu"
        options = {"num_cpus": asked.cores, "num_gpus": asked.gpus, "max_restarts": 0, "max_task_retries": 0}
        self._begin: Callable[[], Any] = functools.partial(
            ray.remote(Worker).options(**options).remote, asked.home, asked.out, device
        )
        self._texts, self._corpora = Texts(), dict[tuple[object, ...], Any]()
        self._waiting: deque[Spec] = deque()  # while no worker is ready
        self._failures, self._last_ready = 0, time.monotonic()
        self.seats = [self._seat() for _ in range(jobs)]

    @property
    def free(self) -> int:
        """How many runs would begin soon. While no worker is ready one may wait, so that the sweep does too."""
        ready = any(seat.ready for seat in self.seats)
        return (sum(seat.room for seat in self.seats) if ready else 1) - len(self._waiting)

    def submit(self, spec: Spec) -> None:
        """Hand out a run. Raises `DataError` where its text is no longer the one that was planned."""
        seat = max(self.seats, key=lambda seat: (seat.room, not seat.queue))
        if seat.room <= 0:
            self._waiting.append(spec)
            return
        seat.queue.append(spec)
        self._give_text(seat, spec)
        self._call(seat, spec, seat.actor.carry_out.remote(spec))

    def hear(self, heard: Heard) -> list[Outcome]:
        """What came of it. Raises `EnvironmentFault` where no worker can be had."""
        seat, spec, error = heard.seat, heard.spec, heard.answer.exception()
        if seat not in self.seats:  # it is buried already
            return []
        found: list[Outcome] = []
        if error:
            found += self._bury(seat, error)
        elif spec is None:
            self._welcome(seat, heard.answer.result())
        else:
            outcome = heard.answer.result()
            seat.queue.remove(spec)
            seat.quick = quick(outcome)
            found.append(outcome)
        while self._waiting and any(seat.room for seat in self.seats):
            self.submit(self._waiting.popleft())
        return found

    def check(self) -> None:
        """Raise `EnvironmentFault` where there has been no worker for long."""
        now = time.monotonic()
        if any(seat.ready for seat in self.seats):
            self._last_ready = now
        elif now - self._last_ready > WITHOUT_WORKERS:
            raise EnvironmentFault(
                f"Ray: expected a worker with {self._asked.each}, found none within {WITHOUT_WORKERS:.0f} s; "
                "perhaps the cluster is gone, or others hold what it has. What is done is kept, and the same command "
                "goes on from there."
            )

    def working(self) -> tuple[str, ...]:
        """The identity of the run that each worker is at; empty for one that is idle."""
        return tuple(seat.queue[0].identity if seat.queue else "" for seat in self.seats)

    def close(self) -> None:
        """End the workers, and with them what they are at."""
        for seat in self.seats:
            ray.kill(seat.actor)

    def _seat(self) -> Seat:
        seat = Seat(self._begin())
        self._call(seat, None, seat.actor.versions.remote())
        return seat

    def _call(self, seat: Seat, spec: Spec | None, answer: Any) -> None:
        answer.future().add_done_callback(lambda future: self._tell(Heard(seat, spec, future)))

    def _give_text(self, seat: Seat, spec: Spec) -> None:
        """Ship the text once to the cluster, and each worker takes it from there."""
        key = reading(spec.asked)
        if key not in self._corpora:
            corpus = self._texts.corpus(spec)
            self._corpora[key] = ray.put(corpus) if _bytes(corpus) <= SHIPPED else None
        if key not in seat.texts and self._corpora[key] is not None:
            seat.actor.learn.remote(spec, self._corpora[key])
        seat.texts.add(key)

    def _welcome(self, seat: Seat, versions: Versions) -> None:
        expected = Versions.here()
        if versions != expected:
            raise EnvironmentFault(
                f"Ray: expected microgpt {expected.microgpt} and Python {expected.python} on every machine, found "
                f"microgpt {versions.microgpt} and Python {versions.python}; install the same version there."
            )
        seat.ready, self._failures = True, 0

    def _bury(self, seat: Seat, error: BaseException) -> list[Outcome]:
        """Another takes the place of one that died. Only the run it was at is lost; others wait for the next worker."""
        self._failures += not seat.ready
        if self._failures >= STARTS or "No module named 'microgpt'" in str(error):
            raise EnvironmentFault(_no_start(error))
        ray.kill(seat.actor)
        self.seats[self.seats.index(seat)] = self._seat()
        lost: list[Outcome] = [Lost(seat.queue.popleft(), _reason(error))] if seat.queue else []
        self._waiting.extend(seat.queue)
        return lost


def _bytes(corpus: Corpus) -> int:
    return int(corpus.tokens.nbytes + corpus.edges.nbytes)


def _reason(error: BaseException) -> str:
    """Why a worker died, in a few words: Ray tells it in a page."""
    told = str(error)
    if isinstance(error, ray.exceptions.OutOfMemoryError) or "memory pressure" in told:
        return "its worker was ended because memory ran out"
    if isinstance(error, ray.exceptions.NodeDiedError) or "its node has died" in told:
        return "its machine is gone"
    if isinstance(error, ray.exceptions.RayActorError):
        return "its worker was ended, perhaps because memory ran out"
    return f"its worker failed: {first_line(error)}"


def _no_start(error: BaseException) -> str:
    if "No module named" in str(error):
        return (
            "Ray: expected microgpt on every machine of the cluster, found one without it; install the same version "
            "there, into the Python that Ray runs on."
        )
    return f"Ray: expected workers that begin, found {STARTS} that died at once: {_reason(error)}."


def first_line(error: BaseException) -> str:
    """The first line of an error, of at most 300 characters; its kind where it says nothing."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:300]
