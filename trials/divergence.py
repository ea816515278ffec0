"""Row 22: a loss, a weight or a moment that is not finite; by the learning rate, by first weights, or put there."""

import math
import random
import re
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from microgpt.engines import REGISTRY, available
from microgpt.errors import DivergedError, MicrogptError
from microgpt.model.settings import Precision
from microgpt.training import checkpoint as checkpoints
from microgpt.training.loop import train
from microgpt.training.records import Finished, Progress
from microgpt.training.run_folder import RunFolder
from microgpt.training.session import Observer, Session
from trials.fault import Fault, Outcome, by_tests
from trials.small import request

STEPS: Final = 12
RATES: Final = (1e6, 1e18, 1e150, 1e300, 1e308)
SCALES: Final = (1e20, 1e40, 1e150, 1e300)
PARTS: Final = ("weights", "adam_m", "adam_v")
POISONS: Final = (math.nan, math.inf, -math.inf)


@dataclass(frozen=True)
class Trial:
    """What is wrong with a training. With a `part`, one number of it becomes `poison` at a step: before the next step
    is taken or, where `saving`, before the step that was taken is saved."""

    engine: str
    precision: Precision
    settings: tuple[tuple[str, float], ...] = ()
    part: str = ""
    poison: float = math.nan
    step: int = 0
    place: float = 0.0  # in the flat vector, from 0 to 1
    saving: bool = False


@dataclass
class Poisoner(Observer):
    """Has the engine of a session go on from a state with one number that is not finite."""

    trial: Trial

    def chunk(self, session: Session, count: int) -> int:
        if not self.trial.saving and session.step == self.trial.step:
            self._poison(session)
        return count

    def advanced(self, session: Session, done: Progress, seconds: float) -> None:
        if self.trial.saving and session.step == self.trial.step + 1:
            self._poison(session)

    def _poison(self, session: Session) -> None:
        state = session.runner.state()
        numbers = getattr(state, self.trial.part).copy()
        numbers[int(self.trial.place * len(numbers))] = self.trial.poison
        session.runner = session.engine.open(replace(state, **{self.trial.part: numbers}))


def kinds() -> Iterator[tuple[str, Precision]]:
    """Every engine of this machine in each of its precisions."""
    for one in available():
        if one.usable:
            yield from ((one.name, precision) for precision in REGISTRY[one.name].precisions)


def drawn(stream: random.Random) -> Trial:
    """A trial at random."""
    engine, precision = stream.choice(list(kinds()))
    what = stream.randrange(4)
    if what == 0:
        return Trial(engine, precision, (("lr", stream.choice(RATES)), ("steps", stream.choice((1, STEPS)))))
    if what == 1:
        return Trial(engine, precision, (("initial_scale", stream.choice(SCALES)),))
    put = stream.choice(PARTS), stream.choice(POISONS), stream.randrange(STEPS), stream.random()
    return Trial(engine, precision, (), *put, saving=what == 2)


def problem(trial: Trial, folder: Path) -> str:
    """What is wrong with how a training met it; nothing where all is well."""
    usual: dict[str, Any] = {"steps": STEPS, "batch": 2, "samples": 1, "save_every": 1, "eval_every": 5}
    usual |= {"keep": "every:1", "engine": trial.engine, "precision": trial.precision}
    asked = request(folder, **usual | dict(trial.settings))
    try:
        *_, end = train(asked, observer=Poisoner(trial) if trial.part else None)
        said = ""
    except DivergedError as error:
        said = str(error)
    except Exception as error:
        return f"{trial}: {type(error).__name__}: {error}"
    told = _left(trial, RunFolder(folder / "runs" / "run"), said)
    if not said and not (isinstance(end, Finished) and end.checkpoint.state.finite):
        told = "it ended with numbers that are not finite"
    return told and f"{trial}: {told}: {said}"


def _left(trial: Trial, folder: RunFolder, said: str) -> str:
    """What is wrong with what a training left."""
    saved = [folder.weights, *sorted((folder.path / "history").iterdir())]
    try:
        steps = [checkpoints.read(path).state.step for path in saved]  # which refuses what is not finite
    except MicrogptError as error:
        return f"a save can't be read: {error}"
    if not said:
        return "it was not noticed" if trial.part else ""
    named = re.match(r"step (\d+): ", said)
    if not named or "\n" in said:
        return "the step is not named"
    if trial.part and (int(named[1]) != trial.step + 1 or steps[0] != trial.step):
        return f"expected a stop at step {trial.step + 1} and the save of step {trial.step}, found that of {steps[0]}"
    return "" if steps[0] in (int(named[1]) - 1, int(named[1])) else f"the save is of step {steps[0]}"


def divergences(count: int, seed: int) -> Outcome:
    """So many trials."""
    stream, problems, engines = random.Random(seed), list[str](), set[str]()
    for _ in range(count):
        trial = drawn(stream)
        engines.add(f"{trial.engine} {trial.precision}")
        with tempfile.TemporaryDirectory() as folder:
            problems.append(problem(trial, Path(folder)))
    return Outcome.told(count, problems, ", ".join(sorted(engines)))


FAULTS = (
    Fault(
        22,
        "divergence",
        "loss, weight or moment not finite",
        "a learning rate of 1e6 to 1e308, first weights of 1e20 to 1e308, or a NaN or infinity put into weights or "
        "moments before a step or before its save: stopped before the update, exit 6 naming the step, every file that "
        "was saved is finite and the last finite one is kept; or the run ends finite",
        1000,
        divergences,
    ),
    by_tests(
        22,
        "divergence-sweep",
        "a run of a sweep diverges",
        "it is marked as failed with its step, the others go on, and the next sweep does not repeat it",
        "tests/lab/test_sweep.py::test_a_run_that_diverges_is_marked_and_the_others_go_on",
        "tests/lab/test_spec.py::test_a_run_that_diverges_is_a_failed_record",
        "tests/lab/test_spec.py::test_a_run_whose_held_out_loss_is_not_finite_is_a_failed_record",
    ),
)
