"""Rows 4, 5 and 6: a run that stops and goes on, on the same engine, on another, with other threads or jobs."""

import itertools
import os
import random
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from microgpt.engines.parity import TOLERANCES, tensor_errors
from microgpt.model.settings import Precision
from microgpt.training.records import Finished, Interrupted, Note, Progress
from microgpt.training.request import Request
from microgpt.training.resume import resume
from trials.divergence import kinds
from trials.fault import Fault, Outcome, by_tests
from trials.forked import command
from trials.small import fingerprint, finish, request, resumed, stopped_at

Kind = tuple[str, Precision]
STEPS: Final = 20
RECIPES: Final = ("default", "karpathy")  # streams apart, and one stream for all
THREADS: Final = (1, 2, 4)


def asked(folder: Path, kind: Kind, recipe: str = "default", **settings: Any) -> Request:
    """A short training of an engine."""
    usual: dict[str, Any] = {"steps": STEPS, "batch": 2, "engine": kind[0], "precision": kind[1]}
    return request(folder, recipe, **usual | settings)


def resumed_at(step: int, begun: Request, whole: Finished, folder: Path) -> str:
    """What differs where a run stops at a step and goes on; nothing where it ends bit by bit as the whole did."""
    stopped_at(replace(begun, name=f"at{step}", save_every=step), step)
    one, other = (_end(end) for end in (whole, resumed(folder / "runs" / f"at{step}")))
    wrong = [name for name, value in one.items() if other[name] != value]
    return f"{begun.engine} {begun.precision} {begun.recipe} at step {step}: {wrong}" if wrong else ""


def _end(end: Finished) -> dict[str, object]:
    losses, result = end.losses.tobytes(), end.result
    return {"state": fingerprint(end.checkpoint), "losses": losses, "samples": result.samples, "loss": result.loss}


def every_step(count: int, seed: int) -> Outcome:
    """Each engine, precision and recipe, stopped at each step; or so many of them."""
    every = list(itertools.product(kinds(), RECIPES, range(1, STEPS)))
    chosen = every if count >= len(every) else random.Random(seed).sample(every, count)
    wrong = []
    for (kind, recipe), trials in itertools.groupby(sorted(chosen), lambda trial: trial[:2]):
        with tempfile.TemporaryDirectory() as name:
            begun = asked(Path(name), kind, recipe)
            whole = finish(replace(begun, out=""))
            wrong += [resumed_at(step, begun, whole, Path(name)) for _, _, step in trials]
    return Outcome.told(len(chosen), wrong)


def elsewhere(first: Kind, second: Kind, step: int, folder: Path) -> str:
    """What is wrong with the step that another engine takes after a run has stopped at one; nothing if all is well."""
    begun = asked(folder, first, save_every=1)
    here = stopped_at(replace(begun, name="here"), step + 1).checkpoint.state
    stopped_at(replace(begun, name="there"), step)
    changes, taken = {"engine": second[0], "precision": second[1]}, list[int]()
    notes, end = "", None
    for record in resume(folder / "runs" / "there", changes, stop=lambda: bool(taken)):
        match record:
            case Progress():
                taken.append(record.step)
            case Note(text):
                notes += text
            case Interrupted():
                end = record
    assert end is not None
    there, told = end.checkpoint.state, f"{first} -> {second} at step {step}"
    if there.step != step + 1 or (first[0] != second[0] and f"engine {first[0]} -> {second[0]}" not in notes):
        return f"{told}: step {there.step}, {notes!r}"
    limit = TOLERANCES["64" if first[1] == second[1] == "64" else "32"].ten_steps
    for part in ("weights", "adam_m", "adam_v"):
        right, mine = getattr(here, part).astype(float), getattr(there, part).astype(float)
        errors = tensor_errors(here.model, right, mine, same_zeros=False)
        if not max(errors.values()) <= limit:
            return f"{told}: {part} {errors}"
    return ""


