"""Runs of a sweep that train together get the records that they would get alone."""

import os
import signal
from pathlib import Path

import pytest

from microgpt.lab.ensemble import carry_out_together, most, quicker, shape
from microgpt.lab.groups import InGroups, Waiting
from microgpt.lab.run import Trained, Workshop
from microgpt.lab.spec import Spec
from microgpt.lab.sweep import Done, Finished, Retried, Status
from microgpt.lab.texts import Texts
from tests.lab.test_sweep import place, start
from trials import few

pytest.importorskip("torch", reason="torch is not installed: pip install 'microgpt-symmetry[torch]'")

TORCH = {"engine": "torch", "precision": "64"}
TIMES = ("seconds", "finished")


def runs(folder: Path, **changes: object) -> list[Spec]:
    """Two rates with three seeds each, of one shape."""
    base = {**TORCH, **changes.pop("base", {})}  # type: ignore[dict-item]
    asked = few.planned(folder, **{"axes": {"steps": (20,), "lr": (0.01, 0.03)}, "base": base, **changes})
    return [member.spec for group in asked.groups for member in asked.members(group, {})]


def alike(left: Trained, right: Trained, tolerance: float = 1e-9) -> None:
    """The same record, within rounding, but for its times."""
    for name, value in vars(left.record).items():
        if name not in TIMES:
            other = getattr(right.record, name)
            assert other == (pytest.approx(value, rel=tolerance) if isinstance(value, float) else value), name
    assert (left.curve is None) == (right.curve is None)
    if left.curve and right.curve:
        assert left.curve.every == right.curve.every
        assert left.curve.losses == pytest.approx(right.curve.losses, abs=2e-4)  # they are rounded to 1e-4


@pytest.mark.parametrize(
    "base",
    [
        pytest.param({}, id="lines"),
        pytest.param({"batch": 3, "warmup": 5}, id="batch"),
        pytest.param({"documents": "windows", "ctx": 6}, id="windows", marks=pytest.mark.long),
        pytest.param({"holdout": 0.0, "precision": "32"}, id="nothing held out"),
    ],
)
def test_a_group_gets_the_records_of_runs_alone(tmp_path: Path, base: dict[str, object]) -> None:
    specs, workshop = runs(tmp_path, base=base)[::3], Workshop()
    together = carry_out_together(workshop, specs)
    tolerance = 1e-4 if base.get("precision") == "32" else 1e-9
    assert len(together) == 2
    for spec, found in zip(specs, together, strict=True):
        alike(workshop.carry_out(spec), found, tolerance)
        assert found.record.samples


def test_one_that_diverges_is_marked_as_it_would_be_alone(tmp_path: Path) -> None:
    specs, workshop = runs(tmp_path), Workshop()
    specs[2] = specs[2].with_settings(initial_scale=1e200)
    specs[4] = specs[4].with_settings(lr=1e305, warmup=3)
    together = carry_out_together(workshop, specs)
    assert [found.record.status for found in together].count("failed") == 2
    for spec, found in zip(specs, together, strict=True):
        alike(workshop.carry_out(spec), found)
    assert "step 1: expected a finite loss" in together[2].record.error


def test_the_seconds_of_a_group_are_shared_out(tmp_path: Path) -> None:
    together = carry_out_together(Workshop(), runs(tmp_path))
    shares = {found.record.seconds["total"] for found in together}
    assert len(shares) == 1
    assert 0 < shares.pop() < 10


def test_runs_go_together_that_differ_in_what_is_drawn_and_how_fast_they_learn(tmp_path: Path) -> None:
    (spec, *_) = runs(tmp_path)
    for same in ({"seed": 7}, {"lr": 0.5}, {"warmup": 2}, {"decay": "cosine"}, {"initial_scale": 0.1}):
        assert shape(spec) == shape(spec.with_settings(**same)), same
    for other in ({"steps": 9}, {"emb": 8}, {"ctx": 4}, {"batch": 2}, {"beta1": 0.9}, {"norm_head": True}):
        assert shape(spec) != shape(spec.with_settings(**other)), other


def test_what_other_engines_compute_trains_alone(tmp_path: Path) -> None:
    for base in ({"engine": "array"}, {"precision": "bf16"}):
        (spec, *_) = runs(tmp_path, base=base)
        assert shape(spec) is None
        assert most(spec, Texts()) == 1


def test_an_estimate_knows_of_groups_and_of_what_trains_alone(tmp_path: Path) -> None:
    (spec, *_), texts = runs(tmp_path), Texts()
    assert quicker(spec, texts, step=1.0, runs=4) > 1.0  # one step of a second would be slow indeed
    assert quicker(spec, texts, step=1.0, runs=1) == 1.0
    assert quicker(*runs(tmp_path, base={"engine": "array"})[:1], texts, step=1.0, runs=4) == 1.0


