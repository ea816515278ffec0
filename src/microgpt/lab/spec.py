"""A run before it is run: a frozen specification, whose identity is the hash of all that decides its result."""

import dataclasses
import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from microgpt.model.settings import Settings
from microgpt.training.request import Request

NUMERICS: Final = 1  # raised when the same settings give other numbers, as after a change of an engine's arithmetic
SAMPLES: Final = 5  # texts that each run of a sweep writes: enough to read, too few to cost anything

TEXT_SETTINGS: Final = ("documents", "encoding", "normalize", "holdout", "split_seed", "order", "golden")
SETTINGS: Final = tuple(declared.name for declared in dataclasses.fields(Settings))
SCIENTIFIC: Final = (*SETTINGS, *TEXT_SETTINGS)  # what a RunRecord's settings name, and a store has columns for
CHOOSING: Final = (
    "eval_documents",
    "select",
    "patience",
)  # a sweep compares last weights
AXES: Final = (*SETTINGS, "data", "documents", "encoding", "normalize", "holdout", "split_seed", "engine", "precision")


@dataclass(frozen=True)
class Spec:
    """All that decides the result of a run. `data` says where the text is found; what counts is `data_sha256`.

    `documents` is the kind that was chosen, never auto, and `engine` and `precision` are those that auto meant, so that
    one run has one identity. Threads, jobs, folders, names and roles are no part of it.
    """

    settings: Settings
    data: tuple[str, ...]
    data_sha256: str
    documents: str
    encoding: str
    normalize: str
    holdout: float
    split_seed: int
    order: str
    golden: bool
    engine: str
    precision: str

    @cached_property
    def scientific(self) -> dict[str, Any]:
        """The settings by name, each in its field's own type: a learning rate of 1 is 1.0."""
        values = {name: getattr(self.settings, name) for name in SETTINGS}
        return values | {name: getattr(self, name) for name in TEXT_SETTINGS} | {"holdout": float(self.holdout)}

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the canonical JSON of settings, data, engine, precision and numerics version."""
        computed = {name: getattr(self, name) for name in ("data_sha256", "engine", "precision")}
        parts = self.scientific | computed | {"numerics": NUMERICS}
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def with_settings(self, **changes: Any) -> "Spec":
        """The same run with other settings of the training."""
        return replace(self, settings=replace(self.settings, **changes))

    def request(self, *, out: str = "", name: str = "", device: str = "cpu") -> Request:
        """What a training is asked for: a held-out loss at the end, a few samples, no folder unless one is named."""
        texts: dict[str, Any] = {name: getattr(self, name) for name in TEXT_SETTINGS}
        computed: dict[str, Any] = {"engine": self.engine, "precision": self.precision, "threads": 1}
        places: dict[str, Any] = {"data": self.data, "out": out, "name": name, "device": device}
        return Request(self.settings, samples=SAMPLES, **places, **texts, **computed)


def spec_of(request: Request, data_sha256: str, kind: str) -> Spec:
    """The specification of a request whose engine and precision are settled, on a text that was read."""
    texts: dict[str, Any] = {name: getattr(request, name) for name in TEXT_SETTINGS} | {"documents": kind}
    texts |= {"engine": request.engine, "precision": request.precision}
    return Spec(request.settings, request.data, data_sha256, **texts)
