"""What of a cluster needs no cluster: what may be asked, who has a token, what fits; and Ray's absence is one line."""

import importlib.metadata
import sys
from pathlib import Path
from typing import Any

import pytest

from microgpt.cli.app import run
from microgpt.errors import EnvironmentFault, UsageError
from microgpt.lab.cluster.asked import Asked, check_installed, check_token, environment
from microgpt.lab.cluster.driver import jobs_of
from microgpt.lab.cluster.worker import Worker
from microgpt.lab.store.record import Trained
from microgpt.lab.sweep.texts import Texts
from trials import few


def test_without_ray_a_sweep_on_it_leaves_with_5_and_names_the_extra(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # a machine without it: what is None there is not found
    monkeypatch.chdir(tmp_path)
    assert run(["sweep", "steps", "--executor", "ray"]) == 5
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install 'microgpt-symmetry[ray]'" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("version", "fits"), [("2.51.9", False), ("1.99.0", False), ("2.52.0", True), ("3.0.0", True)])
def test_a_ray_too_old_for_tokens_is_refused(monkeypatch: pytest.MonkeyPatch, version: str, fits: bool) -> None:
    monkeypatch.setattr("microgpt.lab.cluster.asked.find_spec", lambda _: True)
    monkeypatch.setattr(importlib.metadata, "version", lambda _: version)
    if fits:
        check_installed()
        return
    with pytest.raises(EnvironmentFault, match=r"expected Ray 2\.52 or newer"):
        check_installed()


@pytest.mark.parametrize(
    "asked",
    [
        {"address": "here"},
        {"address": "ray://here:10001"},
        {"address": "here:0"},
        {"address": "here:70000"},
        {"address": ":6379"},
        {"gpus": 1.5},
    ],
)
def test_what_a_cluster_can_not_be_asked_is_a_matter_of_usage(asked: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Asked(**asked)


def test_who_would_join_needs_a_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    empty = tmp_path / "empty"
    empty.write_text("\n")
    for lacking in ({}, {"RAY_AUTH_TOKEN": ""}, {"RAY_AUTH_TOKEN_PATH": str(empty)}, {"RAY_AUTH_TOKEN_PATH": "/none"}):
        with pytest.raises(EnvironmentFault, match="expected the token of the cluster"):
            check_token(lacking)
    check_token({"RAY_AUTH_TOKEN": "one"})
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("one\n")
    check_token({})


def test_a_cluster_of_our_own_has_a_fresh_token_and_sends_no_statistics() -> None:
    first, second = environment(""), environment("")
    assert first["RAY_AUTH_MODE"] == second["RAY_AUTH_MODE"] == environment("here:6379")["RAY_AUTH_MODE"] == "token"
    assert len(first["RAY_AUTH_TOKEN"]) == 64
    assert first["RAY_AUTH_TOKEN"] != second["RAY_AUTH_TOKEN"]
    assert "RAY_AUTH_TOKEN" not in environment("here:6379")
    assert first["RAY_USAGE_STATS_ENABLED"] == environment("here:6379")["RAY_USAGE_STATS_ENABLED"] == "0"


MACHINES = [{"CPU": 8.0, "GPU": 1.0}, {"CPU": 3.0}, {"memory": 1e9}]


@pytest.mark.parametrize(
    ("asked", "jobs"),
    [
        (Asked(), 11),
        (Asked(jobs=4), 4),
        (Asked(cores=2), 5),
        (Asked(cores=4), 2),
        (Asked(gpus=0.3), 3),
        (Asked(gpus=0.1), 8),
        (Asked(gpus=1.0, cores=3), 1),
    ],
)
def test_as_many_runs_at_a_time_as_machines_can_hold(asked: Asked, jobs: int) -> None:
    assert jobs_of(asked, MACHINES) == jobs


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (Asked(cores=9), "at most 8 cores and 1 GPU"),
        (Asked(gpus=2.0), "1 core and 2 GPU"),
        (Asked(jobs=12), "--jobs 11 is the most"),
    ],
)
def test_what_machines_can_never_hold_is_refused(asked: Asked, told: str) -> None:
    with pytest.raises(EnvironmentFault, match=told):
        jobs_of(asked, MACHINES)


def test_a_worker_that_was_given_the_text_needs_no_file(tmp_path: Path) -> None:
    spec = few.planned(tmp_path).levels[0]
    corpus = Texts().corpus(spec)
    Path(spec.asked.data[0]).unlink()
    worker = Worker("no such folder", "", "cpu")
    worker.learn(spec, corpus)
    assert isinstance(worker.carry_out(spec), Trained)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--address", "here:6379"], "--executor local does not use"),
        (["--cores-per-run", "2"], "--executor local does not use"),
        (["--gpus-per-run", "0.5"], "--executor local does not use"),
        (["--executor", "ray", "--address", "here"], "HOST:PORT"),
        (["--executor", "ray", "--address", "here:6379", "--keep-runs"], "--keep-runs"),
        (["--executor", "ray", "--gpus-per-run", "0.5", "--engine", "array"], "add --engine torch"),
    ],
)
def test_flags_that_do_not_go_together_are_refused(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
) -> None:
    monkeypatch.setattr("microgpt.lab.cluster.asked.check_installed", lambda: None)
    assert run(["sweep", "steps", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
