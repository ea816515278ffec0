"""The library: train a model, load one, let it write, measure it. It works in a notebook, off the main thread, and in
any number of threads.

>>> run = train(steps=20, engine="array")
>>> run.step, len(run.losses), bool(run.losses[0] > run.uniform - 1)
(20, 20, True)
>>> len(run.sample(count=3, seed=1))
3
"""

import math
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from os import PathLike, fspath
from pathlib import Path
from typing import Any, Unpack

from microgpt import recipes
from microgpt.data.choices import IN_MEMORY, KINDS
from microgpt.data.split import Split
from microgpt.errors import UsageError
from microgpt.library.given import Source, Sources, in_memory, sources
from microgpt.library.interrupting import keep, noticed
from microgpt.library.options import Options
from microgpt.library.run import Run
from microgpt.library.telling import printer
from microgpt.model.settings import shown
from microgpt.recipes.budget import fit
from microgpt.training import checkpoint as checkpoints
from microgpt.training import find, loop
from microgpt.training import resume as resuming
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.find import RunSummary
from microgpt.training.prepare import dataset_of, split_of
from microgpt.training.records import Finished, Interrupted, Note, Progress, Record
from microgpt.training.session import Stop, never

Listener = Callable[[Record], object]


def train(
    data: Sources = "names",
    *,
    text: str | None = None,
    documents: str | Sequence[str] = "auto",
    recipe: str = "default",
    for_: str | float | None = None,
    progress: Listener | bool = False,
    stop: Callable[[], bool] = never,
    **settings: Unpack[Options],
) -> Run:
    """Train a model on a text: a built-in one, a file, a folder, or several; or on a `text` or `documents` in memory.

    `settings` are the flags of `microgpt train` with underscores: steps, lr, emb, norm_head, holdout, engine, …;
    `documents` is a list of them, or what one is: auto, lines, paragraphs or windows. `for_` chooses sizes and steps to
    make the most of a time such as "60s". `progress=True` prints how far it is on standard error; a function is called
    with every record instead. Nothing is written, unless `name` or `out` asks for a run folder, or Ctrl-C ends the
    training: then the run so far is saved, in `runs/` where it has no folder, and KeyboardInterrupt is raised.
    `stop` is asked several times a second, from the thread that trains; once true, the run ends there.

    >>> train(steps=20, emb=8, head=2).model.emb
    8
    >>> train(documents=["emma", "olivia", "ava"], steps=20, holdout=0).sample("em", count=1)[0][:2]
    'em'
    """
    began, asked = time.perf_counter(), dict[str, Any](settings)
    if "for" in asked:
        raise UsageError("for is a word of Python; write for_=….")
    if not {"name", "out"} & asked.keys():
        asked["out"] = ""
    asked |= {key: fspath(value) for key, value in asked.items() if key == "out"}
    given = in_memory(text, documents, asked.get("normalize", "nfc"), ("auto", *KINDS))
    if given and data != "names":
        raise UsageError("data names a text, and text or documents give one, found both; leave one out.")
    asked["data"] = (IN_MEMORY,) if given else sources(data)
    asked["documents"] = documents if isinstance(documents, str) else given and given.declared_kind
    split: Split | None = None
    if for_ is not None:
        told = printer() if progress is True else progress or (lambda _: None)
        tell = (lambda text: told(Note(text))) if callable(told) else str
        fitted = fit(asked | {"recipe": recipe}, recipes.seconds_of(for_), began=began, text=given, tell=tell)
        request, split, notes = fitted.request, fitted.split, [Note(fitted.told)]
        deadline, most = fitted.deadline, fitted.most
    else:
        request, notes, deadline, most = recipes.resolve(recipe, asked), [], math.inf, 0
        split = split_of(request, request.documents, given) if given else None

    def begin(halt: Stop) -> Generator[Record, None, None]:
        yield from notes
        yield from loop.train(request, stop=halt, split=split, deadline=deadline, most=most)

    return _finished(begin, progress, stop, split if given else None)


