"""What runs on the machines of a cluster: an actor that carries out runs, and keeps between them what they share."""

import contextlib
import os
import platform
from dataclasses import dataclass

import microgpt
from microgpt.data.corpus import Corpus
from microgpt.lab.sweep.run import Workshop
from microgpt.lab.sweep.spec import NUMERICS, Spec
from microgpt.lab.sweep.worker import Outcome, outcome_of


@dataclass(frozen=True)
class Versions:
    """What must be the same on all machines for a run to give the same numbers anywhere."""

    microgpt: str
    numerics: int
    python: str

    @staticmethod
    def here() -> "Versions":
        return Versions(microgpt.__version__, NUMERICS, platform.python_version())


class Worker:
    """One at a time it does what a worker process of this machine does: the same outcomes, one thread."""

    def __init__(self, home: str, out: str, device: str) -> None:
        from threadpoolctl import threadpool_limits

        with contextlib.suppress(OSError):  # on another machine there may be no such folder
            os.chdir(home)
        self._limits = threadpool_limits(1)  # as long as it is kept
        self._workshop = Workshop(out=out, device=device)

    def versions(self) -> Versions:
        """The first thing asked."""
        return Versions.here()

    def learn(self, spec: Spec, corpus: Corpus) -> None:
        """Take the text of a run, and of all others on it."""
        self._workshop.texts.give(spec, corpus)

    def carry_out(self, spec: Spec) -> Outcome:
        """What comes of a run, whatever happens short of death."""
        return outcome_of(self._workshop, spec)
