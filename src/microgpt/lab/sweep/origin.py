"""Which machine and which state of the code a run comes from."""

import functools
import os
import subprocess
from pathlib import Path

import microgpt
from microgpt.training.report import machine as described


@functools.cache
def machine() -> str:
    """Processor, cores and system in one line; no name of the machine."""
    told = described()
    return f"{told['processor']}, {told['cores']} cores, {told['system']}"


@functools.cache
def commit() -> str:
    """The commit of a checkout of this project, `-dirty` where files differ from it; empty for an installed package."""
    package = Path(microgpt.__file__).parent
    if package.parent.name != "src" or not (package.parents[1] / ".git").exists():
        return ""  # another repository around an installed package may be a stranger's, and git runs what it says
    try:
        # `describe --dirty` would write the index, whatever GIT_OPTIONAL_LOCKS says
        changed = _git(package, "status", "--porcelain", "--untracked-files=no")
        return _git(package, "describe", "--always", "--exclude=*") + ("-dirty" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return ""


def _git(folder: Path, *arguments: str) -> str:
    quiet = os.environ | {"GIT_OPTIONAL_LOCKS": "0"}  # it only reads
    command = ["git", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=10, env=quiet)
    return done.stdout.strip()
