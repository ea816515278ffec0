"""Trials find the length and the size that suit a text, in the time there is."""

import math

import pytest

from microgpt.recipes.trials import Trial, TrialPlan, search


def tried(steps: int, emb: int, seconds: float, sizes: bool = True) -> tuple[Trial | None, bool, float]:
    """A search on a planted text, which so many steps of a width suit best, by a machine on which the first trial, 100
    steps of width 48, takes a second. The best trial, whether the loss still fell, and the seconds spent."""
    spent = 0.0

    def run(plan: TrialPlan, limit: float) -> Trial | None:
        nonlocal spent
        cost = plan.work / first.work
        spent += min(cost, limit)
        miss = math.log2(plan.steps / steps) ** 2 + math.log2(plan.sizes["emb"] / emb) ** 2
        return Trial(plan, 1 + miss / 10, cost) if cost <= limit else None

    first = TrialPlan({"emb": 48, "layer": 3, "lr": 0.005}, 100)
    best, falling = search(first, seconds / 4, run, lambda: seconds - spent, sizes)
    return best, falling, spent


@pytest.mark.parametrize("steps", [50, 100, 400, 1600])
@pytest.mark.parametrize(("emb", "lr"), [(24, 0.01), (48, 0.005), (96, 0.0025)])
def test_the_best_is_found_where_there_is_time(steps: int, emb: int, lr: float) -> None:
    best, falling, _ = tried(steps, emb, 1000)
    assert best is not None
    assert not falling
    assert (best.plan.steps, best.plan.sizes["emb"], best.plan.sizes["lr"]) == (steps, emb, lr)


@pytest.mark.parametrize("seconds", [4, 10, 30, 100])
@pytest.mark.parametrize("steps", [50, 400, 10**6])
def test_there_is_time_left_to_carry_the_best_out_again(steps: int, seconds: float) -> None:
    best, falling, spent = tried(steps, 96, seconds)
    assert best is not None
    assert spent + best.seconds <= seconds
    assert falling or steps < 10**6


def test_a_size_that_was_asked_for_stays() -> None:
    best, _, _ = tried(400, 96, 1000, sizes=False)
    assert best is not None
    assert (best.plan.steps, best.plan.sizes["emb"]) == (400, 48)


def test_what_takes_too_long_at_first_says_nothing() -> None:
    assert tried(400, 96, 2)[:2] == (None, False)
