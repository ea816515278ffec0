"""A training of minutes is told beforehand what it takes; a short one is not."""

import re
from pathlib import Path

import pytest

from microgpt.model.cost import step_cost
from microgpt.training.estimate import estimate, flop
from microgpt.training.prepare import prepare
from trials.small import request


def test_the_operations_are_those_of_all_steps(tmp_path: Path) -> None:
    once, twice = (prepare(request(tmp_path, steps=steps)) for steps in (10, 20))
    assert flop(twice) == 2 * flop(once)
    assert flop(once) % 10 == 0
    assert flop(once) / 10 > step_cost(once.checkpoint.model, [1]).total


@pytest.mark.parametrize(("engine", "steps"), [("fused", 10), ("array", 10_000), ("array", 10**13)])
def test_only_a_long_training_is_told_of(tmp_path: Path, engine: str, steps: int) -> None:
    text = estimate(prepare(request(tmp_path, steps=steps, engine=engine)))
    assert (text is not None) == (steps == 10**13)
    assert text is None or re.search(r"about [\d,]+ h .* at least \d+ MB of memory", text)


def test_small_steps_take_the_time_that_no_step_is_below(tmp_path: Path) -> None:
    text = estimate(prepare(request(tmp_path, steps=10**8, engine="array")))
    assert text is not None
    assert "about 3 h 20 min since array takes 120 µs or more even for the smallest step" in text


def test_large_steps_take_the_time_of_their_operations(tmp_path: Path) -> None:
    sizes = {"steps": 10**7, "emb": 256, "layer": 4, "batch": 32}
    text = estimate(prepare(request(tmp_path, engine="array", **sizes)))
    assert text is not None
    assert "GFLOP/s that this machine reaches" in text
