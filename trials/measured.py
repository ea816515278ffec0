"""The memory that a command takes, as Linux tells it."""

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PROGRAM: Final = """
import sys
from microgpt.cli.app import run
code = run(sys.argv[1:])
told = dict(line.split(":") for line in open("/proc/self/status"))  # ru_maxrss would be that of the parent before exec
print("peak", told["VmHWM"].split()[0], "anonymous", told["RssAnon"].split()[0], file=sys.stderr)
sys.exit(code)
"""


@dataclass(frozen=True)
class Measured:
    """How a command ended, the peak of its memory, and at its end the anonymous memory, which no other process shares,
    both in MB."""

    code: int
    out: str
    err: str
    peak: float
    anonymous: float


def measured(folder: Path, *arguments: str) -> Measured:
    """`microgpt ARGUMENTS` in a folder, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", PROGRAM, *arguments], cwd=folder, capture_output=True, text=True)
    found = re.search(r"peak (\d+) anonymous (\d+)", done.stderr)
    assert found, done.stderr
    return Measured(done.returncode, done.stdout, done.stderr, int(found[1]) / 1e3, int(found[2]) / 1e3)
