"""The learning rate rises, then falls as asked, and does not depend on how steps are divided."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.model.schedule import cooldown_start, learning_rates
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


def test_a_cooldown_falls_in_the_last_fifth_and_fastest_at_first() -> None:
    rates = learning_rates(Settings(steps=1000, warmup=10, lr=2.0, decay="cooldown"), 0, 1000)
    assert set(rates[10:801]) == {2.0}
    expected = [2.0 * (1 - np.sqrt(n / 200)) for n in range(200)]
    assert rates[800:].tolist() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("warmup", [0, 30])
def test_cooldowns_of_other_lengths_have_the_same_rates_before_they_fall(warmup: int) -> None:
    short, long = (Settings(steps=steps, warmup=warmup, decay="cooldown") for steps in (50, 400))
    start = cooldown_start(short)
    assert start == 40
    assert np.array_equal(learning_rates(short, 0, start), learning_rates(long, 0, start))
    assert learning_rates(short, start + 1, 1) < learning_rates(long, start + 1, 1)


@given(
    st.sampled_from(["linear", "cosine", "constant", "cooldown"]),
    st.integers(1, 40),
    st.integers(0, 40),
    st.integers(0, 40),
)
def test_a_part_of_the_schedule_is_that_part_of_the_whole(decay: str, steps: int, warmup: int, cut: int) -> None:
    settings = Settings(steps=steps, warmup=min(warmup, steps), decay=decay)  # type: ignore[arg-type]
    cut = min(cut, steps)
    parts = np.concatenate([learning_rates(settings, 0, cut), learning_rates(settings, cut, steps - cut)])
    assert np.array_equal(parts, learning_rates(settings, 0, steps))
    assert np.all(parts > 0)
