"""The command that asks for a training."""

import shlex
from dataclasses import replace
from typing import Any

from microgpt.model.settings import SETTINGS, flag
from microgpt.recipes import RECIPES, resolve
from microgpt.training.request import REQUESTED, Request


def command(request: Request) -> str:
    """The command that asks for a training; what a recipe says already is left out."""
    base, words = RECIPES[request.recipe].request, ["microgpt"]
    sizes = {name: value for name, value in vars(request.settings).items() if name != "lr"}
    usual = replace(base.settings, lr=resolve(request.recipe, sizes).settings.lr)
    if request.recipe != "default":
        words += ["--recipe", request.recipe]
    for owner, plain, names in ((request, base, REQUESTED), (request.settings, usual, SETTINGS)):
        for name in names:
            value = getattr(owner, name)
            if value != getattr(plain, name):
                words += _words(name, value)
    return shlex.join(words)


def _words(name: str, value: Any) -> list[str]:
    if isinstance(value, bool):
        return [flag(name) if value else flag("no_" + name)]
    if isinstance(value, tuple):
        return [word for item in value for word in (flag(name), item)]
    return [flag(name), str(value)]
