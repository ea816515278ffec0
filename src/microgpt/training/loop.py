"""One training as a generator of records. It never prints and never touches signals: who runs it says when to stop.

The engine is asked for as many steps at once as keep news, saves and `stop` at a human pace; what is computed does not
depend on how steps are divided into calls.
"""

import contextlib
import math
import time
from collections.abc import Generator, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Final

from microgpt.data.split import Split
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import ready_engine
from microgpt.training.estimate import estimate
from microgpt.training.facts import result_of, started
from microgpt.training.pace import Pace
from microgpt.training.prepare import prepare
from microgpt.training.records import Evaluated, Finished, Interrupted, Note, Progress, Record, Sampled, Saved
from microgpt.training.remarks import HELD_OUT, LAST, above_nothing, remarks
from microgpt.training.report import report
from microgpt.training.request import Request
from microgpt.training.run_folder import RunFolder, new_name
from microgpt.training.run_folder import create as create_folder
from microgpt.training.sample import blank
from microgpt.training.session import SLACK, Observer, Past, Session, Stop, never
from microgpt.training.stopwatch import Stopwatch

FIRST_SAVE: Final = 1.0  # seconds until the first save where the request names no steps …
SAVE_AFTER: Final = 1.5  # … between the others …
SAVE_SHARE: Final = 0.05  # … and the largest share of the time that saving may take
TELLING: Final = 100  # steps whose mean training loss is worth a word


def train(
    request: Request,
    *,
    stop: Stop = never,
    split: Split | None = None,
    begin: Checkpoint | None = None,
    deadline: float = math.inf,
    most: int = 0,
    observer: Observer | None = None,
) -> Generator[Record, None, None]:
    """Train a new run: records from `Started` to `Finished` or, once `stop()` is true, `Interrupted` after a save.

    `split` is the text where it is at hand already, `begin` a model whose weights come first; past the `deadline`, a
    time of `time.perf_counter`, no more steps are taken, and until then the plan follows the machine's pace, to `most`
    steps. The `observer` looks at it in between. Raises the errors of `prepare`; `UsageError` for an engine that can't
    do what is asked, or a name that is taken; `EnvironmentFault` where saving fails; `DivergedError`.
    """
    watch = Stopwatch()
    with watch.measure("data"):
        prepared = prepare(request, split, begin)
    with watch.measure("compile"):
        chosen, engine, note = ready_engine(request, prepared.checkpoint.model, prepared.request)
        prepared = prepared.noting(request=chosen)
    notes = [*remarks(prepared), *(Note(text) for text in (note, estimate(prepared)) if text)]
    folder = new_folder(prepared.checkpoint, Path(request.out)) if request.out else None
    with folder.locked() if folder else contextlib.nullcontext():
        session = Session(prepared, engine, folder, Past(), watch)
        session.deadline, session.most_steps = deadline, max(most, session.most_steps)
        yield from records(session, stop, notes, observer)


def new_folder(checkpoint: Checkpoint, out: Path, losses: bytes = b"", evaluations: bytes = b"") -> RunFolder:
    """The folder of a new run, with its first commit."""
    training = checkpoint.trained
    path = out / (training.request.name or new_name(training.provenance.name))
    told = {"run": str(path), "steps": training.request.settings.steps}
    first = report(training, checkpoint.kind, "unfinished", told)
    return create_folder(path, checkpoint, first, losses=losses, evaluations=evaluations)


def records(session: Session, stop: Stop, notes: list[Note], observer: Observer | None = None) -> Iterator[Record]:
    """The records of a session, from its step to the end."""
    yield started(session)
    yield from notes
    observer = observer or Observer()
    session.open()
    observer.opened(session)
    halted = False

    def halt() -> bool:  # a stop stays one, also where the caller's is true only once
        nonlocal halted
        halted = halted or stop()
        return halted

    def cut() -> bool:
        return observer.ends_evaluation(halt)

    yield from _warned(session, _steps(session, halt, cut, observer))
    if complete := session.complete:
        yield from _end(session, cut)
    if halted and not complete:
        yield from _interrupted(session)


def _warned(session: Session, records: Iterator[Record]) -> Iterator[Record]:
    """The records, and after the first one that tells of a loss gone wrong a warning."""
    warnings: list[Note] = []
    for record in records:
        yield record
        if warnings or session.complete:
            continue
        if isinstance(record, Evaluated):
            warnings += above_nothing(session, record.held_out.per_character, HELD_OUT, surely=True)
        elif isinstance(record, Progress) and record.step >= TELLING:
            warnings += above_nothing(session, record.loss, LAST, surely=True)
        yield from warnings


