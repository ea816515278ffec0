"""Several ranks, as torchrun starts them: the same training as one, and an end to all when one is lost."""

import contextlib
import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.training.find import find
from microgpt.training.loop import train
from microgpt.training.records import Finished, Note, Progress, Record
from microgpt.training.request import Request
from microgpt.training.resume import resume

pytest.importorskip("torch", reason="torch is not installed: pip install 'microgpt-symmetry[torch]'")
needs_proc = pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="ranks are found in /proc")

SIZES = ["--engine", "torch", "--batch", "5", "--emb", "8", "--head", "2", "--seed", "7", "--samples", "1"]
LONG_ENOUGH = 300.0  # seconds for any of these


def torchrun(home: Path, *arguments: str, program: tuple[str, ...] = ("-m", "microgpt")) -> "subprocess.Popen[str]":
    """Two ranks of a command; with `--standalone` torchrun takes a port that is free."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.Popen(
        [*launcher, *program, *arguments],
        cwd=home,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finished(running: "subprocess.Popen[str]", code: int = 0) -> tuple[str, str]:
    out, err = running.communicate(timeout=LONG_ENOUGH)
    assert running.returncode == code, err
    return out, err


def alone(home: Path, *arguments: str) -> dict[str, Any]:
    command = [sys.executable, "-m", "microgpt", "train", *arguments, "--json", "--quiet"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, timeout=LONG_ENOUGH)
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def losses(home: Path, name: str) -> np.ndarray:
    with (home / "runs" / name / "losses.csv").open() as table:
        return np.array([float(row["loss"]) for row in csv.DictReader(table)])


def apart(left: np.ndarray, right: np.ndarray) -> float:
    """The largest relative distance of two curves."""
    assert len(left) == len(right)
    return float(np.abs(left / right - 1).max())


@pytest.mark.long
def test_two_ranks_train_as_one_does(tmp_path: Path) -> None:
    running = torchrun(tmp_path, "train", *SIZES, "--steps", "40", "--precision", "64", "--name", "two", "--json")
    asked = {"engine": "torch", "precision": "64", "samples": 1, "out": str(tmp_path / "runs"), "name": "one"}
    *_, one = train(request({"steps": 40, "batch": 5, "emb": 8, "head": 2, "seed": 7}, asked))
    assert isinstance(one, Finished)
    out, err = finished(running)
    two = json.loads(out)  # one object: rank 0 alone prints
    assert apart(losses(tmp_path, "one"), losses(tmp_path, "two")) < 1e-10
    assert two["loss"]["holdout"] == pytest.approx(one.result.loss.holdout, rel=1e-10)
    assert two["samples"] == list(one.result.samples)
    assert err.count("step 40/40") == 1
    assert not [path for path in (tmp_path / "runs").iterdir() if path.name not in ("one", "two")]
    assert [two["ranks"], one.result.ranks] == [2, 1]
    notes = [each.text for each in resume(tmp_path / "runs/two", {"steps": 41}) if isinstance(each, Note)]
    assert [text.startswith("ranks 2 -> 1: the same state goes on") for text in notes] == [False, True]


@pytest.mark.long
@pytest.mark.parametrize("batch", ["1", "8"])
def test_in_float32_they_stay_close(tmp_path: Path, batch: str) -> None:
    """Also where a batch has fewer documents than there are ranks."""
    same = [*SIZES, "--batch", batch, "--steps", "100", "--precision", "32", "--lr", "0.001"]
    alone(tmp_path, *same, "--name", "one")
    finished(torchrun(tmp_path, "train", *same, "--name", "two"))
    assert apart(losses(tmp_path, "one"), losses(tmp_path, "two")) < 1e-5


@pytest.mark.long
@needs_proc
@pytest.mark.parametrize("victim", [0, 1])
def test_when_one_rank_is_lost_all_end_and_the_run_goes_on(tmp_path: Path, victim: int) -> None:
    settings = [*SIZES, "--steps", "600", "--precision", "64", "--save-every", "20", "--name", "run"]
    running = torchrun(tmp_path, "train", *settings)
    ranks = wait_for(lambda: ranks_of(running.pid))
    wait_for(lambda: (tmp_path / "runs/run/losses.csv").exists() and len(losses(tmp_path, "run")) >= 20)
    os.kill(ranks[victim], signal.SIGKILL)
    _, err = finished(running, code=1)
    assert "another rank of this training was lost" in err
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())
    told = alone(tmp_path, "--resume", "run")  # on one rank
    assert told["resumed_from"]
    assert len(losses(tmp_path, "run")) == 600
    alone(tmp_path, *settings[:-2], "--name", "whole")
    assert apart(losses(tmp_path, "whole"), losses(tmp_path, "run")) < 1e-9


@pytest.mark.long
@needs_proc
def test_ctrl_c_saves_and_ends_all(tmp_path: Path) -> None:
    running = torchrun(tmp_path, "train", *SIZES, "--steps", "1000000", "--name", "run", "--save-every", "20")
    ranks = wait_for(lambda: ranks_of(running.pid))
    wait_for(lambda: (tmp_path / "runs/run/losses.csv").exists() and len(losses(tmp_path, "run")) >= 20)
    running.send_signal(signal.SIGINT)
    _, err = finished(running, code=1)  # torchrun's own code
    assert err.count("and saved; go on with: microgpt --resume") == 1
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks.values())


@pytest.mark.long
def test_ranks_that_disagree_end_with_one_line(tmp_path: Path) -> None:
    script = tmp_path / "differ.sh"
    script.write_text(f"exec {sys.executable} -m microgpt train --engine torch --steps 5 --emb $((16 + 16 * RANK))\n")
    _, err = finished(torchrun(tmp_path, "differ.sh", program=("--no-python", "bash")), code=1)
    said = [line for line in err.splitlines() if line.startswith("microgpt: ")]
    assert len(said) == 1
    assert "found emb 16 on rank 0 and 32 on rank 1" in said[0]
    assert "exitcode: 2" in err
    assert f"traceback : {said[0].removeprefix('microgpt: ')}" in err.splitlines()[-2]  # the end of torchrun's report
    assert not (tmp_path / "runs").exists()


@pytest.mark.long
def test_while_ranks_meet_ctrl_c_ends_at_once(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "RANK": "0", "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "microgpt", "train", "--engine", "torch", "--steps", "5"]
    environment = os.environ | place | {"TORCHELASTIC_RUN_ID": "one of two"}
    with subprocess.Popen(command, cwd=tmp_path, env=environment) as waiting:
        wait_for(lambda: answers(port))
        waiting.send_signal(signal.SIGINT)
        assert waiting.wait(LONG_ENOUGH) == -signal.SIGINT


def answers(port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@pytest.mark.long
def test_another_engine_refuses_several_ranks(tmp_path: Path) -> None:
    _, err = finished(torchrun(tmp_path, "train", "--engine", "array", "--steps", "5"), code=1)
    said = [line for line in err.splitlines() if line.startswith("microgpt: ")]
    assert said == ["microgpt: --engine array computes in one process, found 2 ranks; use --engine torch."]


IDLE = """
import sys, time
from microgpt.engines.ranks import joined
from microgpt.engines.torch import distributed

