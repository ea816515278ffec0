"""Workers that die and a store that many want at once, in short; and what the long forms have found."""

import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest

from microgpt.lab.run import Workshop
from trials import few, sharing, workers
from trials.fault import Outcome

linux = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


def check(outcome: Outcome) -> None:
    assert outcome.trials > 0
    assert outcome.lost == 0, outcome.figures


@pytest.mark.long
def test_kills_of_workers_lose_and_change_no_run() -> None:
    check(workers.kills(5, seed=1))


@pytest.mark.long
@linux
def test_a_run_beyond_its_worker_s_memory_is_marked_and_the_others_are_done() -> None:
    check(workers.memory(1, seed=1))


@pytest.mark.long
def test_sweeps_at_once_of_which_some_are_killed_lose_nothing() -> None:
    check(sharing.at_once(2, seed=1))


@pytest.mark.long
def test_readers_and_a_sweep_do_not_notice_each_other() -> None:
    check(sharing.readers(150, seed=1))


def test_marking_a_run_as_lost_takes_no_memory_for_its_weights(tmp_path: Path) -> None:
    """75 million weights would be 1.8 GB with their moments, in the worker that has just run out of memory."""
    sizes = {"emb": 1024, "layer": 6, "steps": 5}
    asked = few.planned(tmp_path, base=sizes, axes={"steps": (5,)}, seeds=(0,))
    (spec,) = [member.spec for member in asked.members(asked.groups[0], {})]
    tracemalloc.start()
    record = Workshop().lost(spec, "there was not enough memory").record
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (record.status, record.params > 70e6) == ("failed", True)
    assert most < 50e6


DEAF = """
import re, signal
from pathlib import Path
from microgpt.lab.executors import LocalProcesses
if __name__ == "__main__":
    executor = LocalProcesses(2)
    for worker in executor.workers:
        blocked = re.search(r"SigBlk:\\s*(\\w+)", Path(f"/proc/{worker.process.pid}/status").read_text())[1]
        print(int(blocked, 16) >> (signal.SIGINT - 1) & 1)
    executor.close()
"""


@linux
def test_every_worker_is_deaf_to_ctrl_c_from_its_first_moment(tmp_path: Path) -> None:
    """The first one was not: starting multiprocessing's tracker let signals through again, and it died of them."""
    (tmp_path / "deaf.py").write_text(DEAF)
    done = subprocess.run([sys.executable, "deaf.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.stdout.split(), done.stderr) == (["1", "1"], "")