def test_groups_are_of_one_shape_and_shared_out_evenly(tmp_path: Path) -> None:
    specs = runs(tmp_path, axes={"steps": (20, 30)}, seeds=tuple(range(8)))
    waiting = Waiting(Texts())
    for spec in specs:
        waiting.add(spec)
    groups = [waiting.take(idle) for idle in (2, 1, 3, 2, 1)]
    assert [len(group) for group in groups] == [4, 4, 3, 3, 2]
    assert all(len({shape(spec) for spec in group}) == 1 for group in groups)
    assert {spec for group in groups for spec in group} == set(specs)
    assert not waiting


def test_more_runs_than_train_together_well_are_groups_of_one_size(tmp_path: Path) -> None:
    waiting, (spec, *_) = Waiting(Texts()), runs(tmp_path)
    for seed in range(150):
        waiting.add(spec.with_settings(seed=seed))
    assert [len(waiting.take(1)) for _ in range(3)] == [50, 50, 50]


def same_table(left: Path, right: Path) -> None:
    """The same runs with the same results, within rounding."""
    for one, other in zip(few.table(left), few.table(right), strict=True):
        for mine, theirs in zip(one, other, strict=True):
            assert mine == (pytest.approx(theirs, rel=1e-9) if isinstance(theirs, float) else theirs)


@pytest.mark.long
def test_a_sweep_in_groups_is_the_sweep_of_single_runs_and_runs_nothing_twice(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, tuned=True, base=TORCH)
    first = few.carry_out(asked, tmp_path / "groups.db", executor=InGroups(1, Texts()))
    few.carry_out(asked, tmp_path / "alone.db")
    same_table(tmp_path / "groups.db", tmp_path / "alone.db")
    assert isinstance(first[-1], Finished)
    assert first[-1].planned == first[-1].done
    again = few.carry_out(asked, tmp_path / "groups.db", executor=InGroups(1, Texts()))
    assert isinstance(again[-1], Finished)
    assert (again[-1].done, again[-1].skipped) == (0, first[-1].done)


@pytest.mark.long
def test_runs_whose_group_dies_are_tried_again_alone(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (1500,)}, seeds=(0, 1, 2, 3), base=TORCH)
    killed: list[Spec] = []

    def kill(executor: InGroups, status: Status) -> None:
        pid = executor.workers[0].process.pid
        if pid and not killed and status.working[0]:
            killed.extend(executor.workers[0].queue)
            os.kill(pid, signal.SIGKILL)

    records = few.carry_out(asked, tmp_path / "killed.db", executor=InGroups(1, Texts()), disturb=kill)
    assert len(killed) == 4
    retried = [record for record in records if isinstance(record, Retried)]
    assert [record.spec for record in retried] == killed
    assert "SIGKILL" in retried[0].reason
    assert isinstance(records[-1], Finished)
    assert (records[-1].done, records[-1].failed) == (4, 0)
    few.carry_out(asked, tmp_path / "alone.db")
    same_table(tmp_path / "killed.db", tmp_path / "alone.db")


@pytest.mark.long
def test_a_run_that_kills_every_worker_costs_the_others_of_its_group_nothing(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (1500,)}, seeds=(0, 1, 2), base=TORCH)

    def kill(executor: InGroups, status: Status) -> None:
        pid = executor.workers[0].process.pid
        if pid and any(spec.settings.seed == 1 for spec in executor.workers[0].queue):
            os.kill(pid, signal.SIGKILL)

    records = few.carry_out(asked, tmp_path / "lab.db", executor=InGroups(1, Texts()), disturb=kill)
    assert isinstance(records[-1], Finished)
    assert (records[-1].done, records[-1].failed) == (2, 1)
    (failed,) = [record.record for record in records if isinstance(record, Done) and record.record.error]
    assert failed.settings["seed"] == 1
    assert "3 times" in failed.error


@pytest.mark.long
def test_the_command_line_trains_in_groups_or_with_folders_alone_and_stores_the_same(tmp_path: Path) -> None:
    for name, more in (("groups", ()), ("folders", ("--keep-runs",))):
        process = start(place(tmp_path / name, 2, 30), "--engine", "torch", "--precision", "64", "--quiet", *more)
        _, told = process.communicate(timeout=300)
        assert (process.returncode, told) == (0, "")
    assert not (tmp_path / "groups" / "runs").exists()
    assert (tmp_path / "folders" / "runs").exists()
    same_table(tmp_path / "groups" / "lab.db", tmp_path / "folders" / "lab.db")
