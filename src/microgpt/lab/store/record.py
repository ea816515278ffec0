"""A run as the analyses see it: what was asked for, what was measured, and what it cost. This module is data."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Role = Literal["study", "tuning"]  # runs that are reported, and those that only chose a learning rate for them
Status = Literal["done", "failed"]


@dataclass(frozen=True)
class RunRecord:
    """One row of a store.

    `settings` holds every scientific setting by its field's name (`steps`, `lr`, `emb`, `seed`, `holdout`, …); they
    are the axes there can be. Losses are nats per character, whatever the tokens are, `flop` is the useful work of the
    whole training by model/cost.py, `tokens` counts the predictions trained on and `unique_tokens` those of the
    training part, of which `epochs` is the ratio. `loss` is held out, and None where nothing was; `training_loss` is
    the mean of the last 100 steps. Parameters are split into those of the embeddings, of the head and of the body.
    """

    identity: str
    sweeps: tuple[str, ...]
    role: Role
    status: Status
    settings: Mapping[str, Any]
    data: str
    data_sha256: str
    kind: str
    engine: str
    precision: str
    params: int
    params_embedding: int
    params_head: int
    params_body: int
    tokens: int
    unique_tokens: int
    epochs: float
    flop: float
    loss: float | None
    loss_se: float | None
    training_loss: float | None
    unigram: float
    uniform: float
    holdout_documents: int
    samples: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    version: str = ""
    commit: str = ""
    machine: str = ""
    finished: str = ""

    @property
    def steps(self) -> int:
        return int(self.settings["steps"])

    @property
    def seed(self) -> int:
        return int(self.settings["seed"])

    @property
    def size(self) -> tuple[int, int, int, int, int]:
        """What makes a model's size: emb, head, layer, ctx, ff."""
        emb, head, layer, ctx, ff = (int(self.settings[name]) for name in ("emb", "head", "layer", "ctx", "ff"))
        return emb, head, layer, ctx, ff


@dataclass(frozen=True)
class Curve:
    """The training loss as means over stretches of `every` steps, of which the last may be shorter."""

    every: int
    losses: tuple[float, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """The middle step of each stretch, for drawing."""
        return tuple(n * self.every + self.every // 2 for n in range(len(self.losses)))


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of a run: its record and, where it finished, its training loss over its steps."""

    record: RunRecord
    curve: Curve | None = None
