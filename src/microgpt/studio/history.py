"""What was seen of a training, in its run folder: `looks.json`, what its model wrote at the steps where someone looked
and what there was to say of it, and in `history/` its weights then. They are written by a thread: training never waits
for the disk."""

import json
import math
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from microgpt import files, untrusted
from microgpt.errors import CheckpointError, EnvironmentFault, MicrogptError
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.run_folder import RunFolder

LIMIT: Final = 256 << 20  # bytes that the weights of one training may take on the disk …
WAITING: Final = 64 << 20  # … and in memory while they wait for it
LOOKS: Final = "looks.json"
LOOKS_LIMIT: Final = 16 << 20  # bytes


@dataclass(frozen=True)
class Look:
    """What a model was able to after `step` steps: its loss on some held-out documents, and what it wrote."""

    step: int
    loss: float | None
    documents: int
    samples: tuple[str, ...]


FIELDS: Final = tuple(field.name for field in fields(Look))


class History:
    """Keeps the weights of some steps; those beyond the limits are left out."""

    def __init__(self, folder: RunFolder | None) -> None:
        self._folder, self._left = folder, LIMIT if folder else 0
        self._writer = ThreadPoolExecutor(1, "history")
        self._waiting: list[Future[None]] = []

    def keep(self, checkpoint: Checkpoint) -> None:
        """Have the weights of this step written, soon."""
        size = checkpoint.state.weights.nbytes
        self._waiting = [write for write in self._waiting if not write.done() or write.exception()]
        full = size > self._left or size * len(self._waiting) > WAITING
        if self._folder and not full:
            self._left -= size
            self._waiting.append(self._writer.submit(self._folder.keep, checkpoint))

    def close(self) -> str | None:
        """Wait until all is written; what went wrong, if something did: the run itself is whole without it."""
        self._writer.shutdown(wait=True)
        faults = [fault for write in self._waiting if (fault := write.exception())]
        if not faults:
            return None
        kind = "" if isinstance(faults[0], MicrogptError) else f"{type(faults[0]).__name__}: "
        return f"not all weights of the way are kept: {kind}{faults[0]}"


def write_looks(folder: Path, looks: Sequence[dict[str, Any]], notes: Sequence[dict[str, Any]] = ()) -> None:
    """Keep the looks of a training, and its notes, beside its losses. Raises `EnvironmentFault`."""
    plain = [{name: look[name] for name in FIELDS} for look in looks]
    said = [{"text": str(note["text"]), "warning": bool(note["warning"])} for note in notes]
    text = json.dumps({"looks": plain, "notes": said}, ensure_ascii=False, allow_nan=False)
    files.replace(folder / LOOKS, text.encode("utf-8", "replace"))


def read_looks(folder: Path) -> list[dict[str, Any]]:
    """The looks of a run, by step; none where the file is missing, damaged or says what can't be."""
    return sorted((look for look in _kept(folder, "looks") if _sound(look)), key=lambda look: int(look["step"]))


def read_notes(folder: Path) -> list[dict[str, Any]]:
    """What there was to say of a run: {"text", "warning"} each, under the same conditions."""
    notes = (note for note in _kept(folder, "notes") if isinstance(note, dict) and isinstance(note.get("text"), str))
    return [{"text": note["text"], "warning": note.get("warning") is True} for note in notes]


def _kept(folder: Path, name: str) -> list[Any]:
    try:
        path = untrusted.inside(folder, LOOKS)
        kept = untrusted.parse_json(untrusted.read(path, LOOKS_LIMIT), str(path)) if path.is_file() else {}
    except (CheckpointError, EnvironmentFault):
        return []
    found = kept.get(name)
    return found if isinstance(found, list) else []


def _sound(look: object) -> bool:
    if not isinstance(look, dict) or set(look) != set(FIELDS):
        return False
    step, loss, documents, samples = (look[name] for name in FIELDS)
    return (
        type(step) is int
        and step >= 0
        and (loss is None or (isinstance(loss, float) and math.isfinite(loss)))
        and type(documents) is int
        and isinstance(samples, list)
        and all(isinstance(sample, str) for sample in samples)
    )
