"""Going on with a run: in place where it was stopped, in a new folder where a finished one is to have more steps."""

import contextlib
import dataclasses
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from microgpt.data.split import Split
from microgpt.errors import CheckpointError, UsageError
from microgpt.model.settings import Settings, flag
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.description import Training
from microgpt.training.loop import new_folder, records
from microgpt.training.prepare import Prepared, moved, ready_engine, restore, settled
from microgpt.training.records import Note, Record
from microgpt.training.request import COMPUTING, FREE, Request
from microgpt.training.run_folder import RunFolder
from microgpt.training.session import Opener, Past, Session, Stop, never
from microgpt.training.stopwatch import SECONDS, Stopwatch
from microgpt.training.tables import EVALUATIONS, LOSSES

LONGEST: Final = 1e15  # seconds
_SETTINGS: Final = frozenset(declared.name for declared in dataclasses.fields(Settings))


def resume(
    run: Path,
    changes: Mapping[str, Any] | None = None,
    *,
    stop: Stop = never,
    split: Split | None = None,
    opens: Opener = Session,
) -> Generator[Record, None, None]:
    """Go on with a run; records as those of `train`. `changes` are the settings that the person gave.

    An unfinished run goes on in place, and refuses changed settings with `UsageError`; how it is computed, saved and
    shown may change. A finished one needs more `steps`, and goes on in a new folder. Raises `CheckpointError` for a
    folder that can't be read, `DataError` where the text has changed since, and what `train` raises.
    """
    origin = RunFolder(run if run.is_dir() else run.parent)
    changes, watch = dict(changes or {}), Stopwatch()
    with contextlib.ExitStack() as held:
        held.enter_context(origin.locked())
        finished = origin.status == "finished"
        checkpoint, rows, broken_off = origin.reopen()
        training = _training(checkpoint)
        request = _extended(training, changes, origin) if finished else _in_place(training, changes, origin)
        with watch.measure("data"):
            if "data" in changes:
                checkpoint = moved(checkpoint, changes["data"])
            prepared = restore(checkpoint, request, split)
        with watch.measure("compile"):
            asked, precision = changes.get("engine", request.engine), changes.get("precision", request.precision)
            prepared, engine, note = ready_engine(prepared, asked, precision)
        notes = [_note(origin, prepared, finished), *_recovered(origin, checkpoint.state.step, len(rows), broken_off)]
        notes += [*([Note(note)] if note else []), *_computed(training, prepared.training)]
        folder = origin
        if finished:
            prepared, folder = _branch(prepared, origin)
            held.enter_context(folder.locked())
        past = _past(folder, rows, checkpoint.state.step, origin)
        yield from records(opens(prepared, engine, folder, past, watch), stop, notes)


def _training(checkpoint: Checkpoint) -> Training:
    assert checkpoint.training is not None  # RunFolder.reopen refuses others
    return checkpoint.training


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
    return replace(begun, **_requested(changes, without=("name", "out")))


def _extended(training: Training, changes: dict[str, Any], folder: RunFolder) -> Request:
    """The request of a run that continues a finished one with more steps."""
    begun = training.request
    done, steps = begun.settings.steps, changes.pop("steps", begun.settings.steps)
    if not isinstance(steps, int) or steps <= done:
        raise UsageError(f"{folder.path} is finished with {done} steps; give --steps above {done} to extend it.")
    place = {"name": changes.pop("name", ""), "out": changes.pop("out", str(folder.path.parent))}
    request = _in_place(training, changes, folder)
    return replace(request, settings=replace(begun.settings, steps=steps), **place)


def _requested(changes: dict[str, Any], without: tuple[str, ...]) -> dict[str, Any]:
    return {name: value for name, value in changes.items() if name not in _SETTINGS and name not in without}


def _value(request: Request, name: str) -> Any:
    owner: object = request.settings if name in _SETTINGS else request
    if name == "settings" or not hasattr(owner, name) or name not in _SETTINGS | set(request.__dataclass_fields__):
        raise UsageError(f"expected a setting of a training, found {name!r}; `microgpt train --help` lists them.")
    return getattr(owner, name)


def _branch(prepared: Prepared, origin: RunFolder) -> tuple[Prepared, RunFolder]:
    """A new folder that begins with all that the finished run has."""
    training = replace(prepared.training, origin=origin.name)
    prepared = replace(prepared, checkpoint=replace(prepared.checkpoint, training=training))
    step = prepared.checkpoint.state.step
    tables = [
        table.rows((int(first), *rest) for first, *rest in table.read(origin.path, step)[0])
        for table in (LOSSES, EVALUATIONS)
    ]
    return prepared, new_folder(prepared, Path(training.request.out), *tables)


def _past(folder: RunFolder, rows: list[list[float]], step: int, origin: RunFolder) -> Past:
    """What the earlier sessions left. Of a damaged report nothing is taken."""
    try:
        report = folder.read_report()
    except CheckpointError:
        report = {}
    seconds, began = report.get("seconds"), report.get("began")
    spent = seconds if isinstance(seconds, dict) else {}
    evaluations = [(int(at), loss, se) for at, loss, se in EVALUATIONS.read(folder.path, step)[0]]
    return Past(
        losses=[loss for _, loss, _ in rows],
        evaluations=evaluations,
        seconds={name: float(spent[name]) for name in SECONDS if _is_time(spent.get(name))},
        began=began if isinstance(began, str) else None,
        resumed_from=str(origin.path),
    )


def _is_time(value: object) -> bool:
    """Whether a value of a report that anyone may have edited is a number of seconds."""
    return isinstance(value, int | float) and 0 <= value < LONGEST


def _note(origin: RunFolder, prepared: Prepared, finished: bool) -> Note:
    step, steps = prepared.checkpoint.state.step, prepared.request.settings.steps
    if not finished:
        return Note(f"{origin.path} goes on from step {step} of {steps}.")
    return Note(
        f"{origin.path} is extended from {step} to {steps} steps, in a new folder: the learning rate follows the "
        f"schedule of {steps} steps from here on, so this is not the run that {steps} steps at once would have been."
    )


def _recovered(folder: RunFolder, step: int, rows: int, broken_off: int) -> Iterator[Note]:
    if broken_off:
        yield Note(f"{folder.path}: {broken_off} unfinished write(s) of a save that was cut short were removed.")
    if rows != step:
        message = f"{folder.path / LOSSES.file}: expected {step:,} steps, found {rows:,}; the others' losses are lost."
        yield Note(message, warning=True)


def _computed(before: Training, now: Training) -> Iterator[Note]:
    """A note where another engine, precision or number of threads or ranks goes on."""
    then, asked = settled(before.request), now.request
    pairs = {name: (getattr(then, name), getattr(asked, name)) for name in COMPUTING}
    pairs["ranks"] = before.ranks, now.ranks
    if changed := {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}:
        what = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in changed.items())
        yield Note(f"{what}: the same state goes on, within the tolerances of `microgpt verify`, not bit by bit.")
