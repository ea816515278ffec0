"""What a sweep will run. A plan is pure: given the losses there are, it says what to run next, and so can go on at any
time and on any machine."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from microgpt.errors import UsageError
from microgpt.lab.design import Design, log_range
from microgpt.lab.record import Role
from microgpt.lab.spec import SCIENTIFIC, Spec
from microgpt.lab.texts import Texts
from microgpt.lab.tuning import Choice, Group, Losses, Tuning, choice, trials
from microgpt.recipes import resolve

STEPS: Final = (1_000, 2_000, 3_000, 5_000, 8_000, 9_000, 13_000, 21_000)  # the original's
SIZES: Final = (  # the original's small, medium, large
    {"emb": 16, "head": 4, "layer": 1},
    {"emb": 32, "head": 4, "layer": 2},
    {"emb": 64, "head": 8, "layer": 4},
)
LAW_SIZES: Final = (  # from about 1,300 to 200,000 parameters, each some three and a half times the one before
    {"emb": 8, "head": 2, "layer": 1},
    {"emb": 16, "head": 4, "layer": 1},
    {"emb": 24, "head": 4, "layer": 2},
    {"emb": 40, "head": 4, "layer": 3},
    {"emb": 64, "head": 8, "layer": 4},
)
LAW_STEPS: Final = tuple(log_range(2_000, 64_000, 5))  # the longest sees the names two and a half times

BUILT_IN: Final[dict[str, Design]] = {
    "steps": Design("steps", axes={"steps": STEPS}),
    "params": Design("params", base={"steps": 5_000}, levels=SIZES),
    "laws": Design("laws", levels=LAW_SIZES, axes={"steps": LAW_STEPS}),
}


@dataclass(frozen=True)
class Member:
    """A run as a part of a sweep: what it is, and whether it is reported or only chose a learning rate."""

    spec: Spec
    role: Role


@dataclass(frozen=True)
class Plan:
    """All runs of a sweep. With `tuning`, the learning rate of each group is sought before its levels are run."""

    design: Design
    groups: tuple[Group, ...]
    tuning: Tuning | None
    left_out: int = 0

    @property
    def name(self) -> str:
        return self.design.name

    @property
    def levels(self) -> list[Spec]:
        """Every level once, with the rate of the base where rates are tuned."""
        return [level for group in self.groups for level in group.levels]

    def members(self, group: Group, losses: Losses) -> list[Member]:
        """All of a group that can be run now, done or not: trials of learning rates and, once `choice` has one, the
        levels with their seeds."""
        trying = trials(group, self.tuning, losses) if self.tuning else []
        chosen = self.choice(group, losses)
        study = self._study(group, chosen.rate if chosen else None) if chosen or not self.tuning else []
        return [*(Member(spec, "tuning") for spec in trying), *study]

    def choice(self, group: Group, losses: Losses) -> Choice | None:
        """The learning rate of a group, or None where it is not tuned or not known yet."""
        return choice(group, self.tuning, losses) if self.tuning else None

    @property
    def outlook(self) -> list[Member]:
        """About all that will be run, for an estimate: the rates of the base stand for those to be found."""
        trying = [member for group in self.groups for member in self.members(group, {})] if self.tuning else []
        return trying + [member for group in self.groups for member in self._study(group, None)]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: what the sweep was asked to be."""
        told = dataclasses.asdict(self.design)
        texts = sorted({(level.data_sha256, level.engine, level.precision) for level in self.levels})
        return told | {"runs_on": [list(text) for text in texts]}

    def _study(self, group: Group, rate: float | None) -> list[Member]:
        changes = {} if rate is None else {"lr": rate}
        seeds = self.design.seeds
        return [Member(level.with_settings(seed=seed, **changes), "study") for level in group.levels for seed in seeds]


def plan(design: Design, texts: Texts, **computed: Any) -> Plan:
    """The plan of a design, with its text read. `computed` may name an engine and a precision.

    Raises `UsageError` for a design of which no combination can be, or seeds that can't; `DataError` for its text.
    """
    _check_seeds(design)
    found: dict[str, Spec] = {}
    left_out, reason = 0, ""
    for settings in design.combinations():
        try:
            spec = _level(design, settings, texts, computed)
        except UsageError as error:
            spec, reason = None, str(error)
        if spec is None:
            left_out += 1
        else:
            found.setdefault(spec.identity, spec)
    if not found:
        raise UsageError(f"{design.name}: expected one combination that can be run at least, found none. {reason}")
    groups = _grouped(list(found.values()))
    tuned = design.tuned and not design.rates and "lr" not in {name for level in _varied(design) for name in level}
    if tuned and not all(level.holdout for level in found.values()):
        raise UsageError(f"{design.name}: a learning rate is tuned on held-out loss; hold something out, or name one.")
    return Plan(design, groups, design.tuning if tuned else None, left_out)


def original(design: Design) -> Design:
    """The same sweep with the recipe's learning rate for every size, as the original has it, under its own name."""
    return replace(design, name=f"{design.name}-original", tuned=False, rates=())


def _level(design: Design, settings: Mapping[str, Any], texts: Texts, computed: Mapping[str, Any]) -> Spec | None:
    """One combination as a run, or None where the design leaves it out. Raises `UsageError` where it can't be."""
    rate = design.rate(settings)
    request = resolve(design.recipe, {**settings, **computed, **({} if rate is None else {"lr": rate})})
    asked = {name: getattr(request, name) for name in SCIENTIFIC if hasattr(request, name)}
    if not design.keeps(vars(request.settings) | asked):
        return None
    spec = texts.spec(replace(request, settings=replace(request.settings, seed=design.seeds[0])))
    texts.shared(spec)  # a text too short for its split is told now, and not by a worker
    return spec


def _grouped(levels: list[Spec]) -> tuple[Group, ...]:
    groups: dict[str, list[Spec]] = {}
    for level in levels:
        groups.setdefault(level.with_settings(steps=1, warmup=0).identity, []).append(level)
    return tuple(Group(tuple(members)) for members in groups.values())


def _varied(design: Design) -> list[Mapping[str, Any]]:
    return [design.axes, *design.levels]


def _check_seeds(design: Design) -> None:
    seeds, trying = design.seeds, design.tuning.seeds
    if not seeds or not trying or len(set(seeds)) < len(seeds):
        raise UsageError(f"{design.name}: a sweep needs a seed at least, and none twice, found {list(seeds)[:8]}.")
    if design.tuned and set(seeds) & set(trying):
        raise UsageError(
            f"{design.name}: learning rates are tuned on seeds of their own ({', '.join(map(str, trying))}); "
            "leave these out of the sweep's."
        )
