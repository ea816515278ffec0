"""Speed of the engine `fused` against the machine's peak: `python bench/fused.py [--threads N] [--target T]`.

Peak is what independent chains of multiply-adds reach on one core, measured between the kernels of the same run.
Useful work is that of model/cost.py, without what padding adds and without Adam. Each figure is the median of several
calls of `advance`, names (for ctx 64 windows of random tokens) already in memory; the spread is from the 10th to the
90th percentile.
"""

import ctypes
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import machine
from array_engine import names
from microgpt.engines.contract import Batch, EngineConfig, predictions
from microgpt.engines.fused.build import find_compiler, load
from microgpt.engines.fused.engine import FusedEngine, declared
from microgpt.engines.measure import chains
from microgpt.model.cost import step_cost
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, variations
from microgpt.model.state import fresh


@dataclass(frozen=True)
class Shape:
    """What is measured, and what is to be reached: microseconds a step, or a share of the peak."""

    model: ModelConfig
    batch: int
    steps: int
    windows: bool = False
    most_microseconds: float | None = None
    least_share: float | None = None

    @property
    def title(self) -> str:
        model = self.model
        sizes = f"emb {model.emb:3} head {model.head} layer {model.layer} ctx {model.ctx:3} batch {self.batch:3}"
        return " ".join([sizes, *map(str, variations(model).values())])


SHAPES = [
    Shape(ModelConfig(27), 1, 1000, most_microseconds=6.0),
    Shape(ModelConfig(27, 64, 8, 4), 1, 200, most_microseconds=200.0),
    Shape(ModelConfig(27, 16, 4), 16, 200, least_share=0.45),
    Shape(ModelConfig(27, 32, 4), 16, 100, least_share=0.60),
    Shape(ModelConfig(27, 64, 4), 16, 40, least_share=0.70),
    Shape(ModelConfig(27, 128, 8), 16, 10, least_share=0.70),
    Shape(ModelConfig(65, 128, 4, 4, 64), 12, 2, windows=True, least_share=0.70),
    Shape(ModelConfig(65, 256, 4, 2, 64), 12, 1, windows=True),
    Shape(ModelConfig(27, 128, 8, 4, 64), 1, 20),
    Shape(ModelConfig(27, 64, 4, position="rotary", activation="relu2"), 16, 40, least_share=0.70),
    Shape(ModelConfig(27, 128, 8, position="rotary", activation="relu2"), 16, 10, least_share=0.70),
    Shape(ModelConfig(65, 128, 4, 4, 64, position="rotary", activation="relu2"), 12, 2, windows=True, least_share=0.70),
]


class Targeted(FusedEngine):
    """The engine with a kernel for a target that is given, such as x86-64-v3 for AVX2."""

    def __init__(self, config: EngineConfig, target: str) -> None:
        super().__init__(config)
        self.target = target

    def library(self, sizes: Mapping[str, int]) -> ctypes.CDLL:
        return declared(load(sizes, target=self.target))


def documents(shape: Shape) -> list[NDArray[np.uint8]]:
    """Sequences for the steps of a call: names between BOS in a shuffled order, or windows of running text."""
    stream, count = np.random.default_rng(0), shape.batch * shape.steps
    if shape.windows:
        return [stream.integers(0, shape.model.vocabulary, shape.model.ctx + 1).astype(np.uint8) for _ in range(count)]
    return [tokens.astype(np.uint8) for tokens in names()[:count]]


def line(shape: Shape, engine: FusedEngine, repeats: int, peak: Callable[[], float]) -> str:
    """The median time of a step, with the peak measured before each repeat, and whether the goal is reached."""
    precision, threads = engine.config.precision, engine.config.threads
    model, sequences = shape.model, documents(shape)
    batches: list[Batch] = [sequences[i : i + shape.batch] for i in range(0, len(sequences), shape.batch)]
    weights = np.random.default_rng(1).normal(0, 0.08, params(model))
    runner = engine.open(fresh(model, weights))
    rates = np.full(shape.steps, 1e-3)
    taken, peaks = [], []
    runner.advance(batches, rates)
    for _ in range(repeats):
        peaks.append(peak())
        start = time.perf_counter()
        done = runner.advance(batches, rates)
        taken.append((time.perf_counter() - start) / len(done))
    cost = [step_cost(model, [predictions(model, tokens) for tokens in batch]) for batch in batches]
    work = sum(step.forward + step.backward for step in cost) / shape.steps
    middle, highest = statistics.median(taken), statistics.median(peaks) * (0.5 if precision == "64" else 1.0)
    spread = statistics.quantiles(taken, n=10)
    gigaflops = work / middle / 1e9
    share = gigaflops / highest / threads
    goal, reached = "", True
    if precision == "32" and threads == 1 and shape.most_microseconds:
        goal, reached = f"at most {shape.most_microseconds:g} µs", middle * 1e6 <= shape.most_microseconds
    if precision == "32" and threads == 1 and shape.least_share:
        goal, reached = f"{shape.least_share:.0%} of peak", share >= shape.least_share
    told = f"{goal} {'reached' if reached else 'missed'}" if goal else ""
    span = f"{spread[0] * 1e6:.1f} to {spread[-1] * 1e6:.1f}"
    return f"{shape.title} {middle * 1e6:12.1f}   {span:18} {gigaflops:6.1f} {share:8.1%}  {told}"


def main() -> None:
    chosen = machine.asked(__doc__, repeats=30, threads=1, precision="32", target="native")
    peak, engine = chains("32"), Targeted(EngineConfig(chosen.precision, chosen.threads), chosen.target)
    peaks = [peak() for _ in range(30)]
    print(machine.line())
    print(find_compiler().version.splitlines()[-1])
    print(f"peak of one core, float32: {statistics.median(peaks):.0f} GFLOP/s (best {max(peaks):.0f})\n")
    print("shape                                      µs a step   10 % to 90 %      GFLOP/s  of peak  goal")
    for shape in SHAPES:
        print(line(shape, engine, chosen.repeats, peak), flush=True)


if __name__ == "__main__":
    main()
