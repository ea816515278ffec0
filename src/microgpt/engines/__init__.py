"""How the model is computed: the ladder of engines behind the contract of contract.py.

The entry of an engine in `REGISTRY` holds all that other rooms ask of it before it is made, so that none asks for an
engine by name. The engine itself is imported when it is created: the registry costs nothing.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from microgpt.engines.fused import MOST_THREADS
from microgpt.errors import UsageError, nearest
from microgpt.model.settings import Architecture, flag, variations

if TYPE_CHECKING:
    from microgpt.engines.contract import Engine, EngineConfig
    from microgpt.model.settings import Precision

CORES: Final = os.cpu_count() or 1


@dataclass(frozen=True)
class Entry:
    """What is known of an engine: how it is made, and its facts. The times are those of docs/BENCHMARKS.md."""

    make: Callable[["EngineConfig"], "Engine"]
    precisions: "tuple[Precision, ...]" = ("64",)  # float64 first: every engine has it
    automatic: "Precision" = "64"  # the precision that `auto` means: the fastest
    most_threads: int = 1
    ranks: bool = False  # whether several processes compute one training
    settle: Callable[[str], str] | None = None  # the device that a name means; None: it computes on the processor alone
    missing: Callable[[], str | None] = lambda: None  # why this machine can't run it and the remedy, or None
    preference: int = 0  # `auto` means the usable engine of the highest; one of 0 is taken by its name alone
    peak_share: float = 0.1  # of a core's peak, reached at the sizes of long trainings
    floor: float = 0.0  # seconds that no step is below, however small
    nominal: float = 1e9  # operations a second at small sizes on a usual core, before anything is measured
    slow: bool = False  # `bench` asks the smallest shape alone: others take minutes
    variations: tuple[str, ...] = ()  # the settings of the model, beyond those of symmetry.py, that it computes
    slack: float = 1.0  # as many times the usual tolerance of float32 its gradients are allowed


def _atomic(config: "EngineConfig") -> "Engine":
    from microgpt.engines.atomic import AtomicEngine

    return AtomicEngine(config)


def _array(config: "EngineConfig") -> "Engine":
    from microgpt.engines.array import ArrayEngine

    return ArrayEngine(config)


def _fused(config: "EngineConfig") -> "Engine":
    from microgpt.engines.fused.engine import FusedEngine

    return FusedEngine(config)


def _no_compiler() -> str | None:
    from microgpt.engines.fused.toolchain import reason_unavailable

    return reason_unavailable()


def _torch(config: "EngineConfig") -> "Engine":
    from microgpt.engines.torch import require_torch

    require_torch()
    from microgpt.engines.torch.distributed import make

    return make(config)


def _no_torch() -> str | None:
    from microgpt.engines.torch import reason_unavailable

    return reason_unavailable()


def _torch_device(name: str) -> str:
    from microgpt.engines.torch import require_torch

    if name != "auto":
        return name
    require_torch()
    from microgpt.engines.torch.devices import settled

    return settled(name)


DEFINED: Final = ("position", "activation", "tied")  # the settings of variations.py
REFERENCE: Final = "atomic"  # what every other engine is held against
EVERYWHERE: Final = "array"  # needs nothing but the package, and can be looked into
REGISTRY: Final[dict[str, Entry]] = {  # in the order of the ladder
    REFERENCE: Entry(_atomic, peak_share=1e-4, nominal=4e6, slow=True, variations=DEFINED),
    EVERYWHERE: Entry(
        _array, ("64", "32"), most_threads=CORES, preference=1, peak_share=0.3, floor=1.2e-4, nominal=3e8,
        variations=DEFINED,
    ),
    "fused": Entry(
        _fused, ("64", "32"), "32", MOST_THREADS, missing=_no_compiler, preference=2, peak_share=0.65, floor=3e-6,
        nominal=5e9, variations=DEFINED,
    ),
    # PyTorch's float32 products over a vocabulary of 4,000 add up less exactly: 2e-5 was seen where `array` has 1e-6.
    "torch": Entry(
        _torch, ("64", "32", "bf16"), "32", CORES, ranks=True, settle=_torch_device, missing=_no_torch, peak_share=0.25,
        floor=6e-4, variations=DEFINED, slack=5,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Availability:
    """Whether this machine can run an engine and, where it can't, the reason and the remedy."""

    name: str
    usable: bool
    reason: str = ""


def available() -> list[Availability]:
    """Every engine of the ladder; what an engine needs is looked for and not imported."""
    reasons = {name: entry.missing() for name, entry in REGISTRY.items()}
    return [Availability(name, reason is None, reason or "") for name, reason in reasons.items()]


def automatic() -> list[str]:
    """The engines that `auto` may mean, the fastest first; the last one runs everywhere."""
    preferred = [name for name, entry in REGISTRY.items() if entry.preference]
    return sorted(preferred, key=lambda name: -REGISTRY[name].preference)


def computes(name: str, model: Architecture) -> bool:
    """Whether an engine computes a model with all that it varies."""
    return {*variations(model)} <= {*REGISTRY[name].variations}


def choose(name: str = "auto", model: Architecture | None = None) -> str:
    """The engine that a name means: `auto` is the fastest usable one on a processor. Raises `UsageError` for a name
    that is none, or an engine that does not compute what the model varies."""
    able = [one for one in REGISTRY if not model or computes(one, model)]
    if name == "auto" and (usable := [one for one in automatic() if one in able and not REGISTRY[one].missing()]):
        return usable[0]
    if name not in ("auto", *REGISTRY):
        near = nearest(name, ["auto", *REGISTRY], 0)
        raise UsageError(f"--engine takes auto, {', '.join(REGISTRY)}; found {name!r}. Did you mean {near}?")
    if model and name not in able:
        told = ", ".join(f"{flag(setting)} {value}" for setting, value in variations(model).items())
        remedy = f"take --engine {' or '.join(able)}" if able else "leave it out"
        raise UsageError(f"--engine {name} does not compute {told}; {remedy}.")
    return name


def why_not_fastest() -> str | None:
    """Why `auto` does not mean the fastest engine here, or None where it does."""
    return REGISTRY[automatic()[0]].missing()


def device(engine: str, name: str) -> str:
    """The device that a name means to an engine: `auto` is the processor, or a card where the engine can use one and
    there is one. Raises `EnvironmentFault` where what chooses is not installed."""
    settle = REGISTRY[engine].settle
    if settle:
        return settle(name)
    return "cpu" if name == "auto" else name


def check(name: str, config: "EngineConfig") -> None:
    """Raise `UsageError` where an engine can't do what the configuration asks: no setting is silently ignored."""
    entry = REGISTRY[name]
    if config.precision not in entry.precisions:
        expected = " or ".join(entry.precisions)
        raise UsageError(f"--engine {name} takes --precision {expected}, found {config.precision}.")
    if not 1 <= config.threads <= entry.most_threads:
        limit = "1" if entry.most_threads == 1 else f"1 to {entry.most_threads}"
        raise UsageError(f"--engine {name} takes --threads {limit}, found {config.threads}.")
    if config.device != "cpu" and not entry.settle:
        raise UsageError(f"--engine {name} takes --device cpu, found {config.device}.")


def create(name: str, config: "EngineConfig") -> "Engine":
    """The engine of this name, one of `REGISTRY`, set up. Raises `UsageError` where it can't do what the configuration
    asks, and `EnvironmentFault` where the machine lacks what it needs."""
    check(name, config)
    return REGISTRY[name].make(config)
