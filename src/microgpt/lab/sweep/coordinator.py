"""A sweep as a generator of records: it plans, hands out runs, keeps what comes back, and never prints.

A run whose identity is in the store is never run again. So a sweep that was stopped or killed at any moment goes on
when it is started again, and ends with the same table.
"""

import math
import random
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from microgpt.lab.store.record import RunRecord, Trained
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.executors import Executor
from microgpt.lab.sweep.plan import Member, Plan
from microgpt.lab.sweep.run import Workshop
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.tuning import Choice, Group
from microgpt.lab.sweep.worker import Broken, Lost, Outcome

ORDER_SEED: Final = 0  # of the order of work
TRIES: Final = 3  # of a run whose workers die: once, and twice again
LOOK: Final = 0.1  # seconds between two looks at `stop`
GRACE: Final = 2.0  # seconds that runs under way have to finish after a stop
GONE: Final = "no result: "  # begins the error of a run whose workers died; the next sweep tries it again

FIXED_STEPS: Final = 2_000  # as long as what each run does besides: drawing, evaluating, samples
FIXED_WORK: Final = 4_000  # multiplications that take as long as what each token costs besides


@dataclass(frozen=True)
class Planned:
    """The sweep begins: runs known so far, and how many of them the store has already."""

    runs: int
    skipped: int
    jobs: int


@dataclass(frozen=True)
class Tuned:
    """The learning rate of a group is known."""

    group: Group
    choice: Choice


@dataclass(frozen=True)
class Done:
    """A run is in the store, finished or failed."""

    record: RunRecord


@dataclass(frozen=True)
class Retried:
    """A run is tried again, since its worker died."""

    spec: Spec
    reason: str


@dataclass(frozen=True)
class Status:
    """How far it is: `seconds_left` is None while that can't be told, `working` has the run of each worker."""

    done: int
    failed: int
    waiting: int
    seconds_left: float | None
    working: tuple[Spec | None, ...]


@dataclass(frozen=True)
class SweepFinished:
    """All is done: `planned` = `skipped` (done before) + `done` + `failed`."""

    planned: int
    done: int
    skipped: int
    failed: int
    seconds: float


@dataclass(frozen=True)
class SweepInterrupted(SweepFinished):
    """It was stopped; what was done is in the store."""


SweepRecord = Planned | Tuned | Done | Retried | Status | SweepFinished | SweepInterrupted


def sweep(
    plan: Plan, store: Store, executor: Executor, texts: Texts, stop: Callable[[], bool] = lambda: False
) -> Iterator[SweepRecord]:
    """Run what a plan asks for and a store lacks.

    Raises `StoreError`, `EnvironmentFault` where the store can't be written, and what stops every run: `DataError` for
    a text that has changed, `EnvironmentFault` for an engine that can't be had.
    """
    return _Sweep(plan, store, executor, texts).records(stop)


