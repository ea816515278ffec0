"""A sweep in its processes: what it does, and that nothing is lost when workers or the whole of it die."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from microgpt.errors import DataError
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import (
    Done,
    Planned,
    Retried,
    Status,
    SweepFinished,
    SweepInterrupted,
    SweepRecord,
    Tuned,
    in_order,
    work,
)
from microgpt.lab.sweep.executors import LocalProcesses
from microgpt.lab.sweep.spec import Spec
from trials import few
from trials.waiting import PATIENCE, until

SLOW = 1500  # steps that take some tenths of a second


def end(records: list[SweepRecord]) -> SweepFinished:
    assert isinstance(records[-1], SweepFinished)
    return records[-1]


def counts(records: list[SweepRecord]) -> tuple[int, int, int, int]:
    last = end(records)
    return last.planned, last.done, last.skipped, last.failed


def test_a_sweep_runs_all_once_and_then_nothing(tmp_path: Path) -> None:
    asked, path = few.planned(tmp_path), tmp_path / "lab.db"
    first = few.carry_out(asked, path)
    assert isinstance(first[0], Planned)
    assert counts(first) == (6, 6, 0, 0)
    assert counts(few.carry_out(asked, path)) == (6, 0, 6, 0)
    more = few.planned(tmp_path, seeds=(0, 1, 2, 3))
    assert counts(few.carry_out(more, path)) == (8, 2, 6, 0)


def test_results_do_not_depend_on_the_number_of_jobs(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, tuned=True)
    for jobs in (1, 2):
        few.carry_out(asked, tmp_path / f"{jobs}.db", jobs)
    assert few.table(tmp_path / "1.db") == few.table(tmp_path / "2.db")


def test_rates_are_tuned_before_what_is_reported(tmp_path: Path) -> None:
    records = few.carry_out(few.planned(tmp_path, tuned=True), tmp_path / "lab.db")
    (told,) = [record for record in records if isinstance(record, Tuned)]
    with Store.open(tmp_path / "lab.db") as store:
        assert {run.settings["lr"] for run in store.records("few", "study")} == {told.choice.rate}
        assert {run.settings["seed"] for run in store.records("few", "tuning")} == {1000, 1001}
        assert len(store.records("few", "study")) == 6
    again = few.carry_out(few.planned(tmp_path, tuned=True), tmp_path / "lab.db")
    assert end(again).done == 0
    assert [record.choice for record in again if isinstance(record, Tuned)] == [told.choice]


def test_a_run_that_diverges_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"initial_scale": (0.08, 1e200)}, base={"steps": 10, "lr": 1e300})
    records = few.carry_out(asked, tmp_path / "lab.db")
    failed = [record.record for record in records if isinstance(record, Done) and record.record.status == "failed"]
    assert {run.settings["initial_scale"] for run in failed} >= {1e200}
    assert counts(records)[1] + len(failed) == 6
    assert counts(few.carry_out(asked, tmp_path / "lab.db"))[2] == 6  # it would diverge again


def kill(executor: LocalProcesses, number: int) -> None:
    pid = executor.workers[number].process.pid
    assert pid
    os.kill(pid, signal.SIGKILL)


def test_a_run_whose_worker_is_killed_is_tried_again(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (SLOW,)})
    kills = []

    def disturb(executor: LocalProcesses, status: Status) -> None:
        if not kills and status.working[0]:
            kills.append(status.working[0])
            kill(executor, 0)

    records = few.carry_out(asked, tmp_path / "killed.db", 2, disturb=disturb)
    retried = [record for record in records if isinstance(record, Retried)]
    assert [record.spec for record in retried] == kills
    assert "SIGKILL" in retried[0].reason
    assert counts(records) == (3, 3, 0, 0)
    few.carry_out(asked, tmp_path / "calm.db")
    assert few.table(tmp_path / "killed.db") == few.table(tmp_path / "calm.db")


def test_a_run_that_kills_every_worker_is_given_up_and_tried_by_the_next_sweep(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (SLOW,)}, seeds=(0, 1))

    def disturb(executor: LocalProcesses, status: Status) -> None:
        for number, spec in enumerate(status.working):
            if spec and spec.settings.seed == 1:
                kill(executor, number)

    records = few.carry_out(asked, tmp_path / "lab.db", 1, disturb=disturb)
    assert counts(records) == (2, 1, 0, 1)
    assert sum(isinstance(record, Retried) for record in records) == 2
    (failed,) = [record.record for record in records if isinstance(record, Done) and record.record.error]
    assert "SIGKILL, Killed; memory may have run out), 3 times" in failed.error
    assert counts(few.carry_out(asked, tmp_path / "lab.db")) == (2, 1, 1, 0)


def test_a_stop_keeps_what_was_done_and_the_same_sweep_goes_on(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (10, 30)}, seeds=tuple(range(6)))
    looks = iter(range(100))
    records = few.carry_out(asked, tmp_path / "lab.db", stop=lambda: next(looks) > 4)
    assert isinstance(records[-1], SweepInterrupted)
    assert 0 < end(records).done < 12
    with Store.open(tmp_path / "lab.db") as store:
        assert len(store.records("few")) == end(records).done
    rest = few.carry_out(asked, tmp_path / "lab.db")
    assert counts(rest) == (12, 12 - end(records).done, end(records).done, 0)


def test_a_text_that_changes_stops_the_sweep(tmp_path: Path) -> None:
    asked = few.planned(tmp_path)
    Path(few.text(tmp_path)).write_text("other\nnames\nthan\nplanned\nbefore\n")
    with pytest.raises(DataError, match="start the sweep again"):
        few.carry_out(asked, tmp_path / "lab.db", jobs=1)


def test_the_order_of_work_is_random_but_the_same_and_ends_with_the_least(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (10, 500, 4000, 32000)}, seeds=tuple(range(8)))
    specs = [member.spec for member in asked.members(asked.groups[0], {})]
    order = in_order(specs)
    assert order == in_order(list(reversed(specs)))
    assert sorted(map(identity, order)) == sorted(map(identity, specs))
    amounts = [work(vars(spec.settings)) for spec in order]
    assert amounts[16:] == sorted(amounts[16:], reverse=True)
    assert amounts[:16] != sorted(amounts[:16])
    assert in_order([]) == []


def identity(spec: Spec) -> str:
    return spec.identity


def start(folder: Path, *more: str) -> "subprocess.Popen[str]":
    """The command line in a process group of its own."""
    command = [sys.executable, "-m", "microgpt", "sweep", "few.toml", "--jobs", "2", *more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def place(folder: Path, seeds: int = 3, longest: int = 400) -> Path:
    folder.mkdir()
    few.text(folder)
    (folder / "few.toml").write_text(few.design_file(10, 20, longest, seeds=seeds))
    return folder


def workers(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def gone(pids: list[int]) -> bool:
    return bool(until(lambda: not any(map(alive, pids))))


@pytest.mark.skipif(sys.platform != "linux", reason="children are looked up in /proc")
def test_ctrl_c_ends_workers_and_keeps_what_was_done(tmp_path: Path) -> None:
    folder = place(tmp_path / "here", longest=200_000)
    process = start(folder)
    while not (folder / "lab.db").exists() or not few.table(folder / "lab.db"):
        time.sleep(0.05)
    children = workers(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert "the same command goes on from here" in err
    assert "Traceback" not in err + out
    assert gone(children)
    assert few.table(folder / "lab.db")


def test_workers_are_closed_without_a_trace(tmp_path: Path) -> None:
    executor = LocalProcesses(2)
    processes = [worker.process for worker in executor.workers]
    executor.submit(few.planned(tmp_path, axes={"steps": (10**6,)}).levels[0])
    executor.close()
    assert not any(process.is_alive() for process in processes)


def test_a_plan_is_the_same_for_every_order_of_its_axes(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (10, 20), "emb": (4, 8)})
    other = few.planned(tmp_path, axes={"emb": (8, 4), "steps": (20, 10)})
    assert {spec.identity for spec in asked.levels} == {spec.identity for spec in other.levels}
    assert replace(asked.design, axes={}) == replace(other.design, axes={})


DEAF = """
import re, signal
from pathlib import Path
from microgpt.lab.sweep.executors import LocalProcesses
if __name__ == "__main__":
    executor = LocalProcesses(2)
    for worker in executor.workers:
        blocked = re.search(r"SigBlk:\\s*(\\w+)", Path(f"/proc/{worker.process.pid}/status").read_text())[1]
        print(int(blocked, 16) >> (signal.SIGINT - 1) & 1)
    executor.close()
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_every_worker_is_deaf_to_ctrl_c_from_its_first_moment(tmp_path: Path) -> None:
    """The first one was not: starting multiprocessing's tracker let signals through again, and it died of them."""
    (tmp_path / "deaf.py").write_text(DEAF)
    done = subprocess.run([sys.executable, "deaf.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["1", "1"], "")
