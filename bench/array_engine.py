"""Speed of the engine `array`: `python bench/array_engine.py`.

First, microseconds a step at the default sizes on the built-in names, in float64 and float32. Then a batch of names of
unequal length in one padded batch; in one for each length, with no padding; and as the engine does it, in
padded batches of neighbours by length. Run it with OPENBLAS_NUM_THREADS=1: BLAS's own threads only disturb products so
small.
"""

import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import machine
import microgpt
from microgpt.engines import create
from microgpt.engines.array.backward import backward
from microgpt.engines.array.batching import padded, parts
from microgpt.engines.array.engine import DTYPES
from microgpt.engines.array.forward import cross_entropy, forward
from microgpt.engines.array.matrices import matrices
from microgpt.engines.contract import Batch, EngineConfig
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import fresh

SHAPES = [(16, 4, 1, 16), (64, 4, 2, 16), (128, 8, 4, 16)]  # emb, head, layer, ctx
BATCHES = [8, 32, 128, 512]


def names() -> list[NDArray[np.int64]]:
    """The built-in names as token ids between BOS, in a shuffled order."""
    lines = (Path(microgpt.__file__).parent / "data" / "builtin" / "names.txt").read_text("utf-8").split()
    documents = [np.array([26, *(ord(letter) - ord("a") for letter in line), 26]) for line in lines]
    order = np.random.default_rng(0).permutation(len(documents))
    return [documents[i] for i in order]


def microseconds(works: list[Callable[[], object]], repeats: int) -> list[float]:
    """The median time of each of several works, taken in turns after one unmeasured round: noise hits all alike."""
    times: list[list[float]] = [[] for _ in works]
    for _ in range(repeats + 1):
        for work, taken in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            taken.append((time.perf_counter() - start) * 1e6)
    return [statistics.median(taken[1:]) for taken in times]


def steps(documents: list[NDArray[np.int64]], precision: Precision, count: int) -> Callable[[], object]:
    """So many training steps of one document at the default sizes."""
    model = ModelConfig(27)
    runner = create("array", EngineConfig(precision)).open(fresh(model, weights(model)))
    batches, rates = [[tokens] for tokens in documents[:count]], np.full(count, 0.001)
    return lambda: runner.advance(batches, rates)


def weights(model: ModelConfig) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(0, 0.08, params(model))


def gradient_in_parts(model: ModelConfig, flat: NDArray[np.float32], parts: list[Batch]) -> NDArray[np.float32]:
    """The gradient of a batch, one padded batch for each part."""
    total, partial = np.zeros_like(flat), np.empty_like(flat)
    batch, form, views = sum(map(len, parts)), matrices(model, flat), matrices(model, partial)
    for documents in parts:
        block = padded(model, documents, DTYPES["32"], batch)
        kept = forward(model, form, block.inputs)
        backward(model, form, views, block, kept, cross_entropy(kept.logits, block.targets)[1])
        total += partial
    return total


def by_length(batch: Batch) -> list[Batch]:
    groups = defaultdict(list)
    for tokens in batch:
        groups[len(tokens)].append(tokens)
    return list(groups.values())


def compare(documents: list[NDArray[np.int64]], repeats: int) -> None:
    print("\nmicroseconds for a gradient, float32")
    print("emb head layer ctx batch   one padded batch   one for each length   neighbours by length")
    for emb, head, layer, ctx in SHAPES:
        model = ModelConfig(27, emb, head, layer, ctx)
        flat = weights(model).astype(np.float32)
        for size in BATCHES:
            batch: Batch = documents[:size]
            neighbours: list[Batch] = [[batch[i] for i in part] for part in parts(model, batch)]
            ways = [[batch], by_length(batch), neighbours]
            times = microseconds([partial(gradient_in_parts, model, flat, way) for way in ways], repeats)
            print(f"{emb:3} {head:4} {layer:5} {ctx:3} {size:5} {times[0]:18.0f} {times[1]:21.0f} {times[2]:22.0f}")


def main() -> None:
    chosen = machine.asked(__doc__, steps=1000, repeats=15)
    documents = names()
    precisions: tuple[Precision, ...] = ("64", "32")
    times = microseconds([steps(documents, precision, chosen.steps) for precision in precisions], chosen.repeats)
    print(f"microseconds a step, medians of {chosen.repeats} times {chosen.steps} steps")
    for precision, taken in zip(precisions, times, strict=True):
        print(f"float{precision}: {taken / chosen.steps:.1f}")
    compare(documents, chosen.repeats)


if __name__ == "__main__":
    main()
