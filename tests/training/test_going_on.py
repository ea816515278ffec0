"""A run that goes on: at any step, on any engine, with any number of threads. The trials, a few of them."""

import pytest

from trials import going_on


def test_resumed_at_some_steps_each_engine_ends_bit_by_bit_the_same() -> None:
    found = going_on.every_step(6, seed=1)
    assert found.lost == 0, found.figures


@pytest.mark.long
def test_resumed_at_any_step_each_engine_ends_bit_by_bit_the_same() -> None:
    found = going_on.every_step(going_on.ALL, seed=0)
    assert found.lost == 0, found.figures


def test_another_engine_takes_the_next_step_within_tolerance() -> None:
    found = going_on.every_pair(4, seed=1)
    assert found.lost == 0, found.figures


@pytest.mark.long
def test_every_engine_takes_the_next_step_of_every_other() -> None:
    found = going_on.every_pair(42, seed=0)
    assert found.lost == 0, found.figures


def test_threads_change_no_bit_or_are_refused() -> None:
    found = going_on.every_thread(6, seed=1)
    assert found.lost == 0, found.figures


@pytest.mark.long
def test_no_number_of_threads_changes_a_bit() -> None:
    found = going_on.every_thread(going_on.ALL, seed=0)
    assert found.lost == 0, found.figures
