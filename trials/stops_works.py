"""What is stopped by `stops`: commands that take long, and what must be true of their home afterwards."""

import json
import re
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from microgpt.model.settings import counted

PATIENCE: Final = 30.0  # seconds for a command to end by itself after one signal
NAMES: Final = "emma olivia ava isabella sophia mia charlotte amelia evelyn abigail harper emily liam noah oliver"
ENDLESS: Final = ("train", "--data", "few.txt", "--steps", "100000000", "--samples", "0", "--name", "run")
SMALL: Final = (*ENDLESS, "--emb", "4", "--head", "2", "--ctx", "8")
WIDE: Final = ("--emb", "256", "--layer", "4", "--batch", "256")  # a step is a call of some tenths of a second
LARGE: Final = (*ENDLESS, *WIDE)
SWEEP: Final = """
seeds = 50
lr = 0.01
[base]
data = "few.txt"
emb = 4
head = 2
ctx = 8
engine = "array"
[axes]
steps = [10, 20, 300]
"""

Look = Callable[[Path, str, bool], str]  # at a home, what was said and whether two signals came: what is wrong, or ""


@dataclass(frozen=True)
class Work:
    """Something that takes long: command lines that take turns, the longest time until a signal, what is left."""

    commands: tuple[tuple[str, ...], ...]
    longest: float
    look: Look
    modules: tuple[str, ...]
    cold: int = 0  # every so many trials has an empty cache of kernels
    begin: Callable[[Path], None] = lambda home: None  # what is done in a home before the time runs


def trained(home: Path, told: str, twice: bool) -> str:
    """What is wrong with the run that was stopped. After one signal it is saved and says at which step."""
    from microgpt.training.run_folder import RunFolder

    folder = home / "runs" / "run"
    if not folder.exists():
        return "said that it saved" if "and saved" in told else ""
    checkpoint, rows, _ = RunFolder(folder).reopen()
    if checkpoint.state.step != len(rows):
        return f"saved step {checkpoint.state.step} and {len(rows)} losses"
    begun = checkpoint.state.step or "stopped" in told  # a stop before the first record needs no word of step 0
    if begun and not twice and f"stopped after step {checkpoint.state.step}," not in told:
        return f"saved step {checkpoint.state.step}, and said: {told[-200:]}"
    return ""


def swept(home: Path, told: str, twice: bool) -> str:
    """What is wrong with the store."""
    from microgpt.lab.store.store import Store

    if not (home / "lab.db").exists() or not (home / "lab.db").stat().st_size:
        return ""
    with Store.open(home / "lab.db") as store:
        done = sum(run.status == "done" for run in store.records())
    if not twice and "stopped: " in told and f"stopped: {counted(done, 'run')} done" not in told:
        return f"kept {done} runs, and said: {told[-200:]}"
    return ""


def prepared(home: Path, told: str, twice: bool) -> str:
    """What is wrong with the token files: there are none of a text that was not read whole."""
    left = [path.name for path in home.iterdir() if "tokens" in path.name]
    return "" if twice or not left else f"left {left}"


def served(home: Path, told: str, twice: bool) -> str:
    """What is wrong with the run that the studio was asked to train."""
    from microgpt.training.run_folder import RunFolder

    for folder in (home / "runs").glob("[!.]*"):
        checkpoint, rows, _ = RunFolder(folder).reopen()
        if checkpoint.state.step != len(rows):
            return f"saved step {checkpoint.state.step} and {len(rows)} losses"
    return nothing(home, told, twice)


def nothing(home: Path, told: str, twice: bool) -> str:
    """What only reads leaves nothing."""
    left = [path.name for path in home.rglob("*") if path.name.endswith(".part")]
    return "" if twice or not left else f"left {left}"


def told_in(home: Path) -> str:
    """What a command has written so far."""
    return (home / "told").read_text() if (home / "told").exists() else ""


def train_in_the_studio(home: Path) -> None:
    """Ask the studio for a training without end."""
    deadline = time.monotonic() + PATIENCE
    while not (found := re.search(r"(\S+)#token=(\S+)", told_in(home))):
        if time.monotonic() > deadline:
            return
        time.sleep(0.005)
    address, token = found.groups()
    asked = {"settings": {"steps": 10_000_000, "engine": "array", "name": "run"}}
    body, headers = json.dumps(asked).encode(), {"x-studio-token": token}
    with urllib.request.urlopen(urllib.request.Request(f"{address}api/trainings", body, headers)) as answer:
        answer.read()


LOOP: Final = ("microgpt.training.loop", "microgpt.recipes", "microgpt.cli.train", "microgpt.training.run_folder")
WORKS: Final = {
    "atomic": Work(((*SMALL, "--engine", "atomic"),), 0.8, trained, (*LOOP, "microgpt.engines.atomic")),
    "array": Work(
        ((*SMALL, "--engine", "array"), (*LARGE, "--engine", "array")),
        0.8,
        trained,
        (*LOOP, "microgpt.engines.array.engine"),
    ),
    "fused": Work(
        ((*SMALL, "--engine", "fused"), (*LARGE, "--engine", "fused")),
        0.8,
        trained,
        (*LOOP, "microgpt.engines.fused.engine"),
        cold=4,
    ),
    "sweep": Work(
        (("sweep", "few.toml", "--jobs", "1"), ("sweep", "few.toml", "--jobs", "2")),
        0.9,
        swept,
        ("microgpt.cli.sweep", "microgpt.lab.sweep.coordinator", "microgpt.lab.store.store", "microgpt.lab.sweep.plan"),
    ),
    "prepare": Work(
        (("prepare", "long.txt", "--out", "tokens"),),
        0.4,
        prepared,
        ("microgpt.cli.prepare", "microgpt.data.token_writing"),
    ),
    "laws": Work(
        (("laws", "--simulate", "1000"), ("verify", "--full", "--engine", "array"), ("bench", "--engine", "array")),
        0.5,
        nothing,
        ("microgpt.cli.laws", "microgpt.lab.laws.summary", "microgpt.lab.laws.simulate", "microgpt.engines.parity"),
    ),
    "studio": Work(
        (("studio", "--no-browser", "--port", "0"),),
        0.5,
        served,
        ("microgpt.cli.studio", "microgpt.studio.server", "microgpt.studio.trainings", "microgpt.studio.runs"),
        begin=train_in_the_studio,
    ),
}


def furnish(home: Path) -> None:
    """A home with all that the commands read."""
    home.mkdir()
    (home / "few.txt").write_text(NAMES.replace(" ", "\n") + "\n")
    (home / "few.toml").write_text(SWEEP)
    rows = [f"{n},{d},{1.7 + 400 / n**0.34 + 410 / d**0.28}\n" for n in (1e6, 4e6, 2e7, 1e8) for d in (1e8, 1e9, 5e9)]
    (home / "runs.csv").write_text("params,tokens,loss\n" + "".join(rows))
