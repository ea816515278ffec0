"""What stands between a person and a training: pause and step, the history's writer, the looks on disk."""

import math
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.data.tokenizer import Tokenizer
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh
from microgpt.studio import history, watched
from microgpt.studio.control import Control
from microgpt.studio.history import LOOKS, History, read_looks, write_looks
from microgpt.studio.watched import Watched
from microgpt.training import session
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.loop import train
from microgpt.training.records import Finished, Interrupted
from microgpt.training.request import Request
from microgpt.training.run_folder import HISTORY, RunFolder
from trials.small import request
from trials.waiting import until


def checkpoint(step: int = 0) -> Checkpoint:
    tokenizer = Tokenizer.of("ab")
    model = ModelConfig(tokenizer.vocabulary, emb=4, head=2, ctx=4)
    state = fresh(model, np.zeros(params(model)))
    return Checkpoint(type(state)(model, state.weights, state.adam_m, state.adam_v, step), tokenizer, "lines", None)


def test_a_pause_holds_the_loop_until_it_may_go_on() -> None:
    told: list[str] = []
    control, answers = Control(told.append, paused=True), list[bool]()
    loop = threading.Thread(target=lambda: answers.append(control.stop()), daemon=True)
    loop.start()
    until(lambda: told == ["paused"])
    assert answers == []
    control.go_on()
    loop.join(10)
    assert (answers, told) == ([False], ["paused", "training"])
    assert control.waited() > 0
    assert control.waited() == 0


def test_each_step_that_is_asked_for_is_taken_once() -> None:
    control = Control(lambda phase: None)
    control.step()
    control.step()
    taken = []
    for _ in range(2):
        assert not control.stop()
        taken.append(control.stepping)
    control.end()
    assert control.stop()
    assert (taken, control.stepping) == ([True, True], False)


def test_an_end_is_heard_in_a_pause() -> None:
    control = Control(lambda phase: None, paused=True)
    threading.Timer(0.05, control.end).start()
    assert control.stop()


def test_a_history_keeps_what_its_limit_allows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / HISTORY).mkdir()
    monkeypatch.setattr(history, "LIMIT", 3 * checkpoint().state.weights.nbytes)
    kept = History(RunFolder(tmp_path))
    for step in range(10):
        kept.keep(checkpoint(step))
    assert kept.close() is None
    assert len(list((tmp_path / HISTORY).iterdir())) == 3


def test_a_history_that_can_not_be_written_is_a_note_and_no_failure(tmp_path: Path) -> None:
    kept = History(RunFolder(tmp_path / "gone"))
    kept.keep(checkpoint())
    fault = kept.close()
    assert fault
    assert "not all weights" in fault
    nothing = History(None)
    nothing.keep(checkpoint())
    assert nothing.close() is None


def test_looks_are_read_as_they_were_written_and_nothing_else_is(tmp_path: Path) -> None:
    looks = [{"step": step, "loss": 2.5, "documents": 3, "samples": ["é", "<b>"]} for step in (0, 4)]
    write_looks(tmp_path, [look | {"kind": "look"} for look in reversed(looks)])
    assert read_looks(tmp_path) == looks
    for damage in ("", "[]", "{", '{"looks": 3}', '{"looks": [{"step": NaN}]}', '{"looks": [[]]}'):
        (tmp_path / LOOKS).write_text(damage)
        assert read_looks(tmp_path) == []


def looks_of_a_quick_machine(monkeypatch: pytest.MonkeyPatch, asked: Request, fast: float) -> dict[int, Any]:
    """The looks at a training of 200 planned steps that the machine's pace makes 600, live or filmed."""
    monkeypatch.setattr(watched, "FAST", fast)
    monkeypatch.setattr(watched, "FREE", math.inf)  # seconds of looking
    looks: dict[int, Any] = {}

    def publish(kind: str, values: dict[str, Any]) -> None:
        if kind == "look":
            looks[values["step"]] = values

    observer = Watched(Control(lambda phase: None), publish, history=False)
    *_, end = train(asked, deadline=time.perf_counter() + 1e6, most=600, observer=observer)
    assert isinstance(end, Finished)
    assert end.result.steps == end.result.steps_taken == 600
    return looks


def test_a_plan_that_grows_is_looked_at_until_its_end_and_filmed_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(tmp_path, steps=200, lr=0.01, out="")
    live = looks_of_a_quick_machine(monkeypatch, asked, fast=0.0)
    filmed = looks_of_a_quick_machine(monkeypatch, asked, fast=math.inf)
    assert {0, 200, 405, 600} <= live.keys() & filmed.keys()
    shared = live.keys() & filmed.keys()
    assert {step: live[step]["samples"] for step in shared} == {step: filmed[step]["samples"] for step in shared}


def test_a_training_that_is_ended_while_it_is_evaluated_is_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    control, parts = Control(lambda phase: None), session.evaluations

    def ended(*asked: Any) -> Any:
        control.end()
        return parts(*asked)

    monkeypatch.setattr(session, "evaluations", ended)
    observer = Watched(control, lambda kind, values: None, history=False)
    asked = request(tmp_path, steps=20, eval_every=5, out="")
    *_, end = train(asked, stop=control.stop, observer=observer)
    assert isinstance(end, Interrupted)
    assert end.step == 5
