"""Speed of the engine `torch`: `python bench/torch_engine.py [ranks|sizes|card|ensemble] [--rounds N]`.

`ranks`: two ranks beside one, each of one thread, at emb 256, layer 6, ctx 256: one global batch, shared out. They take
turns, and the best of the rounds counts, for other work on the machine only ever slows one down; the processor's time
is told too, which other work hardly touches.
`sizes`: microseconds a step beside the fused engine, float32, one thread.
`card`: a card's step time, tokens a second and share of its peak (MFU), for GPT-2 small's shape in bfloat16, plain
and compiled.
`ensemble`: model-steps a second of the default recipe's model on its names: `--models N` (64) that train together on
`--device D` (cpu) with one thread, runs of `torch` one after another on the same device, and `fused` on all cores. They
take turns, and the medians of the rounds count.
"""

import itertools
import json
import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import lru_cache

import numpy as np

import machine
from microgpt.engines import create
from microgpt.engines import device as settled_device
from microgpt.engines.base import Batch, Engine, EngineConfig
from microgpt.engines.ranks import joined
from microgpt.machine import cores
from microgpt.model.cost import step_cost
from microgpt.model.devices import DEVICES
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh
from microgpt.recipes import resolve
from microgpt.training.prepare import Prepared, prepare

RANKS = ModelConfig(65, 256, 8, 6, 256)  # of a text in characters
RANKS_BATCH = 8
SIZES = [  # emb, head, layer, ctx, and the documents of a step
    (ModelConfig(27), 1),
    (ModelConfig(27, 64, 4, 1, 16), 16),
    (ModelConfig(27, 128, 4, 1, 16), 16),
    (ModelConfig(65, 128, 8, 4, 64), 12),
    (ModelConfig(65, 256, 8, 6, 256), 2),
]
GPT2_SMALL = ModelConfig(50_257, 768, 12, 12, 1024)
CARD_BATCHES = (8, 32, 64)
SINGLE_STEPS, FUSED_STEPS = 200, 50_000  # a tenth of a second at least, on a usual core
GENTLE = 1e-4  # a learning rate


def batch_of(model: ModelConfig, count: int) -> Batch:
    """Sequences of full length."""
    stream = np.random.default_rng(0)
    return [stream.integers(0, model.vocabulary, model.ctx + 1) for _ in range(count)]


def stepping(engine: Engine, model: ModelConfig, batch: int) -> Callable[[int], float]:
    """A function that takes so many steps and gives the seconds of each; it has taken one, unmeasured."""
    weights = np.random.default_rng(0).normal(0.0, 0.02, params(model)).astype(np.float32)
    runner, documents = engine.open(fresh(model, weights)), batch_of(model, batch)

    def take(steps: int) -> float:
        start = time.perf_counter()
        runner.advance([documents] * steps, np.full(steps, 1e-4))
        return (time.perf_counter() - start) / steps

    take(1)
    return take


def rank() -> None:
    """One of the ranks, or the only one: rank 0 prints its seconds a step."""
    with joined({}) as followed:
        if followed is not None:
            return
        take = stepping(create("torch", EngineConfig("32", 1)), RANKS, RANKS_BATCH)
        seconds, busy = zip(*((take(1), time.process_time()) for _ in range(5)), strict=True)
        print(json.dumps([min(seconds), float(np.diff(busy).min())]))


def ranks(rounds: int) -> None:
    two = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    commands = {1: [sys.executable, __file__, "rank"], 2: [*two, __file__, "rank"]}
    best = {count: (float("inf"), float("inf")) for count in commands}
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    for _ in range(rounds):
        for count, command in commands.items():
            done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
            seconds, busy = json.loads(done.stdout)
            best[count] = min(best[count][0], seconds), min(best[count][1], busy)
    tokens = RANKS_BATCH * RANKS.ctx
    for count, (seconds, busy) in best.items():
        print(
            f"{count} rank(s)  {seconds * 1e3:8,.0f} ms a step  {tokens / seconds:8,.0f} tokens/s  "
            f"rank 0 computing for {busy * 1e3:,.0f} ms"
        )
    wall, busy = (best[1][i] / best[2][i] for i in range(2))
    print(f"two ranks are {wall:.2f} times one; by the time that rank 0 computes, {busy:.2f} times")


def sizes(rounds: int) -> None:
    print(f"{'sizes':36} {'torch':>12} {'fused':>12}  µs a step")
    for model, batch in SIZES:
        takes = {name: stepping(create(name, EngineConfig("32", 1)), model, batch) for name in ("torch", "fused")}
        steps = {name: max(1, int(0.1 / take(1))) for name, take in takes.items()}
        best = {name: min(take(steps[name]) for _ in range(rounds)) * 1e6 for name, take in takes.items()}
        named = f"emb {model.emb} layer {model.layer} ctx {model.ctx} batch {batch}"
        ratio = best["torch"] / best["fused"]
        print(f"{named:36} {best['torch']:12,.0f} {best['fused']:12,.0f}  torch takes {ratio:.1f} times as long")


