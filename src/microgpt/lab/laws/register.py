"""Predictions written down before their runs, and scored after: the only test of a law that nobody can talk around."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt import __version__, files, locks, untrusted
from microgpt.errors import CheckpointError, DataError, file_faults
from microgpt.lab.laws.points import Points
from microgpt.lab.laws.predict import Prediction

MOST_BYTES: Final = 4 << 20
SAME: Final = 0.05  # a run is the predicted one when its size and its tokens are within this share
LARGEST: Final = 1e100  # of a number of a prediction
FIELDS: Final = ("params", "tokens", "loss", "low", "high", "level")


@dataclass(frozen=True)
class Score:
    """A prediction held against the runs that came after: their mean loss, how many there were and how many of them
    lay inside. `found` is None where there is none yet."""

    params: float
    tokens: float
    loss: float
    low: float
    high: float
    found: float | None
    runs: int
    inside: int

    @property
    def error(self) -> float | None:
        return None if self.found is None else self.found - self.loss

    def to_dict(self) -> dict[str, Any]:
        return {**self.__dict__, "error": self.error}


def register(path: Path, said: Sequence[Prediction], data_sha256: str, now: datetime) -> None:
    """Add predictions to a file, which is made if there is none. What stands there is never changed."""
    entry = {"time": now.isoformat(), "data_sha256": data_sha256, "version": __version__}
    with file_faults(path):
        files.make_parents(path)
    with locks.alone(path.parent):
        entries = registered(path) if path.exists() else []
        entries += [{**entry, **prediction.to_dict()} for prediction in said]
        files.replace(path, (json.dumps({"predictions": entries}, indent=1) + "\n").encode())


def registered(path: Path) -> list[dict[str, Any]]:
    """The predictions of a file. Raises `DataError`."""
    try:
        entries = untrusted.parse_json(untrusted.read(path, MOST_BYTES), str(path)).get("predictions")
    except CheckpointError as error:
        raise DataError(str(error)) from None
    if not isinstance(entries, list) or not all(_sound(entry) for entry in entries):
        raise DataError(f"{path}: expected predictions of `predict --register`, found other JSON; check the path.")
    return entries


def _sound(entry: Any) -> bool:
    if not isinstance(entry, dict) or not all(type(entry.get(name)) in (int, float) for name in FIELDS):
        return False
    sizes = all(1 / LARGEST <= entry[name] <= LARGEST for name in FIELDS[:2])  # their logarithms are compared
    losses = all(-LARGEST <= entry[name] <= LARGEST for name in FIELDS[2:])
    return sizes and losses and isinstance(entry.get("time"), str) and isinstance(entry.get("data_sha256"), str)


def check_new(entries: Sequence[dict[str, Any]], data_sha256: str, source: str) -> None:
    """Refuse runs that a prediction was made from, by their hash. Raises `DataError`."""
    if any(entry["data_sha256"] == data_sha256 for entry in entries):
        raise DataError(
            f"{source}: expected runs that came after the predictions, found the very runs that were fitted; give the "
            "new runs alone."
        )


def score(entries: Sequence[dict[str, Any]], runs: Points, finished: Sequence[str]) -> list[Score]:
    """Each prediction against the runs of its size and length that ended after it was written down. `finished` has a
    time in ISO form for each run, or an empty text where that is not known."""
    ends = np.array([_seconds(ended) for ended in finished]).reshape(-1, 2).T.copy()
    return [_score(entry, runs, ends) for entry in entries]


def check_any(scores: Sequence[Score], source: str) -> None:
    """Refuse runs of which none was predicted. Raises `DataError`."""
    if scores and not any(one.runs for one in scores):
        first = scores[0]
        raise DataError(
            f"{source}: expected runs of the predicted sizes and lengths (the first: N = {first.params:,.0f}, D = "
            f"{first.tokens:,.0f}, within {SAME:.0%}) that came after the predictions, found none; train them, or name "
            "their store with --store or their file with --csv."
        )


def _score(entry: dict[str, Any], runs: Points, ends: NDArray[np.float64]) -> Score:
    """`ends`, (2, runs), are those of `_seconds`. A run of no known time counts, and one of the same second."""
    near = np.abs(np.log(runs.params / entry["params"])) < SAME
    near &= np.abs(np.log(runs.tokens / entry["tokens"])) < SAME
    near &= ~(ends < np.floor(_seconds(entry["time"]))[:, None]).any(axis=0)
    losses = runs.loss[near]
    inside = int(np.sum((losses >= entry["low"]) & (losses <= entry["high"])))
    mean = float(losses.mean()) if len(losses) else None
    params, tokens, loss, low, high = (float(entry[name]) for name in FIELDS[:-1])
    return Score(params, tokens, loss, low, high, mean, len(losses), inside)


def _seconds(time: str) -> tuple[float, float]:
    """A time without a zone and one with a zone, as seconds since 1970: the other is NaN, as both are for no time."""
    try:
        told = datetime.fromisoformat(time)
    except (TypeError, ValueError):
        return np.nan, np.nan
    seconds = told.replace(tzinfo=told.tzinfo or UTC).timestamp()
    return (np.nan, seconds) if told.tzinfo else (seconds, np.nan)
