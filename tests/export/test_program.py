"""What is exported writes as the run does, on the standard library alone, and tells nothing of the machine."""

import ast
import json
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from microgpt.data.choices import Kind
from microgpt.errors import UsageError
from microgpt.export import export
from microgpt.export.program import program
from microgpt.library import Run, load, train
from tests.models import VARIATIONS, model_of, varies
from tests.test_reference import older_python

PROSE = "It was the best of times, it was the worst of times.\nAnd so we beat on, boats against it all.\n" * 8


@pytest.fixture(scope="module")
def names() -> Run:
    return train(steps=200, holdout=0.01)


def written(file: Path, *flags: str) -> str:
    done = subprocess.run([sys.executable, "-I", str(file), *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_program_writes_the_same_documents_as_the_run(names: Run, tmp_path: Path) -> None:
    export(names.checkpoint, tmp_path / "model.py")
    for temperature in (0.8, 0.0):
        expected = names.sample("ma", count=5, seed=3, temperature=temperature)
        flags = ("--prompt", "ma", "--seed", "3", "--temperature", str(temperature))
        assert written(tmp_path / "model.py", *flags).splitlines() == expected


@pytest.mark.parametrize("ctx", [1, 2, 7])
def test_a_program_writes_the_same_running_text_as_the_run(ctx: int, tmp_path: Path) -> None:
    (tmp_path / "prose.txt").write_text(PROSE.replace("best", "bést"))
    run = train(tmp_path / "prose.txt", steps=20, emb=8, ctx=ctx, documents="windows")
    export(run.checkpoint, tmp_path / "model.py")
    for prompt in ("", "it was the worst of", "be\u0301st"):
        flags = ("--prompt", prompt, "--count", "1", "--seed", "5", "--length", "60")
        assert written(tmp_path / "model.py", *flags) == run.sample(prompt, 1, seed=5, length=60)[0] + "\n"
    likeliest = written(tmp_path / "model.py", "--count", "1", "--length", "30", "--temperature", "0")
    assert likeliest == run.sample(count=1, temperature=0, length=30)[0] + "\n"


@pytest.mark.parametrize("kind", ["lines", "windows"])
@pytest.mark.parametrize("changes", VARIATIONS, ids=varies)
def test_a_program_of_a_varied_model_writes_the_same_texts_as_the_run(
    kind: Kind, changes: dict[str, Any], tmp_path: Path
) -> None:
    checkpoint = model_of(kind=kind, layer=2, emb=12, head=3, ctx=9, **changes)
    export(checkpoint, tmp_path / "model.py")
    expected = Run(checkpoint).sample("bad", 4, seed=5, temperature=1.0, length=40)
    flags = ("--prompt", "bad", "--count", "4", "--seed", "5", "--temperature", "1.0", "--length", "40")
    assert written(tmp_path / "model.py", *flags) == ("\n\n" if kind == "windows" else "\n").join(expected) + "\n"


def test_a_program_holds_what_varies_only_where_its_model_does() -> None:
    assert b"class Rotary" in program(model_of(position="rotary"))
    assert b"Varied" not in program(model_of())


@pytest.mark.parametrize("changes", [{}, VARIATIONS[-1]], ids=varies)
def test_an_older_python_runs_a_program(changes: dict[str, Any], tmp_path: Path) -> None:
    file, older = tmp_path / "model.py", older_python()
    file.write_bytes(program(model_of(**changes)))
    ast.parse(file.read_text("utf-8"), feature_version=(3, 9))
    if not older:
        pytest.skip("no Python 3.9 or 3.10 on the PATH; the syntax alone was checked")
    done = subprocess.run([older, "-I", str(file), "--seed", "1"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == (written(file, "--seed", "1"), "")


def test_a_program_refuses_unknown_characters(names: Run, tmp_path: Path) -> None:
    export(names.checkpoint, tmp_path / "model.py")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "model.py"), "--prompt", "É!"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "unknown characters: ['!', 'É']" in done.stderr


def test_shared_weights_write_as_the_run_does(names: Run, tmp_path: Path) -> None:
    export(names.checkpoint, tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").sample(count=5, seed=1) == names.sample(count=5, seed=1)


@pytest.mark.parametrize("name", ["model.safetensors", "model.py", "model.html", "model.onnx", "model"])
def test_what_is_exported_tells_nothing_of_the_text_or_the_machine(tmp_path: Path, name: str) -> None:
    if name == "model.onnx":
        pytest.importorskip("onnx")
    (tmp_path / "private.txt").write_text("anna\nbob\ncleo\n" * 3)
    run = train(tmp_path / "private.txt", steps=5, holdout=0)
    export(run.checkpoint, tmp_path / name)
    for file in (tmp_path / name, *(tmp_path / name).glob("*")):
        data = file.read_bytes() if file.is_file() else b""
        assert b"private" not in data
        assert str(tmp_path).encode() not in data
    if name == "model.safetensors":
        header = json.loads(data[8 : 8 + struct.unpack("<Q", data[:8])[0]])
        assert not [entry for entry in header if entry.startswith("adam")]


def test_another_ending_is_refused(names: Run, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"ends in .safetensors or .py"):
        export(names.checkpoint, tmp_path / "model.pickle")
