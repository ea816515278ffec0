"""Files of older versions are read; those of a newer one are refused in a sentence, and stay as they are."""

import hashlib
import json
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from microgpt.data.reading import read
from microgpt.lab.store.store import Store
from microgpt.library import load
from microgpt.training.find import listing
from tests.command import microgpt, refused
from tests.conftest import FIXTURES
from trials.readers.of_training import closed, opened
from trials.small import resumed

OLD = FIXTURES / "schema_1"


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """What the first versions wrote: a run that knows nothing of --select and --patience, a store, token files."""
    shutil.copytree(OLD / "run", tmp_path / "runs" / "run")
    shutil.copytree(OLD / "tokens", tmp_path / "tokens")
    with closing(sqlite3.connect(tmp_path / "lab.db", isolation_level=None)) as connection:
        connection.executescript((OLD / "lab.sql").read_text("utf-8"))
    return tmp_path


def test_an_old_run_is_listed_sampled_and_extended(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(old)
    (summary,) = listing("runs")
    assert (summary.status, summary.step, summary.fault) == ("finished", 10, None)
    model = load("run")
    assert model.checkpoint.training is not None
    assert model.checkpoint.training.request.select == "last"
    assert len(model.sample(count=2, seed=1)) == 2
    assert resumed(old / "runs" / "run", {"steps": 12, "out": str(old / "runs")}).result.steps == 12


def test_an_old_store_is_read_and_written(old: Path) -> None:
    for create in (False, True):
        with Store.open(old / "lab.db", create=create) as store:
            assert [record.loss for record in store.records("few")] == [0.1 + 0.2]


def test_old_token_files_are_read(old: Path) -> None:
    assert str(read([str(old / "tokens")])).strip() == "one two one two"


def _newer_run(place: Path) -> None:
    path = place / "runs" / "run" / "weights.safetensors"
    header, numbers = opened(path.read_bytes())
    told = json.loads(header["__metadata__"]["microgpt"]) | {"schema": 4, "more": True}
    header["__metadata__"]["microgpt"] = json.dumps(told)
    path.write_bytes(closed(header, numbers))


def _newer_tokens(place: Path) -> None:
    path = place / "tokens" / "tokens.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"schema": 3, "more": True}))


def _newer_store(place: Path) -> None:
    with closing(sqlite3.connect(place / "lab.db", isolation_level=None)) as connection:
        connection.execute("PRAGMA user_version = 2")


@pytest.mark.parametrize(
    ("change", "arguments", "code", "told"),
    [
        (_newer_run, ("sample", "run"), 4, "found '4'; a newer version of microgpt"),
        (_newer_run, ("train", "--resume", "run", "--steps", "20"), 4, "found '4'; a newer version of microgpt"),
        (_newer_run, ("export", "run", "it.html"), 4, "found '4'; a newer version of microgpt"),
        (_newer_tokens, ("train", "--data", "tokens", "--steps", "1"), 3, "found '3'"),
        (_newer_store, ("analyze", "runs"), 7, "found 2; use a newer microgpt"),
        (_newer_store, ("sweep", "steps", "--seeds", "1", "--quiet"), 7, "found 2; use a newer microgpt"),
    ],
)
def test_what_a_newer_version_wrote_is_refused_and_left_alone(
    old: Path, change: Callable[[Path], None], arguments: tuple[str, ...], code: int, told: str
) -> None:
    change(old)
    before = _hashes(old)
    assert told in refused(microgpt(*arguments, cwd=old), code)
    assert _hashes(old) == before


def _hashes(place: Path) -> dict[str, str]:
    """Every file but the lock, which a writer leaves beside a store, with its hash."""
    found = [path for path in place.rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in found}
