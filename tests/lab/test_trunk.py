"""Lengths that branch off from one trunk get the records that they would get alone, at a fraction of the steps."""

import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.engines import why_not_fastest
from microgpt.engines.array.engine import ArrayRunner
from microgpt.errors import UsageError
from microgpt.lab.store.record import Trained
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import Retried, Status, SweepInterrupted
from microgpt.lab.sweep.estimate import estimate
from microgpt.lab.sweep.groups import InGroups, Waiting
from microgpt.lab.sweep.plan import BUILT_IN, branched, plan
from microgpt.lab.sweep.run import Workshop
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.trunk import carry_out_branches, shares, trunk
from microgpt.lab.sweep.tuning import trials
from tests.command import microgpt, succeeded
from tests.lab.test_sweep import counts, kill, place, start
from tests.lab.test_sweep_cli import refused
from trials import few
from trials.waiting import until

TIMES = ("seconds", "finished")
LENGTHS = (10, 25, 60)


def lengths(folder: Path, **changes: Any) -> list[Spec]:
    """Three lengths of one seed, whose trunks end at 8, 20 and 48 steps."""
    base = {"decay": "cooldown", **changes.pop("base", {})}
    asked = few.planned(folder, **{"axes": {"steps": LENGTHS}, "seeds": (7,), "base": base, **changes})
    return [member.spec for group in asked.groups for member in asked.members(group, {})]


def same(left: Trained, right: Trained) -> bool:
    """Whether two runs are the same to the last bit, but for their times."""
    untimed = replace(left.record, **{name: getattr(right.record, name) for name in TIMES})
    return untimed == right.record and left.curve == right.curve


@pytest.mark.parametrize(
    "base",
    [
        pytest.param({}, id="array"),
        pytest.param({"precision": "32", "batch": 3, "warmup": 9}, id="warmup beyond a branch"),
        pytest.param({"engine": "atomic", "documents": "windows", "ctx": 4}, id="atomic", marks=pytest.mark.long),
        pytest.param({"engine": "fused"}, id="fused", marks=pytest.mark.long),
        pytest.param({"engine": "torch", "precision": "bf16"}, id="torch", marks=pytest.mark.long),
    ],
)
def test_a_branch_is_the_same_training_to_the_last_bit(tmp_path: Path, base: dict[str, object]) -> None:
    if base.get("engine") == "fused" and (reason := why_not_fastest()):
        pytest.skip(reason)
    if base.get("engine") == "torch":
        pytest.importorskip("torch", reason="torch is not installed: pip install 'microgpt-symmetry[torch]'")
    workshop = Workshop()
    specs = lengths(tmp_path, base=base)
    together = list(carry_out_branches(workshop, specs))
    alone = [workshop.carry_out(spec) for spec in specs]
    assert all(map(same, together, alone))
    assert len({done.record.loss for done in together}) == len(LENGTHS)
    assert [done.record.steps for done in together] == list(LENGTHS)


