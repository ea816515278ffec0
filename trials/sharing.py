"""One store, many processes: sweeps that want to write it at once, and readers while one does."""

import contextlib
import io
import itertools
import json
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from trials import few
from trials.fault import Fault, Outcome

AT_ONCE: Final = 8  # sweeps on one store
APART: Final = 1.0  # seconds within which they start
PATIENCE: Final = 120  # seconds
PACE: Final = 0.01  # seconds from one read to the next
HEAVY: Final = 75  # every so many reads is a command or a page, the others open the store and read all runs
SEEDS_A_READ: Final = 0.02


def place(folder: Path, seeds: int, rate: str, longest: int) -> Path:
    """A folder with a text and a design."""
    folder.mkdir()
    few.text(folder)
    (folder / "few.toml").write_text(few.design_file(10, 20, longest, seeds=seeds, lr=rate))
    return folder


def started(home: Path, jobs: int = 1) -> "subprocess.Popen[str]":
    """The command line that carries out the design."""
    command = [sys.executable, "-m", "microgpt", "sweep", "few.toml", "--jobs", str(jobs), "--json", "--quiet"]
    return subprocess.Popen(command, cwd=home, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def at_once(trials: int, seed: int) -> Outcome:
    """Start eight sweeps on one store within a second, some of them stopped or killed; then one that ends it."""
    survived, waited, told_off, stopped = 0, 0, 0, 0
    with tempfile.TemporaryDirectory() as folder:
        calm = place(Path(folder) / "calm", 3, '"tuned"', 100)
        _ended(started(calm))
        for number in range(trials):
            stream = random.Random(seed * 1_000_003 + number)
            home = place(Path(folder) / f"{number}", 3, '"tuned"', 100)
            sweeps = []
            for _ in range(AT_ONCE):
                sweeps.append(started(home))
                time.sleep(stream.uniform(0, 2 * APART / AT_ONCE))
            for victim in stream.sample(sweeps, number % 3):
                time.sleep(stream.uniform(0, 0.5))
                victim.send_signal(stream.choice([signal.SIGINT, signal.SIGKILL]))
                stopped += 1
            ends = [_ended(process) for process in sweeps]
            last, _ = _ended(started(home))
            codes = [code for code, _ in ends]
            fine = set(codes) <= {0, 7, 130, -signal.SIGKILL, -signal.SIGINT} and last == 0
            done = sum(json.loads(out)["done"] for code, out in ends if code == 0)
            planned = len(few.table(calm / "lab.db"))
            fine &= few.table(home / "lab.db") == few.table(calm / "lab.db")
            fine &= number % 3 > 0 or done == planned  # where nobody was stopped, no run was carried out twice
            survived += fine
            waited += codes.count(0)
            told_off += codes.count(7)
            shutil.rmtree(home)
    figures = (
        f"of {trials * AT_ONCE} sweeps {waited} waited their turn, {told_off} ended with 7, {stopped} were stopped"
    )
    return Outcome(trials, survived, figures)


def _ended(process: "subprocess.Popen[str]") -> tuple[int, str]:
    out, _ = process.communicate(timeout=PATIENCE)
    return process.returncode, out


def readers(trials: int, seed: int) -> Outcome:
    """Read a store a hundred times a second while a sweep writes it, in every way that there is to read it."""
    with tempfile.TemporaryDirectory() as folder:
        seeds = max(3, round(trials * SEEDS_A_READ))
        alone = place(Path(folder) / "alone", seeds, "0.01", 1500)
        watched = place(Path(folder) / "watched", seeds, "0.01", 1500)
        calm_seconds = _seconds(_ended(started(alone)))
        sweep = started(watched)
        while not (watched / "lab.db").exists() and sweep.poll() is None:
            time.sleep(0.01)
        began, reads, faults = time.monotonic(), 0, list[str]()
        ways = _ways(watched / "lab.db", Path(folder) / "report.html")
        for reads in itertools.count(1):
            if fault := ways(reads):
                faults.append(fault)
            if sweep.poll() is not None:
                break
            time.sleep(max(0.0, began + reads * PACE - time.monotonic()))
        rate = reads / (time.monotonic() - began)
        code, out = _ended(sweep)
        same = code == 0 and few.table(watched / "lab.db") == few.table(alone / "lab.db")
    for fault in faults[:5]:
        print(fault, file=sys.stderr)
    if not same:
        return Outcome(reads, 0, f"the sweep ended with {code}, or with another table")
    figures = f"{rate:.0f} reads a second; the sweep took {_seconds((code, out)):.1f} s, alone {calm_seconds:.1f} s"
    return Outcome(reads, reads - len(faults), f"{figures}, with the same table")


def _seconds(ended: tuple[int, str]) -> float:
    return float(json.loads(ended[1])["seconds"])


def _ways(path: Path, page: Path) -> Callable[[int], str]:
    """Reads by number; each says what went wrong, or nothing."""
    from microgpt.cli.app import run
    from microgpt.errors import MicrogptError
    from microgpt.lab.store.store import Store
    from microgpt.studio.scaling import Scaling

    scaling, seen = Scaling(path), 0
    commands = (["analyze", "steps", "--sweep", "few"], ["report", "--out", str(page)], ["laws", "--bootstrap", "100"])

    def store(number: int) -> str:
        nonlocal seen
        try:
            with Store.open(path) as opened:
                found = len(opened.records()) + 0 * len(opened.curves())
        except MicrogptError as error:
            return str(error)
        before, seen = seen, max(seen, found)
        return f"{before} runs, and then {found}" if found < before else ""

    def command(number: int) -> str:
        chosen = [*commands[number // HEAVY // 2 % len(commands)], "--store", str(path)]
        told = io.StringIO()
        with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
            code = run(chosen)
        wrong = code not in (0, 3, 7) or any(
            word in told.getvalue() for word in ("in use", "valid store", "unexpected")
        )
        return f"{chosen}: {code}: {told.getvalue()[-300:]}" if wrong else ""  # 7 and 3: too little is there as yet

    def studio(number: int) -> str:
        shown = scaling.show()
        return "" if shown["points"] or "no finished runs" in shown["sentence"] else str(shown["sentence"])

    def read(number: int) -> str:
        if number % HEAVY:
            return store(number)
        return (command if number // HEAVY % 2 else studio)(number)

    return read


FAULTS = (
    Fault(
        27,
        "sweeps-at-once",
        "eight sweeps on one store",
        "started within a second, in two of three trials some stopped or killed; exit 0 or 7, no run twice or lost",
        6,
        at_once,
    ),
    Fault(
        29,
        "readers",
        "readers while a sweep writes",
        "a read of the store, by `analyze`, `laws`, `report` or the studio; no error, no run that was seen is gone",
        1000,
        readers,
    ),
)
