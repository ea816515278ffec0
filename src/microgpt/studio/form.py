"""The form of the page Train, made of the fields of the configuration: each setting is declared once."""

import dataclasses
from typing import Any, Final

from microgpt.data.choices import BUILTINS
from microgpt.model.settings import Settings
from microgpt.recipes import RECIPES
from microgpt.training.request import Request

KINDS: Final = {bool: "switch", int: "whole", float: "number", str: "word"}
LEFT_OUT: Final = ("settings", "recipe", "golden", "order", "data", "out", "device")  # decided elsewhere
# What most people change; the rest is folded away.
FIRST: Final = ("steps", "lr", "batch", "emb", "head", "layer", "ctx", "engine")


def form() -> dict[str, Any]:
    """Fields with their help, bounds and choices; recipes with their values; engines and texts there are."""
    from microgpt.engines import available

    engines = [dataclasses.asdict(engine) for engine in available()]
    fields = [_field(field) for kind in (Settings, Request) for field in dataclasses.fields(kind)]
    shown = [field for field in fields if field and field["name"] not in LEFT_OUT]
    for field in shown:
        if field["name"] == "engine":
            field["choices"] = ["auto", *(engine["name"] for engine in engines)]
    return {
        "fields": sorted(shown, key=lambda field: FIRST.index(field["name"]) if field["name"] in FIRST else len(FIRST)),
        "first": list(FIRST),
        "recipes": [_recipe(name) for name in RECIPES],
        "engines": engines,
        "builtins": list(BUILTINS),
    }


def _field(field: "dataclasses.Field[Any]") -> dict[str, Any] | None:
    if "help" not in field.metadata or field.metadata.get("kind") not in KINDS:
        return None
    return {
        "name": field.name,
        "kind": KINDS[field.metadata["kind"]],
        "default": field.default,
        "help": field.metadata["help"],
        "choices": list(field.metadata.get("choices", ())),
        "bounds": field.metadata.get("bounds", {}),
    }


def _recipe(name: str) -> dict[str, Any]:
    recipe = RECIPES[name]
    request = recipe.request
    values = {**dataclasses.asdict(request.settings), **dataclasses.asdict(request)}
    if name == "default":
        values["lr"] = ""  # it follows the size
    return {
        "name": name,
        "summary": recipe.summary,
        "values": {key: value for key, value in values.items() if key not in LEFT_OUT},
        "expected": dataclasses.asdict(recipe.expected),
    }
