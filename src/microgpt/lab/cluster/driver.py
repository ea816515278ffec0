"""The process between a sweep and Ray. It alone imports Ray, so that what Ray prints, how it takes signals, and that it
ends its process when a cluster is gone, never reach the sweep."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from microgpt.children import ORPHANED
from microgpt.errors import EnvironmentFault, MicrogptError
from microgpt.lab.cluster.asked import Asked, environment
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.worker import Broken, Outcome
from microgpt.machine import cores

if TYPE_CHECKING:
    from microgpt.lab.cluster.actors import Actors, Heard

LOG: Final = "driver.log"  # what Ray would have printed
PROBE: Final = 5.0  # seconds to find out whether anything listens at an address
LOOK: Final = 1.0  # seconds between two looks at whether there are workers at all
ENDING: Final = 10.0  # seconds to end in good order
STORE: Final = 256 << 20  # bytes of the object store of a cluster of our own: texts, and little else


@dataclass(frozen=True)
class Report:
    """What came in, how many specifications had been received by then, how many runs would begin soon besides, and the
    identity of the run that each worker is at. The first one says how many runs at a time there will be, the second
    that a worker has begun."""

    outcomes: tuple[Outcome, ...] = ()
    jobs: int = 0
    received: int = 0
    free: int = 0
    working: tuple[str, ...] = ()


def drive(connection: Connection, asked: Asked, folder: str) -> None:
    """The whole life of a driver, in a private folder. It ends when the pipe closes, and leaves nothing behind."""
    _stand_apart(Path(folder) / LOG)
    threading.Thread(target=_watch_parent, daemon=True).start()
    try:
        _enter(asked, folder)
        _serve(connection, asked)
    except MicrogptError as error:
        _say(connection, Report((Broken(error),)))
    except Exception as error:
        from microgpt.lab.cluster.actors import first_line

        fault = EnvironmentFault(f"Ray: expected a cluster that works, found: {first_line(error)}")
        _say(connection, Report((Broken(fault),)))
    finally:
        if "ray" in sys.modules:
            sys.modules["ray"].shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _stand_apart(log: Path) -> None:
    """A session of its own, which a terminal's Ctrl-C does not reach, and a file for all that is printed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "setsid"):
        os.setsid()
    with log.open("ab") as file:
        for stream in (1, 2):
            os.dup2(file.fileno(), stream)


def _watch_parent() -> None:
    """Once the sweep is gone the pipe closes, and all ends in good order; where that takes too long, at once."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        time.sleep(ENDING)
        os._exit(ORPHANED)


def _enter(asked: Asked, folder: str) -> None:
    """Join a cluster, or start one of this machine that ends with this process."""
    for name, value in environment(asked.address).items():
        os.environ.pop(name, None)
        os.environ.update({name: value} if value else {})
    if asked.address:
        _probe(asked)
    import ray

    quiet: dict[str, Any] = {"log_to_driver": False, "configure_logging": False}
    with contextlib.chdir(os.sep):  # Ray lets its workers import from where it is begun
        if asked.address:
            ray.init(address=asked.address, **quiet)
            return
        own = {"num_cpus": cores(), "object_store_memory": STORE, "include_dashboard": False, "_temp_dir": folder}
        ray.init(address="local", num_gpus=None if asked.gpus else 0, **own, **quiet)


def _probe(asked: Asked) -> None:
    """Raise `EnvironmentFault` where nothing listens; Ray would try for more than a minute."""
    try:
        socket.create_connection(asked.host_and_port, PROBE).close()
    except OSError as error:
        raise EnvironmentFault(
            f"--address {asked.address}: expected a Ray cluster, found nothing that answers "
            f"({error.strerror or error}); start one with: ray start --head"
        ) from None


def _serve(connection: Connection, asked: Asked) -> None:
    """Hand out what comes through the pipe, and say what came of it, until the pipe closes."""
    import ray

    from microgpt.lab.cluster.actors import Actors

    jobs = jobs_of(asked, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    connection.send(Report(jobs=jobs))
    inbox: SimpleQueue[Spec | Heard | None] = SimpleQueue()
    actors = Actors(asked, jobs, inbox.put)
    threading.Thread(target=_listen, args=(connection, inbox), daemon=True).start()
    received = 0
    with contextlib.closing(actors):
        while None not in (events := _next(inbox)):
            received += sum(isinstance(event, Spec) for event in events)
            outcomes = _work_off(actors, events)
            if events or outcomes:
                _say(connection, Report(tuple(outcomes), jobs, received, actors.free, actors.working()))
            if any(isinstance(outcome, Broken) for outcome in outcomes):
                return


def _work_off(actors: "Actors", events: "list[Spec | Heard | None]") -> list[Outcome]:
    """What came of what came in; the last of it may be what stops every run."""
    outcomes: list[Outcome] = []
    try:
        for event in events:
            if isinstance(event, Spec):
                actors.submit(event)
            elif event is not None:
                outcomes += actors.hear(event)
        actors.check()
    except MicrogptError as error:
        outcomes.append(Broken(error))
    return outcomes


def _listen(connection: Connection, inbox: "SimpleQueue[Spec | Heard | None]") -> None:
    """What the sweep asks for; None when it has closed the pipe."""
    try:
        while True:
            inbox.put(connection.recv())
    except (EOFError, OSError):
        inbox.put(None)


def _next(inbox: "SimpleQueue[Spec | Heard | None]") -> "list[Spec | Heard | None]":
    """What has come in, waiting a while for a first one."""
    events = []
    with contextlib.suppress(Empty):
        events.append(inbox.get(timeout=LOOK))
        while True:
            events.append(inbox.get_nowait())
    return events


def _say(connection: Connection, report: Report) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        connection.send(report)


def jobs_of(asked: Asked, machines: list[Mapping[str, float]]) -> int:
    """How many runs at a time machines with these resources are asked to hold. Raises `EnvironmentFault` where they
    never can."""
    room = sum(_room(asked, machine) for machine in machines)
    if not room:
        cpus, gpus = (max((machine.get(kind, 0) for machine in machines), default=0) for kind in ("CPU", "GPU"))
        raise EnvironmentFault(
            f"--cores-per-run, --gpus-per-run: expected a machine with {asked.each} for a run, found at most "
            f"{cpus:g} cores and {gpus:g} GPU on one; ask for less."
        )
    if asked.jobs > room:
        raise EnvironmentFault(
            f"--jobs {asked.jobs}: expected room for so many runs with {asked.each} each, found room for {room}; "
            f"--jobs {room} is the most."
        )
    return asked.jobs or room


def _room(asked: Asked, machine: Mapping[str, float]) -> int:
    """Runs that fit on one machine. A share of a GPU never spans two of them."""
    by_cores = int(machine.get("CPU", 0) // asked.cores)
    if not asked.gpus:
        return by_cores
    gpus = int(machine.get("GPU", 0))
    by_gpus = gpus * int(1 / asked.gpus + 1e-9) if asked.gpus <= 1 else gpus // int(asked.gpus)
    return min(by_cores, by_gpus)
