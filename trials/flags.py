"""Row 21: every flag of every verb that takes a number gets what is none, or can't be. The list is click's own."""

import random
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from microgpt.cli.app import VERBS, microgpt
from trials.fault import Fault, Outcome
from trials.forked import Ended, command
from trials.small import finish, request

LARGE: Final = str(10**18)
VALUES: Final = ("0", "-1", "1e18", LARGE, "nan", "inf", "-inf", "many", "")
BEYOND_MEMORY: Final = "1000000000"  # of sizes, which no machine has room for
SIZES: Final = ("emb", "layer", "ctx", "ff", "batch")
NO_NUMBERS: Final = ("nan", "inf", "-inf", "many", "")  # which no flag takes
IN_WORDS: Final = ("budget", "cost", "keep", "design")  # numbers within a word: 60s, every:100, 6x5x3
MAY_DIVERGE: Final = ("lr", "initial_scale")  # an absurd one is no wrong use: the run ends with exit 6, or finite
ROWS: Final = [(n, d, 1.7 + 400 / n**0.34 + 410 / d**0.28) for n in (1e3, 4e3, 2e4, 1e5) for d in (1e5, 6e5, 4e6, 3e7)]
LAW: Final = "--csv runs.csv --bootstrap 100"
USUAL: Final = {  # a use of each verb that is over in no time, to which the flag is added
    "train": "--data few.txt --steps 3 --emb 4 --head 2 --ctx 4 --samples 1 --engine array --eval-every 1",
    "sample": "run --count 1",
    "eval": "run",
    "bench": "--engine array",
    "engines": "--show-kernel",
    "plan": "--params 1e9",
    "studio": "--no-browser",
    "sweep": "steps --dry-run",
    "analyze": "--csv runs.csv",
    "laws": LAW,
    "predict": f"2e4 1e6 {LAW}",
    "frontier": f"1e12 {LAW}",
    "compare": "kind=a kind=b --csv two.csv --bootstrap 100",
    "suggest": f"1e12 {LAW}",
}


@dataclass(frozen=True)
class Trial:
    """A flag of a verb, or an argument, and what is given to it."""

    verb: str
    name: str
    flag: str  # empty for an argument
    value: str

    @property
    def arguments(self) -> list[str]:
        """The command line."""
        usual = USUAL[self.verb].split()
        if self.verb == "plan" and self.name in ("emb", "layer"):
            usual = ["--layer" if self.name == "emb" else "--emb", "8"]
        if self.name == "simulate":
            usual = ["--bootstrap", "100"]
        if not self.flag:
            usual = usual[2 if self.name == "at" else 1 :]
            given = [self.value, "1e6"] if self.name == "at" else [self.value]
            return [self.verb, *usual, "--", *given]
        return [
            self.verb,
            *usual,
            f"{self.flag}={self.value}",
            *(["--simulate=2"] if self.name in ("scatter", "design") else []),
        ]


def trials() -> Iterator[Trial]:
    """Every value for every number of every verb."""
    context = click.Context(microgpt)
    for verb in VERBS:
        found = microgpt.get_command(context, verb)
        assert found is not None
        for parameter in found.params:
            if is_number(parameter):
                flag = max(parameter.opts, key=len) if isinstance(parameter, click.Option) else ""
                more = (BEYOND_MEMORY,) if verb == "train" and parameter.name in SIZES else ()
                yield from (Trial(verb, str(parameter.name), flag, value) for value in VALUES + more)


def is_number(parameter: click.Parameter) -> bool:
    """Whether a flag or an argument takes a number."""
    kinds = (click.types.IntParamType, click.types.FloatParamType)
    return isinstance(parameter.type, kinds) or parameter.name in IN_WORDS


def home(folder: Path) -> Path:
    """A folder with a text, a run and a CSV of runs."""
    finish(request(folder, steps=5, documents="windows"))
    table = "".join(f"{n:g},{d:g},{loss:.6f}\n" for n, d, loss in ROWS)
    (folder / "runs.csv").write_text("params,tokens,loss\n" + table)
    two = "".join(f"{n:g},{d:g},{loss + 0.01 * (kind == 'b'):.6f},{kind}\n" for n, d, loss in ROWS for kind in "ab")
    (folder / "two.csv").write_text("params,tokens,loss,kind\n" + two)
    return folder


def problem(trial: Trial, folder: Path) -> str:
    """What is wrong with how a command met a value; nothing where all is well."""
    before = sorted(folder.rglob("*"))
    served = trial.verb == "studio" and trial.value == "0"  # any free port: it serves until it is stopped
    ended = command(trial.arguments, folder, patience=3.0 if served else 30.0)
    told = wrong(trial, ended) if not served else "" if "127.0.0.1" in ended.out else "it did not serve"
    if not told and ended.code == 2 and sorted(folder.rglob("*")) != before:
        told = "it was refused, and left files behind"
    return told and f"microgpt {' '.join(trial.arguments)}: {told}: {ended.err.strip()[-300:]}"


def wrong(trial: Trial, ended: Ended) -> str:
    """Why an end is none that the value may have."""
    if ended.late:
        return "it went on and on"
    never = (*NO_NUMBERS, BEYOND_MEMORY)
    if ended.code == 0 and (trial.value not in never or (trial.name, trial.value) == ("keep", "")):
        return ""  # a keep of nothing keeps nothing, as ever
    if ended.code == 6 and trial.name in MAY_DIVERGE and trial.value not in NO_NUMBERS:
        return "" if ended.refused(6) else "no plain line"
    if not ended.refused(2):
        return f"exit {ended.code}"
    known = (trial.flag or trial.name).lower().lstrip("-").replace("-", "_")
    said = ended.lines[0].lower().replace("-", "_")
    return "" if known in said or trial.name == "at" else "the line does not name it"


def numbers_of_flags(count: int, seed: int) -> Outcome:
    """So many of the trials, or all."""
    every = list(trials())
    chosen = every if count >= len(every) else random.Random(seed).sample(every, count)
    with tempfile.TemporaryDirectory() as folder:
        place = home(Path(folder))
        problems = [problem(trial, place) for trial in chosen]
    flags = len({(trial.verb, trial.name) for trial in chosen})
    verbs = len({trial.verb for trial in chosen})
    return Outcome.told(len(chosen), problems, f"{flags} flags of {verbs} verbs")


FAULTS = (
    Fault(
        21,
        "flags",
        "a number that can't be",
        "0, -1, 10^18, nan, inf, a word or nothing for a flag that takes a number: exit 2 in one line that names the "
        "flag, or a run that is over in seconds; in 4 GB of memory, and no file left behind",
        10_000,  # more than there are: click tells how many
        numbers_of_flags,
    ),
)