def card(rounds: int) -> None:
    """GPT-2 small's shape on a card, with its utilisation: causal attention is counted once, Adam not at all. The head
    has weights of its own here, 163 million parameters in all where GPT-2 shares them with the embedding."""
    import torch

    from microgpt.engines.torch.engine import TorchEngine

    config = EngineConfig("bf16", 1, device="cuda")
    name = torch.cuda.get_device_name()
    known = next((device for key, device in DEVICES.items() if key in name.lower().replace(" ", "")), None)
    print(name)
    for compiled in (False, True):
        for batch in CARD_BATCHES:
            take = stepping(TorchEngine(config, compiled=compiled), GPT2_SMALL, batch)
            seconds = min(take(4) for _ in range(rounds))
            cost, tokens = step_cost(GPT2_SMALL, [GPT2_SMALL.ctx] * batch), batch * GPT2_SMALL.ctx
            rate = (cost.forward + cost.backward) / seconds
            share = f"{rate / known.flops['bf16']:6.1%} of its peak" if known else "its peak is not known here"
            print(
                f"{'compiled' if compiled else 'plain':8} batch {batch:3}  {seconds * 1e3:8,.1f} ms a step  "
                f"{tokens / seconds:10,.0f} tokens/s  {rate / 1e12:7.1f} TFLOP/s  {share}"
            )


def ensemble(rounds: int, models: int, device: str) -> None:
    runs, config = prepared_runs(models), EngineConfig("32", 1, device=settled_device("torch", device))
    with ProcessPoolExecutor(cores(), multiprocessing.get_context("spawn")) as pool:
        takes = {
            "torch alone": (alone(runs[0], config, SINGLE_STEPS), SINGLE_STEPS),
            "torch together": (together(runs, config, SINGLE_STEPS), models * SINGLE_STEPS),
            "fused on all cores": (on_all_cores(pool, FUSED_STEPS), cores() * FUSED_STEPS),
        }
        speeds: dict[str, list[float]] = {name: [] for name in takes}
        for _, (name, (take, steps)) in itertools.product(range(rounds), takes.items()):
            start = time.perf_counter()
            take()
            speeds[name].append(steps / (time.perf_counter() - start))
    single, group, others = (float(np.median(found)) for found in speeds.values())
    for name, speed in zip(speeds, (single, group, others), strict=True):
        print(f"{name:20} {speed:12,.0f} model-steps/s")
    print(f"{models} models together on {config.device}: {group / single:.1f} times one after another, ", end="")
    print(f"{group / others:.3f} times fused on {cores()} cores")


def prepared_runs(models: int) -> list[Prepared]:
    """The default recipe with one seed after another."""
    first = prepare(resolve("default", {"engine": "torch", "seed": 0}))
    split = first.dataset.split
    return [first, *(prepare(resolve("default", {"engine": "torch", "seed": n}), split) for n in range(1, models))]


def alone(run: Prepared, config: EngineConfig, steps: int) -> Callable[[], object]:
    """Steps of a single run, at a rate that keeps it where it is."""
    runner = create(run.request.engine, config).open(run.checkpoint.state)
    batches, rates = run.dataset.sequences_of(0, steps, 1), np.full(steps, GENTLE)
    runner.advance(batches, rates)
    return lambda: runner.advance(batches, rates)


def together(runs: list[Prepared], config: EngineConfig, steps: int) -> Callable[[], object]:
    """The same steps of all runs at once."""
    from microgpt.engines.torch.ensemble import Ensemble, gathered

    model, group = runs[0].checkpoint.model, Ensemble(config, [run.checkpoint.state for run in runs])
    each = [run.dataset.sequences_of(0, steps, 1) for run in runs]
    batches, rates = gathered(model, list(zip(*each, strict=True))), np.full((steps, len(runs)), GENTLE)
    group.advance(batches, rates)
    return lambda: group.advance(batches, rates)


def on_all_cores(pool: Executor, steps: int) -> Callable[[], object]:
    """A run of `fused` in a process for each core."""

    def take() -> None:
        list(pool.map(fused, range(cores()), [steps] * cores()))

    take()
    return take


def fused(seed: int, steps: int) -> None:
    """Steps of a run in one of those processes."""
    advance = fused_run(seed, steps)
    advance()


@lru_cache
def fused_run(seed: int, steps: int) -> Callable[[], object]:
    run = prepare(resolve("default", {"engine": "fused", "seed": seed}))
    return alone(run, EngineConfig("32", 1), steps)


def main() -> None:
    works = ("ranks", "sizes", "card", "ensemble", "rank")
    chosen = machine.asked(__doc__, works, rounds=3, models=64, device="cpu")
    if chosen.what == "rank":
        rank()
        return
    if chosen.what == "ensemble":
        ensemble(chosen.rounds, chosen.models, chosen.device)
    else:
        {"ranks": ranks, "sizes": sizes, "card": card}[chosen.what](chosen.rounds)
    print(machine.line())


if __name__ == "__main__":
    main()
