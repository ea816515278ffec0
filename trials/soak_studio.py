"""The studio under load: as many requests as an hour of ten a second, as fast as it takes them.

Four clients draw from what pages ask (the pages, JSON, events that are asked for and dropped, trainings that
are started, paused and stopped, texts) and from what they never send: other hosts, tokens and methods, halves, noise.
After each twentieth of them all connections are closed, trainings are ended, the events that the server remembers are
replaced by those of thirty trainings of one step, and it tells what it holds.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Final

from microgpt.studio.trainings import KEPT as REMEMBERED
from trials.fault import ROOT, Fault, Outcome
from trials.soak import GROWTH, Look, growth, home_of
from trials.visitors import SECONDS, SMALL, Visitor, tidy

CLIENTS: Final = 4
ROUNDS: Final = 20  # looks at the server
MEANS: Final = 10_000  # requests; of fewer all are warm-up, and what is held says nothing


def load(visitors: list[Visitor], count: int) -> None:
    """So many requests, shared by the clients; at the end all connections are closed and all trainings ended."""

    def work(visitor: Visitor) -> None:
        for _ in range(count // len(visitors)):
            visitor.one()
        visitor.close()

    threads = [threading.Thread(target=work, args=(visitor,)) for visitor in visitors]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    first = visitors[0]
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        under_way = [each for each in first.ask("GET", "/api/trainings")["trainings"] if each["phase"] not in ENDED]
        if not under_way:
            break
        for each in under_way:
            first.ask("POST", f"/api/trainings/{each['id']}", {"action": "end"}, 404)
        time.sleep(0.1)
    forget(first)
    first.close()
    time.sleep(0.3)


def forget(visitor: Visitor) -> None:
    """Begin as many trainings of one step as the server remembers, so that each look finds as many events in memory."""
    for _ in range(REMEMBERED):
        deadline = time.monotonic() + SECONDS
        asked = {"settings": SMALL | {"steps": 1}, "text": "names", "history": False}
        while "id" not in (visitor.ask("POST", "/api/trainings", asked, 409) or {}) and time.monotonic() < deadline:
            time.sleep(0.03)
    tidy(visitor.runs)


ENDED: Final = ("finished", "stopped", "failed")


def requests(trials: int, seed: int) -> Outcome:
    """So many requests, and what the server holds at the end."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        home = home_of(place)
        looked = place / "looks"
        command = [sys.executable, "-m", "trials.soak_server", str(looked), "--out", str(home / "runs")]
        command += ["--store", str(home / "lab.db")]
        pipe = subprocess.PIPE
        environment = os.environ | {"MALLOC_ARENA_MAX": "1"}  # else what threads have freed lies about in many places
        with (
            (place / "err").open("w") as errors,
            subprocess.Popen(command, cwd=ROOT, env=environment, stdout=pipe, stderr=errors, text=True) as server,
        ):
            assert server.stdout
            address, token = server.stdout.readline().split()[-1].removeprefix("http://").split("/#token=")
            streams = [random.Random(seed * 1009 + number) for number in range(CLIENTS)]
            visitors = [Visitor(address, token, stream, home / "runs") for stream in streams]
            began = time.monotonic()
            rounds = ROUNDS if trials >= MEANS else 2
            for turn in range(rounds):
                load(visitors, trials // rounds)
                server.send_signal(signal.SIGUSR1)
                wait_for(lambda turn=turn: looked.exists() and len(looked.read_text().splitlines()) > turn)
            seconds = time.monotonic() - began
            server.send_signal(signal.SIGINT)
            code = server.wait(SECONDS)
        held = [Look(**json.loads(line)) for line in looked.read_text().splitlines()]
        said = (place / "err").read_text()
    return told(visitors, held, code, said, seconds)


def told(visitors: list[Visitor], held: list[Look], code: int, said: str, seconds: float) -> Outcome:
    """What the load came to."""
    faults = [fault for visitor in visitors for fault in visitor.faults]
    statuses = sum((visitor.statuses for visitor in visitors), Counter[int]())
    count, half = sum(statuses.values()), held[len(held) // 2 :]
    before = held[: len(held) // 2]
    grown = growth(held)
    most = {name: max(getattr(each, name) for each in before) for name in ("files", "threads")}
    leaks = [name for name, number in most.items() if getattr(half[-1], name) > number]
    leaks = [*leaks, *(["memory"] if grown > GROWTH else [])] if count >= MEANS else []
    leaks += (
        ["said more than it should"] if [line for line in said.splitlines() if not line.startswith("Ctrl-C")] else []
    )
    leaks += [f"exit code {code}"] if code != 128 + signal.SIGINT else []
    for line in [*Counter(faults).most_common(8), said[-1000:], [each.resident >> 10 for each in held]]:
        print(line, file=sys.stderr)
    figures = (
        f"memory {grown:+.2%}, {half[-1].files - before[-1].files:+} files, {half[-1].threads} threads at the end, "
    )
    figures += f"{before[-1].threads} in the middle; {seconds:.0f} s; status " + ", ".join(
        f"{status or 'closed'}: {number:,}" for status, number in sorted(statuses.items())
    )
    return Outcome(count, 0 if leaks else count - len(faults), "; ".join([*leaks, figures]))


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)


FAULTS = (
    Fault(
        33,
        "soak-studio",
        "soak: the studio under the load of an hour, ten requests a second",
        "a request, also malformed; never a 5xx, right ones are answered, and nothing leaks",
        36_000,
        requests,
    ),
)
