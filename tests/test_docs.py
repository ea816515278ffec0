"""The documents are true: the command line's page is what the program says, and every command in them runs."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt.cli.app import VERBS, microgpt
from microgpt.cli.reference import reference

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_command_lines_page_is_what_the_program_says() -> None:
    assert (ROOT / "docs" / "CLI.md").read_text() == reference(), "run `make docs`"


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_of_every_verb_has_its_help(verb: str) -> None:
    command = microgpt.get_command(microgpt.make_context("microgpt", [verb, "--help"], resilient_parsing=True), verb)
    assert command
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{verb} {parameter.name}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_to_files_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_tutorial_runs() -> None:
    failures, tried = doctest.testfile(
        str(ROOT / "docs" / "TUTORIAL.md"), module_relative=False, optionflags=doctest.ELLIPSIS, encoding="utf-8"
    )
    assert tried > 20
    assert not failures


def commands() -> list[str]:
    """The lines of the README and the tutorial that a reader would type, but for those about make and installing."""
    lines = []
    for page in (ROOT / "README.md", ROOT / "docs" / "TUTORIAL.md"):
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
            lines += [line.split("  #")[0].strip() for line in block.splitlines()]
    return [line for line in lines if line.startswith(("microgpt", "python3 src"))]


@pytest.mark.long
def test_every_command_of_the_readme_runs(tmp_path: Path) -> None:
    """In order, in one folder, as a reader would."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    (tmp_path / "my-text.txt").write_text("".join(f"line {a} of {b}\n" for a in "abcdefgh" for b in "uvwxyz"))
    assert len(commands()) > 5
    for line in commands():
        words = shlex.split(line)
        words[:1] = [sys.executable, "-m", "microgpt"] if words[0] == "microgpt" else [sys.executable]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
