"""Ctrl-C and SIGTERM at any moment: no traceback, what was begun is tidied up, nothing goes on alone."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from microgpt.cli import app
from trials import stops
from trials.waiting import PATIENCE, until

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
SMALL = ("--emb", "4", "--head", "2", "--ctx", "8", "--samples", "0", "--engine", "fused")


def test_the_first_stop_ends_any_reading(tmp_path: Path) -> None:
    """Of a text that goes on without an end: once this test can write, the command reads."""
    os.mkfifo(tmp_path / "pipe")
    for number in stops.KINDS * 4:
        pid = stops.forked(("train", "--data", "pipe"), tmp_path, tmp_path / "cache")
        with (tmp_path / "pipe").open("wb", buffering=0) as text:
            text.write(b"a line\n")
            stops.stop(pid, number)
            status = stops.waited(pid, 60)
        assert status is not None
        assert os.waitstatus_to_exitcode(status) == 128 + number
    assert not (tmp_path / "runs").exists()


def test_ctrl_c_in_the_midst_of_importing_gives_no_traceback(tmp_path: Path) -> None:
    """click is a module here that presses Ctrl-C while it is imported."""
    (tmp_path / "click.py").write_text("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\n")
    command = [sys.executable, "-m", "microgpt", "--version"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_ctrl_c_that_a_library_takes_for_an_error_of_its_own_ends_as_ctrl_c(tmp_path: Path) -> None:
    """Some do so while they are imported, as numpy is here, and print what they met, as C code of NumPy does."""
    pressed = (
        "import os, signal, sys\ntry:\n    os.kill(os.getpid(), signal.SIGINT)\n"
        "except BaseException:\n    sys.excepthook(*sys.exc_info())\n    raise ImportError"
    )
    (tmp_path / "numpy.py").write_text(pressed)
    command = [sys.executable, "-m", "microgpt", "verify"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (130, "")


def test_ctrl_c_inside_a_finaliser_is_not_lost(tmp_path: Path) -> None:
    """Importing numpy presses it here, where Python ignores what is raised."""
    finaliser = (
        "class Gone:\n    def __del__(self):\n        os.kill(os.getpid(), signal.SIGINT)\n        time.sleep(0)"
    )
    (tmp_path / "numpy.py").write_text(f"import os, signal, time\n{finaliser}\nGone()\ntime.sleep(1000)\n")
    command = [sys.executable, "-m", "microgpt", "verify"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (130, "")


def test_a_signal_that_comes_again_too_soon_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine it comes while Python is still telling that the first one was lost."""

    class Gone:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    class Hasty(threading.Timer):
        hasty = True

        def start(self) -> None:
            if Hasty.hasty:
                Hasty.hasty = False
                self.function(*self.args)
            else:
                super().start()

    monkeypatch.setattr(threading, "Timer", Hasty)

    def waiting() -> None:
        with app._Interruptible():
            Gone()
            time.sleep(PATIENCE)

    with pytest.raises(app._Interruption):
        waiting()


def hanging(folder: Path) -> "dict[str, str]":
    """An environment whose compiler never ends, and writes down who it is."""
    fake = folder / "fake"
    body = f'case "$*" in *-shared*) echo $$ > {folder}/compiler; exec /bin/sleep 1000;; *) exec cc "$@";; esac'
    fake.write_text(f"#!/bin/sh\n{body}\n")
    fake.chmod(0o755)
    return os.environ | {"CC": str(fake), "MICROGPT_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}


@pytest.mark.parametrize(
    ("arguments", "stop", "times"),
    [(("train", "--steps", "5", *SMALL), signal.SIGINT, 2), (("bench", "--engine", "fused"), signal.SIGTERM, 1)],
)
def test_a_compiler_that_hangs_ends_with_the_process(
    arguments: tuple[str, ...], stop: signal.Signals, times: int, tmp_path: Path
) -> None:
    pytest.importorskip("microgpt.engines.fused.toolchain")
    if stops.shutil.which("cc") is None:
        pytest.skip("this machine has no C compiler")
    command = [sys.executable, "-m", "microgpt", *arguments]
    process = subprocess.Popen(command, cwd=tmp_path, env=hanging(tmp_path), stderr=subprocess.PIPE, text=True)
    until(lambda: (tmp_path / "compiler").exists() and (tmp_path / "compiler").read_text().strip())
    compiler = int((tmp_path / "compiler").read_text())
    for _ in range(times):
        process.send_signal(stop)
        time.sleep(0.2)  # or two signals may become one
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode in (128 + stop, -stop)  # where the second came before the first was through
    assert "Traceback" not in told
    until(lambda: not Path(f"/proc/{compiler}/cmdline").exists() or not Path(f"/proc/{compiler}/cmdline").read_bytes())
    assert not list((tmp_path / "cache").glob(".build-*")) or times == 2  # tidied up, unless it had to leave at once
