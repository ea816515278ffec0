"""Going on with a run: in place where it was stopped, in a new folder where a finished one is to have more steps."""

import contextlib
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from microgpt import untrusted
from microgpt.data.split import Split
from microgpt.errors import CheckpointError, UsageError
from microgpt.model.settings import SETTINGS, flag, plain
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import ready_engine, settled
from microgpt.training.description import Training
from microgpt.training.loop import new_folder, records
from microgpt.training.prepare import Prepared, moved, restore
from microgpt.training.records import Note, Record
from microgpt.training.request import COMPUTING, DECLARED, FREE, Request
from microgpt.training.run_folder import WEIGHTS, RunFolder, resumable
from microgpt.training.session import Observer, Past, Session, Stop, never
from microgpt.training.stopwatch import SECONDS, Stopwatch
from microgpt.training.tables import EVALUATIONS, LOSSES, Rows

MOST_SECONDS: Final = 1e15  # seconds


def resume(
    run: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    stop: Stop = never,
    split: Split | None = None,
    observer: Observer | None = None,
) -> Generator[Record, None, None]:
    """Go on with a run; records as those of `train`. `changes` are the settings that the person gave.

    An unfinished run goes on in place, and refuses changed settings with `UsageError`; how it is computed, saved and
    shown may change. A finished one needs more `steps`, and goes on in a new folder, as does any file but a folder's
    own weights. Raises `CheckpointError` for what can't be read or has no moments, `DataError` where the text has
    changed since, and what `train` raises.
    """
    origin = RunFolder(run if run.is_dir() else run.parent)
    changes, watch = dict(changes or {}), Stopwatch()
    with contextlib.ExitStack() as held:
        own = run in (origin.path, origin.weights)
        if own:
            held.enter_context(origin.locked())
            checkpoint, rows, broken_off = origin.reopen()
        else:
            checkpoint, broken_off = resumable(run), 0
            origin = origin if _is_state_of(checkpoint, origin) else RunFolder(run)  # which has no tables
            rows = LOSSES.read(origin.path, checkpoint.state.step)[0]
        training, done = checkpoint.trained, checkpoint.state.step
        if finished := own and origin.status == "finished":
            done = training.request.settings.steps
        in_place = own and not finished
        request = _in_place(training, changes, origin) if in_place else _elsewhere(training, changes, run, origin, done)
        with watch.measure("data"):
            if "data" in changes:
                checkpoint = moved(checkpoint, changes["data"])
            prepared = restore(checkpoint, request, split)
        with watch.measure("compile"):
            chosen, engine, note = ready_engine(request, prepared.checkpoint.model, prepared.request)
            prepared = prepared.noting(request=chosen)
        notes = [_note(run, training, prepared, in_place)]
        notes += _recovered(origin, checkpoint.state.step, len(rows), broken_off)
        notes += [*([Note(note)] if note else []), *_computed(training, prepared.training)]
        folder = origin
        if not in_place:
            prepared, folder = _branch(prepared, origin)
            held.enter_context(folder.locked())
        past = _past(folder, rows, checkpoint.state.step, origin.path if own else run)
        yield from records(Session(prepared, engine, folder, past, watch), stop, notes, observer)


def _is_state_of(checkpoint: Checkpoint, folder: RunFolder) -> bool:
    """Whether a folder is that of the run whose state a file holds, so that its tables tell of it too."""
    try:
        found = checkpoints.describe(untrusted.inside(folder.path, WEIGHTS)).training
    except CheckpointError:
        return False
    return found is not None and _decisive(found) == _decisive(checkpoint.trained)


def _decisive(training: Training) -> tuple[str, dict[str, Any]]:
    """What decides the losses of a run."""
    values = training.request.to_dict()
    return training.provenance.sha256, {key: values[key] for key in values.keys() - {*FREE, *COMPUTING}}


def _in_place(training: Training, changes: dict[str, Any], folder: RunFolder) -> Request:
    """The request of an unfinished run with the changes that it may have."""
    begun = training.request
    for name, value in changes.items():
        before = _value(begun, name)
        if name in ("name", "out"):
            same = value == (folder.name if name == "name" else str(folder.path.parent))
        else:
            same = name in FREE or name in COMPUTING or value == before
        if not same:
            raise UsageError(
                f"{flag(name)}: this run was begun with {before!r} and keeps its settings, found {value!r}; "
                f"leave {flag(name)} out, or begin a new run."
            )
    return replace(begun, **{name: changes[name] for name in changes.keys() - {*SETTINGS, "name", "out"}})


