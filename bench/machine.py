"""What a figure is worth nothing without: the machine, the date, the commit."""

import os
import platform
import subprocess
import sys
from datetime import date
from pathlib import Path


def machine() -> dict[str, str]:
    """The machine and the state of the code, as a document states them beside a figure."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "system": f"{platform.system()} {platform.machine()}",
        "date": date.today().isoformat(),
        "commit": _commit(),
        "command": " ".join([f"python {Path(sys.argv[0]).parent.name}/{Path(sys.argv[0]).name}", *sys.argv[1:]]),
    }


def line() -> str:
    """The same in one line."""
    known = machine()
    return "{processor}, {cores} cores, {python}, {system}, {date}, commit {commit}".format(**known)


def _processor() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for text in information.read_text().splitlines():
            if text.startswith("model name"):
                return text.split(":", 1)[1].strip()
    return platform.processor() or "unknown processor"


def _commit() -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=here, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
