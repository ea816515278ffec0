"""The engine `atomic`: what breaks off a step leaves nothing behind."""

import gc
import threading
from collections.abc import Callable

import numpy as np
import pytest

from microgpt.engines import atomic, create
from microgpt.engines.atomic import AtomicRunner
from microgpt.engines.contract import Batch, EngineConfig
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh
from microgpt.symmetry import TAPE

MODEL = ModelConfig(5, 4, 2, 1, 4, 2)
BATCH: Batch = [np.array([4, 0, 1, 4]), np.array([4, 2, 4])]
RATES = np.full(3, 0.01)


def opened() -> AtomicRunner:
    runner = create("atomic", EngineConfig()).open(fresh(MODEL, np.random.default_rng(0).normal(0, 0.3, params(MODEL))))
    assert isinstance(runner, AtomicRunner)
    return runner


def interrupting(work: Callable[..., object], after: int) -> Callable[..., object]:
    """The same work, until it is asked once too often; then it does it and is interrupted."""
    calls = iter(range(after))

    def interrupted(*arguments: object) -> object:
        done = work(*arguments)
        if next(calls, None) is None:
            raise KeyboardInterrupt
        return done

    return interrupted


@pytest.mark.parametrize(("name", "after"), [("backward", 2), ("backward", 3), ("adam", 1)])
def test_an_interrupted_step_is_not_done(name: str, after: int, monkeypatch: pytest.MonkeyPatch) -> None:
    runner, reference = opened(), opened()
    reference.advance([BATCH], RATES[:1])
    with monkeypatch.context() as patched:
        patched.setattr(atomic, name, interrupting(getattr(atomic, name), after))
        with pytest.raises(KeyboardInterrupt):
            runner.advance([BATCH] * 3, RATES)
    assert TAPE == []
    assert gc.isenabled()
    assert runner.state().step == 1
    assert np.array_equal(runner.state().weights, reference.state().weights)
    assert np.array_equal(runner.gradient(BATCH)[1], reference.gradient(BATCH)[1])
    assert np.array_equal(runner.advance([BATCH] * 2, RATES[1:]), reference.advance([BATCH] * 2, RATES[1:]))
    assert np.array_equal(runner.state().weights, reference.state().weights)


def test_what_is_left_on_the_tape_does_not_matter() -> None:
    runner, reference = opened(), opened()
    TAPE.append(atomic.Val(1.0, atomic.Val(2.0), 3.0, atomic.Val(4.0), 5.0))
    assert np.array_equal(runner.gradient(BATCH)[1], reference.gradient(BATCH)[1])


@pytest.mark.parametrize("collecting", [True, False])
def test_the_collector_is_left_as_it_was(collecting: bool) -> None:
    runner = opened()
    try:
        if not collecting:
            gc.disable()
        runner.advance([BATCH], RATES[:1])
        assert gc.isenabled() == collecting
    finally:
        gc.enable()


def test_threads_take_turns_at_the_tape() -> None:
    reference = opened()
    expected = reference.advance([BATCH] * 20, np.full(20, 0.01))
    runners, losses = [opened() for _ in range(4)], {}

    def train(index: int) -> None:
        losses[index] = runners[index].advance([BATCH] * 20, np.full(20, 0.01))

    workers = [threading.Thread(target=train, args=(index,)) for index in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(np.array_equal(losses[index], expected) for index in range(4))


def test_the_collector_comes_back_though_threads_overlap() -> None:
    test_threads_take_turns_at_the_tape()
    assert gc.isenabled()
