"""Finding runs: by name, by folder, as a lone weights file, or the newest finished one."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any, Final

from microgpt import untrusted
from microgpt.errors import CheckpointError, EnvironmentFault, file_message, nearest
from microgpt.model.ledger import params
from microgpt.training import checkpoint as checkpoints
from microgpt.training.records import Losses
from microgpt.training.run_folder import WEIGHTS, RunFolder

EXPORTED: Final = {
    ".html": "which writes when a browser opens it",
    ".onnx": "which runs in ONNX runtimes",
    ".py": "which writes when Python runs it",
}


@dataclass(frozen=True)
class RunSummary:
    """One line of `runs`. `fault` says why a folder can't be read; what is not known is None."""

    name: str
    path: Path
    date: str
    status: str
    data: str | None = None
    params: int | None = None
    step: int | None = None
    steps: int | None = None
    holdout: float | None = None
    counts: float | None = None
    mixed: float | None = None
    fault: str | None = None


def find(run: str | Path | None = None, out: str | Path = "runs", interrupted: bool = False) -> Path:
    """The run folder or weights file that RUN means; without one, the newest. Raises `CheckpointError` where there is
    none, `EnvironmentFault` where looking for it is not permitted."""
    if run is None:
        return newest(Path(out), interrupted)
    for path in (Path(run), Path(out) / run):
        try:
            if path.is_file() and path.suffix.lower() in EXPORTED:
                found = f"a model exported as {path.suffix.lower()}, {EXPORTED[path.suffix.lower()]}"
                raise CheckpointError(f"{path}: expected a run or a .safetensors file, found {found}; name its run.")
            if path.is_file() or (path / WEIGHTS).is_file():
                return path
        except PermissionError as error:
            raise EnvironmentFault(file_message(path, error)) from None
        except (OSError, ValueError):  # no path at all
            continue
    names = [folder.name for folder in folders(Path(out))]
    near = nearest(Path(run).name, names)
    advice = f"did you mean {near}?" if near else "`microgpt runs` lists those there are."
    raise CheckpointError(f"{run}: expected a run's name, its folder or a weights file, found none; {advice}")


def newest(out: Path, interrupted: bool = False) -> Path:
    """The run that finished last or, with `interrupted`, the one that finished or was left off last and that nothing
    trains now. Raises `CheckpointError` where there is none."""
    finished = [(ended, folder.path) for folder in folders(out) if (ended := _ended(folder, interrupted))]
    if not finished:
        raise CheckpointError(f"{out}: expected a finished run, found none; `microgpt train` makes one.")
    return max(finished)[1]


def weights_of(path: Path) -> Path:
    """The weights file of a run folder, or the file itself. Raises `CheckpointError` where the folder's is a link."""
    return untrusted.inside(path, WEIGHTS) if path.is_dir() else path


def folders(out: Path) -> Iterator[RunFolder]:
    """The run folders in a folder, by name. What begins with a dot is not whole yet."""
    try:
        found = sorted(path for path in out.iterdir() if path.is_dir() and not path.name.startswith("."))
    except FileNotFoundError:
        return
    except OSError as error:
        raise EnvironmentFault(f"{out}: expected to list its runs, found: {error.strerror}; check it.") from None
    yield from (RunFolder(path) for path in found if (path / WEIGHTS).exists())


def listing(out: str | Path = "runs") -> list[RunSummary]:
    """Every run in a folder, newest first. A folder that can't be read is listed with its fault."""
    summaries = [_summary(folder) for folder in folders(Path(out))]
    return sorted(summaries, key=lambda summary: (summary.date, summary.name), reverse=True)


def _summary(folder: RunFolder) -> RunSummary:
    modified = _modified(folder)[:19].replace("T", " ")
    try:
        description = checkpoints.describe(weights_of(folder.path))
        report = folder.read_report()
    except (CheckpointError, EnvironmentFault) as fault:
        return RunSummary(folder.name, folder.path, modified, "unreadable", fault=str(fault))
    loss = found if isinstance(found := report.get("loss"), dict) else {}
    training = description.training
    return RunSummary(
        name=folder.name,
        path=folder.path,
        date=_told(report, "began", str) or modified,
        status=folder.status,
        data=training.provenance.name if training else None,
        params=params(description.model),
        step=description.step,
        steps=training.request.settings.steps if training else None,
        holdout=_told(Losses.aged(loss), "holdout_per_character", float) if isinstance(loss, dict) else None,
        counts=_told(loss, "counts", float),
        mixed=_told(loss, "mixed", float),
    )


def _modified(folder: RunFolder, zone: tzinfo | None = None) -> str:
    """When the weights were written; empty beyond the year 9999, and where the system can't tell."""
    try:
        return datetime.fromtimestamp(folder.weights.stat().st_mtime, zone).isoformat()
    except (OSError, OverflowError, ValueError):
        return ""


def _ended(folder: RunFolder, interrupted: bool) -> str | None:
    try:
        report = folder.read_report()
        if interrupted and report.get("status") == "unfinished":
            with folder.locked():
                return _modified(folder, UTC)
    except (CheckpointError, EnvironmentFault, OSError):
        return None
    return _told(report, "ended", str) if report.get("status") == "finished" else None


def _told(report: dict[str, Any], key: str, kind: type) -> Any:
    """A value of a report that anyone may have edited, or None where it has not the expected type."""
    value = report.get(key)
    return value if type(value) is kind else None
