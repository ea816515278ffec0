"""How many steps to ask an engine for at once, so that news, saves and Ctrl-C come at a human pace."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from microgpt.training.records import Progress

INTERVAL: Final = 0.2  # seconds between two looks
GROWTH: Final = 8  # the first step of an engine may be much slower than the next
MOST_STEPS: Final = 1 << 16  # steps, whose sequences are in memory at once
UNITS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600}  # seconds


@dataclass(frozen=True)
class Pace:
    """Steps of the next call. It begins with one and follows the engine's speed."""

    steps: int = 1

    def after(self, taken: int, seconds: float) -> "Pace":
        """The pace after a call that took so many steps in so many seconds."""
        fitting = int(taken * INTERVAL / max(seconds, 1e-9))
        return Pace(max(1, min(fitting, self.steps * GROWTH, MOST_STEPS)))

    def until(self, step: int, steps: int, *everies: int) -> int:
        """Steps of the next call from `step`: never past the end, or past the next multiple of one of `everies`."""
        ends = [steps, *(step - step % every + every for every in everies if every)]
        return min(self.steps, min(ends) - step)


def time_of(text: str) -> tuple[float, int | None]:
    """A number and the seconds of its unit, None where it has none. Raises `ValueError` for anything else.

    >>> time_of("1.5h"), time_of("90 s"), time_of("1e12")
    ((1.5, 3600), (90.0, 1), (1000000000000.0, None))
    """
    text = text.strip().lower()
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
    unit = text[len(digits) :].strip()
    if unit and unit not in UNITS:
        raise ValueError(f"{unit} is no unit of time")
    return float(digits), UNITS[unit] if unit else None


def duration(seconds: float) -> str:
    """`12 s`, `3 min 20 s` or `2 h 5 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def describe(done: "Progress", held_out: float | None = None) -> str:
    """`step 300/1000  loss 2.4321  4,310 steps/s  0 s left`. The first step alone tells nothing of the time."""
    told = f"step {done.step}/{done.steps}  loss {done.loss:.4f}"
    if held_out is not None:
        told += f"  held-out {held_out:.4f}"
    if done.step == 1 < done.steps:
        return told
    return f"{told}  {_speed(done.steps_per_second)}  {duration(done.seconds_left)} left"


def _speed(speed: float) -> str:
    return f"{speed:,.0f} steps/s" if speed >= 10 else f"{speed:.2f} steps/s"
