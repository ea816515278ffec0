"""What several test files share."""

import json
import signal
from dataclasses import dataclass
from pathlib import Path

import pytest

# What a shell starts in the background ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

FIXTURES = Path(__file__).parent / "fixtures"
SOURCE = Path(__file__).parent.parent / "src" / "microgpt"


@dataclass(frozen=True)
class Golden:
    """A golden run: the losses of its steps, and the samples drawn after them."""

    steps: int
    emb: int
    head: int
    layer: int
    ctx: int
    losses: list[float]
    samples: list[str]
    weights_sum: float
    weights_sum_of_squares: float


def golden(name: str) -> Golden:
    """One of karpathy_1000, karpathy_e32h4l2_60 and artistic_200."""
    text = json.loads((FIXTURES / "golden" / f"golden_{name}.json").read_text())
    return Golden(**{field: text[field] for field in Golden.__annotations__})


@pytest.fixture
def no_collector() -> object:
    """Atoms are many and have no cycles: without the collector a test takes a quarter of the time."""
    import gc

    gc.disable()
    yield
    gc.enable()
