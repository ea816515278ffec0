"""PyTorch is large and optional: nothing asks for it unless the engine does, and its absence is one plain line."""

import subprocess
import sys

import pytest

from microgpt.cli.app import run
from microgpt.engines import available, choose, create, device
from microgpt.engines.contract import EngineConfig
from microgpt.errors import EnvironmentFault
from microgpt.training.computing import settled
from microgpt.training.request import Request

EXTRA = r"pip install 'microgpt-symmetry\[torch\]'"


@pytest.fixture
def no_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without it: what is None there is not found."""
    monkeypatch.setitem(sys.modules, "torch", None)


@pytest.mark.usefixtures("no_torch")
def test_the_engine_says_what_to_install() -> None:
    found = {one.name: one for one in available()}["torch"]
    assert not found.usable
    assert "microgpt-symmetry[torch]" in found.reason
    assert choose("auto") != "torch"
    with pytest.raises(EnvironmentFault, match=EXTRA):
        create("torch", EngineConfig())
    with pytest.raises(EnvironmentFault, match=EXTRA):
        settled(Request(engine="torch", device="auto"))
    assert device("array", "auto") == "cpu"


@pytest.mark.usefixtures("no_torch")
def test_training_with_it_leaves_with_5(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    home = tmp_path_factory.mktemp("home")
    monkeypatch.chdir(home)
    assert run(["train", "--engine", "torch", "--quiet"]) == 5
    assert capsys.readouterr().err.count("microgpt-symmetry[torch]") == 1
    assert not list(home.iterdir())


def test_nothing_else_imports_it() -> None:
    program = (
        "import sys\n"
        "sys.modules['torch'] = None\n"  # whoever imports it gets an ImportError
        "import microgpt\n"
        "from microgpt.cli.app import run\n"
        "from microgpt.engines.ranks import ranks\n"
        "assert ranks() == 1\n"
        "sys.exit(run(['train', '--help']) or run(['engines']) or run(['--help']))\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "torch    no" in done.stdout
