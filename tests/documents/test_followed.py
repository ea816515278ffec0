"""Each page followed word for word in a fresh clone: its commands, its programs, and what it shows that they answer."""

import re
import sqlite3
from pathlib import Path

import pytest

from tests.documents import pages
from tests.documents.pages import Block, Shell

PLAYS = pages.ROOT / "src" / "microgpt" / "data" / "builtin" / "shakespeare.txt"
PIP = re.compile(r"^.*pip install .*?\[(.*)\].*$", re.M)


def follow(page: str, shell: Shell) -> None:
    """Carry out the blocks of a page in their order."""
    answer = ""
    for block in pages.blocks(page):
        if not block.left:
            answer = carry_out(block, shell, answer)


def carry_out(block: Block, shell: Shell, answer: str) -> str:
    """One block of a page; gives what it printed. What pip would bring must be there already."""
    if block.language == "sh":
        for extras in PIP.findall(block.text):
            if lacking := pages.missing(extras):
                pytest.skip(f"needs the extra {lacking}")
        return called(shell, PIP.sub("", block.changed))
    if block.language == "python" and not block.text.startswith("# "):
        return called(shell, f"python - <<'END'\n{block.changed}END\n")
    if block.language == "text":
        if block.text.startswith("$ "):
            command, _, shown = block.text.partition("\n")
            answer = shell.run(command[2:]).stdout
        else:
            shown = block.text
        pages.compare(shown, answer)
    if block.language in ("toml", "csv"):
        for name in re.findall(rf"`(\S+\.{block.language})`", block.before)[-1:]:
            (shell.folder / name).write_text(block.text)
    if block.language == "sql":
        assert sqlite3.connect(shell.folder / "lab.db").execute(block.text).fetchall()
    return answer


def called(shell: Shell, text: str) -> str:
    done = shell.run(text)
    assert done.returncode == 0, f"{text}\n{done.stdout}"
    return done.stdout


@pytest.mark.long
@pytest.mark.parametrize(
    "page", ["README.md", "YOUR_TEXT.md", "SCALING.md", "LAWS.md", "DISTRIBUTED.md", "RELIABILITY.md"]
)
def test_a_page_is_followed_word_for_word(page: str, tmp_path: Path) -> None:
    folder = pages.clone(tmp_path / "clone")
    pages.installed(folder)
    (folder / "my-text.txt").write_text(PLAYS.read_text()[:50_000])
    follow(page, Shell(folder, tmp_path / "shell"))
