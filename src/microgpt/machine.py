"""What this machine has: cores and memory."""

import contextlib
import os
import re
import sys
from pathlib import Path
from typing import Final

UNKNOWN: Final = 1 << 62


def cores() -> int:
    """The cores that this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def main_memory() -> int:
    """Bytes of memory; beyond all bounds where the system doesn't say."""
    if sys.platform != "win32":
        with contextlib.suppress(ValueError, OSError):
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return UNKNOWN


def free_memory() -> int:
    """Bytes that a program can have now, as Linux tells; elsewhere all that the machine has."""
    told = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable: +([0-9]+) kB$", told.read_text("ascii") if told.is_file() else "", re.MULTILINE)
    return int(found[1]) * 1024 if found else main_memory()
