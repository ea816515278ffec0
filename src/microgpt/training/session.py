"""A training under way: the engine's runner, the losses so far, the clock, and the saves. All that changes is here."""

import math
import time
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.counts import Table, some
from microgpt.data.dataset import Dataset
from microgpt.data.slices import Tokens
from microgpt.engines.contract import Engine, Runner
from microgpt.errors import DivergedError
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import Settings, usual_rate
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.evaluate import HeldOut, evaluations, summarize, summarized
from microgpt.training.marking import Marking
from microgpt.training.mixing import Mixed, mixed
from microgpt.training.prepare import Prepared
from microgpt.training.records import Progress, Saved
from microgpt.training.report import report
from microgpt.training.run_folder import RunFolder, Status
from microgpt.training.sample import Samples, Sampling, Writer, random_stream, samples_stream
from microgpt.training.selection import Best, lowest, spread, waited
from microgpt.training.stopwatch import Stopwatch
from microgpt.training.tables import EVALUATIONS, LOSSES

MEAN_OF: Final = 100  # steps whose mean loss is told: a single step's loss is that of one document
SLACK: Final = 0.97  # of the planned steps: a little less, or more, is no reason to plan anew
PACES: Final = 48  # times in a run with a deadline that its pace is looked at
FINITE: Final = "a finite loss and finite weights"
Stop = Callable[[], bool]


def never() -> bool:
    """A training that nobody stops."""
    return False


@dataclass(frozen=True)
class Past:
    """What earlier sessions of a run have left: losses (steps,), evaluations, seconds, when it began."""

    losses: Iterable[float] = ()
    evaluations: Sequence[tuple[int, float, float]] = ()
    seconds: dict[str, float] = field(default_factory=dict)
    began: str | None = None
    resumed_from: str | None = None


