"""The JavaScript of the pages: it parses, its lines are 120 characters at most, and what it computes is right."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from microgpt.studio.server import STATIC

OWN = Path(__file__).with_name("javascript")
SCRIPTS = sorted([*STATIC.glob("*.js"), *OWN.glob("*.js")])
LONGEST = 120


@pytest.fixture
def node() -> str:
    found = shutil.which("node")
    if found is None:
        pytest.skip("needs node")
    return found


@pytest.mark.parametrize("script", [*SCRIPTS, *STATIC.glob("*.css")], ids=lambda path: path.name)
def test_no_line_is_longer_than_a_screen(script: Path) -> None:
    lines = enumerate(script.read_text("utf-8").splitlines(), 1)
    assert [number for number, line in lines if len(line) > LONGEST] == []


@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_all_that_is_imported_is_used_and_is_there(script: Path) -> None:
    text = script.read_text("utf-8")
    for names, source in re.findall(r'import \{ (.*?) \} from "\./(.*?)";', text):
        exported = set(
            re.findall(
                r"^export (?:async )?(?:function\*?|const|class) (\w+)", (STATIC / source).read_text("utf-8"), re.M
            )
        )
        for name in names.split(", "):
            assert name in exported, f"{source} has no {name}"
            assert len(re.findall(rf"\b{name}\b", text)) > 1, f"{name} is not used"


def test_every_script_parses_and_computes_what_it_should(node: str, tmp_path: Path) -> None:
    for script in SCRIPTS:
        shutil.copy(script, tmp_path)
    (tmp_path / "package.json").write_text('{"type": "module"}')
    for script in SCRIPTS:
        subprocess.run([node, "--check", script.name], cwd=tmp_path, check=True, capture_output=True)
    ran = subprocess.run([node, "--test"], cwd=tmp_path, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout[-4000:]
