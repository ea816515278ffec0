"""A run before it is run: a frozen specification, whose identity is the hash of all that decides its result."""

import hashlib
import json
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Final

from microgpt.model.settings import Settings
from microgpt.training.request import BEFORE, DECLARED, REQUESTED, SCIENTIFIC, Request, having

NUMERICS: Final = 1  # raised when the same settings give other numbers, as after a change of an engine's arithmetic
SAMPLES_PER_RUN: Final = 5  # texts that each run of a sweep writes: enough to read, too few to cost anything
IDLE: Final = tuple(name for name in REQUESTED if not DECLARED[name].metadata["axis"])  # what no sweep can vary


@dataclass(frozen=True)
class Spec:
    """All that decides the result of a run. `request.data` says where the text is found; what counts is `data_sha256`.

    `documents` is the kind that was chosen, never auto, and `engine` and `precision` are those that auto meant, so that
    one run has one identity. Threads, jobs, folders, names and roles are no part of it.
    """

    asked: Request
    data_sha256: str

    @property
    def settings(self) -> Settings:
        return self.asked.settings

    @cached_property
    def scientific(self) -> dict[str, Any]:
        """The settings by name, each in its field's own type: a learning rate of 1 is 1.0."""
        asked = vars(self.asked) | vars(self.settings)
        kinds = ((name, DECLARED[name].metadata["kind"]) for name in SCIENTIFIC)
        return {name: float(asked[name]) if kind is float else asked[name] for name, kind in kinds}

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the canonical JSON of settings, data, engine, precision and numerics version.

        A setting that came later is a part of it only where it changes something, so that older runs keep theirs.
        """
        computed = {name: getattr(self.asked, name) for name in ("engine", "precision")}
        parts = self.scientific | computed | {"data_sha256": self.data_sha256, "numerics": NUMERICS}
        parts = {name: value for name, value in parts.items() if name not in BEFORE or value != BEFORE[name]}
        canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()

    def with_settings(self, **changes: Any) -> "Spec":
        """The same run with other settings of the training."""
        return replace(self, asked=replace(self.asked, settings=replace(self.settings, **changes)))

    def request(self, *, out: str = "", name: str = "", device: str = "cpu") -> Request:
        """What a training is asked for: a held-out loss at the end, a few samples, no folder unless one is named."""
        return replace(self.asked, out=out, name=name, device=device)


def spec_of(request: Request, data_sha256: str, kind: str) -> Spec:
    """The specification of a request whose engine and precision are settled, on a text that was read."""
    decisive = {name: getattr(request, name) for name in (*having("identity"), "data") if hasattr(request, name)}
    return Spec(Request(request.settings, samples=SAMPLES_PER_RUN, **decisive | {"documents": kind}), data_sha256)