class Session:
    """One training from its checkpoint onward, with or without a run folder."""

    def __init__(
        self, prepared: Prepared, engine: Engine, folder: RunFolder | None, past: Past, watch: Stopwatch
    ) -> None:
        self.prepared, self.engine, self.folder, self.past, self.watch = prepared, engine, folder, past, watch
        self.request, self.settings = prepared.request, prepared.request.settings
        self.dataset: Dataset = prepared.dataset
        self.step = self.first_step = self.saved_step = prepared.checkpoint.state.step
        self.losses = array("d", past.losses)  # nats per character, 8 bytes a step, of all steps
        self.evaluations = list(past.evaluations)
        self.saved_evaluations = len(self.evaluations)
        self.watch.before = past.seconds
        self.deadline = math.inf  # on the clock of time.perf_counter
        self.planned_steps = self.most_steps = self.settings.steps  # at first, and where the machine is quick
        self._marks: list[tuple[float, int]] = []  # time and step now and then, for the pace of late
        self.kept_step = self.step  # that of the weights at hand
        self.committed_step = self.step  # that of the weights in the folder
        self.best: Best | None = None
        self._best_saved = True

    def open(self) -> None:
        """Hand the state to the engine, which may compile now, and have the mark to beat found."""
        self.marking = Marking(self.dataset, mixes=self.request.mix > 0)
        with self.watch.measure("compile"):
            self.runner: Runner = self.engine.open(self.prepared.checkpoint.state)
        self._marks = [(time.perf_counter(), self.step)]
        if self.folder and self.evaluations and self.request.select == "best":
            self._reopen_best(self.folder)

    def _reopen_best(self, folder: RunFolder) -> None:
        """Take up what an earlier session found best. A save that came before its commit is found again."""
        kept, loss = folder.read_best(), lowest(self.evaluations)
        if kept and any((step, found) == (kept.state.step, loss) for step, found, _ in self.evaluations):
            self.best = Best(kept.state.step, loss, kept.state)

    @cached_property
    def held_out(self) -> Sequence[Tokens]:
        """The held-out sequences, made when they are first looked at."""
        return self.dataset.held_out()

    @property
    def run(self) -> str | None:
        return str(self.folder.path) if self.folder else None

    def advance(self, count: int) -> Progress:
        """Take so many steps. Raises `DivergedError`, after saving, where not all of them could be taken."""
        with self.watch.measure("train"):
            losses = advance(self.runner, self.dataset, self.settings, self.step, count)
        self.losses.frombytes(np.ascontiguousarray(losses, np.float64).tobytes())
        self.step += len(losses)
        self.kept_step = self.step
        if len(losses) < count:
            raise self._diverged(FINITE, self.step + 1)
        return Progress(
            step=self.step,
            steps=self.settings.steps,
            losses=losses,
            loss=self.recent_loss,
            lr=float(learning_rates(self.settings, self.step - 1, 1)[0]),
            steps_per_second=(self.step - self.first_step) / max(self.watch.spent["train"], 1e-9),
        )

    @property
    def complete(self) -> bool:
        """Whether all steps are taken, or no more shall be: the time is up, or the held-out loss rises for good."""
        return self.step == self.settings.steps or self.late or self.worsening

    @property
    def late(self) -> bool:
        """Whether the time is up before the last step."""
        return self.step < self.settings.steps and time.perf_counter() >= self.deadline

    def keep_pace(self) -> None:
        """Plan fewer steps where the machine is slower than was thought, more where it is quicker, so that the learning
        rate falls to zero in time. What counts is the pace of late. A run without a deadline keeps its plan."""
        if math.isinf(self.deadline):
            return
        now, (opened, _), (last, _) = time.perf_counter(), self._marks[0], self._marks[-1]
        if self.step < self.settings.steps and now < last + (self.deadline - opened) / PACES:
            return
        of_late = [mark for mark in self._marks if mark[0] >= (opened + now) / 2] or self._marks[-1:]
        then, step = of_late[0]
        self._marks.append((now, self.step))
        steps = self.step + int(max(0.0, self.deadline - now) * (self.step - step) / (now - then))
        steps = max(min(max(steps, self.step + 1), self.most_steps), self.settings.warmup)
        if not SLACK * self.settings.steps <= steps <= self.settings.steps / SLACK:
            self.append()  # with the rates that were
            self.settings = replace(self.settings, steps=steps)
            self.request = replace(self.request, settings=self.settings)
            self.prepared = self.prepared.noting(request=self.request)

    @property
    def worsening(self) -> bool:
        """Whether so many held-out losses in a row were no better than an earlier one as the request allows."""
        return 0 < self.request.patience <= waited(self.evaluations)

    @property
    def recent_loss(self) -> float:
        """Mean loss of the last steps that are known."""
        return float(np.mean(self.losses[-MEAN_OF:])) if self.losses else math.nan

    def all_losses(self) -> NDArray[np.float64]:
        return np.array(self.losses, np.float64)

    def checkpoint(self) -> Checkpoint:
        return replace(self.prepared.checkpoint, state=self.runner.state())

    def commit(self) -> Saved | None:
        """Save, where there is a folder. Raises `EnvironmentFault`; what was saved before is kept."""
        if self.folder is None:
            return None
        self.append()
        if self.best and not self._best_saved:
            self.folder.commit_best(replace(self.prepared.checkpoint, state=self.best.state))
            self._best_saved = True
        self.folder.commit(self.checkpoint())
        self.committed_step = self.step
        return Saved(self.step, self.folder.weights)

    def append(self) -> None:
        """Bring the tables up to date, where there is a folder."""
        if self.folder is None:
            return
        count = self.step - self.saved_step
        rates = learning_rates(self.settings, self.saved_step, count)
        losses = self.losses[len(self.losses) - count :]
        steps = range(self.saved_step + 1, self.step + 1)
        self.folder.append(LOSSES, LOSSES.rows(zip(steps, losses, rates.tolist(), strict=True)))
        self.folder.append(EVALUATIONS, EVALUATIONS.rows(self.evaluations[self.saved_evaluations :]))
        self.saved_step, self.saved_evaluations = self.step, len(self.evaluations)

    @property
    def evaluation_due(self) -> bool:
        """Whether this step's held-out loss was asked for and is not there yet, as after a stop in the midst of it."""
        every, last = self.request.eval_every, self.evaluations[-1][0] if self.evaluations else 0
        asked = every > 0 and self.step % every == 0 and self.dataset.holdout_documents > 0
        return asked and self.step > last

    def look(self, stop: Stop) -> HeldOut | None:
        """The held-out loss in mid-run, on the part that the request names, and whether it is the best so far."""
        held_out = self.evaluate(stop, self.request.eval_documents)
        if held_out and self.request.select == "best" and held_out.per_character <= lowest(self.evaluations):
            self.best, self._best_saved = Best(self.step, held_out.per_character, self.runner.state()), False
        return held_out

    def take_best(self) -> Best | None:
        """End with the best weights rather than the last; None where they are the same."""
        if self.best is None or self.best.step == self.step:
            return None
        self.append()
        self.runner, self.kept_step = self.engine.open(self.best.state), self.best.step
        return self.best

    def evaluate(self, stop: Stop, documents: int = 0) -> HeldOut | None:
        """The held-out loss on so many documents (0: all), or None where nothing is held out or `stop` says so in
        between."""
        if not self.dataset.holdout_documents:
            return None
        sequences, parts = spread(self.held_out, documents), []
        with self.watch.measure("evaluate"):
            for part in evaluations(self.runner, sequences):
                parts.append(part)
                if stop():
                    return None
            sums, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
            checkpoint, ctx = self.prepared.checkpoint, self.settings.ctx
            try:
                held_out = summarize(sums, counts, sequences, checkpoint.tokenizer, checkpoint.kind, ctx)
            except DivergedError:
                raise self._diverged("a finite held-out loss", self.step) from None
        if not any(step == self.step for step, *_ in self.evaluations):
            se = math.nan if held_out.per_character_se is None else held_out.per_character_se
            self.evaluations.append((self.step, held_out.per_character, se))
        return held_out

    def mixed(self) -> HeldOut | None:
        """The held-out loss of the model mixed with counts; None where that was not asked for, or could not be."""
        self.marking.wait()
        if not self.marking.told:
            return None
        tokenizer, kind = self.prepared.checkpoint.tokenizer, self.prepared.checkpoint.kind
        with self.watch.measure("evaluate"):
            sequences = some(self.held_out, self.settings.ctx)
            losses = mixed(self.runner.losses(sequences), self.marking.told, self.request.mix)
            return summarized(losses, sequences, tokenizer, kind, self.settings.ctx)

    def sample(self) -> Samples:
        """The samples that end a run."""
        known = None if self.prepared.checkpoint.kind == "windows" else self.dataset.contains
        if self.request.mix:
            self.marking.wait()  # for the table, and not in the time of the samples
        try:
            with self.watch.measure("sample"):
                return samples_of(self.prepared, self.runner, known, self.marking.table)
        except DivergedError:
            raise self._diverged("finite probabilities", self.step) from None

    def write_report(self, status: Status, result: dict[str, Any]) -> None:
        """Bring `run.json` up to date, where there is a folder."""
        if self.folder:
            training, kind = self.prepared.training, self.prepared.checkpoint.kind
            self.folder.write_report(report(training, kind, status, result, self.past.began))

    def _diverged(self, expected: str, step: int) -> DivergedError:
        """Keep the last finite state, and say what to do. Where the state itself is not finite, as first weights beyond
        float32 are not, that is the one of the last save."""
        kept = ""
        if self.folder:
            if self.runner.state().finite:
                self.commit()
            self.write_report("diverged", {"steps": self.settings.steps, "diverged_at": step})
            kept = f"; the last finite weights, of step {self.committed_step}, are in {self.folder.path}"
        return diverged(self.settings, step, expected, kept)


