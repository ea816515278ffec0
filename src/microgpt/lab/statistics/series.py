"""Runs in order: those that differ only along one axis and in their seed, level by level. Pure."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from operator import attrgetter, itemgetter
from typing import Any, Final, TypeVar

from microgpt.lab.store.record import RunRecord
from microgpt.model.settings import counted

FOLLOWERS: Final = ("lr", "warmup")  # settings that may be chosen anew for each level without making another series
SIZE_FIELDS: Final = ("emb", "head", "layer", "ctx", "ff")
CIRCUMSTANCES: Final = ("data_sha256", "kind", "engine", "precision")  # losses are not comparable across these
MOST_LOSS: Final = 1e100  # nats; the squares of greater ones are no numbers any more


Cell = tuple[RunRecord, ...]  # runs that differ in nothing but their seed, in the order of their seeds
Member = TypeVar("Member")


@dataclass(frozen=True)
class Axis:
    """What is varied: the settings that make a level, the number it stands for, and how it is called."""

    name: str
    unit: str
    fields: tuple[str, ...]
    key: Callable[[RunRecord], Any]
    value: Callable[[RunRecord], int]
    follow: tuple[str, ...] = FOLLOWERS

    @property
    def followers(self) -> tuple[str, ...]:
        return tuple(name for name in self.follow if name not in self.fields)


STEPS: Final = Axis("steps", "steps", ("steps",), attrgetter("steps"), attrgetter("steps"))
PARAMS: Final = Axis("params", "parameters", SIZE_FIELDS, attrgetter("size"), attrgetter("params"))
RUN_AXES: Final = (STEPS, PARAMS)


def _counted_axis(name: str, unit: str) -> Axis:
    """An axis of runs from elsewhere, of which a size and a length are known as numbers alone."""
    return Axis(name, unit, (name,), lambda run: run.settings[name], lambda run: int(run.settings[name]))


COUNTED: Final = (_counted_axis("tokens", "tokens"), _counted_axis("params", "parameters"))


def setting_axis(name: str) -> Axis:
    """Any one setting as an axis; its values need be no numbers, so all levels stand at 0."""
    return Axis(name, name, (name,), lambda run: str(run.settings.get(name)), lambda _: 0)


def natural(text: str) -> list[tuple[float, str]]:
    """A key by which numbers within texts stand in their order: `batch 2` before `batch 16`, 1e-05 before 0.001."""
    parts = re.split(r"((?<![a-zA-Z\d])\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)", text)
    return [(float(part.replace(",", "")), "") if place % 2 else (-1.0, part) for place, part in enumerate(parts)]


@dataclass(frozen=True)
class Level:
    """The runs at one value of the axis, a seed each, in the order of their seeds."""

    value: int
    runs: tuple[RunRecord, ...]

    @cached_property
    def losses(self) -> dict[int, float]:
        """Held-out loss of each seed."""
        return {run.seed: run.loss for run in self.runs if run.loss is not None}

    @property
    def first(self) -> RunRecord:
        return self.runs[0]


@dataclass(frozen=True)
class Series:
    """Levels from low to high; all else but seed and followers is equal. `label` tells it from other series."""

    axis: Axis
    label: str
    levels: tuple[Level, ...]

    @property
    def pairs(self) -> list[tuple[Level, Level]]:
        """Neighbouring levels."""
        return list(zip(self.levels, self.levels[1:], strict=False))

    def name(self, level: Level) -> str:
        """How a level is called in a sentence."""
        if self.axis is STEPS:
            own = counted(level.value, "step")
        elif self.axis is PARAMS:
            own = f"{size_name(level.first)} with {level.value:,} params"
        else:
            key = self.axis.key(level.first)
            own = f"{self.axis.name} {key:,}" if isinstance(key, int) else f"{self.axis.name} {key}"
        return f"{own}, {self.label}" if self.label else own


def usable(run: RunRecord) -> bool:
    """Whether a run's loss goes into the tables: finished, reported, and measured on what it was not trained on. One
    that is NaN or beyond all measure does not."""
    return run.status == "done" and run.role == "study" and run.loss is not None and abs(run.loss) < MOST_LOSS


def series(records: Iterable[RunRecord], axis: Axis) -> list[Series]:
    """The series along an axis, each with at least one level, in a stable order."""
    return along(cells(records), axis)


def cells(records: Iterable[RunRecord], keep: Callable[[RunRecord], bool] = usable) -> list[Cell]:
    """The runs to `keep` by all that they may differ in but their seed."""
    runs = [run for run in records if keep(run)]
    around, settings = attrgetter(*CIRCUMSTANCES), reader(sorted(settings_of(runs) - {"seed"}))
    return list(map(_each_seed, grouped(runs, lambda run: (around(run), settings(run))).values()))


def along(found: Sequence[Cell], axis: Axis) -> list[Series]:
    """The series along an axis of runs that are in cells already."""
    own = sorted(settings_of(cell[0] for cell in found) - {*axis.fields, *axis.followers, "seed"})
    around, settings = attrgetter(*CIRCUMSTANCES), reader(own)
    alike = grouped(found, lambda cell: (around(cell[0]), settings(cell[0]))).values()
    groups = [part for group in alike for part in _split(group, axis)]
    labels = _labels(groups, [*own, *axis.followers])
    lines = [Series(axis, label, _levels(group, axis)) for label, group in zip(labels, groups, strict=True)]
    return sorted(lines, key=_place)


def _place(found: Series) -> tuple[int, int, int, list[tuple[float, str]]]:
    """The fullest first, then the smallest."""
    first = found.levels[0].first
    return -len(found.levels), first.params, first.settings.get("steps", first.tokens), natural(found.label)


def size_name(run: RunRecord) -> str:
    """`emb 16, head 4, layer 1`; of runs from elsewhere `4,192 params`."""
    if "emb" not in run.settings:
        return f"{run.settings['params']:,} params"
    return f"emb {run.settings['emb']}, head {run.settings['head']}, layer {run.settings['layer']}"


def run_name(run: RunRecord) -> str:
    """`5,000 steps, emb 16, head 4, layer 1`; of runs from elsewhere `row 7`."""
    return f"{counted(run.steps, 'step')}, {size_name(run)}" if "steps" in run.settings else run.identity


def _each_seed(runs: Iterable[RunRecord]) -> Cell:
    of_seed = {run.seed: run for run in sorted(runs, key=attrgetter("finished"))}  # the last one of a seed
    return tuple(of_seed[seed] for seed in sorted(of_seed))


def _levels(found: Sequence[Cell], axis: Axis) -> tuple[Level, ...]:
    levels = []
    for (value, key), same in grouped(found, lambda cell: (axis.value(cell[0]), axis.key(cell[0]))).items():
        runs = same[0] if len(same) == 1 else _each_seed(chain.from_iterable(same))
        levels.append(((value, key), Level(value, runs)))
    # a key is a number, numbers of a size, or a text
    levels.sort(key=lambda found: (found[0][0], natural(key) if isinstance(key := found[0][1], str) else key))
    return tuple(level for _, level in levels)


def _split(found: Sequence[Cell], axis: Axis) -> list[Sequence[Cell]]:
    """By the followers, where these are no function of the level: then they were an axis of their own."""
    read = reader(axis.followers)
    parts = grouped(found, lambda cell: read(cell[0]))
    of_level = {(axis.key(cell[0]), read(cell[0])) for cell in found}
    own_axis = len(of_level) > len({key for key, _ in of_level})
    return list(parts.values()) if own_axis else [found]


def settings_of(runs: Iterable[RunRecord]) -> set[str]:
    """The settings that any of these runs has."""
    return set().union(*(run.settings for run in runs))


def reader(names: Sequence[str]) -> Callable[[RunRecord], Any]:
    """The values of these settings in a run, to group by; None for one that a run has not."""
    if not names:
        return lambda run: None
    fast = itemgetter(*names)

    def read(run: RunRecord) -> Any:
        try:
            return fast(run.settings)
        except KeyError:
            return tuple(map(run.settings.get, names))

    return read


def grouped(members: Iterable[Member], key: Callable[[Member], Any]) -> dict[Any, list[Member]]:
    """The members of each key, in their order."""
    groups: dict[Any, list[Member]] = {}
    for member in members:
        groups.setdefault(key(member), []).append(member)
    return groups


def _labels(groups: Sequence[Sequence[Cell]], names: Sequence[str]) -> list[str]:
    """What tells each group from the others, as short as that can be: where sizes do, their parameters."""
    firsts = [group[0][0] for group in groups]
    telling = [name for name in names if len({run.settings.get(name) for run in firsts}) > 1]
    follows = [name for name in telling if name in FOLLOWERS and all(_alike(group, name) for group in groups)]
    telling = [name for name in telling if name not in FOLLOWERS]
    if {*telling} & {*SIZE_FIELDS} and _tell_sizes(firsts):
        telling = ["params", *(name for name in telling if name not in SIZE_FIELDS)]
    around = [name for name in ("data", "engine", "precision") if len({getattr(run, name) for run in firsts}) > 1]
    if len({run.data_sha256 for run in firsts}) > len({run.data for run in firsts}):
        around.append("data_sha256")  # a text of the same name but other content
    labels = [_label(run, around, telling) for run in firsts]
    return labels if len({*labels}) == len(labels) else [_label(run, around, [*telling, *follows]) for run in firsts]


def _label(run: RunRecord, around: Sequence[str], names: Sequence[str]) -> str:
    """`names, 4,192 params, 2,000 steps, batch 4`."""
    counted = {"params": run.params, "steps": run.settings.get("steps"), "tokens": run.settings.get("tokens")}
    numbers = {name: value for name, value in counted.items() if isinstance(value, int)}  # no words: `tokens bytes`
    told = [f"{numbers[name]:,} {name}" if name in numbers else f"{name} {run.settings.get(name)}" for name in names]
    return ", ".join([*(str(getattr(run, name))[:16] for name in around), *told])


def _tell_sizes(runs: Sequence[RunRecord]) -> bool:
    """Whether the numbers of parameters are as many as the sizes."""
    return len({run.params for run in runs}) == len({run.size for run in runs})


def _alike(group: Sequence[Cell], name: str) -> bool:
    return len({cell[0].settings.get(name) for cell in group}) == 1
