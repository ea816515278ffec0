"""What a time reaches: `--for` on the built-in texts, beside torch with the same sizes, data and time.

    python bench/your_text.py [--seconds 10 60] [--torch] [--nanogpt] [--recipes SEEDS]

Ours is the whole command's time, with reading, measuring, held-out losses and the end. Torch (`pip install torch`) is
given what `--for` chose: sizes, batch, learning rate that falls to zero with the time, as many threads, and all of the
time for steps alone; it has its own attention kernel and fused Adam. `--nanogpt` trains nanoGPT's published CPU recipe
(emb 128, layer 4, head 4, ctx 64, batch 12, 2,000 steps, learning rate 1e-3 to 1e-4 by a cosine after 100 steps, beta2
0.99) as far as it can be said with our flags: the learning rate falls to zero, and norms have no gain.
"""

import argparse
import math
import statistics
import time
from typing import Any

import numpy as np

import machine
from microgpt.data.dataset import Dataset
from microgpt.data.split import Split
from microgpt.engines.contract import EPSILON_ADAM, EPSILON_NORM
from microgpt.model.ledger import ledger
from microgpt.model.settings import ModelConfig
from microgpt.model.state import draw_weights
from microgpt.recipes import resolve
from microgpt.recipes.budget import command, fit
from microgpt.training.loop import train
from microgpt.training.records import Finished, Result
from microgpt.training.request import Request

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


class Torch:
    """The same model in torch, for windows of one length."""

    def __init__(self, request: Request, model: ModelConfig) -> None:
        import torch

        self.torch, self.request, self.model = torch, request, model
        torch.set_num_threads(request.threads)
        flat = torch.from_numpy(draw_weights(request.settings, model).astype(np.float32))
        parts = flat.split([entry.size for entry in ledger(model)])
        self.weights = {
            entry.name: part.reshape(entry.rows, entry.columns).clone().requires_grad_()
            for entry, part in zip(ledger(model), parts, strict=True)
        }
        settings = request.settings
        betas = (settings.beta1, settings.beta2)
        self.adam = torch.optim.Adam(self.weights.values(), settings.lr, betas, EPSILON_ADAM, fused=True)

    def loss(self, tokens: Any, reduction: str = "mean") -> Any:
        """Cross-entropy of windows (B, T + 1)."""
        functional, model, weights = self.torch.nn.functional, self.model, self.weights
        inputs, targets = tokens[:, :-1], tokens[:, 1:]
        x = weights["wte"][inputs] + weights["wpe"][: inputs.shape[1]]  # (B, T, emb)
        x = self.norm(x) if model.norm_embeddings else x
        for layer in range(model.layer):
            matrix = {name: weights[f"layer{layer}.{name}"] for name in ("attn_wq", "attn_wk", "attn_wv", "attn_wo")}
            y = self.norm(x)
            q, k, v = ((y @ matrix[f"attn_w{part}"].T).unflatten(2, (model.head, -1)).transpose(1, 2) for part in "qkv")
            y = functional.scaled_dot_product_attention(q, k, v, is_causal=True)  # (B, head, T, emb / head)
            x = x + y.transpose(1, 2).flatten(2) @ matrix["attn_wo"].T
            y = functional.relu(self.norm(x) @ weights[f"layer{layer}.mlp_fc1"].T)
            x = x + y @ weights[f"layer{layer}.mlp_fc2"].T
        x = self.norm(x) if model.norm_head else x
        logits = x @ weights["lm_head"].T
        return functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction=reduction)

    def norm(self, x: Any) -> Any:
        return self.torch.nn.functional.rms_norm(x, (x.shape[-1],), eps=EPSILON_NORM)

    def train(self, dataset: Dataset, seconds: float) -> int:
        """Steps for so many seconds, the learning rate as the schedule has it, by the share of time that is gone."""
        settings, steps, start = self.request.settings, 0, time.perf_counter()
        while (share := (time.perf_counter() - start) / seconds) < 1:
            batch = np.stack(dataset.sequences(steps, settings.batch)).astype(np.int64)
            for group in self.adam.param_groups:
                group["lr"] = settings.lr * (min(1.0, share / 0.05) if share < 0.05 else (1 - share) / 0.95)
            self.adam.zero_grad()
            self.loss(self.torch.from_numpy(batch)).backward()
            self.adam.step()
            steps += 1
        return steps

    def held_out(self, dataset: Dataset) -> float:
        """Held-out loss in nats per token."""
        total, count = 0.0, 0
        with self.torch.no_grad():
            for tokens in dataset.held_out():
                window = self.torch.from_numpy(tokens.astype(np.int64))[None]
                total, count = total + float(self.loss(window, "sum")), count + len(tokens) - 1
        return total / count


def told(name: str, loss: float, steps: int, seconds: float, more: str = "") -> str:
    return f"{name:30} held-out loss {loss:.4f}  {steps:7,} steps  {seconds:6.1f} s  {more}"


def recipe(name: str, seeds: int) -> str:
    """What a recipe gives over seeds of weights and order."""
    results = []
    for seed in range(seeds):
        *_, end = train(resolve(name, {"seed": seed, "threads": 2, "samples": 0, "out": ""}))
        assert isinstance(end, Finished)
        results.append(end.result)
    losses = [result.loss.holdout or math.nan for result in results]
    seconds = statistics.median(result.seconds.total for result in results)
    spread = statistics.stdev(losses) if seeds > 1 else math.nan
    return told(name, statistics.mean(losses), results[0].steps, seconds, f"± {spread:.4f} over {seeds} seeds")


def nanogpt() -> str:
    request = resolve("default", {**NANOGPT, "threads": 2})
    start = time.perf_counter()
    *_, end = train(request)
    assert isinstance(end, Finished)
    assert end.result.loss.holdout is not None
    took = time.perf_counter() - start
    trained = end.result.seconds.train
    return told(
        "nanoGPT's CPU recipe", end.result.loss.holdout, 2000, took, f"training {trained:.1f} s\n  {command(request)}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, nargs="*", default=[10, 60])
    parser.add_argument("--data", nargs="+", default=["shakespeare", "names"])
    parser.add_argument("--torch", action="store_true")
    parser.add_argument("--nanogpt", action="store_true")
    parser.add_argument("--recipes", type=int, metavar="SEEDS", default=0)
    arguments = parser.parse_args()
    print(machine.line())
    if arguments.nanogpt:
        print(nanogpt(), flush=True)
    for name in ("names-good", "prose-small", "prose-good") if arguments.recipes else ():
        print(recipe(name, arguments.recipes), flush=True)
    for data in arguments.data:
        for seconds in arguments.seconds:
            result, request, split, took = ours(data, seconds)
            assert result.loss.holdout is not None
            name = f"{data} --for {seconds:g}s"
            print(told(name, result.loss.holdout, result.steps_taken, took, f"{result.params:,} params"))
            print(f"  {command(request)}", flush=True)
            if arguments.torch and split.is_running:
                dataset = Dataset.of(split, ctx=request.settings.ctx, seed=request.settings.seed)
                peer = Torch(request, request.settings.model(dataset.vocabulary))
                steps = peer.train(dataset, seconds)
                print(told(f"torch, {seconds:g} s of steps", peer.held_out(dataset), steps, seconds), flush=True)


if __name__ == "__main__":
    main()
