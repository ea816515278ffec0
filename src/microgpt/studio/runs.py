"""Run folders as JSON. They may come from anyone: what is not of the expected type is left out, never believed."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from microgpt import untrusted
from microgpt.errors import CheckpointError, EnvironmentFault, UsageError
from microgpt.library import load
from microgpt.model.ledger import params
from microgpt.studio.answers import MissingError
from microgpt.studio.history import read_looks, read_notes
from microgpt.studio.studio import Studio
from microgpt.studio.training import LiveTraining
from microgpt.training import checkpoint as checkpoints
from microgpt.training import find
from microgpt.training.description import Description
from microgpt.training.records import Losses
from microgpt.training.run_folder import SAMPLES_FILE, RunFolder
from microgpt.training.sample import Sampling
from microgpt.training.tables import EVALUATIONS, LOSSES, Rows

POINTS: Final = 1000  # of a curve
SAMPLES_LIMIT: Final = 1 << 20  # bytes
SHOWN: Final = 200  # samples
MOST_SAMPLES: Final = 100  # samples, …
MOST_CHARACTERS: Final = 2000  # … or characters, at once
MOST_SHOWN: Final = 1e300  # of a number in a report


def listing(studio: Studio) -> list[dict[str, Any]]:
    """Every run that the studio can show, newest first."""
    found = [{**vars(run), "own": True} for run in find.listing(studio.run_folders)]
    known = {run["path"].resolve() for run in found}
    named = [(name, path) for name, path in studio.named.items() if path.resolve() not in known]
    running = studio.trainings.running()
    every = [*(_named(name, path) for name, path in named), *found]
    return [_pathless(run) | _live(running.get(run["name"])) for run in every]


def _pathless(run: dict[str, Any]) -> dict[str, Any]:
    """Without the folder, which is nobody's business on a shared screen."""
    return {name: value for name, value in run.items() if name != "path"}


def _live(training: LiveTraining | None) -> dict[str, Any]:
    """Of a run that is trained here and now: its training, and how far it is."""
    return {"training": training.id, "status": training.phase, "step": training.step} if training else {}


def _named(name: str, path: Path) -> dict[str, Any]:
    """A run from elsewhere: a folder beside its neighbours, or a lone weights file."""
    told = {"name": name, "path": path, "status": "finished", "data": None, "date": "", "fault": None}
    try:
        description = checkpoints.describe(find.weights_of(path))
    except (CheckpointError, EnvironmentFault) as fault:
        return told | {"status": "unreadable", "fault": str(fault)}
    training, status = description.training, RunFolder(path).status if path.is_dir() else "finished"
    return told | {
        "status": status,
        "data": training.provenance.name if training else None,
        "params": params(description.model),
        "step": description.step,
        "steps": training.request.settings.steps if training else None,
        "holdout": _loss(_report(path), "holdout"),
    }


def detail(studio: Studio, name: str) -> dict[str, Any]:
    """All that a page needs of a run. Raises `MissingError`, or `CheckpointError` for a damaged one."""
    path = studio.find(name)
    try:
        description = checkpoints.describe(find.weights_of(path))
    except CheckpointError:
        if not path.exists():
            raise MissingError(f"{name}: this run was deleted while it was shown; choose another.") from None
        raise
    training, report, step = description.training, _report(path), description.step
    folder = path if path.is_dir() else None
    request = training.request.to_dict() if training else {}
    return {
        "name": name,
        "own": folder is not None and name not in studio.named,
        "status": RunFolder(path).status if folder else "finished",
        "data": training.provenance.name if training else None,
        "kind": description.kind,
        "model": asdict(description.model),
        "params": params(description.model),
        "settings": request.pop("settings", {}),
        "request": request,
        "step": step,
        "steps": training.request.settings.steps if training else None,
        "engine": report.get("engine") if isinstance(report.get("engine"), str) else request.get("engine"),
        "uniform": _loss(report, "uniform") or _uniform(description),
        "unigram": _loss(report, "unigram"),
        "counts": _loss(report, "counts"),
        "mixed": _loss(report, "mixed"),
        "holdout": _loss(report, "holdout"),
        "holdout_se": _loss(report, "holdout_se"),
        "seconds": _seconds(report),
        "curve": _curve(folder, step) if folder else [],
        "evaluations": _thin(EVALUATIONS.read(folder, step)[0]).tolist() if folder else [],
        "looks": read_looks(folder) if folder else [],
        "notes": read_notes(folder) if folder else [],
        "samples": _samples(folder) if folder else [],
        "text": studio.texts.known(training.request.data) if training else None,
        **_live(studio.trainings.running().get(name)),
    }


