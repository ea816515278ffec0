"""What the programs share: flags, rows that are kept, and what a figure is worth nothing without: machine and date."""

import argparse
import csv
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict, fields
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


def kept(path: Path, kind: Any) -> list[Any]:
    """The rows of a CSV, each an object of a dataclass of texts and numbers; none where there is no file."""
    if not path.exists():
        return []
    kinds: dict[str, Any] = {field.name: field.type for field in fields(kind)}
    with path.open(newline="") as file:
        return [kind(**{name: kinds[name](value) for name, value in row.items()}) for row in csv.DictReader(file)]


def keep(path: Path, measured: Any) -> None:
    """Put such an object under the rows that stand there."""
    fresh = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, [field.name for field in fields(measured)], lineterminator="\n")
        if fresh:
            writer.writeheader()
        row = {name: f"{value:.6g}" if isinstance(value, float) else value for name, value in asdict(measured).items()}
        writer.writerow(row)


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
