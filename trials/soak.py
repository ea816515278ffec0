"""Thousands of random commands in a few long-lived processes: no traceback, no foreign exit code, and nothing leaks.

Each lane calls the command line's entry in its own process, a command after another, and every twentieth command as a
process of its own. Every 25 commands it collects garbage, hands free memory back to the system (`malloc_trim`), and
notes its resident memory, open files and threads. The first half is warm-up: modules are imported, kernels loaded.
Growth of memory is the slope of a straight line through the second half, times its length, as a share of it.
"""

import contextlib
import ctypes
import gc
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from trials import soak_grammar
from trials.fault import Fault, Outcome, no_linux
from trials.lanes import lanes, orphans
from trials.stops_works import furnish

LOOK: Final = 25  # commands between two looks at what the process holds
APART: Final = 20  # every so many commands is a process of its own
LONGEST: Final = 8.0  # seconds, after which a command is interrupted, which is no fault
CONTRACT: Final = {0, 2, 3, 4, 5, 6, 7, 130}
GROWTH: Final = 0.01  # of memory, over the second half
POOLS: Final = 4  # threads that libraries keep from their first use on, which may come late
MEANS: Final = 2000  # commands; with fewer the second half is still warm-up, and what is held says nothing
KEPT: Final = 12  # run folders at a time
TRACES: Final = ("Traceback", "microgpt: unexpected ", "Exception ignored", "Error in sys", "Segmentation")


@dataclass(frozen=True)
class Look:
    """What a process holds: resident bytes after collecting and trimming, open files, threads."""

    commands: int
    resident: int
    files: int
    threads: int


@dataclass
class Told:
    """What a lane tells."""

    commands: int = 0
    survived: int = 0
    codes: dict[int, int] = field(default_factory=dict)
    looks: list[Look] = field(default_factory=list)
    left: list[str] = field(default_factory=list)  # files and processes that should be gone


def look(commands: int) -> Look:
    """Collect garbage, give free memory back, and look."""
    gc.collect()
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    files, threads = (len(list(Path(f"/proc/self/{name}").iterdir())) for name in ("fd", "task"))
    return Look(commands, pages * os.sysconf("SC_PAGE_SIZE"), files, threads)


