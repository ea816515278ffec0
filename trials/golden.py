"""The golden runs: losses of every step, and what leads to them (tests/fixtures/golden)."""

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt.engines import create
from microgpt.engines.contract import Batch, EngineConfig
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import ModelConfig, Precision, Settings
from microgpt.model.state import draw_weights_golden, fresh

ROOT = Path(__file__).parents[1]
RECIPES: dict[str, dict[str, Any]] = {
    "karpathy": {},
    "artistic": {"norm_embeddings": False, "norm_head": True, "lr": 0.005, "initial": "uniform", "initial_scale": 0.1},
}


@dataclass(frozen=True)
class Golden:
    settings: Settings
    model: ModelConfig
    weights: NDArray[np.float64]
    batches: list[Batch]
    losses: NDArray[np.float64]

    def errors(self, engine: str, precision: Precision, steps: int) -> NDArray[np.float64]:
        """The distance of an engine's losses from the golden ones over the first steps."""
        runner = create(engine, EngineConfig(precision)).open(fresh(self.model, self.weights))
        losses = runner.advance(self.batches[:steps], learning_rates(self.settings, 0, steps))
        return np.abs(losses - self.losses[:steps])


def golden(name: str) -> Golden:
    record = json.loads((ROOT / f"tests/fixtures/golden/golden_{name}.json").read_text("utf-8"))
    sizes = {size: record[size] for size in ("steps", "emb", "head", "layer", "ctx")}
    settings = Settings(**sizes, **RECIPES[record["recipe"]], seed=record["rng_seed"])
    documents = (ROOT / "src/microgpt/data/builtin/names.txt").read_text("utf-8").split()
    stream = random.Random(settings.seed)
    if record["recipe"] == "karpathy":
        stream.shuffle(documents)
    letters = sorted(set("".join(documents)))
    bos = len(letters)
    model = settings.model(bos + 1)
    weights = draw_weights_golden(settings, model, stream)
    batches: list[Batch] = [
        [np.array([bos, *map(letters.index, documents[step % len(documents)]), bos])] for step in range(settings.steps)
    ]
    return Golden(settings, model, weights, batches, np.array(record["losses"]))
