"""Recipes fill in; what a person says overrides."""

import pytest

from microgpt.errors import UsageError
from microgpt.recipes import RECIPES, find, resolve


def test_the_default_keeps_the_sizes_of_the_original() -> None:
    request = resolve()
    settings = request.settings
    assert (settings.emb, settings.head, settings.layer, settings.ctx, settings.ff) == (16, 4, 1, 16, 4)
    assert (settings.steps, settings.batch, settings.seed) == (1000, 1, 42)
    assert (request.holdout, request.order, request.golden) == (0.1, "shuffled", False)


@pytest.mark.parametrize(
    ("name", "lr", "norms", "initial", "order"),
    [
        ("karpathy", 0.01, (True, False), ("gauss", 0.08), "shuffled"),
        ("artistic", 0.005, (False, True), ("uniform", 0.1), "fixed"),
    ],
)
def test_the_golden_recipes_are_those_of_the_golden_runs(
    name: str, lr: float, norms: tuple[bool, bool], initial: tuple[str, float], order: str
) -> None:
    request = resolve(name)
    settings = request.settings
    assert settings.lr == lr
    assert (settings.norm_embeddings, settings.norm_head) == norms
    assert (settings.initial, settings.initial_scale) == initial
    assert (request.order, request.golden, request.holdout) == (order, True, 0.0)


def test_a_setting_overrides_and_the_rest_stays() -> None:
    request = resolve("artistic", {"lr": 0.02, "holdout": 0.2})
    assert (request.settings.lr, request.holdout) == (0.02, 0.2)
    assert request.settings.norm_head
    assert request.golden


@pytest.mark.parametrize(("emb", "lr"), [(8, 0.01), (16, 0.01), (64, 0.0025), (256, 0.000625)])
def test_the_default_learning_rate_follows_the_width(emb: int, lr: float) -> None:
    assert resolve("default", {"emb": emb}).settings.lr == lr
    assert resolve("default", {"emb": emb, "lr": 0.02}).settings.lr == 0.02
    assert resolve("artistic", {"emb": emb}).settings.lr == 0.005


def test_an_unknown_recipe_suggests_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean karpathy"):
        resolve("karpaty")


@pytest.mark.parametrize(
    ("wrong", "near"), [("step", "--steps"), ("hold_out", "--holdout"), ("golden", "--"), ("settings", "--")]
)
def test_an_unknown_setting_suggests_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean {near}"):
        resolve("default", {wrong: 1})


def test_every_recipe_has_its_command() -> None:
    for name, recipe in RECIPES.items():
        assert find(name) is recipe
        assert recipe.command.startswith("microgpt train")
        assert name == "default" or name in recipe.command
