"""The course: its lessons are those of the studio, and every exercise is done once, as a reader does it."""

import math
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from microgpt.studio import xray
from microgpt.training import checkpoint as checkpoints
from tests.conftest import SOURCE
from tests.documents import pages
from tests.documents.pages import PAGES, Shell

TEXT = PAGES["COURSE.md"].read_text()
BLOCKS = [block for block in pages.blocks("COURSE.md") if block.language == "sh" and not block.left]
SETUP, SLOPE, JUDGES, PARITY, GUESS, TRAIN, MEASURE = (block.text for block in BLOCKS)
[ROW] = [block.text for block in pages.blocks("COURSE.md") if block.language == "python"]
DESIGNS = [block.text for block in pages.blocks("COURSE.md") if block.language == "toml"]
OWN = """
    (documents, heads, positions, size), kind = kept.query.shape, kept.attention.dtype
    d_heads = d_y.reshape(documents, positions, heads, size)
    d_scores = d_softmax(np.einsum("bths,bhus->bhtu", d_heads, kept.value), kept.attention) / kind.type(size**0.5)
    d_query = np.einsum("bhtu,bhus->bths", d_scores, kept.key)
    d_key = np.einsum("bhtu,bhts->buhs", d_scores, kept.query)
    d_value = np.einsum("bhtu,bths->buhs", kept.attention, d_heads)
    return np.stack([d_query, d_key, d_value], axis=2).reshape(len(d_y), -1)
"""
ZEROS = "\n    return np.zeros((len(d_y), 3 * d_y.shape[-1]), d_y.dtype)\n"


def test_there_are_five_exercises_each_with_a_check() -> None:
    exercises = re.split(r"^### \d\. ", TEXT, flags=re.M)[1:]
    assert len(exercises) == 5
    for exercise in exercises:
        for part in ("**Goal.**", "**Hint.**", "**Check.**", "**Success.**", "```sh"):
            assert part in exercise
    assert [tomllib.loads(design)["name"] for design in DESIGNS] == ["small", "larger"]


def test_the_sheet_has_the_lessons_of_the_studio() -> None:
    """What each is answered is held against the pages in tests/studio."""
    lessons = (SOURCE / "studio" / "static" / "lesson_texts.js").read_text("utf-8")
    titles = re.findall(r'^    title: "(.*)",$', lessons, re.M)
    assert re.findall(r"^\| (\d+) \| (.*?) \|", TEXT, re.M) == [(str(at), each) for at, each in enumerate(titles, 1)]


@pytest.mark.long
def test_the_course_is_done_from_its_set_up_to_its_end(tmp_path: Path) -> None:
    first = pages.clone(tmp_path / "first")
    shell = Shell(first, tmp_path / "shell")
    for text in ("make run", SETUP):
        done = shell.run(text)
        if "No matching distribution" in done.stdout:
            pytest.skip("needs a package index")
        assert done.returncode == 0, done.stdout
    assert shell.folder == tmp_path / "course"
    for exercise in (give_the_atom_tanh, break_a_derivative, write_attention, predict_a_loss, explain_a_sample):
        exercise(shell)
        assert shell.run("git checkout src").returncode == 0
    assert not subprocess.run(["git", "status", "--porcelain", "src"], cwd=first, capture_output=True).stdout
    where = subprocess.run(
        [first / ".venv" / "bin" / "python", "-c", "import microgpt; print(microgpt.__file__)"],
        capture_output=True,
        text=True,
    )
    assert Path(where.stdout).is_relative_to(first)  # the first clone still runs its own code


def give_the_atom_tanh(shell: Shell) -> None:
    [relu] = re.findall(r"^relu = op\(.*$", (shell.folder / "src/microgpt/symmetry.py").read_text(), re.M)
    change(shell, "symmetry.py", relu, f"{relu}\n{ROW.rstrip()}")
    slope, near = map(float, said(shell, SLOPE).split())
    assert slope == pytest.approx(near, abs=1e-8)
    assert str(slope)[:11] in TEXT
    said(shell, """python -c 'from microgpt.studio.expressions import parse; parse("(a*b).tanh()")'""")


def break_a_derivative(shell: Shell) -> None:
    change(shell, "symmetry.py", '"math.exp(a)",            "y")', '"math.exp(a)",            "1.1 * y")')
    *checks, last = said(shell, JUDGES, code=1).splitlines()
    assert all(line.startswith("FAIL") for line in checks)
    assert len({line.split()[1] for line in checks}) == 2
    assert str(len(checks)) in last
    assert shell.run("git checkout src").returncode == 0
    change(shell, "engines/array/backward.py", "return d_y * (x > 0.0)", "return 1.1 * d_y * (x > 0.0)")
    *checks, last = said(shell, JUDGES, code=1).splitlines()
    assert {line.split()[1] for line in checks if line.startswith("FAIL")} == {"array"}


def write_attention(shell: Shell) -> None:
    file = "engines/array/backward.py"
    text = (shell.folder / "src/microgpt" / file).read_text()
    [body] = re.findall(r'^def d_attend.*?""".*?"""(.*?)\n\n\ndef', text, re.M | re.S)
    change(shell, file, body, ZEROS.rstrip())
    checks = said(shell, PARITY, code=1).splitlines()
    assert all(line.startswith("FAIL") for line in checks if line.split()[1] == "array")
    change(shell, file, ZEROS.rstrip(), OWN.rstrip())
    [told] = re.findall(r"`(\d+ checks, all within)`", TEXT)
    assert told in said(shell, PARITY)


def predict_a_loss(shell: Shell) -> None:
    for name, design in zip(("small.toml", "larger.toml"), DESIGNS, strict=True):
        assert f"`{name}`" in TEXT
        (shell.folder / name).write_text(design)
    assert "of 3" in said(shell, GUESS).splitlines()[-1]


def explain_a_sample(shell: Shell) -> None:
    said(shell, TRAIN)
    measured = said(shell, MEASURE)
    [(loss, tokens)] = re.findall(r"([\d.]+)(?: ± [\d.]+)? nats per character.*?(\d+) tokens", measured, re.S)
    checkpoint = checkpoints.read(shell.folder / "runs" / "course" / "weights.safetensors")
    reading = xray.read(checkpoint, xray.open_array(checkpoint), "isabella")
    letters = [surprise for surprise in xray.surprises(reading) if surprise is not None]
    end = -math.log(xray.chances(reading, len(reading.tokens) - 1)[checkpoint.tokenizer.bos])
    assert len(letters) + 1 == int(tokens) == 9
    assert (sum(letters) + end) / 9 == pytest.approx(float(loss), abs=2e-3)
    assert float(re.findall(r"says ([\d.]+) nats", TEXT)[0]) == pytest.approx(float(loss), abs=0.05)


def change(shell: Shell, file: str, before: str, after: str) -> None:
    path = shell.folder / "src" / "microgpt" / file
    text = path.read_text()
    assert text.count(before) == 1, f"the course speaks of {before!r}"
    path.write_text(text.replace(before, after))


def said(shell: Shell, text: str, code: int = 0) -> str:
    done = shell.run(text)
    assert done.returncode == code, done.stdout
    return done.stdout
