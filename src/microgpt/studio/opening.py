"""Weights of runs, opened once for all the questions that a page asks about them."""

import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from microgpt.engines.array.engine import ArrayRunner
from microgpt.engines.contract import Runner
from microgpt.errors import EnvironmentFault
from microgpt.studio import xray
from microgpt.studio.edits import edited
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import whole
from microgpt.studio.studio import Studio
from microgpt.studio.xray import Reading
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import open_own

OPENED, READ = 8, 16  # weights and readings that stay in memory, where there is room
BYTES: Final = 32  # of a weight: changed, on `array`, and on the run's own engine with its gradient and moments

Stamp = tuple[str, int, int]  # a file's path, time and size: another one after every save


@dataclass(eq=False)
class Opened:
    """The weights of one step of one run, or those with changes, on the engine `array` and, once asked for, on the
    run's own; `before` are those without changes."""

    key: tuple[Stamp, str]
    path: Path
    checkpoint: Checkpoint
    array: ArrayRunner
    before: "Opened | None" = None
    lock: threading.Lock = field(default_factory=threading.Lock)  # engines serve one thread at a time
    _own: Runner | None = None

    @property
    def own(self) -> Runner:
        self._own = self._own or open_own(self.checkpoint)
        return self._own

    @property
    def plain(self) -> "Opened":
        """The same without changes."""
        return self.before or self

    @property
    def bytes(self) -> int:
        """Of memory, at most."""
        return BYTES * len(self.checkpoint.state.weights) + (self.before.bytes if self.before else 0)


class Opener:
    """Opens what the parameters of a request name."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._opened: Kept[Opened] = Kept(OPENED, lambda opened: opened.bytes)
        self._read: Kept[Reading] = Kept(READ, lambda reading: sum(array.nbytes for array in reading.trace.values()))

    def open(self, parameters: dict[str, Any]) -> Opened:
        """The run and the step that `run` and `step` name, with the changes of `edits`. Raises `CheckpointError`,
        `UsageError` for changes of what it has not."""
        path, file, stamp = weights(self._studio, parameters)
        key = stamp, str(parameters.get("edits", ""))

        def make() -> Opened:
            plain = self.open({**parameters, "edits": ""}) if key[1] else None
            checkpoint = edited(plain.checkpoint, key[1]) if plain else checkpoints.read(file, moments=False)
            return Opened(key, path, checkpoint, xray.open_array(checkpoint), plain)

        return self._opened.get(key, make)

    def read(self, opened: Opened, parameters: dict[str, Any]) -> Reading:
        """What happens when those weights read `prompt`."""
        prompt = str(parameters.get("prompt", ""))

        def make() -> Reading:
            with opened.lock:
                return xray.read(opened.checkpoint, opened.array, prompt)

        return self._read.get((*opened.key, prompt), make)


def weights(studio: Studio, parameters: dict[str, Any]) -> tuple[Path, Path, Stamp]:
    """The run, the file of weights and its stamp that `run` and `step` name. Raises `CheckpointError`."""
    path = studio.find(str(parameters.get("run", "")))
    file = xray.at_step(path, whole(parameters, "step"))
    try:
        found = file.stat()
    except OSError as error:
        raise EnvironmentFault(f"{file.name}: expected to read it, found: {error.strerror}; check it.") from None
    return path, file, (str(file), found.st_mtime_ns, found.st_size)
