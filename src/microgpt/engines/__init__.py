"""How the model is computed: the ladder of engines behind the one contract of contract.py.

Each engine is imported only when it is created, so that a list of names costs nothing.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microgpt.errors import UsageError

if TYPE_CHECKING:
    from microgpt.engines.contract import Engine, EngineConfig


def _atomic(config: "EngineConfig") -> "Engine":
    from microgpt.engines.atomic import AtomicEngine

    return AtomicEngine(config)


def _array(config: "EngineConfig") -> "Engine":
    from microgpt.engines.array import ArrayEngine

    return ArrayEngine(config)


def _fused(config: "EngineConfig") -> "Engine":
    from microgpt.engines.fused.engine import FusedEngine

    return FusedEngine(config)


def _torch(config: "EngineConfig") -> "Engine":
    from microgpt.engines.torch import require_torch

    require_torch()
    from microgpt.engines.torch.distributed import make

    return make(config)


_MAKERS: dict[str, Callable[["EngineConfig"], "Engine"]] = {
    "atomic": _atomic,
    "array": _array,
    "fused": _fused,
    "torch": _torch,
}
ENGINES = tuple(_MAKERS)  # in the order of the ladder


@dataclass(frozen=True)
class Availability:
    """Whether this machine can run an engine and, where it can't, the reason and the remedy."""

    name: str
    usable: bool
    reason: str = ""


def available() -> list[Availability]:
    """Every engine of the ladder. `atomic` and `array` need nothing but the package, `fused` a C compiler, `torch`
    PyTorch, which is looked for and not imported."""
    from microgpt.engines.fused.toolchain import reason_unavailable as no_compiler
    from microgpt.engines.torch import reason_unavailable as no_torch

    reasons = {"fused": no_compiler(), "torch": no_torch()}
    return [Availability(name, reasons.get(name) is None, reasons.get(name) or "") for name in ENGINES]


def choose(name: str = "auto") -> str:
    """The engine that a name means: `auto` is the fastest usable one on a processor, so never `torch`. Raises
    `UsageError` for a name that is none."""
    if name == "auto":
        return "array" if why_not_fused() else "fused"
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ["auto", *ENGINES], 1, 0)[0]
        raise UsageError(f"--engine takes auto, {', '.join(ENGINES)}; found {name!r}. Did you mean {near}?")
    return name


def why_not_fused() -> str | None:
    """Why `auto` does not mean `fused` here, or None where it does."""
    from microgpt.engines.fused.toolchain import reason_unavailable

    return reason_unavailable()


def device(engine: str, name: str) -> str:
    """The device that a name means to an engine: `auto` is the processor, but for `torch` a card where there is one.
    Raises `EnvironmentFault` without torch."""
    if name != "auto" or engine != "torch":
        return "cpu" if name == "auto" else name
    from microgpt.engines.torch import require_torch

    require_torch()
    from microgpt.engines.torch.devices import settled

    return settled(name)


def create(name: str, config: "EngineConfig") -> "Engine":
    """The engine of this name, set up. Raises `UsageError` where it can't do what the configuration asks, and
    `EnvironmentFault` where the machine lacks what it needs."""
    return _MAKERS[choose(name)](config)