def growth(looks: list[Look]) -> float:
    """The slope of a line by least squares through the second half, times its length: a share of the memory held."""
    half = looks[len(looks) // 2 :]
    if len(half) < 3:
        return 0.0
    middle = sum(each.commands for each in half) / len(half)
    mean = sum(each.resident for each in half) / len(half)
    above = sum((each.commands - middle) * (each.resident - mean) for each in half)
    slope = above / sum((each.commands - middle) ** 2 for each in half)
    return slope * (half[-1].commands - half[0].commands) / mean


def home_of(folder: Path) -> Path:
    """A home with texts, designs, a store, runs: sound and damaged ones."""
    home = folder / "home"
    furnish(home)
    (home / "few.toml").write_text((home / "few.toml").read_text().replace("50", "1").replace(", 300", ""))
    (home / "wrong.toml").write_text("seeds = 'many'\n[axes]\nsteps = []\n")
    (home / "prose.txt").write_text("It was a dark night; the rain fell in torrents. " * 40)
    (home / "blank.txt").write_text("\n \n")
    (home / "utf16.txt").write_text("olivia\nemma\n", encoding="utf-16")
    small = ("--data", "few.txt", "--steps", "20", "--emb", "4", "--head", "2", "--ctx", "8", "--engine", "array")
    for arguments in (
        (*small, "--name", "first", "--keep", "every:10"),
        (*small, "--name", "second", "--data", "prose.txt"),
        ("export", "first", "shared.safetensors"),
        ("sweep", "few.toml", "--jobs", "1"),
    ):
        subprocess.run([sys.executable, "-m", "microgpt", *arguments], cwd=home, check=True, capture_output=True)
    shutil.copytree(home / "runs" / "first", home / "runs" / "broken")
    (home / "runs" / "broken" / "weights.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}      ")
    return home


@contextlib.contextmanager
def redirected(told: Path) -> Iterator[None]:
    """Standard input is empty; the other two go into a file, also what a library writes past Python."""
    kept = [os.dup(number) for number in range(3)]
    inward, outward = os.open(os.devnull, os.O_RDONLY), os.open(told, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    errors = os.open(told.with_suffix(".err"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for number, target in enumerate((inward, outward, errors)):
        os.dup2(target, number)
        os.close(target)
    try:
        yield
    finally:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        for number, before in enumerate(kept):
            os.dup2(before, number)
            os.close(before)


def in_this_process(arguments: list[str], told: Path) -> int:
    """The exit code of a command that is called here; one that takes too long hears a Ctrl-C."""
    from microgpt.cli.app import run

    signal.signal(signal.SIGALRM, lambda *_: os.kill(os.getpid(), signal.SIGINT))
    signal.setitimer(signal.ITIMER_REAL, LONGEST)
    try:
        with redirected(told):
            return run(arguments)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def in_its_own(arguments: list[str], told: Path) -> int:
    """The exit code of a true process."""
    command = [sys.executable, "-m", "microgpt", *arguments]
    with told.open("wb") as out, told.with_suffix(".err").open("wb") as err:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        try:
            return process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            return process.wait(60)


def wrong_with(arguments: list[str], code: int, out: str, err: str) -> str:
    """What is wrong with the end of a command, or nothing."""
    if any(trace in out + err for trace in TRACES):
        return "a traceback"
    if code not in CONTRACT and not (code == 1 and "verify" in arguments):
        return f"exit code {code}"
    said = sum(line.startswith("microgpt: ") for line in err.splitlines())
    if code in CONTRACT - {0, 130} and said != 1:
        return f"exit code {code} with {said} lines of why"
    if code == 0 and "--json" in arguments and not {"--help", "-h"} & set(arguments):
        try:
            json.loads(out)
        except ValueError:
            return "not one JSON object"
    return ""


def tidy(home: Path, furnished: set[str]) -> list[str]:
    """Remove what the command made; what should not be there at all is told."""
    left = [str(path) for path in home.rglob("*.part")] + [str(path) for path in (home.parent / "tmp").iterdir()]
    runs = sorted((home / "runs").iterdir(), key=lambda path: path.stat().st_mtime)
    extra = [path for path in runs if path.name not in ("first", "second", "broken")]
    made = [path for path in home.iterdir() if path.name not in furnished]
    for path in [*extra[:-KEPT], *made, *(home.parent / "tmp").iterdir()]:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    return left


def lane(numbers: range, seed: int, place: Path) -> dict[str, Any]:
    """A share of the commands, one after another."""
    folder = place / f"{numbers.start}"
    (folder / "tmp").mkdir(parents=True)
    home = home_of(folder)
    furnished = {path.name for path in home.iterdir()}
    os.chdir(home)
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / "tmp")
    told, out = Told(), folder / "told.out"
    for count, number in enumerate(numbers):
        if count % LOOK == 0:
            told.looks.append(look(count))
        arguments = soak_grammar.command(random.Random(seed * 1_000_003 + number))
        code = (in_its_own if count % APART == APART - 1 else in_this_process)(arguments, out)
        texts = [path.read_text(errors="replace") for path in (out, out.with_suffix(".err"))]
        wrong = wrong_with(arguments, code, *texts)
        left = tidy(home, furnished) + [f"process {name}" for name in orphans_but_tracker()]
        told.left += left
        told.commands += 1
        told.codes[code] = told.codes.get(code, 0) + 1
        told.survived += not wrong and not left
        if wrong or left:
            shown = [word if len(word) < 40 else f"{word[:10]}…" for word in arguments]
            print(f"{number}: {wrong} {left}: {shown}: {code}: {texts[1][-400:]}", file=sys.stderr)
    told.looks.append(look(told.commands))
    return asdict(told)


def orphans_but_tracker() -> list[str]:
    """Processes that are left. The one that multiprocessing keeps for a process's whole life is ended first."""
    from multiprocessing import resource_tracker

    resource_tracker._resource_tracker._stop()  # type: ignore[attr-defined]  # as at exit
    return orphans()


def commands(trials: int, seed: int) -> Outcome:
    """So many random commands, and what the processes hold at the end."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MICROGPT_CACHE"] = str(Path(folder) / "cache")
        tells = list(lanes(trials, lambda numbers: lane(numbers, seed, Path(folder))))
    alive = [told for told in tells if told]
    grown, more = [], Counter[str]()
    for told in alive:
        looks = [Look(**each) for each in told["looks"]]
        grown.append(growth(looks))
        more["files"] += looks[-1].files - looks[len(looks) // 2].files
        more["threads"] += looks[-1].threads - looks[len(looks) // 2].threads
        print([each.resident >> 10 for each in looks], [each.threads for each in looks], file=sys.stderr)
    codes = sum((Counter(told["codes"]) for told in alive), Counter[str]())
    tried = sum(told["commands"] for told in alive) + (len(tells) - len(alive))
    leaks = [name for name, count in more.items() if count > POOLS * len(alive) * (name == "threads")]
    leaks += ["memory"] if max(grown, default=0) > GROWTH else []
    survived = 0 if leaks and trials >= MEANS else sum(told["survived"] for told in alive)
    told_codes = ", ".join(f"{code}: {count}" for code, count in sorted(codes.items(), key=lambda pair: int(pair[0])))
    figures = (
        f"memory {', '.join(f'{each:+.2%}' for each in grown)}, {more['files']:+} files, {more['threads']:+} threads"
    )
    seconds = time.perf_counter() - began
    return Outcome(tried, survived, f"{figures} over the second half; {seconds:.0f} s; exit codes {told_codes}")


FAULTS = (
    Fault(
        32,
        "soak-commands",
        "soak: random commands of every verb, right and wrong, in two long-lived processes",
        "a command; no traceback, an exit code of the contract with one line, nothing left behind",
        2000,
        commands,
        no_linux,
    ),
)
