"""The engine `torch`: the same model on PyTorch, for graphics cards, several devices and several machines.

It reads in this order: net.py (the model), devices.py (where it computes), engine.py (the contract), distributed.py
(several ranks). Nothing here imports torch before an engine is created: it is large, and optional.
"""

from importlib.util import find_spec
from typing import Final

from microgpt.errors import EnvironmentFault

MISSING: Final = "torch is not installed; pip install 'microgpt-symmetry[torch]' brings it"


def reason_unavailable() -> str | None:
    """Why this machine can't run the engine, or None. It looks for torch without importing it."""
    return MISSING if find_spec("torch") is None else None


def require_torch() -> None:
    """Raise `EnvironmentFault` where torch is not installed."""
    if reason := reason_unavailable():
        raise EnvironmentFault(f"--engine torch: {reason}.")
