"""The executor of a Ray cluster: what a sweep sees of it."""

import contextlib
import multiprocessing
import os
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from microgpt.children import starting
from microgpt.errors import EnvironmentFault
from microgpt.lab.cluster.asked import Asked, check_installed, check_token
from microgpt.lab.cluster.driver import ENDING, LOG, Report, drive
from microgpt.lab.store.record import Trained
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.worker import Broken, Lost, Outcome

JOINING: Final = 15.0  # seconds in which a cluster must have answered
STARTING: Final = 120.0  # seconds for Ray to start on this machine, or for a first worker to begin
LOOK: Final = 0.2  # seconds between two looks at what Ray complains of
REFUSED: Final = b"InvalidAuthToken"  # what Ray prints, again and again, where a token is not the cluster's


class RayCluster:
    """Workers on a Ray cluster: one that this machine belongs to, or one of this machine alone, which ends with it.

    Raises `EnvironmentFault` where it can't be had: no Ray, no answer, a token that is not the cluster's, less room
    than is asked for, another version on its machines.
    """

    def __init__(self, asked: Asked) -> None:
        check_installed()
        if asked.address:
            check_token()
        self._asked, self._folder = asked, _private_folder()
        self._under_way: dict[str, Spec] = {}
        self._sent, self._last = 0, Report()
        context = multiprocessing.get_context("spawn")
        self._pipe, there = context.Pipe()
        self._driver = context.Process(target=drive, args=(there, asked, self._folder), daemon=True)
        with starting():
            self._driver.start()
        there.close()
        try:
            self.jobs = self._join()
        except BaseException:
            self._end(0 if asked.address else ENDING)
            raise

    @property
    def room(self) -> bool:
        return self._last.free - (self._sent - self._last.received) > 0

    def submit(self, spec: Spec) -> None:
        self._under_way[spec.identity] = spec
        self._sent += 1
        with contextlib.suppress(OSError):  # it died: its pipe will say so
            self._pipe.send(spec)

    def outcomes(self, seconds: float) -> list[Outcome]:
        found: list[Outcome] = []
        while self._pipe.poll(0 if found else seconds):
            said = self._hear()
            found += said.outcomes
            if not said.outcomes or isinstance(said.outcomes[-1], Broken):
                break  # there may be room now; or nothing more will come
        for outcome in found:
            if not isinstance(outcome, Broken):
                self._under_way.pop(_identity(outcome), None)
        return found

    def working(self) -> list[Spec | None]:
        return [self._under_way.get(identity) for identity in self._last.working]

    def close(self) -> None:
        self._end(ENDING)

    def _join(self) -> int:
        """Wait for the cluster, then for a first worker; how many runs at a time there will be."""
        where = f"--address {self._asked.address}" if self._asked.address else "Ray on this machine"
        joined = self._first(JOINING if self._asked.address else STARTING, where)
        self._first(STARTING, "Ray's first worker")
        return joined.jobs

    def _first(self, seconds: float, where: str) -> Report:
        """The next word of the driver. Raises what it says is broken, or that it says nothing."""
        deadline = time.monotonic() + seconds
        while not self._pipe.poll(LOOK):
            if REFUSED in self._complaints():
                raise EnvironmentFault(
                    f"{where}: expected the token of the cluster, found another; RAY_AUTH_TOKEN, or ~/.ray/auth_token, "
                    "must be what its first machine was started with."
                )
            if time.monotonic() > deadline:
                raise EnvironmentFault(
                    f"{where}: expected an answer within {seconds:.0f} s, found none; look whether it is Ray that "
                    "listens there, and whether this machine belongs to the cluster (ray status)."
                )
        said = self._hear()
        for outcome in said.outcomes:
            if isinstance(outcome, Broken):
                raise outcome.error
        return said

    def _complaints(self) -> bytes:
        """What Ray has printed so far."""
        with contextlib.suppress(OSError):  # the driver has not begun, or has ended
            return (Path(self._folder) / LOG).read_bytes()
        return b""

    def _hear(self) -> Report:
        """The next word of the driver, or that it died."""
        try:
            self._last = self._pipe.recv()
        except (EOFError, OSError):
            gone = EnvironmentFault(
                "Ray: expected a cluster that lasts as long as the sweep, found the connection to it gone; what is "
                "done is kept, and the same command goes on from there."
            )
            self._last = Report((Broken(gone),))
        return self._last

    def _end(self, seconds: float) -> None:
        """Let the driver end in good order for so long. What is left of its session, Ray's own processes, is killed."""
        self._pipe.close()
        self._driver.join(seconds)
        pid = self._driver.pid
        if pid and sys.platform != "win32":
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
        self._driver.kill()
        self._driver.join()
        shutil.rmtree(self._folder, ignore_errors=True)


def _identity(outcome: Trained | Lost) -> str:
    return outcome.spec.identity if isinstance(outcome, Lost) else outcome.record.identity


def _private_folder() -> str:
    """A folder for this person alone. Ray's sockets lie in it, whose paths may have 100 characters: so its name is
    short, and a system's long-winded folder of temporary files is not taken where there is /tmp."""
    return tempfile.mkdtemp(prefix="microgpt-ray-", dir="/tmp" if os.access("/tmp", os.W_OK) else None)
