"""Processes of the studio's trainings that die at random moments, while another training goes on."""

import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from microgpt.studio.studio import Studio
from microgpt.studio.training import LiveTraining
from microgpt.training import checkpoint as checkpoints
from microgpt.training.run_folder import WEIGHTS, RunFolder
from trials.fault import Fault, Outcome

SIGNALS: Final = (signal.SIGKILL, signal.SIGSEGV, signal.SIGBUS)
SMALL: Final = {"emb": 8, "head": 2, "ctx": 8, "samples": 0, "holdout": 0.005, "engine": "array"}
LONGEST: Final = 1.5  # seconds until a signal; the first save comes after one
PATIENCE: Final = 30.0  # seconds for what follows
OTHER: Final = 400  # steps of the training beside


def kills(trials: int, seed: int) -> Outcome:
    """Kill one training after another; the one beside takes a step each time, and must end as if it were alone."""
    stream, survived, begun = random.Random(seed), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        studio = Studio(out)
        beside = studio.trainings.start({"settings": SMALL | {"steps": OTHER, "name": "beside"}, "paused": True})
        for number in range(trials):
            name, kind = f"{number}", SIGNALS[number % len(SIGNALS)]
            training = studio.trainings.start({"settings": SMALL | {"steps": 10**7, "name": name}})
            beside.ask("step")
            time.sleep(stream.uniform(0, LONGEST))
            os.kill(training.process.pid or 0, kind)
            wrong = _wrong(training, out / name, kind.name) or ("the other ended" if beside.ended else "")
            survived += not wrong
            begun += bool(training.run)
            if wrong:
                print(f"trial {number}: {wrong}", file=sys.stderr)
        beside.ask("go_on")
        _until_ended(beside)
        alone = studio.trainings.start({"settings": SMALL | {"steps": OTHER, "name": "alone"}})
        _until_ended(alone)
        studio.close()
        one, two = (checkpoints.read(out / name / WEIGHTS).state.weights for name in ("beside", "alone"))
        same = beside.phase == "finished" and bool((one == two).all())
    figures = f"0 studios ended, 0 other trainings harmed; {begun} had begun their run"
    return Outcome(trials, survived if same else 0, figures if same else "another end than that of a training alone")


def _wrong(training: LiveTraining, run: Path, name: str) -> str:
    """What is wrong with a training that was killed. What was saved of it can be gone on with."""
    _until_ended(training)
    last = training.events[-1]
    if training.phase != "failed" or f"signal {name}" not in last:
        return f"it said: {last}"
    if not run.exists():
        return f"it was saved, and is gone: {last}" if training.saved else ""
    checkpoint, rows, _ = RunFolder(run).reopen()
    if checkpoint.state.step < training.saved or checkpoint.state.step != len(rows):
        return f"saved step {checkpoint.state.step} and {len(rows)} losses, said {training.saved}"
    return ""


def _until_ended(training: LiveTraining) -> None:
    deadline = time.monotonic() + PATIENCE
    while not training.ended and time.monotonic() < deadline:
        time.sleep(0.01)


FAULTS = (
    Fault(
        26,
        "killed-trainings",
        "the process of a training of the studio is killed",
        "by SIGKILL, SIGSEGV or SIGBUS at a random moment; it says so and can be gone on with, the studio and another "
        "training go on as if alone",
        100,
        kills,
    ),
)
