"""Speed of the engine `torch`: `python bench/torch_engine.py [ranks|sizes|card] [--rounds N]`.

`ranks`: two ranks beside one, each of one thread, at emb 256, layer 6, ctx 256: one global batch, shared out. They take
turns, and the best of the rounds counts, for other work on the machine only ever slows one down; the processor's time
is told too, which other work hardly touches.
`sizes`: microseconds a step beside the fused engine, float32, one thread.
`card`: a card's step time, tokens a second and share of its peak (MFU), for GPT-2 small's shape in bfloat16, plain
and compiled.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np

import machine
from microgpt.engines import create
from microgpt.engines.contract import Batch, Engine, EngineConfig
from microgpt.engines.ranks import joined
from microgpt.model.cost import step_cost
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh
from microgpt.planning.devices import DEVICES

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


def main() -> None:
    chosen = machine.asked(__doc__, ("ranks", "sizes", "card", "rank"), rounds=3)
    if chosen.what == "rank":
        rank()
        return
    {"ranks": ranks, "sizes": sizes, "card": card}[chosen.what](chosen.rounds)
    print(machine.line())


if __name__ == "__main__":
    main()
