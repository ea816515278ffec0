"""A setting is one line: a copy of the package in which made-up ones were added, a line each, opens what older versions
wrote, carries the new settings everywhere, and its files are refused by a version that does not know them."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from tests.command import Done, microgpt, refused, succeeded
from tests.conftest import FIXTURES
from trials.waiting import PATIENCE

SOURCE = Path(__file__).parent.parent / "src" / "microgpt"
OLD = (
    FIXTURES / "version_0.1"
)  # what commit 9c7bf30 wrote: a run, its weights to share, token files, predictions and a store
MADE_UP = {
    "model/settings.py": {
        "    norm_head: bool = ": '    taste: str = _model("plain", "Made up.", choices=("plain", "odd"), since="9.9")',
        "    seed: int = ": '    drift: float = _schedule(0.0, "Made up.", low=0, since="9.9")',
    },
    "training/request.py": {
        "    split_seed: int = ": '    accent: bool = _text(False, "Made up.", since="9.9")',
        "    threads: int = ": '    lanes: int = _computing(1, "Made up.", low=1, since="9.9")',
        "    name: str = ": '    colour: str = _place("", "Made up.", since="9.9")',
    },
}
TINY = ("--steps", "3", "--emb", "4", "--head", "2", "--ctx", "8", "--engine", "array", "--samples", "1")
SWEEP = """
name = "tastes"
seeds = 2
lr = 0.01
base = {data = "names", emb = 4, head = 2, ctx = 8, engine = "array", steps = 4}
axes = {drift = [0.0, 0.5]}
"""


@pytest.fixture(scope="module")
def newer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package with a made-up setting of each kind."""
    root = tmp_path_factory.mktemp("newer")
    shutil.copytree(SOURCE, root / "microgpt", ignore=shutil.ignore_patterns("__pycache__"))
    for file, lines in MADE_UP.items():
        path = root / "microgpt" / file
        code = path.read_text("utf-8")
        for after, line in lines.items():
            assert code.count(after) == 1
            code = code.replace(after, f"{line}\n{after}")
        path.write_text(code, "utf-8")
    registry = root / "microgpt" / "engines" / "__init__.py"
    before, array, after = registry.read_text("utf-8").partition("_array, (")
    code = before + array + after.replace("variations=DEFINED", 'variations=(*DEFINED, "taste")', 1)
    registry.write_text(code, "utf-8")
    return root


@pytest.fixture
def old(tmp_path: Path) -> Path:
    shutil.copytree(OLD, tmp_path, dirs_exist_ok=True)
    (tmp_path / "runs").mkdir()
    (tmp_path / "run").rename(tmp_path / "runs" / "run")
    with closing(sqlite3.connect(tmp_path / "lab.db", isolation_level=None)) as connection:
        connection.executescript((OLD / "lab.sql").read_text("utf-8"))
    (tmp_path / "tastes.toml").write_text(SWEEP)
    return tmp_path


def by(package: Path, place: Path, *arguments: str) -> Done:
    """A command of a copy of the package."""
    return subprocess.run(
        [sys.executable, "-P", "-m", "microgpt", *arguments],
        cwd=place,
        env={**os.environ, "PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def test_what_older_versions_wrote_goes_on_with_new_settings(newer: Path, old: Path) -> None:
    store = (old / "lab.db").read_bytes()
    for arguments in (
        ("sample", "run", "--count", "1"),
        ("eval", "run"),
        ("sample", "shared.safetensors", "--count", "1"),
        ("export", "run", "model.py"),
        ("train", "--data", "tokens", "--taste", "odd", *TINY),
        ("train", "--resume", "run", "--steps", "12", "--lanes", "2", "--colour", "red"),
        ("analyze", "runs", "--store", "lab.db"),
    ):
        succeeded(by(newer, old, *arguments))
    assert (old / "lab.db").read_bytes() == store  # a reader adds no column
    points = ("--csv", str(FIXTURES / "llama3_points.csv"), "--flop", "flop")
    succeeded(by(newer, old, "predict", "1e9", "1e11", *points, "--register", "said.json"))
    assert len(json.loads((old / "said.json").read_text())["predictions"]) == 2


def test_an_older_run_is_not_made_again_and_a_new_setting_is_an_axis_with_its_table(newer: Path, old: Path) -> None:
    again = (
        'name = "few"\nseeds = 2\nlr = 0.01\nbase = {data = "names", emb = 4, head = 2, ctx = 8, engine = "array"}\n'
    )
    (old / "few.toml").write_text(f"{again}axes = {{steps = [4, 8]}}\n")
    assert "0 runs done, 4 were there already" in succeeded(by(newer, old, "sweep", "few.toml", "--quiet")).stdout
    assert "2 runs done, 2 were there" in succeeded(by(newer, old, "sweep", "tastes.toml", "--quiet")).stdout
    rows = json.loads(succeeded(by(newer, old, "analyze", "drift", "--sweep", "tastes", "--json")).stdout)["rows"]
    assert [row["value"] for row in rows] == [0.0, 0.5]
    listed = json.loads(succeeded(by(newer, old, "analyze", "runs", "--sweep", "few", "--json")).stdout)["rows"]
    assert {row["taste"] for row in listed} == {"plain"}
    told = refused(microgpt("analyze", "runs", cwd=old), 7)
    assert "made by a newer version of microgpt: its runs set taste, drift, accent" in told.replace(
        "drift, taste", "taste, drift"
    )


def test_a_run_of_a_newer_version_is_refused_only_where_it_uses_a_new_setting(newer: Path, old: Path) -> None:
    for name, settings in {"plain": (), "odd": ("--taste", "odd"), "drifting": ("--drift", "0.5", "--accent")}.items():
        succeeded(by(newer, old, "train", *TINY, "--name", name, *settings))
    assert microgpt("sample", "plain", cwd=old).returncode == 0
    assert "newer version of microgpt: it sets 'taste'" in refused(microgpt("sample", "odd", cwd=old), 4)
    assert "it sets 'drift'" in refused(microgpt("sample", "drifting", cwd=old), 4)


def test_a_new_setting_has_a_flag_a_field_of_the_form_and_a_command(newer: Path, old: Path) -> None:
    help = succeeded(by(newer, old, "train", "--help")).stdout
    assert all(f"--{name}" in help for name in ("taste", "drift", "accent", "lanes", "colour"))
    program = """
import json
from microgpt.recipes import resolve
from microgpt.recipes.command import command
from microgpt.studio.form import form
asked = resolve("default", {"drift": 0.5, "accent": True})
print(json.dumps([[field["name"] for field in form()["fields"]], command(asked)]))
"""
    environment = {**os.environ, "PYTHONPATH": str(newer)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", program], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    fields, command = json.loads(succeeded(done).stdout)
    assert {"taste", "drift", "accent", "lanes", "colour"} <= {*fields}
    assert command == "microgpt --accent --drift 0.5"


def test_no_engine_and_no_export_ignores_what_a_model_varies(newer: Path, old: Path) -> None:
    tasting = ("train", *TINY, "--taste", "odd", "--name", "odd")
    succeeded(by(newer, old, *tasting))
    told = refused(by(newer, old, *tasting, "--engine", "fused"), 2)
    assert told.endswith("--engine fused does not compute --taste odd; take --engine array.")
    assert "does not compute --taste odd" in refused(by(newer, old, "export", "odd", "odd.html"), 2)
    succeeded(by(newer, old, "export", "odd", "odd.safetensors"))
    assert "--engine atomic does not compute --taste odd" in refused(by(newer, old, "verify", "--engine", "array"), 2)
