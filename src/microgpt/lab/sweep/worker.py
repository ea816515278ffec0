"""One process that carries out runs, one after another, and keeps between them what they share.

It hears specifications from a pipe, one or all branches of a trunk, and answers each with what came of it. It ends
when the pipe closes, and at once when the process that started it is gone; Ctrl-C is that one's to decide.
"""

import contextlib
import multiprocessing
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait

from microgpt.children import leave_interrupts, leave_orphaned
from microgpt.errors import MicrogptError, UsageError
from microgpt.lab.store.record import Trained
from microgpt.lab.sweep.run import Workshop
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.trunk import carry_out_branches


@dataclass(frozen=True)
class Broken:
    """What no other run can escape either: a text that is gone, an engine that can't be had."""

    error: MicrogptError


@dataclass(frozen=True)
class Lost:
    """The worker died in the midst of this run."""

    spec: Spec
    reason: str


Outcome = Trained | Lost | Broken


def work(connection: Connection, out: str) -> None:
    """The whole life of a worker."""
    leave_interrupts()
    threading.Thread(target=_watch_parent, daemon=True).start()
    from threadpoolctl import threadpool_limits

    workshop = Workshop(out=out)
    with threadpool_limits(1):  # the cores belong to the jobs
        while True:
            try:
                asked: Spec | list[Spec] = connection.recv()
                for outcome in outcomes_of(workshop, asked if isinstance(asked, list) else [asked]):
                    connection.send(outcome)
            except (EOFError, OSError):  # who asks is gone; errors of a run are outcomes
                return


def outcomes_of(workshop: Workshop, specs: list[Spec]) -> Iterator[Outcome]:
    """What comes of runs in their order: of the branches of a trunk together or, where that can't be, of each alone."""
    done = 0
    if len(specs) > 1:
        with contextlib.suppress(Exception):  # what it was, a run alone meets too, and tells
            for trained in carry_out_branches(workshop, specs):
                done += 1
                yield trained
    for spec in specs[done:]:
        yield outcome_of(workshop, spec)


def outcome_of(workshop: Workshop, spec: Spec) -> Outcome:
    """What comes of a run, whatever happens short of death."""
    try:
        return workshop.carry_out(spec)
    except UsageError as error:  # sizes beyond this machine's memory, say
        return workshop.lost(spec, str(error))
    except MicrogptError as error:
        return Broken(error)
    except MemoryError as error:
        return workshop.lost(spec, f"there was not enough memory: {error}"[:500])
    except Exception as error:
        return workshop.lost(spec, f"{type(error).__name__}: {error}"[:500])


def _watch_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        leave_orphaned()
