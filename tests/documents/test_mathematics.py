"""Each line of code that docs/MATHEMATICS.md quotes stands in the file that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHAPTER = (ROOT / "docs" / "MATHEMATICS.md").read_text("utf-8")
BLOCKS = re.findall(r"^```python\n# (\S+)\n(.*?)^```", CHAPTER, re.MULTILINE | re.DOTALL)
LINES = [(file, line) for file, block in BLOCKS for line in block.splitlines()]


@pytest.mark.parametrize(("file", "line"), LINES)
def test_a_quoted_line_stands_in_its_file(file: str, line: str) -> None:
    source = (ROOT / "src" / "microgpt" / file).read_text("utf-8")
    assert line in map(str.strip, source.splitlines())


def test_every_block_names_its_file() -> None:
    assert CHAPTER.count("```") == 2 * len(BLOCKS)
    assert len(LINES) > 20


def test_every_rule_is_in_the_chapter() -> None:
    """Each formula that backward.py computes has a line here."""
    source = (ROOT / "src/microgpt/engines/array/backward.py").read_text("utf-8")
    rules = re.split(r"^def ", source, flags=re.MULTILINE)[2:]  # after the preamble and `backward`, which calls them
    quoted = {line for file, line in LINES if file == "engines/array/backward.py"}
    for rule in rules:
        assert quoted & set(map(str.strip, rule.splitlines())), rule.split("(")[0]
