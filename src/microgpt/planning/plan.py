"""A training on paper: time, memory, price and the largest batch, from sizes and a few assumptions that can be changed.

Devices train data-parallel. The time is that of the products alone, at a share of the devices' peak (`utilisation`)
in which all else hides: communication, memory traffic, saving, waiting.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any, Final

from microgpt.errors import UsageError
from microgpt.model.cost import flop_per_token
from microgpt.model.ledger import params
from microgpt.model.settings import LARGEST_NUMBER, ModelConfig, Precision
from microgpt.planning.devices import DEVICES, Device
from microgpt.planning.memory import (
    Attention,
    Sharding,
    StateBytes,
    kept_bytes,
    passing_bytes,
    state_of,
    tensor_count,
)

MOST_DEVICES: Final = 10_000_000
# Beyond these a size is a slip of the finger, and the ledger of so many layers would fill the memory.
MOST_OF: Final = {"emb": 10**6, "head": 10**6, "layer": 10**4, "ctx": 10**8, "ff": 1000, "vocabulary": 10**8}


@dataclass(frozen=True)
class Assumptions:
    """All that a plan rests on besides the sizes. Raises `UsageError`.

    `peak` (FLOP/s) and `memory` (bytes) are those of one device, `price` is for a device and hour, `reserve` the share
    of memory that is left to the libraries, to fragments and to messages.
    """

    tokens: float
    gpus: int
    device: str
    precision: Precision
    sharding: Sharding
    utilisation: float
    peak: float
    memory: float
    reserve: float
    attention: Attention
    recompute: bool
    price: float | None

    def __post_init__(self) -> None:
        _within("tokens", self.tokens, 1, LARGEST_NUMBER**2)
        _within("gpus", self.gpus, 1, MOST_DEVICES)
        _within("utilisation", self.utilisation, 1e-6, 1)
        _within("peak", self.peak, 1, 1e24)
        _within("memory", self.memory / 1e9, 1e-3, 1e9)  # in GB, as the flag has it
        _within("reserve", self.reserve, 0, 0.99)
        if self.price is not None:
            _within("price", self.price, 0, 1e9)


@dataclass(frozen=True)
class TrainingPlan:
    """What a training takes. Bytes are those of one device; `batch` is the most sequences that fit on one."""

    model: ModelConfig
    assumed: Assumptions
    params: int
    tensors: int
    flop_per_token: float
    flop: float
    seconds: float
    device_hours: float
    cost: float | None
    state: StateBytes
    sequence_bytes: int
    batch: int
    steps: int | None

    @property
    def fits(self) -> bool:
        """Whether one sequence for each device does."""
        return self.batch > 0

    @property
    def memory(self) -> float:
        """Bytes on one device with the largest batch; where none fits, with one sequence."""
        return self.state.total + max(1, self.batch) * self.sequence_bytes

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        told = dataclasses.asdict(self)
        sizes, assumed = told.pop("model"), told.pop("assumed")
        batch = {"batch_total": self.batch * self.assumed.gpus, "memory": self.memory, "fits": self.fits}
        return {"sizes": sizes, "assumptions": assumed, **told, **batch}


def device_of(name: str) -> Device:
    """A device of the table. Raises `UsageError`."""
    if name not in DEVICES:
        raise UsageError(
            f"--device takes {', '.join(DEVICES)}; found {name!r}; describe another with --peak and --memory."
        )
    return DEVICES[name]


def plan(model: ModelConfig, assumed: Assumptions) -> TrainingPlan:
    """The plan of a training on full sequences."""
    each = flop_per_token(model)
    flop = each * assumed.tokens
    carried_out = flop * (4 / 3 if assumed.recompute else 1)  # one more forward pass
    seconds = carried_out / (assumed.gpus * assumed.peak * assumed.utilisation)
    hours = assumed.gpus * seconds / 3600
    state = state_of(model, assumed.precision, assumed.sharding, assumed.gpus)
    sequence = kept_bytes(model, assumed.precision, assumed.attention, assumed.recompute)
    sequence += passing_bytes(model, assumed.precision)
    batch = max(0, math.floor((assumed.memory * (1 - assumed.reserve) - state.total) / sequence))
    return TrainingPlan(
        model=model,
        assumed=assumed,
        params=params(model),
        tensors=tensor_count(model),
        flop_per_token=each,
        flop=flop,
        seconds=seconds,
        device_hours=hours,
        cost=None if assumed.price is None else hours * assumed.price,
        state=state,
        sequence_bytes=sequence,
        batch=batch,
        steps=math.ceil(assumed.tokens / (batch * assumed.gpus * model.ctx)) if batch else None,
    )


def remedies(found: TrainingPlan) -> list[str]:
    """What would make room where not one sequence fits, the mildest first."""
    changes: list[tuple[str, dict[str, Any]]] = [
        *((f"--sharding {stage}", {"sharding": stage}) for stage in range(found.assumed.sharding + 1, 4)),
        ("--recompute", {"recompute": True}),
        ("--sharding 3 --recompute", {"sharding": 3, "recompute": True}),
    ]
    return [flags for flags, change in changes if plan(found.model, dataclasses.replace(found.assumed, **change)).fits]


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:  # false for what is no number, too
        raise UsageError(f"--{name} must be {low:g} to {high:g}, found {value:g}.")
