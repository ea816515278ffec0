"""Suggested runs as a sweep that is ready to start: models that can be trained, and the file of `microgpt sweep`."""

import json
from collections import Counter
from itertools import count, islice
from typing import Any, Final

import numpy as np

from microgpt.lab.laws.points import Floats
from microgpt.lab.laws.recipe import model, recipe
from microgpt.lab.laws.suggest import Suggestion
from microgpt.lab.store.record import RunRecord
from microgpt.outputs import BANNER

LIKE: Final = 0.3  # of sizes within this share of one that is tried, the shape most like the runs is taken


def trainable(records: tuple[RunRecord, ...], sizes: Floats) -> list[float]:
    """The sizes of the models nearest to these, each once."""
    return sorted({float(model(records, float(size), LIKE)[1]) for size in sizes})


def sweep_file(records: tuple[RunRecord, ...], made: Suggestion) -> str:
    """The TOML of a sweep of suggested runs, which are like those of the store but for size, length, learning rate and
    seed: seeds are new ones."""
    ready = [
        recipe(records, *cell, LIKE).settings for cell in zip(made.cells.at.params, made.cells.at.tokens, strict=True)
    ]
    varied = ("emb", "head", "layer", "steps", "lr")
    used = {record.seed for record in records}
    seeds = list(islice((seed for seed in count() if seed not in used), made.seeds))
    base = {name: value for name, value in ready[0].items() if name not in varied}
    facts = {
        name: Counter(getattr(run, name) for run in records).most_common(1)[0][0]
        for name in ("data", "engine", "precision")
    }
    lines = [f"seeds = {seeds}", "", "[base]"]
    lines += [f"{name} = {_literal(value)}" for name, value in (facts | base).items()]
    for settings in ready:
        lines += ["", "[[levels]]", *(f"{name} = {_literal(settings[name])}" for name in varied)]
    return BANNER + "\n".join(lines) + "\n"


def _literal(value: Any) -> str:
    """A value as TOML writes it."""
    if isinstance(value, float):
        return repr(float(value)) if not float(value).is_integer() else f"{value:.1f}"
    text = json.dumps(value.item() if isinstance(value, np.generic) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")  # which TOML wants escaped
