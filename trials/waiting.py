"""Waiting for a condition: as short as it takes, and with patience for a machine that is busy with other things."""

import time
from collections.abc import Callable
from typing import Any

PATIENCE = 120.0  # seconds


def until(condition: Callable[[], Any], seconds: float = PATIENCE) -> Any:
    """What a condition says once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it took too long"
        time.sleep(0.01)
    return found
