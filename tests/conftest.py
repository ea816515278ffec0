"""What several test files share."""

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import settings

# What a shell starts in the background ignores Ctrl-C, and so would every command that a test starts.
signal.signal(signal.SIGINT, signal.default_int_handler)

# Where no bytecode may be written beside the source, each command that a test starts would compile all of it again.
if os.environ.pop("PYTHONDONTWRITEBYTECODE", ""):
    bytecode = str(Path(__file__).parent.parent / ".pytest_cache" / "bytecode")
    sys.pycache_prefix = os.environ["PYTHONPYCACHEPREFIX"] = bytecode
    sys.dont_write_bytecode = False

# No test measures time, and a busy machine may be slow at anything. The same examples each time: what a suite says of a
# change must not hang on luck. `--hypothesis-profile explore` draws others.
settings.register_profile("everyday", deadline=None, max_examples=40, derandomize=True)
settings.register_profile("long", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None, max_examples=1000)


def pytest_configure(config: pytest.Config) -> None:
    """`make long` draws as many examples as hypothesis does by itself."""
    if not config.getoption("hypothesis_profile", None):
        settings.load_profile("long" if config.getoption("markexpr") == "long" else "everyday")


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
def cwd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder in which the test stands."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def no_collector() -> object:
    """Atoms are many and have no cycles: without the collector a test takes a quarter of the time."""
    import gc

    gc.disable()
    yield
    gc.enable()
