"""A training that is looked at while it runs: its losses as a curve, and now and then what it writes.

`Watched` is an observer of the training loop. It cuts the loop's chunks of steps where a look is due, and it films a
training that was too fast to be looked at by taking the same steps once more. An engine's results
do not depend on how steps are cut into calls, and looks draw from a stream of their own, so the run ends with the same
weights, bit by bit, as one that nobody looked at.
"""

import bisect
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.slices import Tokens
from microgpt.engines.contract import Runner
from microgpt.model.schedule import learning_rates
from microgpt.studio.control import Control
from microgpt.studio.history import History, Look
from microgpt.training.evaluate import held_out_loss
from microgpt.training.records import Progress
from microgpt.training.sample import Sampling, Writer, samples_stream
from microgpt.training.selection import spread
from microgpt.training.session import Observer, Session, Stop

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


def due(steps: int) -> list[int]:
    """The steps to look at: 0, the powers of two, even distances, and the last."""
    powers = [1 << power for power in range(steps.bit_length())]
    even = [round(steps * part / REGULAR) for part in range(1, REGULAR + 1)]
    return sorted({0, steps, *powers, *even})


class Watched(Observer):
    """Tells of a training's steps and looks at its model between them: `publish` hears of both. With `history` the
    weights of each look are kept."""

    def __init__(self, control: Control, publish: Publish, *, history: bool) -> None:
        self._control, self._publish, self._keeps = control, publish, history
        self._history = History(None)
        self._due, self._missed = list[int](), list[int]()
        self._rates = list[NDArray[np.float64]]()  # of the steps that may be taken once more: a plan can change
        self._marked = False  # whether the mark to beat was told
        self._live = False  # whether looks are taken as the training goes
        self._documents, self._looking = 0, 0.0
        self._ending = False  # whether no more steps are to come

    def opened(self, session: Session) -> None:
        if self._keeps:
            self._history = History(session.folder)
        self._due = due(session.settings.steps)
        if session.step == 0:
            self._look(session, session.runner, 0)
        elif session.losses:
            self._tell(session, np.array(session.losses), None)

    def close(self) -> str | None:
        """Wait until all weights are kept; what went wrong, if something did."""
        return self._history.close()

    def chunk(self, session: Session, count: int) -> int:
        """Half of them, since a button waits for their end; fewer where the person or a look wants it."""
        session.deadline += self._control.waited()
        if self._due[-1] != session.settings.steps:
            self._due = due(session.settings.steps)
        if self._control.stepping:
            return 1
        count = max(1, count // 2)
        return (
            min(count, self._due[bisect.bisect_right(self._due, session.step)] - session.step) if self._live else count
        )

    def advanced(self, session: Session, done: Progress, seconds: float) -> None:
        taken, step, steps = len(done.losses), session.step, session.settings.steps
        stepping = self._control.stepping
        if not self._live:
            self._rates.append(learning_rates(session.settings, step - taken, taken))
            self._missed += [place for place in self._due if step - taken < place <= step and not stepping]
            left = seconds / taken * (steps - step)
            self._live = left > (FAST * COLD if step - taken == session.first_step else FAST)
        self._tell(session, done.losses, done.steps_per_second)
        if self._missed and (self._live or step == steps):
            self._film(session)
        if session.complete != self._ending:
            self._ending = session.complete
            phase = "ending" if self._ending else "training"
            self._publish("phase", {"phase": phase, "step": step, "last": False})
        if stepping or (self._live and step in self._due and self._may_look(session)):
            self._look(session, session.runner, step)

    def ends_evaluation(self, stop: Stop) -> bool:
        """A pause waits until the held-out loss is there."""
        return self._control.stopped and stop()

    def _may_look(self, session: Session) -> bool:
        """Whether looking has cost no more than its share; the last look is free."""
        spent = session.watch.spent.get("train", 0.0)
        return self._looking <= FREE + SHARE * spent or session.step == session.settings.steps

    def _film(self, session: Session) -> None:
        """Take the first steps once more, and look where there was no time to: the weights are the same."""
        missed, self._missed = self._missed, []
        state, rates = session.prepared.checkpoint.state, np.concatenate(self._rates)
        runner, step = session.engine.open(state), state.step
        for place in missed:
            batches = session.dataset.sequences_of(step, place - step, session.settings.batch)
            runner.advance(batches, rates[step - state.step : place - state.step])
            step = place
            if self._control.stopped:
                return
            self._look(session, runner, step)

    def _tell(self, session: Session, losses: NDArray[np.float64], speed: float | None) -> None:
        told = {"first": session.step - len(losses) + 1, "losses": losses, "step": session.step}
        self._publish("losses", told | {"steps": session.settings.steps, "steps_per_second": speed})
        if session.marking.known and not self._marked:
            self._marked = True
            self._publish("mark", {"counts": session.marking.known.loss})

    def _look(self, session: Session, runner: Runner, step: int) -> None:
        """Let the model write, measure it, and keep its weights."""
        start = time.perf_counter()
        loss, documents = self._held_out_now(session, runner)
        look = Look(step, loss, documents, written(session, runner))
        self._history.keep(replace(session.prepared.checkpoint, state=runner.state()))
        self._looking += time.perf_counter() - start
        self._publish("look", asdict(look))

    def _held_out_now(self, session: Session, runner: Runner) -> tuple[float | None, int]:
        if not session.dataset.holdout_documents:
            return None, 0
        self._documents = self._documents or affordable(runner, session.held_out)
        chosen, checkpoint = spread(session.held_out, self._documents), session.prepared.checkpoint
        found = held_out_loss(runner, chosen, checkpoint.tokenizer, checkpoint.kind, session.settings.ctx)
        return found.per_character, len(chosen)


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