distributed.PATIENCE, distributed.SIGN_OF_LIFE = 6.0, float(sys.argv[1])
with joined({}) as followed:
    if followed is None:
        time.sleep(18)
sys.exit(followed or 0)
"""


@pytest.mark.long
@pytest.mark.parametrize(("sign_of_life", "code"), [("0.5", 0), ("1000", 1)])
def test_a_leader_may_be_busy_but_not_silent(tmp_path: Path, sign_of_life: str, code: int) -> None:
    (tmp_path / "idle.py").write_text(IDLE)
    _, err = finished(torchrun(tmp_path, "idle.py", sign_of_life, program=()), code)
    assert ("rank 1: another rank of this training was lost" in err) == bool(code)


LEGS = [("atomic", 20), ("array", 40), ("fused", 60), ("torch", 80)]
STEPS = 100


@pytest.mark.long
def test_one_run_folder_passes_through_all_engines(cwd: Path) -> None:
    """atomic, array, fused, torch, torch on two ranks: as if one engine had done it all."""
    sizes = {"emb": 8, "head": 2, "batch": 3, "steps": STEPS, "seed": 7}
    asked = {"precision": "64", "save_every": 10, "samples": 1, "out": "runs"}
    whole = follow(lambda stop: train(request(sizes, asked | {"engine": "array", "name": "whole"}), stop=stop), STEPS)
    for engine, until in LEGS:
        if until == LEGS[0][1]:
            follow(lambda stop: train(request(sizes, asked | {"engine": "atomic", "name": "chain"}), stop=stop), until)
        else:
            changes = {"engine": engine}
            follow(lambda stop, changes=changes: resume(find("chain", "runs"), changes, stop=stop), until)
        assert len(losses(cwd, "chain")) == until
    out, _ = finished(torchrun(cwd, "train", "--resume", "chain", "--engine", "torch", "--json"))
    told = json.loads(out)
    assert isinstance(whole, Finished)
    assert apart(losses(cwd, "whole"), losses(cwd, "chain")) < 1e-10
    assert told["engine"] == "torch"
    assert told["loss"]["holdout"] == pytest.approx(whole.result.loss.holdout, rel=1e-10)
    assert told["samples"] == list(whole.result.samples)


def request(sizes: Mapping[str, int], asked: Mapping[str, Any]) -> Request:
    from microgpt.recipes import resolve

    return resolve("default", {**sizes, **asked})


def follow(begin: Callable[[Callable[[], bool]], Iterator[Record]], until: int) -> Record:
    """Train until so many steps are done; the last record."""
    steps = [0]
    for record in begin(lambda: until <= steps[-1] < STEPS):
        if isinstance(record, Progress):
            steps.append(record.step)
    return record


def ranks_of(launcher: int) -> dict[int, int]:
    """The processes of the two ranks by their number, once both are there."""
    found = {}
    for pid in map(int, Path(f"/proc/{launcher}/task/{launcher}/children").read_text().split()):
        lines = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        found |= {int(line[5:]): pid for line in lines if line.startswith(b"RANK=")}
    return found if len(found) == 2 else {}


def wait_for(look: Callable[[], Any]) -> Any:
    """What a look gives as soon as it is something."""
    end = time.monotonic() + LONG_ENOUGH
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.1)
    raise TimeoutError
