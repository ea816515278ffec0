"""A sweep as a person describes it: what stays, what varies and how, which combinations are left out."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Final, Literal

from microgpt.errors import UsageError, nearest
from microgpt.lab.sweep.tuning import Tuning
from microgpt.training.request import DECLARED, SCIENTIFIC, SWEEP_AXES

Mode = Literal["crossed", "paired"]
Level = Mapping[str, Any]  # settings by name
MOST_LEVELS: Final = 100_000
BASE: Final = ("data", "steps", "batch", "emb", "head", "layer", "ctx")  # what all runs share that a flag may name
NUMBERS: Final = tuple(  # the settings that a condition may name; every level has the same seeds
    name for name in SCIENTIFIC if name != "seed" and isinstance(DECLARED[name].default, int | float)
)

_NAME, _NUMBER = r"[a-z_][a-z0-9_]*", r"-?\d+(?:\.\d+)?(?:e-?\d+)?"
_CONDITION: Final = re.compile(
    rf"\s*({_NAME})\s*(?:([%*/+-])\s*({_NAME}|{_NUMBER})\s*)?(==|!=|<=|>=|<|>)\s*({_NAME}|{_NUMBER})\s*"
)
_COMPARED: Final = {
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
}
_COMPUTED: Final = {
    "%": lambda a, b: a % b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
}


class DesignError(UsageError):
    """A design that can't be: the key that is wrong and, where it is one text of several, that text."""

    def __init__(self, key: str, message: str, text: str = "") -> None:
        super().__init__(message)
        self.key, self.text = key, text


@dataclass(frozen=True)
class Design:
    """A sweep before its text is read. Raises `DesignError`.

    `base` are settings that all runs share, over those of `recipe`. `levels` are settings that vary together, and
    `axes` each by itself: every level is crossed with every combination of the axes or, `paired`, the axes go side by
    side. A combination that breaks a condition of `where`, or has all settings of one of `drop`, is left out. `rates`
    are learning rates by level; with `tuned` each size's own is sought first. These two and `lr` as something that
    varies exclude each other: one would silently win.
    """

    name: str
    recipe: str = "default"
    base: Level = field(default_factory=dict)
    levels: tuple[Level, ...] = ({},)
    axes: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    mode: Mode = "crossed"
    where: tuple[str, ...] = ()
    drop: tuple[Level, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2)
    tuned: bool = True
    rates: tuple[Level, ...] = ()
    tuning: Tuning = field(default_factory=Tuning)

    def __post_init__(self) -> None:
        for condition in self.where:
            try:
                _parsed(condition)
            except UsageError as error:
                raise DesignError("where", str(error), condition) from None
        varies = any("lr" in level for level in (self.axes, *self.levels))
        if self.rates and (self.tuned or varies):
            other = 'lr = "tuned"' if self.tuned else "lr among axes or levels"
            raise DesignError("rates", f"[[rates]] replaces {other}, found both; leave one out.")
        if self.tuned and varies:
            raise DesignError("lr", 'lr is "tuned" or varies among axes or levels, found both; leave one out.')

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Every combination that the design asks for, those of `where` and `drop` among them. Raises `UsageError`."""
        lengths = [len(values) for values in self.axes.values()]
        if self.mode == "paired" and len(set(lengths)) > 1:
            told = ", ".join(f"{name} has {len(values)}" for name, values in self.axes.items())
            raise UsageError(f"{self.name}: paired axes must have equally many values, found others: {told}.")
        size = len(self.levels) * (math.prod(lengths) if self.mode == "crossed" else max(lengths, default=1))
        if size > MOST_LEVELS:
            raise UsageError(f"{self.name}: a sweep has at most {MOST_LEVELS:,} levels, found {size:,}; take fewer.")
        rows = zip(*self.axes.values(), strict=True) if self.mode == "paired" and self.axes else None
        for level in self.levels:
            for values in rows if rows is not None else itertools.product(*self.axes.values()):
                yield {**self.base, **level, **dict(zip(self.axes, values, strict=True))}
            rows = zip(*self.axes.values(), strict=True) if rows is not None else None

    def rate(self, settings: Level) -> float | None:
        """The learning rate that the design's own table has for a combination with all its settings."""
        return next((float(entry["lr"]) for entry in self.rates if fits(entry, settings)), None)

    def keeps(self, settings: Level) -> bool:
        """Whether a combination, with all its settings, meets every condition and is not one of those to drop."""
        dropped = any(all(settings.get(name) == value for name, value in level.items()) for level in self.drop)
        return not dropped and all(holds(condition, settings) for condition in self.where)


def fits(entry: Level, settings: Level) -> bool:
    """Whether an entry of `rates` is for a combination with all its settings."""
    return all(settings.get(name) == value for name, value in entry.items() if name != "lr")


def holds(condition: str, settings: Level) -> bool:
    """Whether a condition such as `emb % head == 0` or `layer <= 2` is met. Raises `UsageError`."""
    left, operator, operand, comparison, right = _parsed(condition)
    value = _value(left, settings)
    try:
        if operator:
            value = _COMPUTED[operator](value, _value(operand, settings))
    except ZeroDivisionError:
        raise UsageError(
            f"a condition divides by numbers above 0, found {condition[:80]!r}; it divides by 0."
        ) from None
    return bool(_COMPARED[comparison](value, _value(right, settings)))


def log_range(first: float, last: float, count: int) -> list[int]:
    """So many whole numbers, each about as many times the one before; equal ones are told once.

    >>> log_range(1000, 64000, 4)
    [1000, 4000, 16000, 64000]
    """
    ratio = (last / first) ** (1 / max(1, count - 1))
    return list(dict.fromkeys(round(first * ratio**n) for n in range(count)))


@cache
def _parsed(condition: str) -> tuple[str, ...]:
    """Left, operator, operand, comparison and right. Raises `UsageError` for what no settings could make right."""
    match = _CONDITION.fullmatch(condition)
    if not match:
        raise UsageError(f'a condition looks like "emb % head == 0" or "layer <= 2", found {condition[:80]!r}.')
    left, operator, operand, comparison, right = match.groups(default="")
    for word in filter(_is_name, (left, operand, right)):
        if word in SWEEP_AXES and word not in NUMBERS:
            raise UsageError(f"a condition compares settings that are numbers, found {word!r}.")
        if word not in NUMBERS:
            near = nearest(word, NUMBERS, 0)
            raise UsageError(f"a condition names settings, found {word[:40]!r}. Did you mean {near}?")
    if operator in ("%", "/") and not _is_name(operand) and float(operand) == 0:
        raise UsageError(f"a condition divides by numbers above 0, found {condition[:80]!r}.")
    return left, operator, operand, comparison, right


def _is_name(word: str) -> bool:
    return re.fullmatch(_NAME, word) is not None


def _value(word: str, settings: Level) -> Any:
    return settings[word] if _is_name(word) else float(word)