def _steps(session: Session, halt: Stop, cut: Stop, observer: Observer) -> Iterator[Record]:
    """Steps until the last one or a halt, with what is due in between."""
    request, pace = session.request, Pace()
    saver = _Saver(request.save_every)
    everies = (request.save_every, request.eval_every, request.keep_every)
    if session.step == 0:
        _keep(session)
    while not session.complete and not halt():
        if session.evaluation_due:
            if not (held_out := session.look(cut)):
                return  # stopped in the midst of it
            yield Evaluated(session.step, held_out)
            continue
        start = time.perf_counter()
        count = observer.chunk(session, pace.until(session.step, session.settings.steps, *everies))
        done = session.advance(count)
        observer.advanced(session, done, time.perf_counter() - start)
        yield done
        session.keep_pace()
        pace = pace.after(count, time.perf_counter() - start)
        if session.step == session.settings.steps:
            return
        _keep(session)
        if saver.due(session.step) and (saved := saver.save(session)):
            yield saved


def _end(session: Session, cut: Stop) -> Iterator[Record]:
    """The last save, then what the run was for: its held-out loss and its samples."""
    _keep(session)
    yield from _chosen(session, cut)
    if saved := session.commit():
        yield saved
    held_out = session.evaluate(cut)
    if held_out:
        yield Evaluated(session.kept_step, held_out)
    elif session.dataset.holdout_documents:  # stopped while evaluating
        yield from _interrupted(session)
        return
    samples = session.sample()
    yield Sampled(session.step, samples.texts, samples.copied)
    yield from map(Note, blank(samples))
    if held_out:
        yield from above_nothing(session, held_out.per_character, HELD_OUT)
    elif session.losses:
        yield from above_nothing(session, session.recent_loss, LAST, surely=session.step < TELLING)
    if (mark := session.marking.wait()) and mark.note:
        yield Note(mark.note)
    result = result_of(session, held_out, samples)
    if session.folder:
        session.append()
        session.folder.write_samples(samples.texts)
        session.write_report("finished", result.to_dict())
        session.folder.forget_best()
    yield Finished(result, session.checkpoint(), session.all_losses())


def _chosen(session: Session, cut: Stop) -> Iterator[Record]:
    """Why it ended early, if it did, and the best weights where they are asked for."""
    first, steps = session.planned_steps, session.settings.steps
    if first != steps:
        pace = "slower" if steps < first else "quicker"
        yield Note(f"this machine was {pace} than measured: {steps:,} steps instead of {first:,}.", steps < first)
    if session.worsening:
        yield Note(f"the held-out loss keeps rising: training ends after step {session.step:,}.")
    elif session.late:
        cut_short = session.step < SLACK * session.settings.steps
        yield Note(f"the time is up after step {session.step:,} of {session.settings.steps:,}.", warning=cut_short)
    if session.request.select == "best":
        session.look(cut)
        if best := session.take_best():
            yield Note(
                f"kept the weights of step {best.step:,}, whose held-out loss was the lowest; since they were selected "
                "by it, it is a little lower than the loss to expect on other text."
            )


def _interrupted(session: Session) -> Iterator[Record]:
    if saved := session.commit():
        yield saved
    seconds = asdict(session.watch.seconds())
    session.write_report("unfinished", {"run": session.run, "steps": session.settings.steps, "seconds": seconds})
    yield Interrupted(session.step, session.run, session.checkpoint(), session.all_losses())


def _keep(session: Session) -> None:
    every = session.request.keep_every
    if session.folder and every and session.step % every == 0:
        session.folder.keep(session.checkpoint())


class _Saver:
    """When a save is due: after so many steps or, by default, seconds; rarer where saving is slow."""

    def __init__(self, every: int) -> None:
        self._every, self._last, self._rest = every, time.perf_counter(), FIRST_SAVE

    def due(self, step: int) -> bool:
        if self._every:
            return step % self._every == 0
        return time.perf_counter() - self._last > self._rest

    def save(self, session: Session) -> Saved | None:
        start = time.perf_counter()
        saved = session.commit()
        self._last = time.perf_counter()
        self._rest = max(SAVE_AFTER, (self._last - start) / SAVE_SHARE)
        return saved
