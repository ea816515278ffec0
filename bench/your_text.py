"""What a time reaches: `--for` on the built-in texts, beside torch with the same sizes, data and time.

    python bench/your_text.py [--seconds 10 60] [--torch] [--nanogpt] [--recipes SEEDS]

Ours is the whole command's time, with reading, measuring, held-out losses and the end. Torch (`pip install torch`) is
given what `--for` chose where that is a plain model: sizes, batch, learning rate that falls to zero with the time, as
many threads, and all of the time for steps alone; it has its own attention kernel and fused Adam. `--nanogpt` trains
nanoGPT's published CPU recipe (emb 128, layer 4, head 4, ctx 64, batch 12, 2,000 steps, learning rate 1e-3 to 1e-4 by a
cosine after 100 steps, beta2 0.99) as far as it can be said with our flags: the learning rate falls to zero, and norms
have no gain.
"""

import math
import statistics
import sysconfig
import time
from itertools import product
from pathlib import Path

import numpy as np

import machine
from microgpt.data.dataset import Dataset
from microgpt.data.split import Split
from microgpt.engines.contract import predictions
from microgpt.model.settings import variations
from microgpt.model.state import draw_weights
from microgpt.recipes import resolve
from microgpt.recipes.budget import command, fit
from microgpt.training.loop import train
from microgpt.training.records import Finished, Result
from microgpt.training.request import Request
from peers import Shape, Task, Torch

NANOGPT = {
    "data": ("shakespeare",), "emb": 128, "head": 4, "layer": 4, "ctx": 64, "batch": 12, "steps": 2000, "lr": 1e-3,
    "warmup": 100, "decay": "cosine", "beta1": 0.9, "initial_scale": 0.02, "norm_head": True,
    "norm_embeddings": False, "samples": 0, "out": "",
}  # fmt: skip


def ours(data: str, seconds: float) -> tuple[Result, Request, Split, float]:
    """The result of `--for`, what it chose, its text, and the seconds it took."""
    began = time.perf_counter()
    fitted = fit({"data": (data,), "out": "", "samples": 5}, seconds, began=began)
    *_, end = train(fitted.request, split=fitted.split, deadline=fitted.deadline)
    assert isinstance(end, Finished)
    return end.result, fitted.request, fitted.split, time.perf_counter() - began


class Timed(Torch):
    """The same model in torch, trained for a time."""

    def __init__(self, request: Request, dataset: Dataset) -> None:
        settings = request.settings
        model = settings.model(dataset.vocabulary)
        shape = Shape(settings, threads=request.threads)
        super().__init__(Task(shape, model, draw_weights(settings, model), [], np.zeros(0)))
        self.dataset = dataset
        self.begin()

    def train_for(self, seconds: float) -> int:
        """Steps for so many seconds, the learning rate as the schedule has it, by the share of time that is gone."""
        settings, steps, start = self.task.shape.settings, 0, time.perf_counter()
        while (share := (time.perf_counter() - start) / seconds) < 1:
            batch = self.dataset.sequences(steps, settings.batch)
            self.update(self.given(batch), settings.lr * (share / 0.05 if share < 0.05 else (1 - share) / 0.95))
            steps += 1
        return steps

    def held_out(self) -> float:
        """Held-out loss in nats per token."""
        total, count = 0.0, 0
        with self.torch.no_grad():
            for tokens in self.dataset.held_out():
                met = predictions(self.task.model, tokens)
                total, count = total + float(self.loss(self.weights, *self.given([tokens]))) * met, count + met
        return total / count


def told(name: str, loss: float, steps: int, seconds: float, more: str = "") -> str:
    return f"{name:30} held-out loss {loss:.4f}  {steps:7,} steps  {seconds:6.1f} s  {more}"


def recipe(name: str, seeds: int) -> str:
    """What a recipe gives over seeds of weights and order; code-good on the modules of Python's standard library."""
    results, modules = [], sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))
    data = {"data": tuple(map(str, modules))} if name == "code-good" else {}
    for seed in range(seeds):
        *_, end = train(resolve(name, {"seed": seed, "threads": 2, "samples": 0, "out": "", **data}))
        assert isinstance(end, Finished)
        results.append(end.result)
    losses = [result.loss.holdout_per_character or math.nan for result in results]
    seconds = statistics.median(result.seconds.total for result in results)
    spread = statistics.stdev(losses) if seeds > 1 else math.nan
    mixed = statistics.mean(result.loss.mixed or math.nan for result in results)
    more = f"± {spread:.4f} over {seeds} seeds, with counts {mixed:.4f}, counts alone {results[0].loss.counts:.4f}"
    return told(name, statistics.mean(losses), results[0].steps, seconds, more)


def nanogpt() -> str:
    request = resolve("default", {**NANOGPT, "threads": 2})
    start = time.perf_counter()
    *_, end = train(request)
    assert isinstance(end, Finished)
    loss = end.result.loss.holdout_per_character
    assert loss is not None
    took = time.perf_counter() - start
    more = f"training {end.result.seconds.train:.1f} s\n  {command(request)}"
    return told("nanoGPT's CPU recipe", loss, 2000, took, more)


def main() -> None:
    arguments = machine.asked(
        __doc__, seconds=[10.0, 60.0], data=["shakespeare", "names"], torch=False, nanogpt=False, recipes=0
    )
    print(machine.line())
    if arguments.nanogpt:
        print(nanogpt(), flush=True)
    for name in ("names-good", "prose-small", "prose-good", "code-good") if arguments.recipes else ():
        print(recipe(name, arguments.recipes), flush=True)
    for data, seconds in product(arguments.data, arguments.seconds):
        result, request, split, took = ours(data, seconds)
        name = f"{data} --for {seconds:g}s"
        loss = result.loss
        more = f"{result.params:,} params, with counts {loss.mixed:.4f}, counts alone {loss.counts:.4f}"
        print(told(name, loss.holdout_per_character or math.nan, result.steps_taken, took, more))
        print(f"  {command(request)}", flush=True)
        if arguments.torch and split.is_running and not variations(request.settings):
            peer = Timed(request, Dataset.of(split, ctx=request.settings.ctx, seed=request.settings.seed))
            steps = peer.train_for(seconds)
            print(told(f"torch, {seconds:g} s of steps", peer.held_out(), steps, seconds), flush=True)


if __name__ == "__main__":
    main()
