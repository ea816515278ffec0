"""The speed of the engines, beside what the machine can do at most. Serves `microgpt bench`."""

import ctypes
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from microgpt.engines import REGISTRY, create
from microgpt.engines.contract import Batch, EngineConfig, predictions
from microgpt.engines.fused.build import KERNEL, load
from microgpt.errors import EnvironmentFault
from microgpt.model.cost import step_cost
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import State, fresh

ROUNDS_OF_PEAK = 200_000  # of all chains: some milliseconds
SIZE_OF_PEAK = 1024  # rows and columns of the matrices whose product measures the peak
REPEATS = 5


@dataclass(frozen=True)
class Shape:
    """What is measured: sizes, norms as in the default recipe, and documents in a step."""

    emb: int = 16
    head: int = 4
    layer: int = 1
    ctx: int = 16
    batch: int = 1

    def model(self, vocabulary: int) -> ModelConfig:
        return ModelConfig(vocabulary, emb=self.emb, head=self.head, layer=self.layer, ctx=self.ctx)


SHAPES = (
    Shape(),
    Shape(emb=64, head=8, layer=4),
    Shape(batch=16),
    Shape(emb=32, batch=16),
    Shape(emb=64, batch=16),
    Shape(emb=128, batch=16),
)


@dataclass(frozen=True)
class Row:
    """The speed of one engine at one shape. Times are medians."""

    engine: str
    emb: int
    head: int
    layer: int
    ctx: int
    batch: int
    threads: int
    precision: str
    us_per_step: float
    us_per_document: float
    gflops: float
    fraction_of_peak: float


@dataclass(frozen=True)
class Peak:
    """Most useful operations a second that were seen on this machine, in 1e9, and how they were made."""

    gflops: float
    method: str


def peak(precision: Precision) -> Peak:
    """The peak of one core by independent chains of multiply-adds or, without a compiler, by a product of matrices.

    That of bfloat16 is told as float32's: a core without instructions for it computes in those.
    """
    precision = "32" if precision == "bf16" else precision
    try:
        run = chains(precision)
    except EnvironmentFault:
        return _peak_by_blas(precision)
    return Peak(statistics.median(run() for _ in range(6 * REPEATS)), "chains of multiply-adds on one core")


def chains(precision: Precision) -> Callable[[], float]:
    """A function that measures 1e9 operations a second for some milliseconds. Raises `EnvironmentFault`."""
    library = load({"PRECISION": int(precision)}, kernel=KERNEL.with_name("peak.c"))
    library.peak.restype, library.peak.argtypes = ctypes.c_int64, [ctypes.c_int64, ctypes.c_void_p]
    out = ctypes.c_double()

    def run() -> float:
        start = time.perf_counter()
        done: int = library.peak(ROUNDS_OF_PEAK, ctypes.byref(out))
        return done / (time.perf_counter() - start) / 1e9

    return run


def _peak_by_blas(precision: Precision) -> Peak:
    kind = np.float64 if precision == "64" else np.float32
    matrix = np.random.default_rng(0).random((SIZE_OF_PEAK, SIZE_OF_PEAK)).astype(kind)
    out = np.empty_like(matrix)
    seconds = [_timed(lambda: np.matmul(matrix, matrix, out=out)) for _ in range(2 * REPEATS)]
    return Peak(2 * SIZE_OF_PEAK**3 / min(seconds) / 1e9, f"product of {SIZE_OF_PEAK}² matrices by BLAS, all cores")


def measure(
    engines: Sequence[str],
    config: EngineConfig,
    vocabulary: int,
    batches: Callable[[int, int], Sequence[Batch]],
    seconds: float = 0.4,
) -> Iterator[Row]:
    """A row for each engine and shape; `batches(steps, batch)` gives the documents of so many steps.

    Each measurement lasts about `seconds`, of which the median over five parts is taken.
    """
    for engine in engines:
        entry = REGISTRY[engine]
        own = config  # where the engine has a choice
        if len(entry.precisions) == 1:
            own = replace(own, precision=entry.precisions[0])
        if entry.most_threads == 1:
            own = replace(own, threads=1)
        for shape in SHAPES[:1] if entry.slow else SHAPES:
            yield _row(engine, own, shape, vocabulary, batches, seconds)


def _row(
    engine: str,
    config: EngineConfig,
    shape: Shape,
    vocabulary: int,
    batches: Callable[[int, int], Sequence[Batch]],
    seconds: float,
) -> Row:
    model = shape.model(vocabulary)
    runner = create(engine, config).open(_state(model))
    first = batches(2, shape.batch)
    runner.advance(first, _rates(2))
    each = _timed(lambda: runner.advance(first, _rates(2))) / 2
    steps = max(1, int(seconds / REPEATS / each))
    documents = batches(steps, shape.batch)
    taken = statistics.median(_timed(lambda: runner.advance(documents, _rates(steps))) for _ in range(REPEATS))
    us = taken / steps * 1e6
    flop = sum(_useful(model, batch) for batch in documents) / steps
    gflops = flop / us / 1e3
    most = peak(config.precision).gflops * config.threads  # measured beside it, for machines change their pace
    sizes = {"emb": shape.emb, "head": shape.head, "layer": shape.layer, "ctx": shape.ctx, "batch": shape.batch}
    return Row(
        engine=engine,
        **sizes,
        threads=config.threads,
        precision=config.precision,
        us_per_step=us,
        us_per_document=us / shape.batch,
        gflops=gflops,
        fraction_of_peak=gflops / most,
    )


def _useful(model: ModelConfig, batch: Batch) -> int:
    """Operations of the forward and the backward pass; Adam's are not counted, only their time is."""
    cost = step_cost(model, [predictions(model, tokens) for tokens in batch])
    return cost.forward + cost.backward


def _state(model: ModelConfig) -> State:
    return fresh(model, np.random.default_rng(0).normal(0.0, 0.08, params(model)))


def _rates(steps: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.full(steps, 1e-3)


def _timed(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
