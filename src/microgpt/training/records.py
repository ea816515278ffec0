"""What a training tells while it runs. The loop yields these; whoever started it prints, draws or ignores them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
from numpy.typing import NDArray

from microgpt.model.settings import Settings
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.evaluate import HeldOut


@dataclass(frozen=True)
class Started:
    """The first record: what is trained on what, and how. `step` is above 0 where a run goes on; `unigram` and
    `uniform` are in nats per character."""

    run: str | None
    recipe: str
    engine: str
    precision: str
    threads: int
    ranks: int
    params: int
    settings: Settings
    step: int
    data: str
    kind: str
    documents: int
    cropped_documents: int
    cropped_tokens: int
    vocabulary: int
    holdout_documents: int
    holdout_unseen_characters: int
    unigram: float
    uniform: float
    resumed_from: str | None

    @property
    def headline(self) -> str:
        """The first line of a training, as the original has it."""
        s = self.settings
        sizes = f"emb={s.emb}, head={s.head}, layer={s.layer}, ctx={s.ctx}, ff={s.ff}"
        return f"MicroGPT: {self.params} params, training for {s.steps} steps (lr={s.lr}, {sizes})"


@dataclass(frozen=True)
class Note:
    """Something worth knowing; with `warning`, something that is probably not as the person wants it."""

    text: str
    warning: bool = False


@dataclass(frozen=True, eq=False)
class Progress:
    """Steps that were taken: `step` of them so far. `losses` are those since the last record, in nats per character,
    `loss` is the mean of the last 100, `lr` the learning rate of the last."""

    step: int
    steps: int
    losses: NDArray[np.float64]
    loss: float
    lr: float
    steps_per_second: float

    @property
    def seconds_left(self) -> float:
        return (self.steps - self.step) / self.steps_per_second


@dataclass(frozen=True)
class Evaluated:
    """The held-out loss after `step` steps."""

    step: int
    held_out: HeldOut


@dataclass(frozen=True)
class Saved:
    """A commit: whatever happens now, the run goes on from `step`."""

    step: int
    path: Path


@dataclass(frozen=True)
class Sampled:
    """What the model wrote; `copied` of them stand in the training text (None for running text)."""

    step: int
    samples: tuple[str, ...]
    copied: int | None


@dataclass(frozen=True)
class Losses:
    """Losses in nats per token and, of what a person is told, per character: tokens of the training part have
    `characters_per_token` of them. `unigram` and `uniform` are what the frequencies of tokens alone, or nothing, would
    score. In nats per character `counts` is what the best table of counts does (None in older runs), and `mixed` the
    held-out loss of the model and a table together, where the run mixes them."""

    first: float | None
    last: float | None
    mean_last_100: float | None
    holdout: float | None
    holdout_se: float | None
    holdout_documents: int
    holdout_bits_per_character: float | None
    holdout_per_character: float | None
    holdout_per_character_se: float | None
    unigram: float
    uniform: float
    unigram_per_character: float
    uniform_per_character: float
    characters_per_token: float
    counts: float | None = None
    mixed: float | None = None
    mixed_se: float | None = None

    @staticmethod
    def aged(values: Mapping[str, Any]) -> dict[str, Any]:
        """What a version that knew characters alone has written, with what it left out: a token was one."""
        names = ("holdout", "unigram", "uniform")
        each = {f"{name}_per_character": values.get(name) for name in names}
        return {**each, "holdout_per_character_se": values.get("holdout_se"), "characters_per_token": 1.0, **values}


@dataclass(frozen=True)
class Seconds:
    """Where the time went, over all sessions of the run."""

    total: float
    data: float
    compile: float
    train: float
    evaluate: float
    sample: float


@dataclass(frozen=True)
class Result:
    """All that a finished training has to say: the JSON of `train`."""

    run: str | None
    recipe: str
    engine: str
    precision: int | str
    threads: int
    ranks: int
    params: int
    steps: int
    steps_taken: int
    selected_step: int
    batch: int
    tokens: int
    documents: int
    cropped_tokens: int
    vocabulary: int
    seconds: Seconds
    loss: Losses
    holdout_unseen_characters: int
    samples: tuple[str, ...]
    samples_copied: int | None
    resumed_from: str | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, keys as the contract names them."""
        return asdict(self) | {"samples": list(self.samples)}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Result | None":
        """The inverse, of a `run.json` that anyone may have edited: None where a value is missing or no such one."""
        try:
            result: Result = _revived(Result, {**values, "loss": Losses.aged(values["loss"])})
        except (KeyError, TypeError, AttributeError):
            return None
        return result


def _revived(kind: type, values: Mapping[str, Any]) -> Any:
    """A record from plain values. Raises `KeyError` or `TypeError` where they can't be."""
    made: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        value = values.get(name, getattr(kind, name)) if hasattr(kind, name) else values[name]
        if is_dataclass(hint):
            made[name] = _revived(hint, value)  # type: ignore[arg-type]
        elif isinstance(value, list) and hint == tuple[str, ...] and all(isinstance(item, str) for item in value):
            made[name] = tuple(value)
        elif hint != tuple[str, ...] and isinstance(value, hint):
            made[name] = value
        else:
            raise TypeError(f"{name}: expected {hint}, found {value!r}")
    return kind(**made)


@dataclass(frozen=True, eq=False)
class Finished:
    """The last record of a run that came to its end; `losses` are those of every step."""

    result: Result
    checkpoint: Checkpoint
    losses: NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Interrupted:
    """The last record of a run that was stopped, after its save; it can be resumed where it has a folder."""

    step: int
    run: str | None
    checkpoint: Checkpoint
    losses: NDArray[np.float64]


Record = Started | Note | Progress | Evaluated | Saved | Sampled | Finished | Interrupted
