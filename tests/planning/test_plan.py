"""A training on paper: shapes that are chosen, times that add up, batches that fit."""

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.errors import UsageError
from microgpt.model.cost import flop_per_token, step_cost
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.planning.devices import DEVICES
from microgpt.planning.plan import Assumptions, plan, remedies
from microgpt.planning.shape import MISS, heads, shape_for

MODEL = ModelConfig(50_257, emb=768, head=12, layer=12, ctx=1024)
H100 = DEVICES["h100"]


def assumed(**changes: object) -> Assumptions:
    usual = Assumptions(
        tokens=1e9,
        gpus=8,
        device="h100",
        precision="bf16",
        sharding=1,
        utilisation=0.4,
        peak=H100.flops["bf16"],
        memory=H100.memory,
        reserve=0.1,
        attention="fused",
        recompute=False,
        price=2.0,
    )
    return dataclasses.replace(usual, **changes)  # type: ignore[arg-type]


@settings(max_examples=40, deadline=None)
@given(st.floats(1e4, 1e13), st.sampled_from([27, 257, 4096]), st.sampled_from([64, 1024]))
def test_a_chosen_shape_has_the_parameters_that_were_asked_for(wanted: float, vocabulary: int, ctx: int) -> None:
    try:
        model = shape_for(wanted, vocabulary=vocabulary, ctx=ctx)
    except UsageError:
        assert wanted < 40 * (2 * vocabulary + ctx + 12 * 40)  # only what a vocabulary alone nearly fills is refused
        return
    assert abs(params(model) / wanted - 1) <= MISS
    assert (model.vocabulary, model.ctx) == (vocabulary, ctx)


@pytest.mark.parametrize("wanted", [1e8, 1.5e9, 1.75e11])
def test_large_models_get_the_proportions_of_known_ones(wanted: float) -> None:
    model = shape_for(wanted, vocabulary=50_257, ctx=1024)
    assert 40 <= model.emb / model.layer <= 160
    assert model.head_size in (64, 128)


def test_a_size_that_is_given_stays() -> None:
    assert shape_for(1e8, vocabulary=257, ctx=256, emb=512).emb == 512
    assert shape_for(1e8, vocabulary=257, ctx=256, layer=6).layer == 6


@settings(deadline=None)
@given(st.integers(1, 10_000))
def test_heads_divide_every_width(emb: int) -> None:
    assert emb % heads(emb) == 0


def test_the_flop_of_a_token_are_those_of_a_step_without_adam() -> None:
    cost = step_cost(MODEL, [MODEL.ctx])
    assert flop_per_token(MODEL) * MODEL.ctx == cost.forward + cost.backward


def test_whole_squares_double_what_the_mask_leaves_of_attention() -> None:
    squares = 3 * 4 * MODEL.layer * MODEL.emb * MODEL.ctx
    products = 6 * (params(MODEL) - MODEL.emb * (MODEL.vocabulary + MODEL.ctx))
    assert flop_per_token(MODEL, whole_squares=True) == squares + products


def test_twice_the_devices_take_half_the_time_for_the_same_price() -> None:
    one, two = plan(MODEL, assumed(gpus=8)), plan(MODEL, assumed(gpus=16))
    assert two.seconds == pytest.approx(one.seconds / 2)
    assert two.cost == pytest.approx(one.cost)


def test_the_time_is_the_work_at_the_speed_that_is_assumed() -> None:
    found = plan(MODEL, assumed(utilisation=0.5, gpus=2))
    assert found.seconds == pytest.approx(flop_per_token(MODEL) * 1e9 / (2 * 0.5 * 989.4e12))
    assert found.cost == pytest.approx(2 * found.seconds / 3600 * 2.0)


@pytest.mark.parametrize("sharding", [0, 1, 2, 3])
@pytest.mark.parametrize("recompute", [False, True])
def test_the_largest_batch_fits_and_one_more_does_not(sharding: int, recompute: bool) -> None:
    found = plan(MODEL, assumed(sharding=sharding, recompute=recompute))
    room = H100.memory * 0.9
    assert found.memory <= room < found.memory + found.sequence_bytes
    assert found.steps is not None
    assert found.steps * found.batch * 8 * MODEL.ctx >= 1e9


def test_what_does_not_fit_says_what_would() -> None:
    large = shape_for(7e9, vocabulary=50_257, ctx=1024)
    found = plan(large, assumed(sharding=0))
    assert not found.fits
    assert found.steps is None
    assert "--sharding 1" in remedies(found)
    assert not remedies(plan(large, assumed(sharding=0, gpus=1, memory=1e9)))


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": 0.0},
        {"gpus": 0},
        {"utilisation": 1.1},
        {"utilisation": float("nan")},
        {"price": -1.0},
        {"memory": float("inf")},
        {"reserve": 1.0},
        {"peak": -1.0},
    ],
)
def test_absurd_assumptions_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=f"--{next(iter(change))} must be"):
        assumed(**change)
