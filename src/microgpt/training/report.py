"""What `run.json` says of a run: the JSON of `train`, and how, where and when it was trained."""

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import microgpt
from microgpt.training.description import Training
from microgpt.training.run_folder import Status


def report(
    training: Training, kind: str, status: Status, result: Mapping[str, Any], began: str | None = None
) -> dict[str, Any]:
    """The report of a run; one that is not finished has less of a result. Of places on this machine it says only the
    text's, as the person named it."""
    provenance = training.provenance
    return {
        **result,
        "status": status,
        "request": training.request.to_dict(),
        "data": {"name": provenance.name, "sha256": provenance.sha256, "kind": kind},
        "origin": training.origin,
        "ranks": training.ranks,
        "versions": {"microgpt": microgpt.__version__, "python": platform.python_version(), "numpy": np.__version__},
        "machine": machine(),
        "began": began or datetime.now().isoformat(sep=" ", timespec="seconds"),
        "ended": datetime.now(UTC).isoformat() if status == "finished" else None,
    }


def machine() -> dict[str, str | int | None]:
    """What a figure of speed needs beside it; no name of the machine."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
