"""What a sweep will run. A plan is pure: given the losses there are, it says what to run next, and so can go on at any
time and on any machine."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from microgpt.data.byte_pairs import TooManyTokensError
from microgpt.errors import UsageError
from microgpt.lab.store.record import Role
from microgpt.lab.sweep.design import Design, Level, fits, log_range
from microgpt.lab.sweep.ideas import ideas
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.tuning import Choice, Group, Losses, Tuning, choice, trials
from microgpt.model.settings import flag
from microgpt.recipes import find, resolve
from microgpt.training.request import SCIENTIFIC, SWEEP_AXES

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
SIZE: Final = ("emb", "head", "layer")  # what a group of levels is called by in any case
SHARED: Final = ("steps", "warmup", "lr", "seed")  # what tells no group from another
UNTUNED: Final = "-original"  # ends the name of a built-in sweep whose learning rate is the recipe's

BUILT_IN: Final[dict[str, Design]] = {
    "steps": Design("steps", axes={"steps": STEPS}),
    "params": Design("params", base={"steps": 5_000}, levels=SIZES),
    "laws": Design("laws", levels=LAW_SIZES, axes={"steps": LAW_STEPS}),
    "ideas": ideas(),
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
        texts = sorted({(level.data_sha256, level.asked.engine, level.asked.precision) for level in self.levels})
        return told | {"runs_on": [list(text) for text in texts]}

    def _study(self, group: Group, rate: float | None) -> list[Member]:
        changes = {} if rate is None else {"lr": rate}
        seeds = self.design.seeds
        return [Member(level.with_settings(seed=seed, **changes), "study") for level in group.levels for seed in seeds]


def plan(design: Design, texts: Texts, **computed: Any) -> Plan:
    """The plan of a design, with its text read. `computed` may name an engine and a precision.

    Raises `UsageError` for a design of which no combination can be, a condition that can't be computed, a rate for
    no combination, or seeds that can't be; `DataError` for its text.
    """
    _check_seeds(design)
    levels, left_out = _levels(design, texts, computed)
    if design.tuned and not all(level.asked.holdout for level in levels):
        raise UsageError(f"{design.name}: a learning rate is tuned on held-out loss; hold something out, or name one.")
    return Plan(design, _grouped(levels), design.tuning if design.tuned else None, left_out)


def based(design: Design, asked: Level) -> Design:
    """The same sweep with other settings that all its runs share. Raises `UsageError` for one that it varies."""
    for name in asked:
        if any(name in level for level in (design.axes, *design.levels)):
            raise UsageError(f"{flag(name)} is what {design.name} varies; leave it out.")
    return replace(design, base={**design.base, **asked})


def original(design: Design) -> Design:
    """The same sweep with the recipe's learning rate for every size, as the original has it, under its own name."""
    return replace(design, name=f"{design.name}{UNTUNED}", tuned=False, rates=())


def branched(design: Design) -> Design:
    """The same sweep with lengths that branch off from one trunk (see trunk.py), under its own name. Its rates are
    tuned with that schedule. Raises `UsageError` for a design that has a decay of its own."""
    if any("decay" in level for level in (design.base, design.axes, *design.levels)):
        raise UsageError(
            f"{design.name}: --schedule trunk brings the decay cooldown, found another decay; leave one out."
        )
    return replace(design, name=f"{design.name}-trunk", base={**design.base, "decay": "cooldown"})


def _levels(design: Design, texts: Texts, computed: Level) -> tuple[list[Spec], int]:
    """Every combination that can be run and that the design keeps, once, and how many are left out."""
    found: dict[str, Spec] = {}
    idle = list(design.rates)
    left_out, reason = 0, "Conditions of where, or drop, leave all of them out."
    for settings in _combinations(design, computed):
        idle = [entry for entry in idle if not fits(entry, settings)]
        if not design.keeps(settings):  # not within the try: a condition that is wrong leaves nothing out
            left_out += 1
            continue
        try:
            spec = _level(design, settings, texts)
        except (UsageError, TooManyTokensError) as error:
            left_out, reason = left_out + 1, str(error)
        else:
            found.setdefault(spec.identity, spec)
    if idle:
        told = ", ".join(f"{name} = {value}" for name, value in idle[0].items())
        raise UsageError(
            f"{design.name}: each of [[rates]] must match at least one level, found none for {told}; correct it."
        )
    if not found:
        raise UsageError(f"{design.name}: expected at least one combination that can be run, found none. {reason}")
    return list(found.values()), left_out


def _combinations(design: Design, computed: Level) -> Iterator[dict[str, Any]]:
    """Every combination with all its settings, its own over those that the recipe fills in, and with its rate."""
    request = find(design.recipe).request
    filled = {name: value for part in (request.settings, request) for name, value in vars(part).items()}
    filled = {name: filled[name] for name in (*SCIENTIFIC, *SWEEP_AXES)}
    for settings in design.combinations():
        whole = {**filled, **settings, **computed}
        rate = design.rate(whole)
        yield whole if rate is None else whole | {"lr": rate}


def _level(design: Design, settings: Level, texts: Texts) -> Spec:
    """One combination as a run. Raises `UsageError` where its settings can't be together, `TooManyTokensError` where
    its text has not as many."""
    asked = {name: settings[name] for name in SWEEP_AXES}  # all but what a recipe alone decides
    spec = texts.spec(resolve(design.recipe, asked | {"seed": design.seeds[0]}))
    texts.shared(spec)  # a text too short for its split is told now, and not by a worker
    return spec


def _grouped(levels: list[Spec]) -> tuple[Group, ...]:
    groups: dict[str, list[Spec]] = {}
    for level in levels:
        groups.setdefault(level.with_settings(steps=1, warmup=0).identity, []).append(level)
    names = _names([members[0] for members in groups.values()])
    return tuple(Group(tuple(members), name) for members, name in zip(groups.values(), names, strict=True))


def _names(firsts: list[Spec]) -> list[str]:
    """What groups are called: their size, and whatever else separates them."""
    values = [
        spec.scientific | {name: getattr(spec.asked, name) for name in ("engine", "precision")} for spec in firsts
    ]
    values = [{"data": " ".join(spec.asked.data)} | each for spec, each in zip(firsts, values, strict=True)]
    own = [name for name in values[0] if name not in (*SIZE, *SHARED) and len({each[name] for each in values}) > 1]
    return [", ".join(f"{name} {each[name]}" for name in (*SIZE, *own)) for each in values]


def _check_seeds(design: Design) -> None:
    seeds, trying = design.seeds, design.tuning.seeds
    if not seeds or not trying or len(set(seeds)) < len(seeds):
        raise UsageError(f"{design.name}: a sweep needs at least one seed, and none twice, found {list(seeds)[:8]}.")
    if design.tuned and set(seeds) & set(trying):
        raise UsageError(
            f"{design.name}: learning rates are tuned on seeds of their own ({', '.join(map(str, trying))}); "
            "leave these out of the sweep's."
        )
