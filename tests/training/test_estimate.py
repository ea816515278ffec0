"""A training of minutes is told beforehand what it takes; a short one is not."""

from pathlib import Path

import pytest

from microgpt.model.cost import step_cost
from microgpt.training.estimate import estimate, flop
from microgpt.training.prepare import prepare
from tests.training.small import request


def test_the_operations_are_those_of_all_steps(tmp_path: Path) -> None:
    once, twice = (prepare(request(tmp_path, steps=steps)) for steps in (10, 20))
    assert flop(twice) == 2 * flop(once)
    assert flop(once) % 10 == 0
    assert flop(once) / 10 > step_cost(once.checkpoint.model, [1]).total


@pytest.mark.parametrize(("steps", "told"), [(10, False), (10**13, True)])
def test_only_a_long_training_is_told_of(tmp_path: Path, steps: int, told: bool) -> None:
    text = estimate(prepare(request(tmp_path, steps=steps)))
    assert (text is not None) == told
    assert text is None or ("GFLOP/s" in text and "at least" in text)
