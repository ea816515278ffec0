"""Processes of this machine that are handed groups of runs: those that train together, or branch off from one trunk."""

import contextlib
from collections import deque
from collections.abc import Iterator
from typing import Final

from microgpt.lab.ensemble import most, shape
from microgpt.lab.executors import LocalProcesses
from microgpt.lab.spec import Spec
from microgpt.lab.sweep import work
from microgpt.lab.texts import Texts
from microgpt.lab.trunk import trunk
from microgpt.lab.worker import Lost, Outcome

WAITING: Final = 1 << 12  # runs that may wait for a process: with all seeds and rates at hand, groups are full


class Waiting:
    """Runs that wait to be carried out, by what they have in common with those they can train with."""

    def __init__(self, texts: Texts) -> None:
        self._texts = texts
        self._runs: dict[Spec, deque[Spec]] = {}  # in the order of arrival
        self._alone: set[Spec] = set()

    def __len__(self) -> int:
        return sum(map(len, self._runs.values()))

    def add(self, spec: Spec) -> None:
        """A run more."""
        common = None if spec in self._alone else trunk(spec) or shape(spec)
        self._runs.setdefault(common or spec, deque()).append(spec)

    def part(self, spec: Spec) -> None:
        """From now on the run trains alone."""
        self._alone.add(spec)

    def take(self, idle: int) -> list[Spec]:
        """The next group for one of so many idle processes: all branches of the trunk that is most work, by rising
        steps; or of the shape that waits longest an even share, as large as trains together well at most."""
        common = max(self._runs, key=self._branching)  # the first of equals
        runs = self._runs[common]
        if trunk(runs[0]):
            return sorted(self._runs.pop(common), key=lambda spec: spec.settings.steps)
        shares = max(idle, -(-len(runs) // most(runs[0], self._texts)))
        group = [runs.popleft() for _ in range(-(-len(runs) // shares))]
        if not runs:
            del self._runs[common]
        return group

    def _branching(self, common: Spec) -> float:
        """The work of a trunk and its branches: the longest ones begin first, so that all processes end together."""
        runs = self._runs[common]
        return sum(work(vars(spec.settings)) for spec in runs) if trunk(runs[0]) else 0.0


class InGroups(LocalProcesses):
    """Processes that train runs of one shape together, or those of one trunk. A run whose group died with its process
    is tried again: alone, or with what else is left of its trunk."""

    def __init__(self, jobs: int, texts: Texts) -> None:
        super().__init__(jobs)
        self._runs = Waiting(texts)

    @property
    def room(self) -> bool:
        return len(self._runs) < WAITING

    def submit(self, spec: Spec) -> None:
        self._runs.add(spec)

    def outcomes(self, seconds: float) -> list[Outcome]:
        idle = [worker for worker in self.workers if not worker.queue]
        while idle and self._runs:
            group = self._runs.take(len(idle))
            worker = idle.pop()
            worker.queue.extend(group)
            with contextlib.suppress(OSError):  # it died: its pipe will say so
                worker.connection.send(group)
        return super().outcomes(seconds)

    def _lost(self, queue: deque[Spec], reason: str) -> Iterator[Outcome]:
        """All of a group were under way; of a trunk the first, and the others wait for another worker."""
        if queue and trunk(queue[0]):
            yield from super()._lost(queue, reason)
            return
        for spec in queue:
            self._runs.part(spec)
            yield Lost(spec, reason)
