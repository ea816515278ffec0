"""Runs of one shape carried out together, as an ensemble of the engine `torch`: a sweep's seeds and learning rates.

Each run gets the record that `lab/run.py` would give it alone, within rounding (a test holds the two together); its
seconds are its share of the group's.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.engines import create
from microgpt.engines.base import Engine
from microgpt.errors import DivergedError
from microgpt.lab.costs import skeleton
from microgpt.lab.record import RunRecord
from microgpt.lab.run import (
    AT_ONCE,
    HeldOut,
    Trained,
    Workshop,
    diverged,
    measured,
    now,
    samples_of,
    stretches,
    summed_up,
)
from microgpt.lab.spec import Spec
from microgpt.lab.texts import Shared, Texts
from microgpt.model.schedule import learning_rates
from microgpt.model.state import State
from microgpt.training.prepare import Prepared, engine_config, prepare, settled
from microgpt.training.stopwatch import Stopwatch

if TYPE_CHECKING:
    from microgpt.engines.torch.ensemble import Ensemble

Losses = NDArray[np.float64]
APART: Final[dict[str, Any]] = {
    "seed": 0,
    "lr": 1.0,
    "warmup": 0,
    "decay": "linear",
    "initial": "gauss",
    "initial_scale": 1.0,
}

TRIED: Final = 20  # steps of a measurement
GENTLE: Final = 1e-4  # a learning rate low enough to diverge nowhere


def shape(spec: Spec) -> Spec | None:
    """What a run has in common with all that can be trained together with it; None where it is trained alone."""
    together = spec.asked.engine == "torch" and spec.asked.precision in ("32", "64")
    return spec.with_settings(**APART) if together else None


def most(spec: Spec, texts: Texts) -> int:
    """How many runs of this shape a group has at most."""
    if shape(spec) is None:  # also where torch is not installed
        return 1
    from microgpt.engines.torch.ensemble import models_at_once

    shared = texts.shared(spec)
    model = spec.settings.model(shared.split.corpus.tokenizer.vocabulary)
    return models_at_once(model, spec.settings.batch, engine_config(settled(spec.request())))


def quicker(spec: Spec, texts: Texts, step: float, runs: int) -> float:
    """How many times as fast the steps of a run are among so many that wait, where alone one takes `step` seconds."""
    models = min(runs, most(spec, texts))
    if models < 2:
        return 1.0
    from microgpt.engines.torch.ensemble import Ensemble

    asked = spec.with_settings(steps=TRIED, warmup=0, lr=GENTLE)
    split = texts.shared(spec).split
    group = [prepare(asked.with_settings(seed=seed).request(), split) for seed in range(models)]
    ensemble = Ensemble(engine_config(group[0].request), [run.checkpoint.state for run in group])
    _advance(group, ensemble)  # the first ones warm up
    start = time.perf_counter()
    _advance(group, ensemble)
    return models * step * TRIED / (time.perf_counter() - start)


def carry_out_together(workshop: Workshop, specs: Sequence[Spec]) -> list[Trained]:
    """Train, evaluate and write samples for runs of one shape; those that diverge are marked as failed.

    Raises what `Workshop.carry_out` raises.
    """
    from microgpt.engines.torch.ensemble import Ensemble

    watch, shared = Stopwatch(), workshop.texts.shared(specs[0])
    with watch.measure("data"):
        runs = [prepare(spec.request(), shared.split) for spec in specs]
        records = [skeleton(spec, shared, run.dataset) for spec, run in zip(specs, runs, strict=True)]
    with watch.measure("compile"):
        config = engine_config(runs[0].request)
        ensemble = Ensemble(config, [run.checkpoint.state for run in runs])
        alone = create("torch", replace(config, device="cpu"))  # token by token it is quicker than a card
    with watch.measure("train"):
        losses = _advance(runs, ensemble)  # (steps, N)
    with watch.measure("evaluate"):
        held_out = _evaluate(ensemble, shared)
    with watch.measure("sample"):
        each = zip(runs, records, losses.T, held_out, ensemble.states(), strict=True)
        found = [_outcome(*parts, alone) for parts in each]
    seconds = {name: total / len(runs) for name, total in asdict(watch.seconds()).items()}
    return [_timed(trained, seconds) for trained in found]


def _outcome(
    run: Prepared,
    record: RunRecord,
    losses: Losses,
    held_out: Callable[[], HeldOut],
    state: State | None,
    engine: Engine,
) -> Trained:
    """What came of a run of a group, with its samples."""
    try:
        if state is None:
            steps = int(np.isfinite(losses).sum())
            raise diverged(run.request.settings, steps, learning_rates(run.request.settings, steps, 1)[0])
        return measured(record, losses, held_out(), samples_of(run, engine.open(state)), {})
    except DivergedError as error:
        return Trained(replace(record, status="failed", error=str(error)))


def _timed(trained: Trained, seconds: dict[str, float]) -> Trained:
    """The same with the time it ended and, if it finished, its share of the group's seconds."""
    told = seconds if trained.record.status == "done" else {}
    return replace(trained, record=replace(trained.record, seconds=told, finished=now()))


def _advance(runs: Sequence[Prepared], ensemble: "Ensemble") -> Losses:
    """The losses of every step (steps, N); from the step on before which a run stopped, they are NaN."""
    from microgpt.engines.torch.ensemble import steps_of

    settings, parts = runs[0].request.settings, []
    stretch = max(1, AT_ONCE // (settings.batch * len(runs)))
    for first in range(0, settings.steps, stretch):
        count = min(stretch, settings.steps - first)
        spans = [run.dataset.spans(first, count, settings.batch) for run in runs]
        starts, stops = (np.stack([part.reshape(count, -1) for part in each], 1) for each in zip(*spans, strict=True))
        rates = np.stack([learning_rates(run.request.settings, first, count) for run in runs], 1)  # (count, N)
        parts.append(ensemble.advance(steps_of(runs[0].checkpoint.model, runs[0].dataset.tokens, starts, stops), rates))
    return np.concatenate(parts)


def _evaluate(ensemble: "Ensemble", shared: Shared) -> list[Callable[[], HeldOut]]:
    """What sums up the held-out loss of each run, or raises `DivergedError`; None where nothing is held out."""
    if not shared.held_out:
        return [lambda: (None, None)] * ensemble.models
    parts = [ensemble.evaluate(part) for part in stretches(shared.held_out)]
    sums, counts = (np.concatenate(column, axis=-1) for column in zip(*parts, strict=True))  # (N, n), (n,)
    return [partial(summed_up, each, counts, shared) for each in sums]