class _Sweep:
    """What changes while a sweep is under way."""

    def __init__(self, plan: Plan, store: Store, executor: Executor, texts: Texts) -> None:
        self.plan, self.store, self.executor, self.texts = plan, store, executor, texts
        self.start = time.perf_counter()
        found = store.outcomes().items()
        self.losses = {identity: _loss(loss) for identity, (loss, error) in found if not error.startswith(GONE)}
        self.members: dict[str, Member] = {}
        self.queue: deque[Spec] = deque()
        self.under_way: dict[str, Spec] = {}
        self.tries: Counter[str] = Counter()
        self.open = list(plan.groups)  # those that may ask for more
        self.done = self.failed = self.skipped = 0
        self.work_done = self.work_ahead = 0.0

    def records(self, stop: Callable[[], bool]) -> Iterator[SweepRecord]:
        self.store.begin(self.plan.name, self.plan.to_dict())
        tuned = self._plan_on()
        yield Planned(len(self.members), self.skipped, self.executor.jobs)
        yield from tuned
        while not stop():
            self._hand_out()
            if not self.under_way:
                break
            yield from self._take(self.executor.outcomes(LOOK))
            yield self._status()
            if not self.queue:
                yield from self._plan_on()
        halted = bool(self.queue or self.under_way)
        if halted:
            yield from self._last_results()
        self.store.commit()
        end = SweepInterrupted if halted else SweepFinished
        yield end(len(self.members), self.done, self.skipped, self.failed, time.perf_counter() - self.start)

    def _plan_on(self) -> list[Tuned]:
        """Queue what the plan asks for now and did not before. A group whose rate is known is planned for good."""
        tuned = []
        new: dict[str, Member] = {}
        for group in self.open:
            members = {member.spec.identity: member for member in self.plan.members(group, self.losses)}
            new |= {identity: member for identity, member in members.items() if identity not in self.members}
            if choice := self.plan.choice(group, self.losses):
                tuned.append(Tuned(group, choice))
        known = [told.group for told in tuned] if self.plan.tuning else self.open
        self.open = [group for group in self.open if group not in known]
        self._enroll(new)
        return tuned

    def _enroll(self, new: Mapping[str, Member]) -> None:
        self.store.enroll(self.plan.name, [(identity, member.role) for identity, member in new.items()])
        self.members |= new
        waiting = [member.spec for identity, member in new.items() if identity not in self.losses]
        self.skipped += len(new) - len(waiting)
        self.work_ahead += sum(work(vars(spec.settings)) for spec in waiting)
        self.queue.extend(in_order(waiting))

    def _hand_out(self) -> None:
        while self.queue and self.executor.room:
            spec = self.queue.popleft()
            self.under_way[spec.identity] = spec
            self.executor.submit(spec)

    def _take(self, outcomes: Iterable[Outcome]) -> Iterator[SweepRecord]:
        for outcome in outcomes:
            match outcome:
                case Trained():
                    yield self._keep(outcome)
                case Lost(spec, reason):
                    self.tries[spec.identity] += 1
                    if self.tries[spec.identity] < TRIES:
                        self.queue.appendleft(self.under_way.pop(spec.identity))
                        yield Retried(spec, reason)
                    else:
                        told = f"{GONE}{reason}, {TRIES} times"
                        yield self._keep(Workshop(self.texts).lost(spec, told))
                case Broken(error):
                    raise error
        self.store.tick()

    def _keep(self, trained: Trained) -> Done:
        record = trained.record
        self.store.add(trained)
        self.losses[record.identity] = _loss(record.loss)
        self.under_way.pop(record.identity, None)
        amount = work(record.settings)
        self.work_done += amount
        self.work_ahead -= amount
        if record.status == "done":
            self.done += 1
        else:
            self.failed += 1
        return Done(record)

    def _status(self) -> Status:
        elapsed = time.perf_counter() - self.start
        left = elapsed * self.work_ahead / self.work_done if self.work_done else None
        waiting = len(self.queue) + len(self.under_way)
        return Status(self.done, self.failed, waiting, left, tuple(self.executor.working()))

    def _last_results(self) -> Iterator[SweepRecord]:
        """What runs under way come to in a short while; the others are run again another time."""
        deadline = time.monotonic() + GRACE
        while self.under_way and time.monotonic() < deadline:
            yield from self._take(self.executor.outcomes(LOOK))


def in_order(specs: list[Spec]) -> list[Spec]:
    """The order of work: random, with a fixed seed, so that no axis follows the time of day. The half that is less work
    comes last, longest first, so that all workers end together."""
    amounts = {spec.identity: work(vars(spec.settings)) for spec in specs}
    shuffled = random.Random(ORDER_SEED).sample(sorted(specs, key=lambda spec: spec.identity), len(specs))
    limit = median(amounts.values()) if specs else 0.0
    small = [spec for spec in shuffled if amounts[spec.identity] <= limit]
    return [
        *(spec for spec in shuffled if amounts[spec.identity] > limit),
        *sorted(small, key=lambda spec: -amounts[spec.identity]),
    ]


def work(settings: Mapping[str, Any]) -> float:
    """About how much work a run is, in multiplications a token: enough to put runs in order and guess what is left."""
    emb, wide = settings["emb"], settings["ff"] * settings["emb"]
    block = settings["layer"] * emb * (4 * emb + 2 * wide + settings["ctx"])
    return float((settings["steps"] + FIXED_STEPS) * settings["batch"] * (block + FIXED_WORK))


def _loss(loss: float | None) -> float:
    return math.inf if loss is None else loss