def resume(
    run: Run | Source,
    *,
    data: Sources | None = None,
    text: str | None = None,
    documents: Sequence[str] | None = None,
    progress: Listener | bool = False,
    stop: Callable[[], bool] = never,
    **changes: Unpack[Options],
) -> Run:
    """Go on with an unfinished run in its folder, or extend a finished one to more `steps` in a new folder.

    `data` is where its text is now; a `text` or `documents` in memory are to be given again. `progress`, `stop` and
    Ctrl-C are as in `train`. Raises `UsageError` for a run without a folder.

    >>> resume(train(steps=20, name="short"), steps=30).step
    30
    """
    known = run._split if isinstance(run, Run) else None
    if isinstance(run, Run):
        if run.path is None:
            raise UsageError("expected a run with a folder, found one in memory; train it with name=… or out=….")
        run = run.path
    path = find.find(_name(run))
    asked = dict[str, Any](changes) | ({} if data is None else {"data": sources(data)})
    split = known or _text_again(checkpoints.read(find.weights_of(path)), data, text, documents)
    return _finished(lambda halt: resuming.resume(path, asked, stop=halt, split=split), progress, stop, split)


def load(
    run: Source | None = None,
    *,
    data: Sources | None = None,
    text: str | None = None,
    documents: Sequence[str] | None = None,
) -> Run:
    """A run by its name in `runs/`, its folder, or a weights file; without one, the last to finish or be interrupted.

    `data` is where its text is now; a `text` or `documents` in memory are to be given again for `evaluate` and `new`
    samples. Raises `DataError` where they are not those of the run.

    >>> train(steps=20, name="kept").path == load("kept").path
    True
    """
    path = find.find(None if run is None else _name(run), interrupted=True)
    checkpoint = checkpoints.read(find.weights_of(path))
    return Run(checkpoint, path=path, split=_text_again(checkpoint, data, text, documents))


def runs(out: Source = "runs") -> list[RunSummary]:
    """The runs in a folder, newest first: name, path, date, status, text, params, steps, held-out loss.

    >>> train(steps=20, out="others", name="one").path == runs("others")[0].path
    True
    """
    return find.listing(_name(out))


def _finished(
    begin: Callable[[Stop], Iterator[Record]], progress: Listener | bool, stop: Stop, split: Split | None
) -> Run:
    """The run at the end of the records; Ctrl-C in between saves it and is raised."""
    if not (isinstance(progress, bool) or callable(progress) or progress is None):
        raise UsageError(f"progress takes True, or a function that is called with records, found {shown(progress)}.")
    listen = printer() if progress is True else progress
    with noticed() as interruption:
        for record in begin(lambda: interruption.came or stop()):
            interruption.awaited |= isinstance(record, Progress)
            if listen:
                listen(record)
        assert isinstance(record, Finished | Interrupted)  # the loop ends with one or raises
        result = record.result if isinstance(record, Finished) else None
        folder = result.run if result else record.run  # type: ignore[union-attr]  # of Interrupted
        path = Path(folder) if folder else None
        run = Run(record.checkpoint, path=path, losses=record.losses, result=result, split=split)
        if interruption.came:
            keep(run)
    return run


def _text_again(checkpoint: Checkpoint, data: object, text: object, documents: object) -> Split | None:
    """The text of a run from its new place or from memory, if it is given. Raises `DataError` where it is another."""
    if data is text is documents is None:
        return None
    if checkpoint.training is None:
        raise UsageError("this file was made to be shared and had no text; give one to evaluate(…).")
    request = checkpoint.training.request
    given = in_memory(text, documents, request.normalize)
    if given and data is not None:
        raise UsageError("data names a text, and text or documents give one, found both; leave one out.")
    split = split_of(request if given else replace(request, data=sources(data)), checkpoint.kind, given)
    dataset_of(checkpoint, split)
    return split


def _name(run: object) -> str:
    """The name of a run or a folder. Raises `UsageError` for what is none."""
    if not isinstance(run, str | PathLike):
        raise UsageError(f"expected the name or folder of a run, found {shown(run)}; load() takes the newest.")
    return str(fspath(run))


__all__ = ["Options", "Run", "RunSummary", "load", "resume", "runs", "train"]