def test_the_trunk_is_trained_once_and_each_length_is_told_the_seconds_it_would_take_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that only steps move, a second each."""
    taken, advance = [0.0], ArrayRunner.advance

    def counting(runner: ArrayRunner, batches: Sequence[Any], rates: "np.ndarray[Any, Any]") -> Any:
        taken[0] += len(batches)
        return advance(runner, batches, rates)

    monkeypatch.setattr(ArrayRunner, "advance", counting)
    monkeypatch.setattr("microgpt.training.stopwatch.time.perf_counter", lambda: taken[0])
    specs = lengths(tmp_path)
    seconds = [done.record.seconds for done in carry_out_branches(Workshop(), specs)]
    assert taken == [48 + 2 + 5 + 12]
    assert sum(share * length for share, length in zip(shares(specs), LENGTHS, strict=True)) == pytest.approx(67)
    assert [each["train"] for each in seconds] == list(LENGTHS)


def test_what_diverges_is_marked_as_it_would_be_alone(tmp_path: Path) -> None:
    """On the trunk it takes every longer length with it, and no shorter one."""
    workshop = Workshop()
    outcomes = []
    for base in ({"lr": 1e305, "warmup": 15}, {"lr": 1e305}, {"initial_scale": 1e200}):
        specs = lengths(tmp_path, base=base)
        together = list(carry_out_branches(workshop, specs))
        assert all(map(same, together, [workshop.carry_out(spec) for spec in specs]))
        outcomes.append([done.record.status for done in together])
    assert outcomes[-1] == ["failed"] * 3
    assert "expected a finite loss" in together[-1].record.error


def test_runs_share_a_trunk_that_differ_in_their_steps_alone(tmp_path: Path) -> None:
    first, second, _ = lengths(tmp_path)
    assert trunk(first) == trunk(second) is not None
    for apart in ({"lr": 0.5}, {"seed": 8}, {"warmup": 3}, {"batch": 2}):
        assert trunk(first.with_settings(**apart)) != trunk(first)
    assert trunk(first.with_settings(decay="constant")) is None


def test_a_group_is_a_whole_trunk_the_longest_first(tmp_path: Path) -> None:
    waiting, specs = Waiting(), lengths(tmp_path, seeds=(1, 2))
    small = [spec for spec in specs if spec.settings.seed == 1][:2]
    large = [spec for spec in specs if spec.settings.seed == 2]
    for spec in (*small, *reversed(large)):
        waiting.add(spec)
    assert waiting.take() == large
    assert waiting.take() == small
    assert not len(waiting)


def test_the_built_in_sweep_takes_the_schedule_on_and_tunes_with_it() -> None:
    asked = plan(branched(BUILT_IN["laws"]), Texts())
    assert asked.name == "laws-trunk"
    assert {level.settings.decay for level in asked.levels} == {"cooldown"}
    group = asked.groups[0]
    assert asked.tuning
    trying = trials(group, asked.tuning, {})
    assert {(spec.settings.decay, spec.settings.steps) for spec in trying} == {("cooldown", 11314)}
    assert {trunk(level) for level in group.levels} == {trunk(group.levels[0])}
    with pytest.raises(UsageError, match="leave one out"):
        branched(replace(BUILT_IN["laws"], axes={"decay": ("linear", "cosine")}))


def test_an_estimate_counts_a_trunk_once(tmp_path: Path) -> None:
    texts = Texts()
    known = estimate(plan(few.design(tmp_path, base={"decay": "cooldown"}, tuned=True), texts), texts, jobs=1)
    assert [row.runs for row in known.rows] == [13, 3]
    assert [row.trainings for row in known.rows] == [13, pytest.approx(3 * 12 / 20)]  # 12 steps after the branch at 8
    assert known.flop == pytest.approx(sum(row.trainings * row.flop for row in known.rows))


def test_a_sweep_from_trunks_is_the_sweep_of_single_runs_and_runs_nothing_twice(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, base={"decay": "cooldown"})
    few.carry_out(asked, tmp_path / "alone.db")
    assert counts(few.carry_out(asked, tmp_path / "trunks.db", executor=InGroups(1))) == (6, 6, 0, 0)
    assert few.table(tmp_path / "alone.db") == few.table(tmp_path / "trunks.db")
    assert counts(few.carry_out(asked, tmp_path / "trunks.db")) == (6, 0, 6, 0)
    with Store.open(tmp_path / "trunks.db") as store:
        assert {run.settings["decay"] for run in store.records()} == {"cooldown"}


@pytest.mark.long
def test_a_trunk_whose_worker_is_killed_is_tried_again_with_what_is_left_of_it(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (100, 1500, 1600)}, base={"decay": "cooldown"}, seeds=(0,))
    killed: list[Spec] = []

    def disturb(executor: InGroups, status: Status) -> None:
        if not killed and status.working[0] and status.working[0].settings.steps > 100:
            killed.append(status.working[0])
            kill(executor, 0)

    records = few.carry_out(asked, tmp_path / "killed.db", executor=InGroups(1), disturb=disturb)
    assert [record.spec for record in records if isinstance(record, Retried)] == killed
    assert counts(records) == (3, 3, 0, 0)
    few.carry_out(asked, tmp_path / "calm.db")
    assert few.table(tmp_path / "killed.db") == few.table(tmp_path / "calm.db")


@pytest.mark.long
def test_a_stop_keeps_the_lengths_that_are_done_and_the_same_sweep_goes_on(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (10, 20, 20_000)}, base={"decay": "cooldown"}, seeds=(0, 1))
    begun: list[Status] = []
    records = few.carry_out(
        asked,
        tmp_path / "lab.db",
        executor=InGroups(1),
        disturb=lambda executor, status: begun.append(status),
        stop=lambda: bool(begun and begun[-1].done),
    )
    assert isinstance(records[-1], SweepInterrupted)
    done = records[-1].done
    assert 0 < done < 6
    rest = few.carry_out(asked, tmp_path / "lab.db", executor=InGroups(2))
    assert counts(rest) == (6, 6 - done, done, 0)
    few.carry_out(asked, tmp_path / "calm.db")
    assert few.table(tmp_path / "lab.db") == few.table(tmp_path / "calm.db")


@pytest.mark.skipif(sys.platform != "linux", reason="a session is killed as a whole")
@pytest.mark.long
def test_a_killed_sweep_goes_on_and_ends_with_the_same_store(tmp_path: Path) -> None:
    flags = ("--schedule", "trunk")
    folder = place(tmp_path / "killed", longest=4000)
    for _ in range(3):
        before = (folder / "lab.db").stat().st_mtime_ns if (folder / "lab.db").exists() else 0
        process = start(folder, *flags)
        until(lambda: (folder / "lab.db").exists() and (folder / "lab.db").stat().st_mtime_ns > before)  # noqa: B023
        time.sleep(0.3)
        process.send_signal(signal.SIGKILL)
        process.communicate()
    succeeded(microgpt("sweep", "few.toml", "--jobs", "2", *flags, cwd=folder))
    calm = place(tmp_path / "calm", longest=4000)
    succeeded(microgpt("sweep", "few.toml", "--jobs", "1", *flags, cwd=calm))
    assert few.table(folder / "lab.db") == few.table(calm / "lab.db")
    assert {row[1] for row in few.table(calm / "lab.db")} == {("few-trunk",)}


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["params"], "no two lengths"),
        (["steps", "--keep-runs"], "--keep-runs"),
        (["decay.toml"], "leave one out"),
        pytest.param(["steps", "--executor", "ray"], "--executor ray", marks=pytest.mark.long),
    ],
)
def test_what_has_no_trunk_is_refused_in_one_line(tmp_path: Path, flags: list[str], told: str) -> None:
    if "ray" in flags:
        pytest.importorskip("ray", reason="ray is not installed")
    folder = place(tmp_path / "refused")
    (folder / "decay.toml").write_text(few.design_file(10, 20, lr=None).replace("[base]", '[base]\ndecay = "cosine"'))
    assert told in refused(microgpt("sweep", *flags, "--schedule", "trunk", cwd=folder), 2)
    assert not (folder / "lab.db").exists()
