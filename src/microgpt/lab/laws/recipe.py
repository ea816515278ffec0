"""From a size and a length to settings that can be trained: the nearest model there is, and its steps."""

from collections import Counter
from dataclasses import dataclass, fields
from typing import Any, Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.points import SAME
from microgpt.lab.store.record import RunRecord
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Settings, flag
from microgpt.training.request import Request

EMBS: Final = (*range(4, 64, 4), *range(64, 256, 8), *range(256, 1025, 32))
LAYERS: Final = range(1, 13)
HEAD_SIZE: Final = 4  # numbers that one head sees at the least
SLIM: Final = 0.06  # the optimum is flat: of sizes within this share of it, the one shaped like the runs is taken
OWN: Final = ("steps", "seed", "lr", "emb", "head", "layer", "golden", "order")  # not what most runs have


@dataclass(frozen=True)
class Recipe:
    """Settings ready to train a text, and what they amount to."""

    data: str
    settings: dict[str, Any]
    params: int
    tokens: float

    @property
    def command(self) -> str:
        """The command line that trains it: what differs from the defaults is said, and the rate in any case."""
        defaults = {field.name: field.default for kind in (Settings, Request) for field in fields(kind)}
        said = {name: value for name, value in self.settings.items() if name == "lr" or defaults.get(name) != value}
        words = [f"{flag(name)} {value}" for name, value in said.items() if not isinstance(value, bool)]
        switches = [flag(name if value else f"no_{name}") for name, value in said.items() if isinstance(value, bool)]
        return " ".join(["microgpt train", f"--data {self.data}", *words, *switches])


def recipe(records: tuple[RunRecord, ...], size: float, tokens: float, slim: float = SLIM) -> Recipe:
    """The model nearest to a size, or the most alike within a share of it, trained for so many tokens as the runs of a
    store are. Raises `DataError`."""
    if not records:
        raise DataError("Expected runs of a store, found a CSV; without their settings there is no recipe to train.")
    settings, count = model(records, size, slim)
    each = float(np.median([record.tokens / record.steps for record in records]))
    steps = max(1, round(tokens / each))
    near = min(records, key=lambda record: abs(np.log(record.steps / steps))).steps
    if abs(np.log(near / steps)) < SAME:  # the tokens of names vary from seed to seed
        steps = near
    return Recipe(records[0].data, {"steps": steps, **settings}, count, steps * each)


def model(records: tuple[RunRecord, ...], size: float, slim: float = SLIM) -> tuple[dict[str, Any], int]:
    """Settings but for the steps of the model nearest to a size, or of the shape most like the runs' within a share of
    it, and how many parameters it has; where runs have that size to the last parameter, they are theirs."""
    vocabulary = records[0].params_head // records[0].size[0]
    shared = {name: _most(records, name) for name in records[0].settings if name not in OWN}
    ctx, ff = int(shared.get("ctx", 16)), int(shared.get("ff", 4))
    same = tuple(record for record in records if record.params == round(size))
    emb, head, layer = same[0].size[:3] if same else nearest(records, vocabulary, size, ctx, ff, slim)
    settings = {"lr": round(rate(same or records, size), 6), "emb": emb, "head": head, "layer": layer, **shared}
    return settings, params(ModelConfig(vocabulary, emb, head, layer, ctx, ff))


def nearest(
    records: tuple[RunRecord, ...], vocabulary: int, size: float, ctx: int, ff: int, slim: float = SLIM
) -> tuple[int, int, int]:
    """emb, head and layer whose parameters are nearest to a size; among the near, the shape most like the runs'."""
    grid = [(emb, layer) for emb in EMBS for layer in LAYERS]
    counts = np.array([params(ModelConfig(vocabulary, emb, 1, layer, ctx, ff)) for emb, layer in grid])
    misses = np.abs(np.log(counts / size))
    # how deep the runs are for their width, near this size
    known = min(records, key=lambda record: abs(np.log(record.params / size)))
    slope = np.log(known.size[0] / known.size[2])
    shapes = np.array([abs(np.log(emb / layer) - slope) for emb, layer in grid])
    near = misses <= max(slim, float(misses.min()))
    emb, layer = grid[int(np.argmin(np.where(near, shapes, np.inf)))]
    return emb, heads(emb, known.size[0] / known.size[1]), layer


def heads(emb: int, head_size: float) -> int:
    """The number of heads that divides emb and leaves each about so many numbers."""
    possible = [count for count in range(1, emb + 1) if emb % count == 0 and emb // count >= HEAD_SIZE] or [1]
    return min(possible, key=lambda count: abs(np.log(emb / count / head_size)))


def rate(records: tuple[RunRecord, ...], size: float) -> float:
    """The learning rate for a size: on the straight line in logarithms through those of the runs."""
    x = np.log([record.params for record in records])
    y = np.log([float(record.settings["lr"]) for record in records])
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float(np.exp(y.mean()))
    slope, height = np.polyfit(x - x.mean(), y, 1)
    return float(np.exp(height + slope * (np.log(size) - x.mean())))


def _most(records: tuple[RunRecord, ...], name: str) -> Any:
    """The value that most runs have."""
    return Counter(record.settings[name] for record in records).most_common(1)[0][0]
