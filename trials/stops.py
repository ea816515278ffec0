"""Ctrl-C, SIGTERM and SIGHUP, once and twice, at random moments of all that takes long.

A trial runs a command in a process forked from one that has imported everything, so that it begins within milliseconds,
and stops it at a random moment. Then it looks at the exit code, at what was said, at what was saved, and for processes
that are left.
"""

import contextlib
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from microgpt.errors import MicrogptError
from trials.fault import Fault, Outcome, no_linux
from trials.forked import waited
from trials.lanes import lanes, orphans
from trials.stops_works import PATIENCE, WORKS, Work, furnish

KINDS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AT_ONCE: Final = 2.0  # seconds after a second one; what it really takes is told


@dataclass
class Count:
    """What the trials of a lane came to."""

    trials: int = 0
    survived: int = 0
    orphans: int = 0
    twice: int = 0
    slowest_second: float = 0.0
    saved: int = 0


def stopped(work: Work, home: Path, number: int, stream: random.Random, count: Count) -> str:
    """One trial; what was wrong, or nothing."""
    if "long.txt" in work.commands[0]:
        (home / "long.txt").symlink_to(home.parent / "long.txt")
    cache = home / "cache" if work.cold and number % work.cold == 0 else home.parent / "cache"
    kind, twice = KINDS[number % 3], number // 3 % 2 == 1
    pid = forked(work.commands[number // 4 % len(work.commands)], home, cache)
    if number % 4:  # also without: before there is anything to save
        work.begin(home)
    time.sleep(stream.uniform(0, work.longest))
    stop(pid, kind)
    status = waited(pid, stream.uniform(0, 0.2) if twice else PATIENCE)
    if status is None and twice:
        count.twice += 1
        stop(pid, kind)
        began = time.monotonic()
        status = waited(pid, PATIENCE)
        count.slowest_second = max(count.slowest_second, time.monotonic() - began)
        if count.slowest_second > AT_ONCE:
            return "the second signal did not end it at once"
    if status is None:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        return f"signal {kind}: it went on"
    code = os.waitstatus_to_exitcode(status)
    if left := orphans():
        count.orphans += len(left)
        return f"left processes: {left}"
    told = (home / "told").read_text(errors="replace") if (home / "told").exists() else ""
    if (128 - code if code < 0 else code) != 128 + kind:
        return f"signal {kind}: exit code {code}: {told[-300:]}"
    if "Traceback" in told or "unexpected " in told:
        return told[-2000:]
    count.saved += "and saved" in told or "stopped: " in told
    try:
        return work.look(home, told, twice)
    except MicrogptError as error:
        return str(error)


def forked(
    command: tuple[str, ...], home: Path, cache: Path, pipes: Mapping[int, tuple[int, int]] | None = None
) -> int:
    """A process that carries out a command line, in a group of its own; its id. It writes to the file `told`, or to the
    pipes of its standard output and error."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        os.chdir(home)
        os.environ["MICROGPT_CACHE"] = str(cache)
        told = os.open("told", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for descriptor in (1, 2):
            reader, writer = pipes[descriptor] if pipes else (told, told)
            os.dup2(writer, descriptor)
            if pipes:
                os.close(reader)
        sys.stdout, sys.stderr = os.fdopen(1, "w", closefd=False), os.fdopen(2, "w", 1, closefd=False)
        from microgpt.cli import carry_out

        code = carry_out(list(command))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def stop(pid: int, kind: signal.Signals) -> None:
    """Ctrl-C and the end of a terminal reach the whole group; SIGTERM the process alone."""
    with contextlib.suppress(ProcessLookupError):
        (os.kill if kind == signal.SIGTERM else os.killpg)(pid, kind)


Trial = Callable[[Path, int, random.Random, Count], str]  # in a furnished home, by its number: what was wrong, or ""


def counted(
    trials: int,
    seed: int,
    trial: Trial,
    modules: Sequence[str] = (),
    ready: Callable[[Path], None] = lambda place: None,
) -> list[Count]:
    """What each lane counted of its trials; one that died is a trial lost."""
    for module in ("microgpt.cli.app", *modules):
        importlib.import_module(module)

    def lane(numbers: range) -> dict[str, Any]:
        count = Count()
        for number in numbers:
            furnish(home := place / f"{number}")
            wrong = trial(home, number, random.Random(seed * 1_000_003 + number), count)
            count.trials += 1
            count.survived += not wrong
            if wrong:
                print(f"trial {number}: {wrong}", file=sys.stderr)
            shutil.rmtree(home, ignore_errors=True)
        return asdict(count)

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        ready(place)
        return [Count(**told) if told else Count(trials=1) for told in lanes(trials, lane)]


def outcome(counts: Sequence[Count], figures: str) -> Outcome:
    """The sum of what lanes have counted."""
    return Outcome(sum(count.trials for count in counts), sum(count.survived for count in counts), figures)


def stops(name: str, trials: int, seed: int) -> Outcome:
    """So many trials of one kind of work."""
    work = WORKS[name]
    counts = counted(trials, seed, partial(stopped, work), work.modules, partial(_ready, name))
    twice, slowest = sum(count.twice for count in counts), max(count.slowest_second for count in counts)
    figures = (
        f"{sum(count.orphans for count in counts)} orphans, {sum(count.saved for count in counts)} said they saved"
    )
    figures += f"; {twice} got a second signal, gone at most {slowest * 1e3:.0f} ms later" if twice else ""
    return outcome(counts, figures)


def _ready(name: str, place: Path) -> None:
    """What all trials share: kernels for the fused engine, a text that takes long to read."""
    if name == "prepare":
        (place / "long.txt").write_text("a line of text, and another; \n" * 3_000_000)
    if name == "fused":
        for command in WORKS[name].commands:
            arguments = ["--steps" if word == "--steps" else "1" if word == "100000000" else word for word in command]
            furnish(home := place / "first")
            environment = os.environ | {"MICROGPT_CACHE": str(place / "cache")}
            subprocess.run(
                [sys.executable, "-m", "microgpt", *arguments], cwd=home, env=environment, capture_output=True
            )
            shutil.rmtree(home)


STARTING: Final = (("--steps", "20"), ("sweep", "few.toml", "--dry-run"), ("laws", "--csv", "runs.csv"), ("--help",))


def _started(home: Path, number: int, stream: random.Random, count: Count) -> str:
    command = [sys.executable, "-m", "microgpt", *STARTING[number % len(STARTING)]]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=home, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
    time.sleep(stream.uniform(0.03, 0.5))
    stop(process.pid, signal.SIGINT)
    _, told = process.communicate(timeout=PATIENCE)
    early = "Traceback" in told and "cli/app.py" not in told
    count.saved += early
    wrong = process.returncode not in (0, 130, -signal.SIGINT) or "Traceback" in told
    return f"exit code {process.returncode}: {told[-1500:]}" if wrong and not early else ""


def starting(trials: int, seed: int) -> Outcome:
    """Ctrl-C in the first half second of a true process, before it hears it, while it imports, and while it leaves."""
    counts = counted(trials, seed, _started)
    early = sum(count.saved for count in counts)
    return outcome(
        counts, f"{early} before the first line of the command line, where Python says so itself" * (early > 0)
    )


def _line(name: str, title: str) -> Fault:
    told = f"Ctrl-C, SIGTERM or SIGHUP, once or twice: {title}"
    return Fault(25, f"stops-{name}", told, PROOF, 200, partial(stops, name), no_linux)


PROOF: Final = (
    "at a random moment; 130, 143 or 129, what was said to be saved is, no process is left; the second ends it at once"
)
FAULTS: Final = (
    _line("atomic", "train on atomic"),
    _line("array", "train on array"),
    _line("fused", "train on fused"),
    _line("sweep", "a sweep"),
    _line("prepare", "prepare"),
    _line("laws", "laws, verify, bench"),
    _line("studio", "the studio"),
    Fault(
        25,
        "stops-starting",
        "Ctrl-C while a command begins or ends",
        "in the first half second of a process; it ends without a traceback",
        200,
        starting,
        no_linux,
    ),
)
