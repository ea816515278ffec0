"""One run of a sweep, without a folder: from its specification to its record.

It computes what `microgpt train` computes, with the pieces of the same rooms (a test holds the two together), but keeps
between runs what is the same for many: the text, the held-out sequences, the engines and their kernels.
"""

import itertools
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.dataset import Dataset
from microgpt.engines import create
from microgpt.engines.contract import Engine, EngineConfig, Runner
from microgpt.errors import DivergedError
from microgpt.lab.store.record import Curve, RunRecord, Trained
from microgpt.lab.sweep.costs import skeleton
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Shared, Texts
from microgpt.model.settings import Settings
from microgpt.training import session
from microgpt.training.computing import engine_config
from microgpt.training.evaluate import evaluations, mean_loss
from microgpt.training.loop import train
from microgpt.training.prepare import Prepared, dataset_on, prepare
from microgpt.training.records import Finished
from microgpt.training.stopwatch import Stopwatch

AT_ONCE: Final = 1 << 16  # sequences in a call of the engine
NAMED: Final = 16  # characters of an identity that name a run folder
POINTS: Final = 200  # at most, of a curve

HeldOut = tuple[float | None, float | None]  # the held-out loss and its standard error


class Workshop:
    """What a process keeps between its runs. `out` is where it writes run folders, if at all."""

    def __init__(self, texts: Texts | None = None, out: str = "", device: str = "cpu") -> None:
        self.texts, self._out, self._device = texts or Texts(), out, device
        self._engines: dict[tuple[str, EngineConfig], Engine] = {}

    def carry_out(self, spec: Spec) -> Trained:
        """Train, evaluate and write samples; a run that diverges is marked as failed.

        Raises `DataError` for a text that is gone, `EnvironmentFault` for an engine that can't be had.
        """
        watch = Stopwatch()
        with watch.measure("data"):
            shared = self.texts.shared(spec)
            prepared = prepare(spec.request(device=self._device), shared.split)
            record = skeleton(spec, shared, prepared.dataset)
        try:
            done = self._kept(spec, shared, record) if self._out else self._plain(spec, prepared, shared, record, watch)
        except DivergedError as error:
            done = Trained(replace(record, status="failed", error=str(error)))
        return replace(done, record=replace(done.record, finished=now()))

    def lost(self, spec: Spec, error: str) -> Trained:
        """The record of a run that could not be carried out; it takes no memory for weights, which may be why."""
        shared = self.texts.shared(spec)
        record = skeleton(spec, shared, dataset_on(spec.request(), shared.split))
        return Trained(replace(record, status="failed", error=error, finished=now()))

    def _plain(self, spec: Spec, prepared: Prepared, shared: Shared, record: RunRecord, watch: Stopwatch) -> Trained:
        with watch.measure("compile"):
            runner = self.engine(prepared).open(prepared.checkpoint.state)
        with watch.measure("train"):
            losses = advance(prepared.dataset, spec.settings, runner, 0, spec.settings.steps)
        return ended(prepared, shared, record, runner, losses, watch)

    def _kept(self, spec: Spec, shared: Shared, record: RunRecord) -> Trained:
        """The same through a run folder. One that a sweep which was killed has left keeps its name."""
        names = (spec.identity[:NAMED] + (f"-{n}" if n > 1 else "") for n in itertools.count(1))
        name = next(name for name in names if not (Path(self._out) / name).exists())
        *_, last = train(spec.request(out=self._out, name=name, device=self._device), split=shared.split)
        assert isinstance(last, Finished)  # nobody stops it
        result = last.result
        held_out = result.loss.holdout_per_character, result.loss.holdout_per_character_se
        return measured(record, last.losses, held_out, result.samples, asdict(result.seconds))

    def engine(self, prepared: Prepared) -> Engine:
        """What computes a run."""
        config = engine_config(prepared.request)
        key = (prepared.request.engine, config)
        if key not in self._engines:
            self._engines[key] = create(*key)
        return self._engines[key]


def ended(
    prepared: Prepared,
    shared: Shared,
    record: RunRecord,
    runner: Runner,
    losses: NDArray[np.float64],
    watch: Stopwatch,
) -> Trained:
    """What came of a run after its last step: it is evaluated, and writes samples. Raises `DivergedError`."""
    with watch.measure("evaluate"):
        held_out = _evaluate(runner, shared)
    with watch.measure("sample"):
        samples = session.samples_of(prepared, runner).texts
    return measured(record, losses, held_out, samples, asdict(watch.seconds()))


def measured(
    record: RunRecord,
    losses: NDArray[np.float64],
    held_out: HeldOut,
    samples: tuple[str, ...],
    seconds: dict[str, float],
) -> Trained:
    """What came of a run that finished, with what it measured in its record."""
    told: dict[str, Any] = {
        "training_loss": float(np.mean(losses[-session.MEAN_OF :])),
        "samples": samples,
        "seconds": seconds,
    }
    return Trained(replace(record, loss=held_out[0], loss_se=held_out[1], **told), curve(losses))


def curve(losses: NDArray[np.float64]) -> Curve:
    """The losses (steps,) as means over at most POINTS stretches."""
    every = -(-len(losses) // POINTS)
    firsts = np.arange(0, len(losses), every)
    means = np.add.reduceat(losses, firsts) / np.diff(np.append(firsts, len(losses)))
    return Curve(every, tuple(np.round(means, 4).tolist()))


def advance(dataset: Dataset, settings: Settings, runner: Runner, begin: int, end: int) -> NDArray[np.float64]:
    """Take the steps from `begin` to before `end`; the loss of each, (end - begin,). Raises `DivergedError`."""
    stretch = max(1, AT_ONCE // settings.batch)
    parts = [np.empty(0)]
    for first in range(begin, end, stretch):
        count = min(stretch, end - first)
        parts.append(session.advance(runner, dataset, settings, first, count))
        if len(parts[-1]) < count:
            raise session.diverged(settings, first + len(parts[-1]) + 1)
    return np.concatenate(parts)


def _evaluate(runner: Runner, shared: Shared) -> HeldOut:
    """The held-out loss per character, by training/evaluate.py; None where nothing is held out. Raises
    `DivergedError`."""
    if not shared.held_out:
        return None, None
    sums = np.concatenate([part for part, _ in evaluations(runner, shared.held_out, AT_ONCE)])
    return mean_loss(sums, shared.characters, shared.split.corpus.kind, "lower --lr")


def now() -> str:
    """The time, as a record tells it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
