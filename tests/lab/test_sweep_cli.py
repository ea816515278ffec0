"""`microgpt sweep` as a person meets it."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt.cli.sweeping import note
from microgpt.lab.sweep.coordinator import Tuned
from microgpt.lab.sweep.tuning import Choice
from tests.command import Done, microgpt, spawned, succeeded
from tests.lab.test_sweep import place
from trials import few


def refused(done: Done, code: int) -> str:
    """The one line of a refusal."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sweep that is done."""
    folder = place(tmp_path_factory.mktemp("sweep") / "home")
    done = microgpt("sweep", "few.toml", "--jobs", "1", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told.keys() == {"planned", "done", "skipped", "failed", "seconds", "store"}
    assert (told["planned"], told["skipped"], told["failed"], told["store"]) == (told["done"], 0, 0, "lab.db")
    return folder


def test_started_again_it_says_that_all_is_there(home: Path) -> None:
    done = microgpt("sweep", "few.toml", "--jobs", "1", cwd=home)
    assert done.returncode == 0, done.stderr
    assert "0 runs done" in done.stdout
    assert "learning rate for emb 4, head 2, layer 1" in done.stderr


def test_quiet_leaves_only_the_result(home: Path) -> None:
    done = microgpt("sweep", "few.toml", "--jobs", "1", "--quiet", cwd=home)
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 1


def test_a_dry_run_tells_the_plan_and_makes_nothing(tmp_path: Path) -> None:
    folder = place(tmp_path / "dry")
    done = microgpt("sweep", "few.toml", "--jobs", "1", "--dry-run", "--seeds", "5", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "25 runs, 10 of them to tune" in done.stdout
    told = json.loads(microgpt("sweep", "few.toml", "--jobs", "1", "--dry-run", "--json", cwd=folder).stdout)
    assert told["runs"] == 19
    assert {row["settings"]["steps"] for row in told["rows"]} == {10, 20, 400}
    assert {path.name for path in folder.iterdir()} == {"few.txt", "few.toml"}


def test_a_rate_is_told_with_the_batch_that_it_is_of(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"batch": (1, 2)}, base={"steps": 10}, tuned=True)
    told = [note(Tuned(group, Choice(0.02, 2.0, at_edge=False))) for group in asked.groups]
    assert told == [f"learning rate for emb 4, head 2, layer 1, batch {batch}: 0.02" for batch in (1, 2)]


def test_what_a_look_at_the_store_will_need_is_told_before_the_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("scipy", "matplotlib"):
        monkeypatch.setitem(sys.modules, name, None)
    folder = place(tmp_path / "lacking")
    flags = ("sweep", "few.toml", "--jobs", "1", "--dry-run")
    loud, quiet = (succeeded(microgpt(*flags, *more, cwd=folder)).stderr for more in ((), ("--quiet",)))
    assert "install SciPy and matplotlib: pip install 'microgpt-symmetry[lab]'" in loud
    assert quiet == ""


def test_run_folders_are_kept_where_asked_for(tmp_path: Path) -> None:
    folder = place(tmp_path / "kept")
    (folder / "few.toml").write_text(few.design_file(10, 20, 30, seeds=1, lr=None))
    done = microgpt("sweep", "few.toml", "--jobs", "1", "--keep-runs", cwd=folder)
    assert done.returncode == 0, done.stderr
    identities = {row[0] for row in few.table(folder / "lab.db")}
    assert {path.name for path in (folder / "runs").iterdir()} == {str(identity)[:16] for identity in identities}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["stps"], 2, "Did you mean steps"),
        (["none.toml"], 3, "none.toml"),
        (["steps", "--executor", "rya"], 2, "Did you mean ray"),
        (["steps", "--address", "here"], 2, "--executor local"),
        (["steps", "--seeds", "0"], 2, "--seeds"),
        (["steps", "--engine", "fusd"], 2, "Did you mean fused"),
        (["steps", "--store", "no/folder/lab.db"], 7, "choose another"),
        (["few.toml", "--store", "few.txt"], 7, "expected a valid store"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(home: Path, arguments: list[str], code: int, told: str) -> None:
    assert told in refused(microgpt("sweep", *arguments, cwd=home), code)


def test_two_sweeps_on_one_store_at_once_do_every_run_once(tmp_path: Path) -> None:
    """Each waits or is told that the store is in use; trials/sharing.py has eight of them, some stopped or killed."""
    home = place(tmp_path / "home")
    command = [sys.executable, "-m", "microgpt", "sweep", "few.toml", "--jobs", "1", "--json"]
    pipe = subprocess.PIPE
    processes = [subprocess.Popen(command, cwd=home, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    ends = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert {code for _, code in ends} <= {0, 7}
    told = [json.loads(out) for (out, _), code in ends if code == 0]
    assert sum(end["done"] for end in told) == len(few.table(home / "lab.db")) == told[0]["planned"]
    alone = place(tmp_path / "alone")
    shutil.copy(home / "few.toml", alone)
    assert spawned("sweep", "few.toml", "--jobs", "1", cwd=alone).returncode == 0
    assert few.table(alone / "lab.db") == few.table(home / "lab.db")
