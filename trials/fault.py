"""What a fault is here: something that is done to the program, so many times, and what survived it."""

import itertools
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]


@dataclass(frozen=True)
class Outcome:
    """What came of the trials of a fault. `figures` says in words what else was counted: "412 inside a write"."""

    trials: int
    survived: int
    figures: str = ""

    @staticmethod
    def told(trials: int, wrong: Iterable[str], figures: str = "") -> "Outcome":
        """The outcome of trials that tell what went wrong: of one that went well, nothing. Five are told."""
        problems = list(filter(None, wrong))
        return Outcome(trials, trials - len(problems), "; ".join(filter(None, [figures, *problems[:5]])))

    @property
    def lost(self) -> int:
        """Trials after which something was wrong: data gone, a crash, a traceback, a process left behind."""
        return self.trials - self.survived


@dataclass(frozen=True)
class Fault:
    """A line of the table. `try_it(trials, seed)` carries it out, and raises nothing where the program fails: it
    counts. `proof` says what a trial is and when it counts as survived, in half a sentence."""

    number: int
    name: str  # what is typed to have it alone: short, without spaces
    title: str
    proof: str
    trials: int  # of the full form
    try_it: Callable[[int, int], Outcome]
    lacking: Callable[[], str] = str  # why it can't be tried here; empty where it can


def no_linux() -> str:
    """Why what looks into /proc can't be tried here."""
    return "" if sys.platform == "linux" else "it looks into /proc, which is Linux's"


def by_tests(number: int, name: str, title: str, proof: str, *tests: str) -> Fault:
    """A fault whose full form is in the test suite: each test (a pytest node) that passes is a trial survived."""

    def try_it(trials: int, seed: int) -> Outcome:
        command = [sys.executable, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", "-rs", *tests]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        counts = _counts(done.stdout)
        skipped = f"{counts['skipped']} skipped" if counts["skipped"] else ""
        tried = counts["passed"] + counts["failed"] + counts["error"] + counts["errors"]
        return Outcome(tried, counts["passed"], skipped) if tried else Outcome(1, 0, f"no test ran: {skipped}")

    return Fault(number, name, title, proof, len(tests), try_it)


def _counts(output: str) -> dict[str, int]:
    """How many tests passed, failed and were skipped, from pytest's last line."""
    counts = dict.fromkeys(("passed", "failed", "skipped", "error", "errors"), 0)
    words = (output.strip().splitlines() or [""])[-1].replace(",", " ").replace("=", " ").split()
    for amount, word in itertools.pairwise(words):
        if word in counts and amount.isdigit():
            counts[word] = int(amount)
    return counts
