"""The trainings of a studio: what may start, what is under way, and all of them saved at the end."""

import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from microgpt.errors import EnvironmentFault, UsageError
from microgpt.machine import cores
from microgpt.model.settings import shown
from microgpt.recipes import resolve
from microgpt.recipes.budget import LEAST
from microgpt.studio.answers import MissingError
from microgpt.studio.control import ACTIONS
from microgpt.studio.texts import StudioTexts
from microgpt.studio.training import LiveTraining
from microgpt.studio.worker import fitted, resumed, trained
from microgpt.training import checkpoint as checkpoints
from microgpt.training.prepare import check_memory
from microgpt.training.request import Request
from microgpt.training.run_folder import WEIGHTS

KEPT: Final = 30  # ended trainings whose events are remembered
CLOSING: Final = 20.0  # seconds in which trainings are saved at the end
LONGEST: Final = 86_400.0  # seconds of a training that makes the most of them
DECIDED: Final = ("data", "out", "device")  # what the page can't say itself


class Trainings:
    """The trainings of one folder of runs."""

    def __init__(self, out: Path, texts: StudioTexts) -> None:
        self._out, self._texts = out, texts
        self._all: dict[str, LiveTraining] = {}
        self._lock = threading.Lock()

    def start(self, asked: Mapping[str, Any]) -> LiveTraining:
        """Start what the page asks for. Raises `UsageError`, `DataError`, or `EnvironmentFault` beyond the cores."""
        given = self.given(asked)
        history, paused = asked.get("history", True) is True, asked.get("paused", False) is True
        if asked.get("for") is None:
            request = resolve(given.pop("recipe"), given)
            split = self._texts.split(request)
            check_memory(request, request.settings.model(split.corpus.tokenizer.vocabulary))
            begin = partial(trained, request, split)
            return self._launch(LiveTraining(_name(request), request.threads, begin, history=history, paused=paused))
        seconds = asked["for"]
        if not isinstance(seconds, int | float) or isinstance(seconds, bool):
            raise UsageError(f"--for takes a number of seconds, found {str(seconds)[:40]!r}.")
        if not LEAST <= seconds <= LONGEST:
            raise UsageError(f"--for takes {LEAST:g} to {LONGEST:,.0f} seconds, found {shown(seconds)}; correct it.")
        given = {"threads": max(1, cores() - self.busy()), **given}
        begin = partial(fitted, given, float(seconds))
        return self._launch(LiveTraining(_name(None), given["threads"], begin, history=history))

    def resume(self, run: Path, changes: Mapping[str, Any]) -> LiveTraining:
        """Go on with a run that was stopped, or extend a finished one to more `steps`."""
        description = checkpoints.describe(run / WEIGHTS)
        if description.training is None:
            raise UsageError(f"{run.name}: expected a run with its training, found weights to share; begin a new run.")
        request = description.training.request
        plain = {"steps": changes["steps"]} if changes.get("steps") is not None else {}
        return self._launch(LiveTraining(run.name, request.threads, partial(resumed, run, plain)))

    def find(self, training_id: object) -> LiveTraining:
        """Raises `MissingError`."""
        if isinstance(training_id, str) and (training := self._all.get(training_id)):
            return training
        raise MissingError("This training is not known here any more; its run is in the list of runs.")

    def act(self, training_id: object, action: object) -> dict[str, Any]:
        """Pause, go on, take one step or end. Raises `UsageError` for anything else."""
        training = self.find(training_id)
        if str(action) not in ACTIONS:
            raise UsageError(f"expected one of {', '.join(ACTIONS)}, found {str(action)[:40]!r}.")
        training.ask(str(action))
        return training.summary()

    def listing(self) -> list[dict[str, Any]]:
        """Newest first."""
        return [training.summary() for training in reversed(self._all.values())]

    def running(self) -> dict[str, LiveTraining]:
        """Those under way, by the name of their run."""
        return {each.run: each for each in list(self._all.values()) if each.run and not each.ended}

    def busy(self) -> int:
        """Threads of the trainings that have not ended."""
        return sum(training.threads for training in self._all.values() if not training.ended)

    def given(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """The settings that the page gave, with the text and the folder as this machine knows them. Raises
        `UsageError`, or `MissingError` for a text that is not there."""
        settings = asked.get("settings", {})
        if not isinstance(settings, dict):
            raise UsageError("settings: expected a JSON object, found something else.")
        if decided := [name for name in DECIDED if name in settings]:
            raise UsageError(f"{decided[0]} can't be set from the page; leave it out.")
        recipe = asked.get("recipe", "default")
        if not isinstance(recipe, str):
            raise UsageError("recipe: expected a word, found something else.")
        known = {name: value for name, value in settings.items() if value is not None}
        text = self._texts.source(asked.get("text", "names"))
        return {**known, "recipe": recipe, "data": (text,), "out": str(self._out)}

    def close(self) -> None:
        """End all trainings; each saves first."""
        for training in self._all.values():
            training.ask("end")
        until = time.monotonic() + CLOSING
        for training in list(self._all.values()):
            training.join(max(0.0, until - time.monotonic()))

    def _launch(self, training: LiveTraining) -> LiveTraining:
        with self._lock:
            busy = self.busy()
            if busy and busy + training.threads > cores():
                names = ", ".join(known.run or known.name for known in self._all.values() if not known.ended)
                raise EnvironmentFault(
                    f"this training takes {training.threads} of this machine's {cores()} cores, and {busy} are busy "
                    f"with {names}; wait until a training ends, or stop one."
                )
            training.start()
            self._all[training.id] = training
            for old in [known for known in self._all.values() if known.ended][:-KEPT]:
                del self._all[old.id]
        return training


def _name(request: Request | None) -> str:
    return (request.name if request else "") or "a training"
