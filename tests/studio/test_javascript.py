"""The JavaScript of the pages: its lines are 120 characters at most, and what it computes is right. `make lint` does
the rest."""

import shutil
import subprocess
from pathlib import Path

import pytest

from microgpt.studio.server import STATIC

OWN = Path(__file__).with_name("javascript")
SCRIPTS = sorted([*STATIC.glob("*.js"), *OWN.glob("*.js")])
LONGEST = 120


@pytest.mark.parametrize("script", [*SCRIPTS, *STATIC.glob("*.css")], ids=lambda path: path.name)
def test_no_line_is_longer_than_a_screen(script: Path) -> None:
    lines = enumerate(script.read_text("utf-8").splitlines(), 1)
    assert [number for number, line in lines if len(line) > LONGEST] == []


@pytest.mark.skipif(not shutil.which("node"), reason="needs node")
def test_scripts_compute_what_they_should(tmp_path: Path) -> None:
    for script in SCRIPTS:
        shutil.copy(script, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    ran = subprocess.run(["node", "--test"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
