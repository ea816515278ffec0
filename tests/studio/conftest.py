"""What the tests of the studio share. Without its packages they all skip, and say what to install."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from trials.serving import Visit

NEEDED = {"starlette": "the extra studio", "uvicorn": "the extra studio", "httpx": "the package httpx"}


class Skipped(pytest.Module):
    """A file of tests that is not even imported, since it could not be."""

    def collect(self) -> list[pytest.Item]:
        name = missing()
        pytest.skip(f"{name} is not installed: needs {NEEDED[name]}", allow_module_level=True)


def missing() -> str:
    """The first package that is not there; empty where all are."""
    return next((name for name in NEEDED if find_spec(name) is None), "")


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    return Skipped.from_parent(parent, path=module_path) if missing() else None


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    """A real browser (playwright's Browser)."""
    from tests.browser import browser

    with browser() as found:
        yield found


@pytest.fixture
def here(tmp_path: Path) -> Iterator["Visit"]:
    """A visit to a studio without runs."""
    from microgpt.studio.studio import Studio
    from trials.serving import visit

    with visit(Studio(tmp_path / "runs", tmp_path / "lab.db")) as visiting:
        yield visiting


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """Its folder of runs."""
    return tmp_path / "runs"


@pytest.fixture
def address(out: Path) -> Iterator[str]:
    """A studio that listens, of its own process; the address that it printed."""
    from trials.serving import listening

    with listening(out, "--port", "0") as found:
        yield found
