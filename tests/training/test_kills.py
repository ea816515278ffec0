"""kill -9 at random moments of a training that saves at every step."""

import pytest

from microgpt.engines import available
from trials.kills import Count, kills


def check(count: Count) -> None:
    assert count.unreadable_folders == 0
    assert count.rows_that_do_not_fit == 0
    assert count.finished_runs_lost == 0
    assert count.left_behind == 0
    assert count.inside_a_save > 0


def test_ten_kills_lose_nothing() -> None:
    check(kills(10))


@pytest.mark.long
@pytest.mark.parametrize("engine", ["atomic", "fused"])
def test_twenty_kills_of_another_engine_lose_nothing(engine: str) -> None:
    if reason := {found.name: found.reason for found in available()}[engine]:
        pytest.skip(reason)
    check(kills(20, seed=2, engine=engine))


@pytest.mark.long
def test_fifty_kills_lose_nothing() -> None:
    count = kills(50, seed=1)
    check(count)
    assert count.finished_runs > 0
