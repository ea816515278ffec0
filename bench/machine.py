"""What the programs share: their flags, and what a figure is worth nothing without: machine, date, commit."""

import argparse
import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any


def asked(description: str | None, what: Sequence[str] = (), **flags: Any) -> Any:
    """What the command line says: flags by name, of the type of their usual value; one that is False is a switch.

    `what` are the words that it may begin with, where it must begin with one.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    if what:
        parser.add_argument("what", choices=what)
    for name, usual in flags.items():
        flag = f"--{name.replace('_', '-')}"
        if usual is False:
            parser.add_argument(flag, action="store_true")
        elif isinstance(usual, list):
            parser.add_argument(flag, nargs="+", type=type(usual[0]), default=usual)
        else:
            parser.add_argument(flag, type=type(usual), default=usual)
    return parser.parse_args()


def line() -> str:
    """The machine and the state of the code in one line, as a document states them beside a figure."""
    python = f"{platform.python_implementation()} {platform.python_version()}"
    system = f"{platform.system()} {platform.machine()}"
    return f"{_processor()}, {os.cpu_count()} cores, {python}, {system}, {date.today()}, commit {_commit()}"


def load() -> str:
    """How busy the machine is, where it says so."""
    return f"load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "load unknown"


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
