"""The documents are true: the command line's page is what the program says, and every command in them runs."""

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt.cli.app import VERBS, microgpt

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


def test_the_command_lines_page_is_what_the_program_says() -> None:
    command = [sys.executable, "-m", "microgpt.cli.reference"]  # by itself: click remembers who asked first
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "CLI.md").read_text() == page, "run `make docs`"


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


def commands(page: Path) -> list[str]:
    """The lines that a reader would type, but for those about make and installing; times are shortened."""
    lines = []
    for block in re.findall(r"```sh\n(.*?)```", page.read_text(), re.S):
        lines += [line.split("  #")[0].strip() for line in block.splitlines()]
    lines = [re.sub(r"--for \d+[smh]", "--for 3s", line) for line in lines]
    return [line for line in lines if line.startswith(("microgpt", "python3 src"))]


@pytest.mark.parametrize(("page", "least"), [("README.md", 10), ("docs/YOUR_TEXT.md", 10)])
def test_the_pages_for_a_newcomer_have_commands_to_try(page: str, least: int) -> None:
    assert len(commands(ROOT / page)) >= least


@pytest.mark.long
@pytest.mark.parametrize("page", ["README.md", "docs/YOUR_TEXT.md"])
def test_every_command_of_a_page_runs(page: str, tmp_path: Path) -> None:
    """In order, in one folder, as a reader would."""
    (tmp_path / "src").symlink_to(ROOT / "src")
    plays = ROOT / "src" / "microgpt" / "data" / "builtin" / "shakespeare.txt"
    (tmp_path / "my-text.txt").write_text(plays.read_text()[:50_000])
    for line in commands(ROOT / page):
        words = shlex.split(line)
        words[:1] = [sys.executable, "-m", "microgpt"] if words[0] == "microgpt" else [sys.executable]
        done = subprocess.run(words, capture_output=True, text=True, cwd=tmp_path, timeout=300, check=False)
        assert done.returncode == 0, f"{line}\n{done.stderr}"
