"""The course: its commands are those of the program, and its first two exercises go as it tells."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from microgpt.cli.app import VERBS, microgpt
from tests.conftest import SOURCE

PAGE = SOURCE.parents[1] / "docs" / "COURSE.md"
TEXT = PAGE.read_text()
LINES = [line for block in re.findall(r"```sh\n(.*?)```", TEXT, re.S) for line in block.splitlines()]
COMMANDS = [shlex.split(line)[1:] for line in LINES if line.startswith("microgpt")]
SLOPE = next(line for line in LINES if line.startswith("python -c"))
ROW = next(line for block in re.findall(r"```python\n(.*?)```", TEXT, re.S) for line in block.splitlines())


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the source, as a person works in it."""
    shutil.copytree(SOURCE.parent, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def change(copy: Path, file: str, before: str, after: str) -> None:
    path = copy / "src" / "microgpt" / file
    text = path.read_text()
    assert text.count(before) == 1, f"the course speaks of {before!r}"
    path.write_text(text.replace(before, after))


def python(copy: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": str(copy / "src")}
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, cwd=copy, env=environment)


def test_there_are_five_exercises_each_with_a_check() -> None:
    exercises = re.split(r"^## \d\. ", TEXT, flags=re.M)[1:]
    assert len(exercises) == 5
    for exercise in exercises:
        for part in ("**Goal.**", "**Hint.**", "**Check.**", "**Success.**", "```sh"):
            assert part in exercise


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_every_command_has_the_flags_that_it_uses(words: list[str]) -> None:
    verb, *rest = words
    assert verb in VERBS
    command = microgpt.get_command(microgpt.make_context("microgpt", [verb, "--help"], resilient_parsing=True), verb)
    assert command
    known = {flag for parameter in command.params for flag in parameter.opts}
    assert {word for word in rest if word.startswith("--")} <= known


def test_its_sweeps_can_be_read(tmp_path: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", TEXT, re.S)
    assert [tomllib.loads(block)["name"] for block in blocks] == ["small", "larger"]


def test_exercise_1_a_row_of_the_table_is_an_operation_everywhere(copy: Path) -> None:
    path = copy / "src" / "microgpt" / "symmetry.py"
    [relu] = [line for line in path.read_text().splitlines() if line.startswith("relu = op(")]
    change(copy, "symmetry.py", relu, f"{relu}\n{ROW}")
    slope, near = map(float, python(copy, *shlex.split(SLOPE)[1:]).stdout.split())
    assert slope == pytest.approx(near, abs=1e-8)
    assert str(slope)[:11] in TEXT
    atoms = python(copy, "-c", "from microgpt.studio.expressions import parse; parse('(a*b).tanh()')")
    assert atoms.returncode == 0, atoms.stderr


def test_exercise_2_a_wrong_slope_is_seen_by_every_judge(copy: Path) -> None:
    change(copy, "symmetry.py", '"math.exp(a)",            "y")', '"math.exp(a)",            "1.1 * y")')
    done = python(copy, "-m", "microgpt", *next(words for words in COMMANDS if words[0] == "verify"))
    assert done.returncode == 1
    *checks, last = done.stdout.splitlines()
    assert all(line.startswith("FAIL") for line in checks)
    assert len({line.split()[1] for line in checks}) == 2
    assert str(len(checks)) in last