def _elsewhere(training: Training, changes: dict[str, Any], run: Path, origin: RunFolder, done: int) -> Request:
    """The request of a run that goes on in a new folder, from a finished run or a file, after so many steps."""
    begun = training.request
    steps = plain(int, changes.pop("steps", begun.settings.steps))
    if type(steps) is not int or steps <= done:
        told = "is finished with" if done == begun.settings.steps else "has taken"
        raise UsageError(f"{run} {told} {done} steps; give --steps above {done} to extend it.")
    beside = origin.path.parent if origin.path.is_dir() else "runs"
    place = {"name": changes.pop("name", ""), "out": changes.pop("out", str(beside))}
    request = _in_place(training, changes, origin)
    return replace(request, settings=replace(begun.settings, steps=steps), **place)


def _value(request: Request, name: str) -> Any:
    if name not in DECLARED:
        raise UsageError(f"expected a setting of a training, found {name!r}; `microgpt train --help` lists them.")
    return getattr(request.settings if name in SETTINGS else request, name)


def _branch(prepared: Prepared, origin: RunFolder) -> tuple[Prepared, RunFolder]:
    """A new folder that begins with all that the run had at this step, and names it."""
    prepared = prepared.noting(origin=origin.name)
    tables = [table.copied(origin.path, prepared.checkpoint.state.step) for table in (LOSSES, EVALUATIONS)]
    return prepared, new_folder(prepared.checkpoint, Path(prepared.request.out), *tables)


def _past(folder: RunFolder, rows: Rows, step: int, origin: Path) -> Past:
    """What the earlier sessions left. Of a damaged report nothing is taken."""
    try:
        report = folder.read_report()
    except CheckpointError:
        report = {}
    seconds, began = report.get("seconds"), report.get("began")
    spent = seconds if isinstance(seconds, dict) else {}
    found = EVALUATIONS.read(folder.path, step)[0]
    evaluations = [(int(at), loss, se) for at, loss, se in (row.tolist() for row in found)]  # of a million too
    return Past(
        losses=rows[:, 1],
        evaluations=evaluations,
        seconds={name: float(spent[name]) for name in SECONDS if _is_time(spent.get(name))},
        began=began if isinstance(began, str) else None,
        resumed_from=str(origin),
    )


def _is_time(value: object) -> bool:
    """Whether a value of a report that anyone may have edited is a number of seconds."""
    return isinstance(value, int | float) and 0 <= value < MOST_SECONDS


def _note(run: Path, before: Training, prepared: Prepared, in_place: bool) -> Note:
    step, steps = prepared.checkpoint.state.step, prepared.request.settings.steps
    if before.request.settings.steps == steps:
        return Note(f"{run} goes on from step {step} of {steps}{'' if in_place else ', in a new folder'}.")
    return Note(
        f"{run} is extended from {step} to {steps} steps, in a new folder: the learning rate follows the "
        f"schedule of {steps} steps from here on, so this is not the run that {steps} steps at once would have been."
    )


def _recovered(folder: RunFolder, step: int, rows: int, broken_off: int) -> Iterator[Note]:
    if broken_off:
        yield Note(f"{folder.path}: {broken_off} unfinished write(s) of a save that was cut short were removed.")
    if rows != step:
        table = folder.path / LOSSES.file if folder.path.is_dir() else folder.path
        message = f"{table}: expected {step:,} steps, found {rows:,}; the other losses are lost."
        yield Note(message, warning=True)


def _computed(before: Training, now: Training) -> Iterator[Note]:
    """A note where another engine, precision or number of threads or ranks goes on."""
    then, asked = settled(before.request), now.request
    pairs = {name: (getattr(then, name), getattr(asked, name)) for name in COMPUTING}
    pairs["ranks"] = before.ranks, now.ranks
    if changed := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
        what = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changed.items())
        yield Note(f"{what}: the same state goes on, within the tolerances of `microgpt verify`, not bit by bit.")
