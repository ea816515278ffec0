"""What is not finite ends a run by name, and never reaches a file."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.errors import DivergedError, UsageError
from microgpt.library import load
from microgpt.training import checkpoint as checkpoints
from microgpt.training.loop import train
from microgpt.training.run_folder import RunFolder
from trials import divergence
from trials.small import finish, request, stopped_at


def reopened(folder: Path) -> int:
    """The step of the save that a diverged run has left, which `read` refuses where it is not finite."""
    run = RunFolder(folder / "runs" / "run")
    assert run.status == "diverged"
    checkpoint, rows, _ = run.reopen()
    assert checkpoint.state.step == len(rows)
    return checkpoint.state.step


@pytest.mark.parametrize("engine", [name for name, precision in divergence.kinds() if precision == "32"])
def test_first_weights_beyond_float32_leave_the_save_of_step_0_as_it_was(tmp_path: Path, engine: str) -> None:
    with pytest.raises(DivergedError, match=r"^step 1: .*last finite weights, of step 0"):
        list(train(request(tmp_path, initial_scale=1e200, precision="32", engine=engine)))
    assert reopened(tmp_path) == 0


def test_first_weights_beyond_every_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--initial-scale 1e\\+308: expected finite first weights"):
        list(train(request(tmp_path, initial_scale=1e308)))
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"samples": 0}, "step 1: expected a finite held-out loss"),
        ({}, "step 1: expected a finite held-out loss"),
        ({"holdout": 0.0}, "step 1: expected finite probabilities"),
    ],
)
def test_a_last_update_that_only_the_held_out_loss_shows_is_named(
    tmp_path: Path, settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(DivergedError, match=f"^{said}.* at a learning rate of 1e\\+150; try --lr 0.01; .*of step 1"):
        list(train(request(tmp_path, lr=1e150, steps=1, **settings)))
    assert reopened(tmp_path) == 1


def test_eval_of_weights_that_are_too_large_is_no_number(tmp_path: Path) -> None:
    with pytest.raises(DivergedError):
        list(train(request(tmp_path, lr=1e150, steps=1)))
    with pytest.raises(DivergedError, match="expected a finite held-out loss"):
        load(tmp_path / "runs" / "run").evaluate()


@pytest.mark.parametrize("poison", [math.nan, math.inf])
@pytest.mark.parametrize("part", ["weights", "adam_m", "adam_v"])
def test_nothing_that_is_not_finite_is_written(tmp_path: Path, part: str, poison: float) -> None:
    end = stopped_at(request(tmp_path, save_every=20), 20)
    state, folder = end.checkpoint.state, RunFolder(tmp_path / "runs" / "run")
    before = folder.weights.read_bytes()
    numbers: dict[str, Any] = {part: np.full_like(state.weights, poison)}
    broken = replace(state, **numbers)
    with pytest.raises(DivergedError, match=r"^step 20: expected finite numbers to save"):
        folder.commit(replace(end.checkpoint, state=broken))
    assert folder.weights.read_bytes() == before


def test_weights_alone_of_a_finite_run_are_written(tmp_path: Path) -> None:
    assert checkpoints.to_bytes(checkpoints.shared(finish(request(tmp_path)).checkpoint))