class Observer:
    """Who looks at a training between two calls of its engine; this one does nothing."""

    def opened(self, session: Session) -> None:
        """The engine is open, and no step of this session is taken yet."""

    def chunk(self, session: Session, count: int) -> int:
        """How many of the next `count` steps are to be taken in one call: one or more."""
        return count

    def advanced(self, session: Session, done: Progress, seconds: float) -> None:
        """Steps were taken, in so many seconds."""

    def ends_evaluation(self, stop: Stop) -> bool:
        """Whether an evaluation ends in its midst."""
        return stop()


def advance(
    runner: Runner, dataset: Dataset, settings: Settings, first: int, count: int
) -> NDArray[np.float64]:  # (count,)
    """Take `count` steps after the first so many; fewer where a number would not be finite. The loss of each, in nats
    per character: per token, over the characters that a token of the training part has on average."""
    batches, rates = dataset.sequences_of(first, count, settings.batch), learning_rates(settings, first, count)
    return runner.advance(batches, rates) / dataset.characters


def samples_of(
    prepared: Prepared, runner: Runner, known: Callable[[str], bool] | None = None, table: Table | None = None
) -> Samples:
    """The samples that end a run: from the golden stream where it stands, or from the seed's own for samples."""
    checkpoint, request, state = prepared.checkpoint, prepared.request, prepared.training.random_state
    stream = random_stream(state) if state else samples_stream(request.settings.seed)  # a golden one goes on gapless
    writing = Mixed(runner, table, request.mix, request.settings.ctx) if table else runner
    writer = Writer(writing, checkpoint.tokenizer, checkpoint.kind, request.settings.ctx)
    return writer.write(
        Sampling(request.samples, request.temperature), stream, stands_in_text=known, gapless=bool(state)
    )


def diverged(settings: Settings, step: int, expected: str = FINITE, kept: str = "") -> DivergedError:
    """What a training says in whose step a number is not finite."""
    rate = learning_rates(settings, max(step - 1, 0), 1)[0]
    return DivergedError(
        f"step {step}: expected {expected}, found others at a learning rate of {rate:g}; "
        f"try --lr {gentler(settings):g}{kept}."
    )


def gentler(settings: Settings) -> float:
    """The learning rate to try after one that was too high: a tenth, and no more than what suits the size."""
    return min(settings.lr / 10, usual_rate(settings.emb))
