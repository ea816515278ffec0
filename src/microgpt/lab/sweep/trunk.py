"""Trainings of several lengths from one trunk: a constant rate, from which each length branches off with its cooldown.

A sweep whose decay is `cooldown` costs the longest length and a fifth of each other, where single runs cost the sum
(Hägele et al. 2024, arXiv 2405.18392). That is all it changes: each length is a run with its own identity, its batches
are those that follow in the stream of its seed, and its record is bit for bit the one it would get alone (a test holds
the two together). Its seconds are those it would take alone: the trunk up to its branch, and its own.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from microgpt.errors import DivergedError
from microgpt.lab.store.record import Trained
from microgpt.lab.sweep.costs import skeleton
from microgpt.lab.sweep.run import Workshop, advance, ended, now
from microgpt.lab.sweep.spec import Spec
from microgpt.model.schedule import cooldown_start
from microgpt.training.prepare import prepare
from microgpt.training.stopwatch import Stopwatch


def trunk(spec: Spec) -> Spec | None:
    """What a run has in common with all that can branch off from the same trunk; None where it is trained alone."""
    return spec.with_settings(steps=max(1, spec.settings.warmup)) if spec.settings.decay == "cooldown" else None


def shares(levels: Sequence[Spec]) -> list[float]:
    """For each of some levels, the share of its steps that no shorter one's trunk has taken before."""
    reached: dict[Spec, list[int]] = defaultdict(list)  # the branches of each trunk
    for level in levels:
        if common := trunk(level):
            reached[common].append(cooldown_start(level.settings))
    found = []
    for level in levels:
        common, start = trunk(level), cooldown_start(level.settings)
        before = max((other for other in reached[common] if other < start), default=0) if common else 0
        found.append(1 - before / level.settings.steps)
    return found


def carry_out_branches(workshop: Workshop, specs: Sequence[Spec]) -> Iterator[Trained]:
    """Train, evaluate and write samples for runs of one trunk, by rising steps; one that diverges is marked as failed.

    Raises what `Workshop.carry_out` raises.
    """
    watch, shared = Stopwatch(), workshop.texts.shared(specs[0])
    with watch.measure("data"):
        first = prepare(specs[0].request(), shared.split)
    with watch.measure("compile"):
        engine = workshop.engine(first)
        stem = engine.open(first.checkpoint.state)
    losses, fault = np.empty(0), None
    for spec in specs:
        settings, start = spec.settings, cooldown_start(spec.settings)
        record = skeleton(spec, shared, first.dataset)
        try:
            with watch.measure("train"):
                losses = np.append(losses, [] if fault else advance(first.dataset, settings, stem, len(losses), start))
        except DivergedError as error:
            fault = error  # of this run, and of all that are longer
        try:
            if fault:
                raise fault
            own = Stopwatch(before=watch.spent | {"total": sum(watch.spent.values())})
            with own.measure("train"):
                branch = engine.open(stem.state())
                cooled = advance(first.dataset, settings, branch, start, settings.steps)
            done = ended(first, shared, record, branch, np.append(losses, cooled), own)
        except DivergedError as error:
            done = Trained(replace(record, status="failed", error=str(error)))
        yield replace(done, record=replace(done.record, finished=now()))
