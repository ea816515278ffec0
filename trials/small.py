"""A training that takes milliseconds, and what tells two of them apart."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from microgpt.recipes import resolve
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.loop import train
from microgpt.training.records import Finished, Interrupted, Progress, Record
from microgpt.training.request import Request
from microgpt.training.resume import resume

NAMES = """
emma olivia ava isabella sophia mia charlotte amelia evelyn abigail harper emily liam noah oliver elijah
""".split()  # noqa: SIM905 (a list of literals would be a page long)


def text(folder: Path, documents: list[str] = NAMES) -> str:
    """A file of names."""
    path = folder / "few.txt"
    path.write_text("\n".join(documents) + "\n", encoding="utf-8")
    return str(path)


def request(folder: Path, recipe: str = "default", **settings: Any) -> Request:
    """A tiny model on a few names, with its run in `folder`."""
    tiny = {"steps": 50, "emb": 4, "head": 2, "ctx": 8, "holdout": 0.2, "samples": 3, "engine": "array", "name": "run"}
    place = {"data": (text(folder),), "out": str(folder / "runs")}
    return resolve(recipe, place | tiny | settings)


def last(records: Iterator[Record]) -> Finished | Interrupted:
    """The record in which a training ends."""
    *_, end = records
    assert isinstance(end, Finished | Interrupted)
    return end


def finish(asked: Request) -> Finished:
    end = last(train(asked))
    assert isinstance(end, Finished)
    return end


def resumed(folder: Path, changes: dict[str, Any] | None = None) -> Finished:
    end = last(resume(folder, changes))
    assert isinstance(end, Finished)
    return end


def stopped_at(asked: Request, step: int) -> Interrupted:
    """Train until a step and stop there as Ctrl-C would; the request must have a save due at that step."""
    seen: list[int] = []
    records = train(asked, stop=lambda: step in seen or step == 0)
    for record in records:
        if isinstance(record, Progress):
            seen.append(record.step)
    assert isinstance(record, Interrupted)
    assert record.step == step
    return record


def fingerprint(checkpoint: Checkpoint) -> str:
    """SHA-256 of weights, moments, step and random state."""
    state, training = checkpoint.state, checkpoint.training
    digest = hashlib.sha256(f"{state.step} {training and training.random_state}".encode())
    for part in (state.weights, state.adam_m, state.adam_v):
        digest.update(part.tobytes())
    return digest.hexdigest()
