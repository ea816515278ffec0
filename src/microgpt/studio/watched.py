"""A training that is looked at while it runs: its losses as a curve, and now and then what it writes.

`Watched` is the session of the training loop with two differences: it cuts the loop's chunks of steps where a look is
due, and it films a training that was too fast to be looked at by taking the same steps once more. An engine's results
do not depend on how steps are cut into calls, and looks draw from a stream of their own, so the run ends with the same
weights, bit by bit, as one that nobody looked at.
"""

import bisect
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.slices import Tokens
from microgpt.engines.contract import Runner
from microgpt.model.schedule import learning_rates
from microgpt.studio.control import Control
from microgpt.studio.history import History
from microgpt.training.evaluate import HeldOut, held_out_loss
from microgpt.training.records import Progress
from microgpt.training.sample import Sampling, Writer, samples_stream
from microgpt.training.selection import spread
from microgpt.training.session import Session, Stop

REGULAR: Final = 40  # looks at even distances; the first steps, where most happens, have more
FAST: Final = 1.5  # seconds: a shorter training is filmed afterwards, and keeps its full speed
COLD: Final = 20  # times that the first step of an engine may be slower than the next
FREE: Final = 0.5  # seconds of looking that any training may cost …
SHARE: Final = 0.05  # … and the share of its own time besides
EVALUATING: Final = 0.006  # seconds of a look for the held-out loss
FEWEST: Final = 16  # documents of it …
MOST_DOCUMENTS: Final = 500
LETTERS: Final = 160  # characters of a look's samples, about

Publish = Callable[[str, dict[str, Any]], None]


@dataclass(frozen=True)
class Look:
    """What a model was able to after `step` steps: its loss on some held-out documents, and what it wrote."""

    step: int
    loss: float | None
    documents: int
    samples: tuple[str, ...]


def due(steps: int) -> list[int]:
    """The steps to look at: 0, the powers of two, even distances, and the last."""
    powers = [1 << power for power in range(steps.bit_length())]
    even = [round(steps * part / REGULAR) for part in range(1, REGULAR + 1)]
    return sorted({0, steps, *powers, *even})


class Watched(Session):
    """A session that tells of its steps and looks at its model between them."""

    def watch_with(self, control: Control, publish: Publish, *, history: bool) -> "Watched":
        """Say who may interrupt, who listens, and whether the weights of each look are to be kept."""
        self.control, self.publish = control, publish
        self.history = History(self.folder if history else None)
        self._due, self._missed = due(self.settings.steps), list[int]()
        self._rates = list[NDArray[np.float64]]()  # of the steps that may be taken once more: a plan can change
        self._live = False  # whether looks are taken as the training goes
        self._documents, self._looking = 0, 0.0
        return self

    def open(self) -> None:
        super().open()
        if self.step == 0:
            self._look(self.runner, 0)
        elif self.losses:
            self._tell(np.array(self.losses), None)

    def advance(self, count: int) -> Progress:
        """Take so many steps, or fewer where the person wants something else."""
        self.deadline += self.control.waited()
        stepping = self.control.stepping
        last, pieces = self.step + (1 if stepping else count), list[NDArray[np.float64]]()
        while not pieces or (self.step < last and (stepping or not self.control.wanted)):
            progress = self._piece(min(last, self._next_look() if self._live else last))
            pieces.append(progress.losses)
            if self._missed and (self._live or self.step == self.settings.steps):
                self._film()
            if stepping or (self._live and self.step in self._due and self._may_look()):
                self._look(self.runner, self.step)
        return replace(progress, losses=np.concatenate(pieces))

    def keep_pace(self) -> None:
        super().keep_pace()
        if self._due[-1] != self.settings.steps:
            self._due = due(self.settings.steps)

    def evaluate(self, stop: Stop, documents: int = 0) -> HeldOut | None:
        """As always, but a pause waits until the held-out loss is there."""
        return super().evaluate(lambda: self.control.stopped, documents)

    def _piece(self, until: int) -> Progress:
        """Steps in one call of the engine, told to whoever listens."""
        before, start = self.step, time.perf_counter()
        if not self._live:
            self._rates.append(learning_rates(self.settings, before, until - before))
        progress = super().advance(until - before)
        seconds, taken = time.perf_counter() - start, self.step - before
        if not self._live:
            self._missed += [step for step in self._due if before < step <= self.step and not self.control.stepping]
            left = seconds / taken * (self.settings.steps - self.step)
            self._live = left > (FAST * COLD if before == self.first_step else FAST)
        self._tell(progress.losses, progress.steps_per_second)
        return progress

    def _next_look(self) -> int:
        return self._due[bisect.bisect_right(self._due, self.step)]

    def _may_look(self) -> bool:
        """Whether looking has cost no more than its share; the last look is free."""
        spent = self.watch.spent.get("train", 0.0)
        return self._looking <= FREE + SHARE * spent or self.step == self.settings.steps

    def _film(self) -> None:
        """Take the first steps once more, and look where there was no time to: the weights are the same."""
        missed, self._missed = self._missed, []
        state, rates = self.prepared.checkpoint.state, np.concatenate(self._rates)
        runner, step = self.engine.open(state), state.step
        for place in missed:
            batches = self.dataset.sequences_of(step, place - step, self.settings.batch)
            runner.advance(batches, rates[step - state.step : place - state.step])
            step = place
            if self.control.stopped:
                return
            self._look(runner, step)

    def _tell(self, losses: NDArray[np.float64], speed: float | None) -> None:
        told = {"first": self.step - len(losses) + 1, "losses": losses}
        self.publish("losses", told | {"step": self.step, "steps": self.settings.steps, "steps_per_second": speed})

    def _look(self, runner: Runner, step: int) -> None:
        """Let the model write, measure it, and keep its weights."""
        start = time.perf_counter()
        loss, documents = self._held_out_now(runner)
        look = Look(step, loss, documents, written(self, runner))
        self.history.keep(replace(self.prepared.checkpoint, state=runner.state()))
        self._looking += time.perf_counter() - start
        self.publish("look", asdict(look))

    def _held_out_now(self, runner: Runner) -> tuple[float | None, int]:
        if not self.dataset.holdout_documents:
            return None, 0
        if self._held_out is None:
            self._held_out = self.dataset.held_out()
        self._documents = self._documents or affordable(runner, self._held_out)
        chosen, checkpoint = spread(self._held_out, self._documents), self.prepared.checkpoint
        found = held_out_loss(runner, chosen, checkpoint.tokenizer, checkpoint.kind, self.settings.ctx)
        return found.loss, len(chosen)


def written(session: Session, runner: Runner) -> tuple[str, ...]:
    """A few samples of a model that is being trained, drawn the same way each time, so that looks can be compared."""
    checkpoint, ctx = session.prepared.checkpoint, session.settings.ctx
    count = 1 if checkpoint.kind == "windows" else max(2, min(10, LETTERS // ctx))
    sampling = Sampling(count, session.request.temperature, length=LETTERS)
    writer = Writer(runner, checkpoint.tokenizer, checkpoint.kind, ctx)
    return writer.write(sampling, samples_stream(session.settings.seed)).texts


def affordable(runner: Runner, sequences: Sequence[Tokens]) -> int:
    """How many held-out documents a look may take, by the time that a few of them take."""
    few = spread(sequences, FEWEST)
    runner.evaluate(few)  # the first is slower than all others
    start = time.perf_counter()
    runner.evaluate(few)
    each = (time.perf_counter() - start) / len(few)
    return int(min(len(sequences), max(FEWEST, min(MOST_DOCUMENTS, EVALUATING / each))))