def samples(studio: Studio, parameters: dict[str, Any]) -> dict[str, Any]:
    """What a run writes from a seed. Raises `UsageError`, `DataError`, or what `detail` raises."""
    run = load(studio.find(str(parameters["name"])))
    sampling = Sampling(
        count=min(whole(parameters, "count", 8), MOST_SAMPLES),
        temperature=decimal(parameters, "temperature") if "temperature" in parameters else None,
        top_k=whole(parameters, "top_k", 0),
        prompt=str(parameters.get("prompt", "")),
        length=min(whole(parameters, "length", 240), MOST_CHARACTERS),
    )
    written = run.write(sampling, seed=whole(parameters, "seed", 1), look_up=False)
    return {"samples": written.texts, "step": run.step}


def whole(parameters: dict[str, Any], name: str, usual: int) -> int:
    """A whole number of an address. Raises `UsageError`."""
    found = parameters.get(name, usual)
    try:
        return int(found)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: expected a whole number, found {str(found)[:40]!r}.") from None


def decimal(parameters: dict[str, Any], name: str) -> float:
    """A number of an address. Raises `UsageError`."""
    found = parameters[name]
    try:
        return float(found)
    except (TypeError, ValueError):
        raise UsageError(f"{name}: expected a number, found {str(found)[:40]!r}.") from None


def _curve(folder: Path, step: int) -> list[tuple[int, float]]:
    """Training losses in at most POINTS points: (last step, mean loss of the steps since the point before)."""
    rows = LOSSES.read(folder, step)[0]
    width = max(1, -(-len(rows) // POINTS))
    groups = [rows[first : first + width] for first in range(0, len(rows), width)]
    return [(int(group[-1][0]), float(group[:, 1].mean())) for group in groups]


def _thin(rows: Rows) -> Rows:
    """At most POINTS rows as they stand: the last one, and those that are a multiple of so many before it."""
    return rows[::-1][:: max(1, -(-len(rows) // POINTS))][::-1]


def _report(path: Path) -> dict[str, Any]:
    try:
        return RunFolder(path).read_report() if path.is_dir() else {}
    except (CheckpointError, EnvironmentFault):
        return {}


def _loss(report: dict[str, Any], name: str) -> float | None:
    """A loss in nats per character. One of a standard error has its mark at the end."""
    loss, (what, _, mark) = report.get("loss"), name.partition("_")
    told = "_".join(filter(None, (what, "per_character", mark)))
    known = Losses.aged(loss) if isinstance(loss, dict) else {}
    return _number(known.get(told, known.get(name)))


def _uniform(description: Description) -> float | None:
    """What knowing nothing scores, of characters; of other tokens a run says at its end how long they are."""
    plain = description.tokenizer.tokens == "characters"
    return math.log(description.model.vocabulary) if plain else None


def _seconds(report: dict[str, Any]) -> float | None:
    seconds = report.get("seconds")
    return _number(seconds.get("train")) if isinstance(seconds, dict) else None


def _number(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < MOST_SHOWN
    return float(value) if number else None  # type: ignore[arg-type]  # a number


def _samples(folder: Path) -> list[str]:
    """The samples that ended a run. Where one has several lines, a blank line stands between two."""
    try:
        path = untrusted.inside(folder, SAMPLES_FILE)
        text = untrusted.read(path, SAMPLES_LIMIT).decode("utf-8", "replace") if path.is_file() else ""
    except (CheckpointError, EnvironmentFault):
        return []
    parts = text.removesuffix("\n").split("\n\n" if "\n\n" in text else "\n") if text else []
    return parts[:SHOWN]
