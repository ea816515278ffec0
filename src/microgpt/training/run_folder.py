"""A run folder. Replacing `weights.safetensors` is the commit of a save; all else is written so that it follows.

Rows go into the tables before the commit, and are cut back to the committed step when the folder is opened. A folder
appears under its name with its first commit inside, so there is none that can't be resumed.
"""

import contextlib
import json
import re
import secrets
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Literal

from microgpt import files, locks, untrusted
from microgpt.errors import CheckpointError, file_faults
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.tables import EVALUATIONS, LOSSES, Rows, StepTable

WEIGHTS: Final = "weights.safetensors"
BEST: Final = "best.safetensors"
REPORT: Final = "run.json"
SAMPLES_FILE: Final = "samples.txt"
HISTORY: Final = "history"
OWN: Final = (WEIGHTS, BEST, REPORT, SAMPLES_FILE, LOSSES.file, EVALUATIONS.file)  # files of a run, besides its history
REPORT_LIMIT: Final = 8 << 20  # bytes: all but the samples needs a thousandth of it
REPORT_VALUES: Final = 20_000

Status = Literal["unfinished", "finished", "diverged"]


@dataclass(frozen=True)
class RunFolder:
    """One run on disk."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def weights(self) -> Path:
        return self.path / WEIGHTS

    def append(self, table: StepTable, rows: bytes) -> None:
        """Add rows to a table, before the commit that they belong to. Raises `EnvironmentFault`."""
        if rows:
            files.append(self.path / table.file, rows)

    def commit(self, checkpoint: Checkpoint) -> None:
        """Save. Raises `EnvironmentFault`, and what was saved before stays."""
        files.replace(self.weights, checkpoints.to_bytes(checkpoint))

    def commit_best(self, checkpoint: Checkpoint) -> None:
        """Save the best so far, before the commit that may forget how to get there. Raises `EnvironmentFault`."""
        files.replace(self.path / BEST, checkpoints.to_bytes(checkpoint))

    def read_best(self) -> Checkpoint | None:
        """The best so far, if one was saved. Raises `CheckpointError`."""
        path = untrusted.inside(self.path, BEST)
        return checkpoints.read(path) if path.exists() else None

    def forget_best(self) -> None:
        """The run is finished, and its weights are the best. What can't be removed now is at the next opening."""
        with contextlib.suppress(OSError):
            if (self.path / BEST).exists():
                (self.path / BEST).unlink()

    def keep(self, checkpoint: Checkpoint) -> None:
        """Put the weights of this step into `history/`. Raises `EnvironmentFault`, or `CheckpointError` for a link."""
        data = checkpoints.to_bytes(checkpoints.weights_alone(checkpoint))
        files.replace(untrusted.inside(self.path, HISTORY) / f"step-{checkpoint.state.step:08d}.safetensors", data)

    def write_samples(self, samples: tuple[str, ...]) -> None:
        """One sample a line; samples of several lines have a blank line between them."""
        between = "\n\n" if any("\n" in sample for sample in samples) else "\n"
        text = between.join(samples) + "\n" if samples else ""
        files.replace(self.path / SAMPLES_FILE, text.encode("utf-8", "replace"))

    def write_report(self, report: Mapping[str, Any]) -> None:
        samples = report.get("samples") or ()
        if len(samples) > REPORT_VALUES // 2 or len(str(samples)) > REPORT_LIMIT // 5:  # a character may be four bytes
            report = {**report, "samples": []}  # they stand in samples.txt
        text = json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)
        files.replace(self.path / REPORT, (text + "\n").encode("utf-8", "replace"))

    def read_report(self) -> dict[str, Any]:
        """What `run.json` says; whoever uses a value checks its type. Raises `CheckpointError`."""
        path = untrusted.inside(self.path, REPORT)
        return untrusted.parse_json(untrusted.read(path, REPORT_LIMIT), str(path), REPORT_VALUES)

    @property
    def status(self) -> Status:
        """Whether the run came to its end; a report that can't be read leaves it unfinished, and resumable."""
        try:
            status = self.read_report().get("status")
        except CheckpointError:
            return "unfinished"
        return status if status in ("finished", "diverged") else "unfinished"

    def locked(self) -> AbstractContextManager[None]:
        """Hold the run for this process alone. Raises `CheckpointError` where another trains it."""
        return locks.locked(self.path)

    def reopen(self) -> tuple[Checkpoint, Rows, int]:
        """The committed checkpoint, the rows of losses up to it, and how many broken-off writes were removed.

        Raises `CheckpointError` where the weights can't be read or resumed, or something is a link; `EnvironmentFault`.
        """
        checkpoint = resumable(untrusted.inside(self.path, WEIGHTS))
        if self.status == "finished":
            self.forget_best()  # where the end of the training was cut short
            return checkpoint, LOSSES.read(self.path, checkpoint.state.step)[0], 0
        history = untrusted.inside(self.path, HISTORY)
        with file_faults(history):
            history.mkdir(exist_ok=True)
        EVALUATIONS.cut(self.path, checkpoint.state.step)
        broken_off = files.tidy(self.path) + files.tidy(history)
        return checkpoint, LOSSES.cut(self.path, checkpoint.state.step), broken_off


def resumable(weights: Path) -> Checkpoint:
    """A checkpoint that can be gone on from. Raises `CheckpointError`."""
    checkpoint = checkpoints.read(weights)
    if not checkpoint.has_moments or checkpoint.training is None:
        found = "expected Adam's moments to go on with, found weights alone"
        raise CheckpointError(f"{weights}: {found}; microgpt --from {weights} begins a new run with them.")
    return checkpoint


def create(
    path: Path, checkpoint: Checkpoint, report: Mapping[str, Any], *, losses: bytes = b"", evaluations: bytes = b""
) -> RunFolder:
    """A new run folder with its first commit. Raises `UsageError` where there is one, or `EnvironmentFault`."""

    def fill(folder: Path) -> None:
        (folder / HISTORY).mkdir()
        run = RunFolder(folder)
        run.write_report(report)
        run.append(LOSSES, LOSSES.header + losses)
        run.append(EVALUATIONS, EVALUATIONS.header + evaluations)
        run.commit(checkpoint)

    files.tidy_dead(path.parent)  # of trainings that died before their first commit
    taken = f"expected a new --name, found a folder of that name; --resume {path} goes on with it."
    files.make_folder(path, fill, taken)
    return RunFolder(path)


def new_name(data: str) -> str:
    """Date, time, text and a little chance: `20261122-165804-names-3f9a`."""
    stem = re.sub(r"[^\w-]+", "-", Path(data).stem)[:32].strip("-") or "text"
    return f"{datetime.now():%Y%m%d-%H%M%S}-{stem}-{secrets.token_hex(2)}"
