"""One run of a sweep, without a folder: from its specification to its record.

It computes what `microgpt train` computes, with the pieces of the same rooms (a test holds the two together), but keeps
between runs what is the same for many: the text, the held-out sequences, the engines and their kernels.
"""

import itertools
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.dataset import Dataset
from microgpt.engines import create
from microgpt.engines.contract import Engine, EngineConfig, Runner
from microgpt.errors import DivergedError
from microgpt.lab.costs import skeleton
from microgpt.lab.record import RunRecord
from microgpt.lab.spec import SAMPLES_PER_RUN, Spec
from microgpt.lab.texts import Shared, Texts
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import Settings
from microgpt.training.evaluate import contiguous, standard_error
from microgpt.training.loop import train
from microgpt.training.prepare import Prepared, dataset_on, engine_config, prepare
from microgpt.training.records import Finished
from microgpt.training.sample import Sampling, Writer, random_stream, samples_stream
from microgpt.training.session import MEAN_OF, gentler
from microgpt.training.stopwatch import Stopwatch

AT_ONCE: Final = 1 << 16  # sequences in a call of the engine
NAMED: Final = 16  # characters of an identity that name a run folder
POINTS: Final = 200  # at most, of a curve

HeldOut = tuple[float | None, float | None]  # the held-out loss and its standard error


@dataclass(frozen=True)
class Curve:
    """The training loss as means over stretches of `every` steps, of which the last may be shorter."""

    every: int
    losses: tuple[float, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """The middle step of each stretch, for drawing."""
        return tuple(n * self.every + self.every // 2 for n in range(len(self.losses)))


@dataclass(frozen=True, eq=False)
class Trained:
    """What came of a run: its record and, where it finished, its training loss over its steps."""

    record: RunRecord
    curve: Curve | None = None


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
        held_out = result.loss.holdout, result.loss.holdout_se
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
        samples = samples_of(prepared, runner)
    return measured(record, losses, held_out, samples, asdict(watch.seconds()))


def measured(
    record: RunRecord,
    losses: NDArray[np.float64],
    held_out: HeldOut,
    samples: tuple[str, ...],
    seconds: dict[str, float],
) -> Trained:
    """What came of a run that finished, with what it measured in its record."""
    told: dict[str, Any] = {"training_loss": float(np.mean(losses[-MEAN_OF:])), "samples": samples, "seconds": seconds}
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
        rates = learning_rates(settings, first, count)
        parts.append(runner.advance(dataset.sequences_of(first, count, settings.batch), rates))
        if len(parts[-1]) < count:
            raise diverged(settings, first + len(parts[-1]), rates[len(parts[-1])])
    return np.concatenate(parts)


def diverged(settings: Settings, steps: int, rate: float) -> DivergedError:
    """What a run says whose next step, after so many, would not be finite."""
    return DivergedError(
        f"step {steps + 1}: expected a finite loss and finite weights, found others at a learning rate of "
        f"{rate:g}; try --lr {gentler(settings):g}."
    )


def _evaluate(runner: Runner, shared: Shared) -> HeldOut:
    """The held-out loss by training/evaluate.py; None where nothing is held out. Raises `DivergedError`."""
    if not shared.held_out:
        return None, None
    stretches = range(0, len(shared.held_out), AT_ONCE)
    parts = [runner.evaluate(shared.held_out[first : first + AT_ONCE]) for first in stretches]
    sums, counts = (np.concatenate(column) for column in zip(*parts, strict=True))  # (n,) each
    if not np.isfinite(sums).all():
        raise DivergedError("expected a finite held-out loss, found another: the weights are too large; lower --lr.")
    clusters: tuple[NDArray[Any], NDArray[Any]] = (sums, counts)
    if shared.split.is_running:
        clusters = contiguous(sums), contiguous(counts)
    return float(sums.sum() / counts.sum()), standard_error(*clusters)


def samples_of(prepared: Prepared, runner: Runner) -> tuple[str, ...]:
    """The texts that a run of a sweep writes."""
    checkpoint, state, settings = prepared.checkpoint, prepared.training.random_state, prepared.request.settings
    stream = random_stream(state) if state else samples_stream(settings.seed)
    writer = Writer(runner, checkpoint.tokenizer, checkpoint.kind, settings.ctx)
    return writer.write(Sampling(SAMPLES_PER_RUN, prepared.request.temperature), stream).texts


def now() -> str:
    """The time, as a record tells it."""
    return datetime.now(UTC).isoformat(timespec="seconds")