def pairs() -> Iterator[tuple[Kind, Kind]]:
    """Every engine and precision, to every other."""
    exact = [kind for kind in kinds() if kind[1] != "bf16"]
    yield from itertools.permutations(exact, 2)


def every_pair(count: int, seed: int) -> Outcome:
    """Each pair of engines in turn, each time at a step at random."""
    stream, wrong, every = random.Random(seed), [], list(pairs())
    stream.shuffle(every)
    for first, second in itertools.islice(itertools.cycle(every), count):
        with tempfile.TemporaryDirectory() as name:
            wrong.append(elsewhere(first, second, stream.randrange(1, STEPS - 2), Path(name)))
    return Outcome.told(count, wrong, f"{min(count, len(every))} pairs")


def other_threads(kind: Kind, batch: int, folder: Path) -> str:
    """What differs between numbers of threads or, where an engine's sums depend on it, between two runs of one."""
    most = os.cpu_count() or 1
    numbers = THREADS if kind[0] == "fused" else (1,) if kind[0] == "atomic" else (min(2, most),) * 2
    runs = [asked(folder, kind, out="", steps=5, batch=batch, threads=number) for number in numbers]
    prints = {fingerprint(finish(run).checkpoint) for run in runs}
    return "" if len(prints) == 1 else f"{kind} with a batch of {batch}: {len(prints)} results of threads {numbers}"


def refused_threads(engine: str, number: int, folder: Path) -> str:
    """Whether a number of threads that an engine can't use is refused."""
    flags = f"--data few.txt --steps 2 --emb 4 --head 2 --engine {engine} --precision 64 --threads {number}"
    ended = command(flags.split(), folder)
    return "" if ended.refused(2) and "--threads" in ended.lines[0] else f"{flags}: {ended.code} {ended.err[-200:]}"


def every_thread(count: int, seed: int) -> Outcome:
    """Batches of every size, then every engine with threads that it can't use; or so many of them."""
    trials: list[Callable[[Path], str]] = []
    for kind, batch in itertools.product(kinds(), (1, 7, 16, 40, 130)):
        if kind[0] != "atomic":
            trials.append(lambda folder, kind=kind, batch=batch: other_threads(kind, batch, folder))  # type: ignore[misc]
    too_many = {"atomic": (0, 2), "array": (0, 10_000), "fused": (0, 65), "torch": (0, 10_000)}
    for engine, numbers in too_many.items():
        if any(engine == name for name, _ in kinds()):
            for number in numbers:
                trials.append(lambda folder, e=engine, n=number: refused_threads(e, n, folder))  # type: ignore[misc]
    chosen = trials if count >= len(trials) else random.Random(seed).sample(trials, count)
    with tempfile.TemporaryDirectory() as name:
        asked(Path(name), ("array", "64"))  # which writes the text
        wrong = [trial(Path(name)) for trial in chosen]
    return Outcome.told(len(chosen), wrong)


ALL: Final = 10_000  # more than there are
FAULTS = (
    Fault(
        4,
        "resume",
        "stopped and resumed at step k",
        f"every k of {STEPS} steps, in each engine, precision and recipe: SHA-256 of weights, moments and random state "
        "as of the run that never stopped",
        304,  # with all four engines
        every_step,
    ),
    Fault(
        5,
        "resume-elsewhere",
        "resumed on another engine",
        "every pair of engines and precisions: weights and moments after one more step within the tolerances of "
        "`microgpt verify`, and a note",
        42,
        every_pair,
    ),
    Fault(
        6,
        "threads",
        "another number of threads",
        "fused with 1, 2 and 4 threads: hashes equal; array and torch twice with 2: hashes equal; a number that an "
        "engine can't use: exit 2",
        43,  # with all four engines
        every_thread,
    ),
    by_tests(
        6,
        "jobs",
        "a sweep with another number of jobs",
        "the same table with 1 and 2 jobs, rates tuned on the way",
        "tests/lab/test_sweep.py::test_results_do_not_depend_on_the_number_of_jobs",
    ),
)
