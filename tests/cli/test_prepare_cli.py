"""`microgpt prepare` as a person meets it; and a gigabyte, in bounded memory."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command import SMALL, microgpt, refused, spawned, succeeded
from trials.measured import measured

MEGABYTE = 1_000_000
PREPARED = 120  # MB at the most, of which Python and numpy are 40
TRAINED = 120


def test_a_text_is_prepared_trained_on_and_refused_once_it_changed(tmp_path: Path) -> None:
    told = json.loads(succeeded(microgpt("prepare", "names", "--out", "tokens", "--json", cwd=tmp_path)).stdout)
    assert (told["unit"], told["vocabulary"], told["bits"]) == ("characters", 28, 8)
    result = json.loads(succeeded(microgpt("--data", "tokens", *SMALL, "--json", cwd=tmp_path)).stdout)
    assert result["vocabulary"] == 28
    with (tmp_path / "tokens" / "tokens.bin").open("rb+") as file:
        file.write(b"\xff")
    line = refused(microgpt("--data", "tokens", *SMALL, cwd=tmp_path), 3)
    assert "expected token ids below 27, found 255" in line
    assert "expected a new --out" in refused(microgpt("prepare", "names", "--out", "tokens", cwd=tmp_path), 2)


def test_standard_input_is_prepared_as_bytes(tmp_path: Path) -> None:
    done = spawned("prepare", "-", "--out", "tokens", "--tokens", "bytes", cwd=tmp_path, stdin="añb")
    assert "4 bytes, a vocabulary of 257" in succeeded(done).stdout


@pytest.mark.long
@pytest.mark.parametrize(("unit", "megabytes"), [("characters", 250), ("bytes", 1000)])
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
def test_a_gigabyte_is_prepared_and_trained_on_in_bounded_memory(tmp_path: Path, unit: str, megabytes: int) -> None:
    """The pages of a mapped file are the system's to forget: what training takes is its anonymous memory."""
    if shutil.disk_usage(tmp_path).free < 3000 * MEGABYTE:
        pytest.skip("takes 2 GB of disk")
    part = ("Ein Löwe lag im Schatten eines Baumes und schlief.\nKam die Maus.\n" * 20_000).encode()
    with (tmp_path / "text.txt").open("wb") as file:
        for _ in range(megabytes * MEGABYTE // len(part)):
            file.write(part)
    preparing = measured(tmp_path, "prepare", "text.txt", "--out", "tokens", "--tokens", unit)
    training = measured(tmp_path, "--data", "tokens", *SMALL, "--holdout", "0.0001", "--engine", "array")
    assert (preparing.code, training.code) == (0, 0), preparing.err + training.err
    assert preparing.peak < PREPARED
    assert training.anonymous < TRAINED


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_preparation_that_is_stopped_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    """Standard input that does not end: the signal comes while it is read."""
    command = [sys.executable, "-m", "microgpt", "prepare", "-", "--out", "tokens"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, cwd=tmp_path) as running:
        assert running.stdin
        while not list(tmp_path.iterdir()) and running.poll() is None:
            time.sleep(0.02)
        running.send_signal(number)
        with contextlib.suppress(BrokenPipeError):
            for _ in range(64):
                running.stdin.write(b"text " * (1 << 18))
    assert running.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143}[number]
    assert not list(tmp_path.iterdir())
