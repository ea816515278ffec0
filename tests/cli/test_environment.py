"""A full disk and what is not permitted, as the command line tells them: exit code 5 and one line."""

import subprocess
import sys
from pathlib import Path

import pytest

from trials import full
from trials.denied import FAULTS as DENIED
from trials.denied import denied

posix = pytest.mark.skipif(sys.platform == "win32", reason="permissions of another kind")
full_disks = pytest.mark.skipif(bool(full.lacking()), reason=full.lacking() or "it can be mounted")


@posix
@pytest.mark.long
def test_what_is_not_permitted_is_one_line_for_every_verb() -> None:
    outcome = denied(DENIED[0].trials, seed=0)
    assert outcome.lost == 0, outcome.figures


@full_disks
@pytest.mark.parametrize(
    ("group", "trials"),
    [("run", 4), *(pytest.param(group, 20, marks=pytest.mark.long) for group in full.GROUPS)],
)
def test_a_full_disk_is_one_line_and_keeps_what_was_there(group: str, trials: int) -> None:
    outcome = full.tried(group, trials, seed=2)
    assert outcome.lost == 0, outcome.figures


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_standard_output_that_is_full_is_one_line() -> None:
    with Path("/dev/full").open("w") as out:
        command = [sys.executable, "-m", "microgpt", "runs", "--json"]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5
    assert done.stderr.startswith("microgpt: standard output: ")
    assert done.stderr.count("\n") == 1
