"""The learning rate rises, then falls as asked, and does not depend on how steps are divided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.model.schedule import learning_rates
from microgpt.model.settings import Settings


def test_the_default_falls_linearly_to_zero_as_in_the_reference() -> None:
    settings = Settings(steps=1000, lr=0.01)
    expected = [0.01 * (1 - step / 1000) for step in range(1000)]
    assert learning_rates(settings, 0, 1000).tolist() == pytest.approx(expected, rel=1e-15)


def test_cosine_begins_at_the_top_and_is_half_way_at_half_time() -> None:
    rates = learning_rates(Settings(steps=100, lr=1.0, decay="cosine"), 0, 100)
    assert (rates[0], rates[50]) == (1.0, pytest.approx(0.5))
    assert np.all(np.diff(rates) < 0)


def test_constant_stays() -> None:
    assert set(learning_rates(Settings(steps=10, lr=0.5, decay="constant"), 0, 10)) == {0.5}


def test_warmup_rises_to_the_top_and_hands_over_there() -> None:
    rates = learning_rates(Settings(steps=10, warmup=4, lr=1.0), 0, 10)
    assert rates[:5].tolist() == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[-1] == pytest.approx(1 / 6)


@given(st.sampled_from(["linear", "cosine", "constant"]), st.integers(1, 40), st.integers(0, 40), st.integers(0, 40))
def test_a_part_of_the_schedule_is_that_part_of_the_whole(decay: str, steps: int, warmup: int, cut: int) -> None:
    settings = Settings(steps=steps, warmup=min(warmup, steps), decay=decay)  # type: ignore[arg-type]
    cut = min(cut, steps)
    parts = np.concatenate([learning_rates(settings, 0, cut), learning_rates(settings, cut, steps - cut)])
    assert np.array_equal(parts, learning_rates(settings, 0, steps))
    assert np.all(parts > 0)
