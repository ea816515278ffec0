"""Processes of this machine that are handed all branches of a trunk at once."""

import contextlib
from collections import defaultdict
from typing import Final

from microgpt.lab.sweep.coordinator import work
from microgpt.lab.sweep.executors import LocalProcesses
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.trunk import trunk
from microgpt.lab.sweep.worker import Outcome

WAITING: Final = 1 << 12  # runs that may wait for a process: with all lengths at hand, trunks are whole


class Waiting:
    """Runs that wait to be carried out, by the trunk that they branch off from; those without one, each by itself."""

    def __init__(self) -> None:
        self._runs: defaultdict[Spec, list[Spec]] = defaultdict(list)  # in the order of arrival

    def __len__(self) -> int:
        return sum(map(len, self._runs.values()))

    def add(self, spec: Spec) -> None:
        """A run more."""
        self._runs[trunk(spec) or spec].append(spec)

    def take(self) -> list[Spec]:
        """The next group, by rising steps: all branches of the trunk that is most work, so that all processes end
        together, or a run without a trunk."""
        common = max(self._runs, key=self._work)  # the first of equals
        return sorted(self._runs.pop(common), key=lambda spec: spec.settings.steps)

    def _work(self, common: Spec) -> float:
        runs = self._runs[common]
        return sum(work(vars(spec.settings)) for spec in runs) if trunk(runs[0]) else 0.0


class InGroups(LocalProcesses):
    """Processes that train the runs of a trunk together. If one dies, what is left of its trunk is tried again."""

    def __init__(self, jobs: int) -> None:
        super().__init__(jobs)
        self._runs = Waiting()

    @property
    def room(self) -> bool:
        return len(self._runs) < WAITING

    def submit(self, spec: Spec) -> None:
        self._runs.add(spec)

    def outcomes(self, seconds: float) -> list[Outcome]:
        idle = [worker for worker in self.workers if not worker.queue]
        while idle and self._runs:
            group = self._runs.take()
            worker = idle.pop()
            worker.queue.extend(group)
            with contextlib.suppress(OSError):  # it died: its pipe will say so
                worker.connection.send(group)
        return super().outcomes(seconds)
