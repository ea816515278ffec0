"""How the model is computed: the ladder of engines behind the one contract of base.py.

Each engine is imported only when it is created, so that a list of names costs nothing.
"""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from microgpt.errors import UsageError

if TYPE_CHECKING:
    from microgpt.engines.base import Engine, EngineConfig


def _atomic(config: "EngineConfig") -> "Engine":
    from microgpt.engines.atomic import AtomicEngine

    return AtomicEngine(config)


def _array(config: "EngineConfig") -> "Engine":
    from microgpt.engines.array import ArrayEngine

    return ArrayEngine(config)


def _fused(config: "EngineConfig") -> "Engine":
    from microgpt.engines.fused.engine import FusedEngine

    return FusedEngine(config)


_MAKERS: dict[str, Callable[["EngineConfig"], "Engine"]] = {"atomic": _atomic, "array": _array, "fused": _fused}
ENGINES = tuple(_MAKERS)  # in the order of the ladder


@dataclass(frozen=True)
class Availability:
    """Whether this machine can run an engine and, where it can't, the reason and the remedy."""

    name: str
    usable: bool
    reason: str = ""


def available() -> list[Availability]:
    """Every engine of the ladder. `atomic` and `array` need nothing but the package, `fused` a C compiler."""
    from microgpt.engines.fused.compiler import reason_unavailable

    reason = reason_unavailable()
    return [
        Availability("atomic", usable=True),
        Availability("array", usable=True),
        Availability("fused", usable=reason is None, reason=reason or ""),
    ]


def choose(name: str = "auto") -> str:
    """The engine that a name means: `auto` is the fastest usable one. Raises `UsageError` for a name that is none."""
    if name == "auto":
        return "fused" if all(found.usable for found in available()) else "array"
    if name not in ENGINES:
        near = difflib.get_close_matches(name, ["auto", *ENGINES], 1, 0)[0]
        raise UsageError(f"--engine takes auto, {', '.join(ENGINES)}; found {name!r}. Did you mean {near}?")
    return name


def create(name: str, config: "EngineConfig") -> "Engine":
    """The engine of this name, set up. Raises `UsageError` where it can't do what the configuration asks."""
    return _MAKERS[choose(name)](config)
