"""A sweep's design from a TOML file. Everything a person may have mistyped is met with the line it stands in."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from microgpt import untrusted
from microgpt.errors import CheckpointError, DataError, UsageError, nearest
from microgpt.lab.sweep.design import Design, DesignError, Level, fits, log_range
from microgpt.lab.sweep.spec import IDLE
from microgpt.lab.sweep.tuning import Tuning
from microgpt.model.settings import LARGEST_NUMBER, LONGEST_SHOWN, check, shown
from microgpt.recipes import find
from microgpt.training.request import DECLARED, SWEEP_AXES

LIMIT: Final = 1 << 20  # bytes of a file
KEYS: Final = (
    "name", "recipe", "mode", "seeds", "lr", "where", "base", "axes", "levels", "drop", "rates", "tuning",
)  # fmt: skip
RANGE: Final = ("from", "to", "count")
MOST_SEEDS: Final = 10_000
MOST_TABLES: Final = {"levels": 10_000, "drop": 1_000, "rates": 1_000}
MOST_DOTS: Final = 200  # in a line: of a key of a thousand parts tomllib remembers the half million that begin it
MOST_PARTS: Final = 4_000_000  # that it remembers at most: lines and dots, times the dots of the table they stand in
LARGEST: Final = 1e100  # of a number, and its inverse the smallest of a range
_QUOTES: Final = ('"', "'")


def read_design(path: Path) -> Design:
    """The design in a file. Raises `DataError` where it can't be read, `UsageError` with the line for what can't be."""
    try:
        return parsed(path, untrusted.read(path, LIMIT))
    except CheckpointError as error:
        raise DataError(str(error)) from None


def parsed(path: Path, content: bytes) -> Design:
    """The design in the content of a file. Raises as `read_design`."""
    try:
        text = content.decode("utf-8-sig")
        dots = [line.count(".") for line in text.split("\n")]
        if (most := max(dots)) > MOST_DOTS or most * (len(dots) + sum(dots)) > MOST_PARTS:
            raise ValueError(f"more than {MOST_DOTS} dots in a line, or very many in all")
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a date of month 13 and a number of 5,000 digits are ValueErrors too
        found = str(error)[:200]
        raise DataError(f"{path}: expected TOML, found: {found}; see docs/SCALING.md for an example.") from None
    return _Reader(path, text).design(values)


class _Reader:
    """A file, for messages that say where."""

    def __init__(self, path: Path, text: str) -> None:
        self.path, self.lines = path, text.splitlines()

    def design(self, values: Mapping[str, Any]) -> Design:
        self._known(values, KEYS, "a sweep's file")
        lr = values.get("lr", "")
        if lr != "tuned" and "lr" in values and not _is_number(lr):
            raise self._fault(
                "lr", f'lr takes "tuned" or a number, found {shown(lr)}; one for each size goes into [[rates]]'
            )
        mode = values.get("mode", "crossed")
        if mode not in ("crossed", "paired"):
            raise self._fault("mode", f"mode takes crossed or paired, found {shown(mode)}")
        base = self._level("base", values.get("base", {}))
        if "lr" in values and "lr" in base:
            raise self._fault("lr", "lr goes under lr or in [base], found both; leave one out")
        tuning = self._tuning(values.get("tuning", {}))
        if "tuning" in values and lr != "tuned":
            raise self._fault("tuning", '[tuning] needs lr = "tuned", found none; add it above, or leave [tuning] out')
        try:
            return Design(
                name=self._name(values.get("name", self.path.stem)),
                recipe=self._recipe(values.get("recipe", "default")),
                base=base | ({"lr": float(lr)} if _is_number(lr) else {}),
                levels=tuple(self._levels("levels", values.get("levels", [{}]))),
                axes=self._axes(values.get("axes", {})),
                mode=mode,
                where=tuple(self._words("where", values.get("where", []))),
                drop=tuple(self._levels("drop", values.get("drop", []))),
                seeds=self._seeds("seeds", values.get("seeds", 3)),
                tuned=lr == "tuned",
                rates=self._rates(values.get("rates", [])),
                tuning=tuning,
            )
        except DesignError as error:
            raise self._fault(error.key, str(error), error.text) from None

    def _recipe(self, name: Any) -> str:
        if not isinstance(name, str):
            raise self._fault("recipe", f"recipe takes the name of one, found {shown(name)}")
        try:
            return find(name).name
        except UsageError as error:
            raise self._fault("recipe", str(error).removeprefix("--")) from None

    def _axes(self, values: Any) -> dict[str, tuple[Any, ...]]:
        self._known(self._table("axes", values), SWEEP_AXES, "an axis")
        if "seed" in values:
            raise self._fault("seed", "seeds go under seeds, not among the axes")
        return {name: self._axis(name, axis) for name, axis in values.items()}

    def _axis(self, name: str, axis: Any) -> tuple[Any, ...]:
        if isinstance(axis, Mapping):
            axis = self._range(name, axis)
        if not isinstance(axis, list) or not axis:
            raise self._fault(name, f"{name} takes a list or {{from=…, to=…, count=…}}, found {shown(axis)}")
        return tuple(self._value(name, value) for value in axis)

    def _range(self, name: str, axis: Mapping[str, Any]) -> list[Any]:
        self._known(axis, RANGE, f"the range of {name}")
        numbers: tuple[Any, ...] = tuple(axis.get(key) for key in RANGE)
        first, last, count = numbers
        kind = DECLARED[name].metadata["kind"]
        low, high = (1, LARGEST_NUMBER) if kind is int else (1 / LARGEST, LARGEST)
        sound = type(count) is int and kind in (int, float) and all(map(_is_number, (first, last)))
        if not sound or not (low <= min(first, last) and max(first, last) <= high) or not 2 <= count <= 1000:
            raise self._fault(
                name, f"a range of {name} takes numbers above 0 and a count of 2 to 1000, found {shown(axis)}"
            )
        if kind is int:
            return log_range(first, last, count)
        return [float(f"{first * (last / first) ** (n / (count - 1)):.6g}") for n in range(count)]

    def _level(self, where: str, values: Any) -> dict[str, Any]:
        self._known(self._table(where, values), SWEEP_AXES, where)
        if "seed" in values:
            raise self._fault("seed", f"seeds go under seeds, not in {where}")
        return {name: self._value(name, value) for name, value in values.items()}

    def _levels(self, where: str, values: Any) -> list[Level]:
        if not isinstance(values, list) or (not values and where == "levels"):
            raise self._fault(where, f"{where} takes tables, each under [[{where}]], found {shown(values)}")
        if len(values) > MOST_TABLES[where]:
            raise self._fault(where, f"{where} takes {MOST_TABLES[where]:,} tables at most, found {len(values):,}")
        return [self._level(where, value) for value in values]

    def _rates(self, values: Any) -> tuple[Level, ...]:
        levels = self._levels("rates", values)
        if any("lr" not in level for level in levels):
            raise self._fault("rates", "each of [[rates]] names the settings it is for and an lr, found one without lr")
        for place, level in enumerate(levels):
            if any(fits(before, level) for before in levels[:place]):
                told = ", ".join(f"{name} = {value}" for name, value in level.items())
                raise self._fault(
                    "rates", f"the first of [[rates]] that fits counts, so {told} never does; put it first"
                )
        return tuple(levels)

    def _value(self, name: str, value: Any) -> Any:
        """A value of a setting, checked by itself; whether it goes with others shows later."""
        if name == "data":
            return (value,) if isinstance(value, str) else tuple(self._words(name, value))
        try:
            return check(DECLARED[name], value)
        except UsageError as error:
            raise self._fault(name, str(error).rstrip(".")) from None

    def _seeds(self, where: str, values: Any) -> tuple[int, ...]:
        if type(values) is int and 1 <= values <= MOST_SEEDS:
            return tuple(range(values))
        if (
            isinstance(values, list)
            and values
            and all(type(seed) is int and 0 <= seed <= LARGEST_NUMBER for seed in values)
        ):
            return tuple(values)
        raise self._fault(
            where, f"{where} takes a number of 1 to {MOST_SEEDS:,} or a list of seeds, found {shown(values)}"
        )

    def _tuning(self, values: Any) -> Tuning:
        self._known(self._table("tuning", values), ("rates", "seeds"), "tuning")
        tuning = Tuning()
        seeds = self._seeds("seeds", values["seeds"]) if "seeds" in values else tuning.seeds
        rates = values.get("rates", list(tuning.rates))
        if not isinstance(rates, list) or len(set(map(shown, rates))) < 2:
            raise self._fault("rates", f"tuning takes a list of two rates or more, found {shown(rates)}")
        return Tuning(tuple(self._value("lr", rate) for rate in rates), seeds)

    def _name(self, name: Any) -> str:
        if not isinstance(name, str) or not name.isprintable() or not 0 < len(name) <= 128:
            raise self._fault("name", f"name takes a word of at most 128 characters, found {shown(name)}")
        return name

    def _words(self, name: str, values: Any) -> list[str]:
        if not isinstance(values, list) or not all(isinstance(value, str) and value for value in values):
            raise self._fault(name, f"{name} takes a list of texts, found {shown(values)}")
        return values

    def _table(self, name: str, values: Any) -> Mapping[str, Any]:
        if not isinstance(values, Mapping):
            raise self._fault(name, f"{name} takes a table under [{name}], found {shown(values)}")
        return values

    def _known(self, values: Iterable[str], known: Iterable[str], where: str) -> None:
        known = list(known)
        for name in values:
            if name in IDLE and name not in known:
                raise self._fault(name, f"{name} does not change the result of a run, so it can't be {where}")
            if name not in known:
                told = f"{shown(name)} is no key of {where}. Did you mean {nearest(name, known, 0)}?"
                raise self._fault(name, told)

    def _fault(self, key: str, message: str, text: str = "") -> UsageError:
        """What is wrong with a key or, where it stands in the file as it is, with a text that the key has."""
        key = key[:LONGEST_SHOWN]  # a longer one is nowhere in the file, and its line is not told
        pattern = re.compile(rf"""^\s*(\[+\s*)?["']?{re.escape(key)}["']?\s*(=|\])|[{{,]\s*{re.escape(key)}\s*=""")
        keys = [number for number, line in enumerate(self.lines, 1) if pattern.search(line)]
        quoted = [quote + text + quote for quote in _QUOTES if text]
        texts = [number for number, line in enumerate(self.lines, 1) if any(word in line for word in quoted)]
        place = next((f", line {number}" for number in (*texts, *keys)), "")
        stop = "" if message.endswith((".", "?")) else "."
        return UsageError(f"{self.path}{place}: {message[:300]}{stop}")


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and -LARGEST <= value <= LARGEST
