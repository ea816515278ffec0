"""What a training that is asked for progress prints: plain lines on standard error, as the command line has them."""

import sys
import time
from collections.abc import Callable
from typing import Final

from microgpt.training.pace import describe
from microgpt.training.records import Evaluated, Note, Progress, Record, Started

EVERY: Final = 5.0  # seconds between two lines of progress


def printer() -> Callable[[Record], None]:
    """A listener that prints the headline, notes, held-out losses and, every few seconds, how far the training is."""
    told = 0.0

    def listen(record: Record) -> None:
        nonlocal told
        match record:
            case Started():
                say(record.headline)
            case Note(text, warning):
                say(f"warning: {text}" if warning else text)
            case Evaluated(step, held_out):
                error = "" if held_out.per_character_se is None else f" ± {held_out.per_character_se:.4f}"
                say(f"step {step}  held-out loss {held_out.per_character:.4f}{error}")
            case Progress() if record.step == record.steps or time.monotonic() >= told + EVERY:
                told = time.monotonic()
                say(describe(record))

    return listen


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
