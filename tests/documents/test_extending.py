"""Every change of docs/EXTENDING.md is applied to a copy of the package, and its commands are run there."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.documents import pages
from tests.documents.pages import ROOT
from trials.waiting import PATIENCE

PAGE = (ROOT / "docs" / "EXTENDING.md").read_text("utf-8")
SECTIONS = dict(re.findall(r"^## (An? \w+)\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL))
NEEDS = {"An axis": "A setting"}  # whose change it is along


def fenced(section: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("title", SECTIONS)
def test_a_change_of_the_page_works(title: str, tmp_path: Path) -> None:
    section = SECTIONS[title]
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    changes = "".join(fenced(SECTIONS[NEEDS.get(title, title)], "diff"))
    for change in re.split(r"^(?=--- )", changes, flags=re.MULTILINE)[1:]:  # of one file each
        apply = ["git", "apply", "--recount", "--unidiff-zero", "-"]  # no count and place of lines is needed
        subprocess.run(apply, cwd=tmp_path, input=change, text=True, check=True, timeout=PATIENCE)
    for text in fenced(section, "toml"):
        (tmp_path / "ends.toml").write_text(text, "utf-8")
    for told in fenced(section, "console"):
        for command, expected in re.findall(r"^\$ (.*)\n((?:(?!\$ ).*\n)*)", told, re.MULTILINE):
            assert expected in run(shlex.split(command), tmp_path)


def run(words: list[str], place: Path) -> str:
    python = [sys.executable, "-P"]
    words = python + (["-m", *words] if words[0] == "microgpt" else words[1:])
    environment = {**os.environ, "PYTHONPATH": str(place / "src")}
    done = subprocess.run(
        words, cwd=place, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_page_has_every_section() -> None:
    assert [*SECTIONS] == [
        "A setting", "An axis", "An operation", "An engine", "A recipe", "A verb", "An export",
    ]  # fmt: skip
    assert "EXTENDING.md" in pages.PAGES
