"""The command line in a test: in this process, which takes a tenth of the time, or in one of its own."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path

from microgpt.cli.app import run
from trials.waiting import PATIENCE

Done = subprocess.CompletedProcess[str]
SMALL = ("--steps", "20", "--emb", "8", "--head", "2", "--samples", "3")


def microgpt(*arguments: str, cwd: Path) -> Done:
    """A command carried out in this process."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", newline="", write_through=True) for _ in range(2))
    with contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = run(arguments)
    return Done(arguments, code, *(stream.buffer.getvalue().decode() for stream in (out, err)))  # type: ignore[attr-defined]


def spawned(*arguments: str, cwd: Path, stdin: str | None = None, **environment: str) -> Done:
    """A command as a person or a script starts it."""
    command, known = [sys.executable, "-m", "microgpt", *arguments], {**os.environ, **environment}
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, input=stdin, env=known, timeout=PATIENCE, check=False
    )


def succeeded(done: Done) -> Done:
    assert done.returncode == 0, done.stderr
    return done


def refused(done: Done, code: int) -> str:
    """The one line of a failure with this exit code."""
    assert done.returncode == code, done.stdout + done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("microgpt: ")]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr
    return lines[0]
