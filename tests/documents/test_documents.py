"""The documents are true: links lead somewhere, quoted code stands where it says, and commands have those flags."""

import code
import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import pytest

from microgpt.cli.app import VERBS, microgpt
from tests.documents import pages
from tests.documents.pages import PAGES, ROOT

SOURCE = ROOT / "src" / "microgpt"
QUOTES = [
    (page, file, line)
    for page in PAGES
    for block in pages.blocks(page)
    if block.language == "python"
    for file in re.findall(r"\A# (\S+\.py)\n", block.text)
    for line in block.text.splitlines()[1:]
]
NOT_RUN = [f"{page}: {block.left}" for page in PAGES for block in pages.blocks(page) if block.left]
COMMANDS = [
    line
    for page in PAGES
    for block in pages.blocks(page)
    if block.language == "sh"
    for line in pages.commands(block.text)
    if line.startswith("microgpt ")
]


def test_what_is_not_run_is_listed() -> None:
    """Whoever adds a block that no test carries out says so here too."""
    assert sorted(NOT_RUN) == sorted(
        [
            "COURSE.md: opens a page",
            "COURSE.md: opens a page; the test reads the same numbers without a browser",
            "COURSE.md: the test puts it into the table",
            "DISTRIBUTED.md: a machine may have a card",
            *["DISTRIBUTED.md: needs several machines"] * 6,
            "DISTRIBUTED.md: needs two different commands at once",
            "LAWS.md: takes two hours",
            "LAWS.md: needs pandas, and a frame of your own",
            "LAWS.md: the columns are those of a file of your own",
            "LAWS.md: the columns and settings are those of runs of your own",
            "LAWS.md: the sweep `bigger` is of your own; COURSE.md has one",
            "README.md: it is the suite that this test belongs to",
            "README.md: uv and pipx are not installed for it, and what they do is what pip does",
            "RELIABILITY.md: it needs qemu, and a Python for arm64",
            "RELIABILITY.md: it takes minutes, and a test does it where zig is installed",
            "RELIABILITY.md: minutes to hours; short forms of the trials are tests",
            "YOUR_TEXT.md: takes four hours",
            "YOUR_TEXT.md: the lyrics are not in the repository",
            "YOUR_TEXT.md: the test's text is smaller",
        ]
    )


def test_the_command_lines_page_is_what_the_program_says() -> None:
    command = [sys.executable, "-m", "microgpt.cli.reference"]  # by itself: click remembers who asked first
    page = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert PAGES["CLI.md"].read_text() == page, "run `make docs`"


@pytest.mark.parametrize("verb", VERBS)
def test_every_flag_of_every_verb_has_its_help(verb: str) -> None:
    command = microgpt.get_command(microgpt.make_context("microgpt", [verb, "--help"], resilient_parsing=True), verb)
    assert command
    assert command.help
    for parameter in command.params:
        if parameter.param_type_name == "option":
            assert getattr(parameter, "help", None), f"{verb} {parameter.name}"


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page: str) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", PAGES[page].read_text()):
        if "://" not in target:
            assert (PAGES[page].parent / target).exists(), target


def test_every_command_is_one_that_the_program_takes() -> None:
    assert len(COMMANDS) > 60
    for line in COMMANDS:
        verb, *words = shlex.split(line.split(" | ")[0])[1:]
        if verb not in VERBS:
            verb, words = "train", [verb, *words]
        context = click.Context(microgpt)
        command = microgpt.get_command(context, verb)
        assert command
        with contextlib.suppress(click.exceptions.Exit):  # of --help
            command.make_context(verb, words, parent=context)  # it would refuse a flag that is none


def test_the_programs_and_targets_that_pages_name_are_there() -> None:
    """Figures come from programs in bench/ and the developer's words are targets of the Makefile."""
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.M)
    for page, path in PAGES.items():
        text = path.read_text()
        for file, rest in re.findall(r"\bpython (bench/\S+\.py)([^`\n]*)", text):
            assert (ROOT / file).exists(), f"{page}: {file}"
            for flag in re.findall(r"--([a-z-]+)", rest):  # each is an argument of machine.asked
                assert f"{flag.replace('-', '_')}=" in (ROOT / file).read_text(), f"{page}: {flag}"
        for target in re.findall(r"`make ([\w-]+)", text):
            assert target in targets, f"{page}: make {target}"


def test_the_files_and_rooms_of_the_architecture_are_there() -> None:
    text = PAGES["ARCHITECTURE.md"].read_text("utf-8")
    named = re.findall(r"`([\w/]+\.(?:py|c|js))`", text)
    assert len(named) > 30
    for name in named:
        assert (ROOT / name).exists() or [*SOURCE.rglob(name)], name
    for room in (path for path in SOURCE.glob("[a-z]*") if path.suffix in ("", ".py")):
        assert re.search(rf" {re.escape(room.name)}[/, ]", text), room.name  # in the map


@pytest.mark.parametrize(("page", "file", "line"), QUOTES)
def test_a_quoted_line_stands_in_its_file(page: str, file: str, line: str) -> None:
    assert line.strip() in map(str.strip, (SOURCE / file).read_text("utf-8").splitlines())


def test_every_rule_of_the_backward_pass_is_in_the_chapter() -> None:
    rules = re.split(r"^def ", (SOURCE / "engines/array/backward.py").read_text("utf-8"), flags=re.MULTILINE)[2:]
    quoted = {line for page, file, line in QUOTES if page == "MATHEMATICS.md" and file == "engines/array/backward.py"}
    for rule in rules:  # after the preamble and `backward`, which calls them
        assert quoted & set(map(str.strip, rule.splitlines())), rule.split("(")[0]


NOTEBOOK = import_module("docs.notebook")


def test_the_tutorial_can_be_pasted_into_a_prompt() -> None:
    tutorial = NOTEBOOK.blocks(ROOT / "docs" / "TUTORIAL.md")
    assert len(tutorial) > 8
    console = code.InteractiveConsole(locals={"__name__": "__console__"})
    for block, answer in tutorial:
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
            waits = [console.push(line) for line in [*block.splitlines(), ""]][-1]
        assert not waits, block
        pages.compare(answer, printed.getvalue())
        assert "Traceback" not in printed.getvalue(), printed.getvalue()
        assert "Error" not in printed.getvalue(), printed.getvalue()


@pytest.mark.parametrize("page", NOTEBOOK.PAGES, ids=lambda page: page.stem)
def test_a_notebook_is_its_page(page: Path) -> None:
    assert NOTEBOOK.PAGES[page].read_text("utf-8") == NOTEBOOK.notebook(page), "run `make docs`"


@pytest.mark.long
@pytest.mark.parametrize("page", NOTEBOOK.PAGES, ids=lambda page: page.stem)
def test_a_notebook_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbformat = pytest.importorskip("nbformat", reason="needs nbclient, of the extra dev")
    nbclient = pytest.importorskip("nbclient", reason="needs nbclient, of the extra dev")
    pytest.importorskip("ipykernel", reason="needs ipykernel, of the extra dev")
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    notebook = nbformat.read(NOTEBOOK.PAGES[page], as_version=4)
    nbformat.validate(notebook)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    for cell, (_, answer) in zip(cells, NOTEBOOK.blocks(page), strict=True):
        outputs = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
        pages.compare(answer, "\n".join(outputs))
