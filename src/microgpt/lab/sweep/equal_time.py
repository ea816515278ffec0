"""Steps for each idea of an ablation that take as long as the base's: measured before the sweep, then a part of it.

Who trains for the same time and not for as many steps asks what an idea is worth on this machine: a step that takes a
tenth longer must earn it. Steps that the store's plan has are kept, so that a sweep goes on as it began, wherever.
"""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from microgpt.errors import UsageError
from microgpt.lab.sweep.ideas import named
from microgpt.lab.sweep.plan import Plan
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.recipes.speed import costs

MEASURE: Final = 0.5  # seconds of the base's steps


def at_equal_time(plan: Plan, texts: Texts, before: Mapping[str, Any] | None = None) -> Plan:
    """The plan of `ideas` with fewer steps where a step takes longer and more where it is shorter, by a measurement or,
    where the sweep has begun, as its plan from `before` has them. Raises `UsageError` where the base can't be run."""
    levels = by_idea(plan)
    if "" not in levels:
        raise UsageError(f"{plan.name}: expected a base that can be run, found none; choose other sizes.")
    steps = {name: count for name, count in begun(plan, before or {}).items() if name and name in levels}
    unknown = [name for name in levels if name and name not in steps]
    if unknown:
        turns = [(levels[name].request(), texts.shared(levels[name]).split) for name in ("", *unknown)]
        cost = dict(zip(unknown, costs(turns, MEASURE)[1:], strict=True))
        steps |= {name: max(1, round(levels[""].settings.steps / max(0.01, round(cost[name], 2)))) for name in unknown}
    design = replace(
        plan.design,
        levels=tuple(
            {**level, "steps": steps[name]} if (name := named(level)) in steps else level
            for level in plan.design.levels
        ),
    )
    groups = tuple(replace(group, levels=tuple(_with(level, steps) for level in group.levels)) for group in plan.groups)
    return replace(plan, design=design, groups=groups)


def by_idea(plan: Plan) -> dict[str, Spec]:
    """The level of each idea; that of the base under no name. One that can't be on this base is not there."""
    return {named(level.scientific): level for level in plan.levels}


def _with(level: Spec, steps: Mapping[str, int]) -> Spec:
    return level.with_settings(steps=steps.get(named(level.scientific), level.settings.steps))


def begun(plan: Plan, before: Mapping[str, Any]) -> dict[str, int]:
    """The steps of each idea in the plan of a store, where that has the same base on the same text and engine."""
    base = by_idea(plan)[""]
    asked = json.loads(json.dumps(plan.design.base))
    runs_on = [base.data_sha256, base.asked.engine, base.asked.precision]
    found, levels = before.get("runs_on"), before.get("levels")
    if before.get("base") != asked or not isinstance(found, list) or not isinstance(levels, list):
        return {}
    levels = [level for level in levels if isinstance(level, dict) and runs_on in found]
    return {named(level): level["steps"] for level in levels if type(level.get("steps")) is int and level["steps"] > 0}
