"""A configuration that can't be is refused in words that name the flag, the value found, and what would do."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.errors import UsageError
from microgpt.model.settings import ModelConfig, Settings, flag


@pytest.mark.parametrize("name", ["steps", "batch", "emb", "head", "layer", "ctx", "ff"])
@pytest.mark.parametrize("value", [0, -3])
def test_counts_begin_at_one(name: str, value: int) -> None:
    with pytest.raises(UsageError, match=f"{flag(name)} must be 1 or more, found {value}"):
        Settings(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [("lr", 0.0), ("lr", math.nan), ("lr", math.inf), ("beta1", 1.0), ("beta2", -0.1), ("initial_scale", 0.0)],
)
def test_rates_lie_in_their_range(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=flag(name)):
        Settings(**{name: value})


@pytest.mark.parametrize(("name", "value"), [("steps", 2.5), ("steps", True), ("lr", "fast"), ("norm_head", 1)])
def test_a_value_of_another_type_is_refused(name: str, value: object) -> None:
    with pytest.raises(UsageError, match=f"{flag(name)} takes"):
        Settings(**{name: value})  # type: ignore[arg-type]


def test_a_wrong_word_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean cosine"):
        Settings(decay="cosin")  # type: ignore[arg-type]


def test_heads_divide_the_embedding() -> None:
    with pytest.raises(UsageError, match=r"found --emb 30 --head 4; --head 3 would do"):
        Settings(emb=30, head=4)


def test_warmup_ends_within_the_training() -> None:
    with pytest.raises(UsageError, match="warmup must not exceed steps"):
        Settings(steps=10, warmup=11)


def test_sizes_of_the_model_are_those_of_the_settings() -> None:
    settings = Settings(emb=24, head=3, layer=2, ctx=9, ff=2, norm_embeddings=False, norm_head=True)
    model = settings.model(vocabulary=7)
    assert model == ModelConfig(7, 24, 3, 2, 9, 2, norm_embeddings=False, norm_head=True)
    assert (model.head_size, model.wide) == (8, 48)


@given(st.integers(1, 64), st.integers(1, 64))
def test_the_suggested_number_of_heads_would_do(emb: int, head: int) -> None:
    if emb % head == 0:
        ModelConfig(3, emb=emb, head=head)
        return
    with pytest.raises(UsageError) as refused:
        ModelConfig(3, emb=emb, head=head)
    suggested = int(str(refused.value).split("--head ")[2].split()[0])
    ModelConfig(3, emb=emb, head=suggested)


def test_every_setting_has_its_help() -> None:
    assert all(field.metadata["help"].endswith(".") for field in dataclasses.fields(Settings))


def test_absurd_sizes_are_refused_at_once() -> None:
    with pytest.raises(UsageError, match="multiple of head"):
        ModelConfig(3, emb=10**12 + 1, head=7)
    with pytest.raises(UsageError, match="a number of 401 digits"):
        Settings(steps=10**400)


@pytest.mark.parametrize("value", [10**5000, ["x"] * 10_000, "ab" * 1_000_000, [10**5000]], ids=type)
def test_a_very_large_or_long_value_is_refused_in_a_short_line(value: object) -> None:
    for name in ("seed", "decay", "norm_head"):
        with pytest.raises(UsageError) as refused:
            Settings(**{name: value})
        assert len(str(refused.value)) < 300
