"""A GPT in torch that varies by switches, for bench/ideas.py: as small as it can be, several seeds side by side.

Every weight has a leading dimension of `models`: the same work on the same machine, but one call of torch serves all.
A model is that of symmetry.py where no switch is set, with heads of 16 and norms on the embeddings alone.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 as everybody names it
from torch import Tensor

HEAD = 16  # numbers of a head
ROTARY_BASE = 10_000.0  # as in its paper
PASSED = -100  # a target that is not predicted


@dataclass(frozen=True)
class Idea:
    """A model and a training; the defaults are the base. Sources stand in docs/IDEAS.md."""

    tokens: int = 0  # byte-pair tokens, characters among them; 0: characters alone
    rotary: bool = False
    activation: str = "relu"
    tied: bool = False
    qk_norm: float = 0.0  # queries and keys of length √HEAD, and their products so many times as large
    value_residual: bool = False
    zero_out: bool = False
    softcap: float = 0.0
    norm_head: bool = False
    muon: bool = False
    weight_decay: float = 0.0  # times the learning rate, of every weight
    dropout: float = 0.0  # of the embeddings and of what each branch adds
    ema: bool = False  # the weights' running mean over a twentieth of the steps is what counts
    replacement: bool = False  # windows and lines drawn anew for every step, instead of passes in random order
    ctx: float = 1.0  # times the base's
    batch: float = 1.0  # times the base's
    schedule: str = "linear"
    warmup: float = 0.0  # share of the steps


@dataclass(frozen=True)
class Size:
    emb: int
    layer: int
    ctx: int
    batch: int


def shapes(idea: Idea, size: Size, vocabulary: int) -> dict[str, tuple[int, int]]:
    """Rows (inputs) and columns of each matrix; those of the blocks come first, equal ones together."""
    emb, layers = size.emb, range(size.layer)
    gated = idea.activation == "swiglu"
    wide = round(8 * emb / 3) if gated else 4 * emb  # the same number of weights
    found = {f"{i}.{name}": (emb, emb) for i in layers for name in ("wq", "wk", "wv", "wo")}
    found |= {f"{i}.{name}": (emb, wide) for i in layers for name in (("fc1", "gate") if gated else ("fc1",))}
    found |= {f"{i}.fc2": (wide, emb) for i in layers}
    found |= {"wte": (vocabulary, emb)}
    found |= {} if idea.tied else {"head": (emb, vocabulary)}
    found |= {} if idea.rotary else {"wpe": (size.ctx, emb)}
    return found | ({f"{i}.mix": (1, 1) for i in layers} if idea.value_residual else {})


def norm(x: Tensor) -> Tensor:
    return x * (x.square().mean(-1, keepdim=True) + 1e-5).rsqrt()


class Stack:
    """Models that differ in seed and learning rate, trained at once. `weights` is a matrix (models, weights of one)."""

    def __init__(self, idea: Idea, size: Size, vocabulary: int, seeds: Sequence[int], rates: Sequence[float]) -> None:
        self.idea, self.size, self.models, self.done = idea, size, len(seeds), 0
        self.shapes = shapes(idea, size, vocabulary)
        self.rates = torch.tensor(rates)[:, None]  # (models, 1)
        drawn = []
        for seed in seeds:
            generator = torch.Generator().manual_seed(seed)
            parts = {name: 0.08 * torch.randn(a * b, generator=generator) for name, (a, b) in self.shapes.items()}
            for name, part in parts.items():
                if name.endswith("mix"):
                    part.fill_(0.5)
                elif idea.zero_out and name.endswith((".wo", ".fc2")):
                    part.zero_()
            drawn.append(torch.cat([*parts.values()]))
        self.weights = torch.stack(drawn).requires_grad_()
        self.blocks = sum(a * b for name, (a, b) in self.shapes.items() if name[0].isdigit() and a > 1)
        self.first, self.second = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.mean = self.weights.detach().clone() if idea.ema else self.weights
        self.noise = torch.Generator().manual_seed(seeds[0])
        angles = torch.arange(size.ctx)[:, None] * ROTARY_BASE ** (-torch.arange(0, HEAD, 2) / HEAD)  # (ctx, 8)
        self.turn = torch.polar(torch.ones_like(angles), angles)

    def losses(self, tokens: Tensor, targets: Tensor, *, learning: bool = False) -> Tensor:
        """-log p of each target, 0 where it is PASSED. Tokens and targets: (models, batch, time), as the result."""
        idea, (models, batch, time), emb = self.idea, tokens.shape, self.size.emb
        flat = self.weights if learning else self.mean
        parts = flat.split([a * b for a, b in self.shapes.values()], 1)
        w = {k: part.view(models, *shape) for (k, shape), part in zip(self.shapes.items(), parts, strict=True)}
        vocabulary = self.shapes["wte"][0]
        places = tokens + vocabulary * torch.arange(models)[:, None, None]
        x = F.embedding(places, w["wte"].reshape(-1, emb))  # (models, batch, time, emb)
        if not idea.rotary:
            x = x + w["wpe"][:, None, :time]
        x = self._drop(norm(x), learning).view(models, batch * time, emb)
        first: Tensor | None = None
        for i in range(self.size.layer):
            y = norm(x)
            q, k, v = ((y @ w[f"{i}.{name}"]).view(models * batch, time, -1, HEAD) for name in ("wq", "wk", "wv"))
            if idea.value_residual:
                first = v if first is None else first
                share = w[f"{i}.mix"].repeat_interleave(batch, 0)[..., None]  # (models · batch, 1, 1, 1)
                v = v + share * (first - v)
            if idea.qk_norm:
                q, k = idea.qk_norm * norm(q), norm(k)
            if idea.rotary:
                q, k = self._turned(q), self._turned(k)
            q, k, v = (each.transpose(1, 2) for each in (q, k, v))  # (models · batch, heads, time, HEAD)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(models, -1, emb)
            x = x + self._drop(y @ w[f"{i}.wo"], learning)
            y = norm(x)
            h = y @ w[f"{i}.fc1"]
            if idea.activation == "swiglu":
                h = F.silu(h) * (y @ w[f"{i}.gate"])
            else:
                h = F.gelu(h) if idea.activation == "gelu" else F.relu(h)
                h = h.square() if idea.activation == "relu2" else h
            x = x + self._drop(h @ w[f"{i}.fc2"], learning)
        x = norm(x) if idea.norm_head else x
        logits = x @ (w["wte"].transpose(1, 2) if idea.tied else w["head"])
        if idea.softcap:
            logits = idea.softcap * (logits / idea.softcap).tanh()
        losses = F.cross_entropy(logits.view(-1, vocabulary), targets.flatten(), reduction="none", ignore_index=PASSED)
        return losses.view(targets.shape)

    def _drop(self, x: Tensor, learning: bool) -> Tensor:
        if not (learning and self.idea.dropout):
            return x
        kept = torch.rand(x.shape, generator=self.noise) >= self.idea.dropout
        return x * kept / (1 - self.idea.dropout)

    def _turned(self, x: Tensor) -> Tensor:
        """Pairs turned by the angle of their position (Su et al. 2021). Neighbours here are a pair: one product."""
        pairs = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2))  # (models · batch, time, heads, 8)
        return torch.view_as_real(pairs * self.turn[: x.shape[1], None]).flatten(-2)

    def step(self, tokens: Tensor, targets: Tensor, steps: int) -> None:
        """One update of each model: Adam (Kingma & Ba 2015), or Muon (Jordan 2024) for the matrices of the blocks."""
        counts = (targets != PASSED).sum((1, 2))
        (self.losses(tokens, targets, learning=True).sum((1, 2)) / counts).sum().backward()  # type: ignore[no-untyped-call]
        gradient: Any = self.weights.grad
        self.weights.grad = None
        rates = self.rates * share(self.idea, self.done, steps)
        self.done += 1
        cut = self.blocks if self.idea.muon else 0
        with torch.no_grad():
            weights = self.weights
            if self.idea.weight_decay:
                weights *= 1 - rates * self.idea.weight_decay
            m, v, g = self.first[:, cut:], self.second[:, cut:], gradient[:, cut:]
            m.lerp_(g, 0.1)
            v.mul_(0.99).addcmul_(g, g, value=0.01)
            scale = math.sqrt(1 - 0.99**self.done) / (1 - 0.9**self.done)
            weights[:, cut:] -= rates * scale * m / (v.sqrt() + 1e-8)
            if cut:
                self._muon(gradient, rates)
            if self.idea.ema:
                self.mean.lerp_(weights, max(20 / steps, 1 / self.done))

    def _muon(self, gradient: Tensor, rates: Tensor) -> None:
        """Momentum of Nesterov, made nearly orthogonal by five iterations; twice Adam's learning rate."""
        place, kinds = 0, [shape for name, shape in self.shapes.items() if name[0].isdigit() and shape[0] > 1]
        for shape in dict.fromkeys(kinds):
            size = shape[0] * shape[1] * kinds.count(shape)
            part = slice(place, place + size)
            place += size
            self.first[:, part].lerp_(gradient[:, part], 0.05)
            x = gradient[:, part].lerp(self.first[:, part], 0.95).reshape(-1, *shape)
            tall = shape[0] > shape[1]
            x = x.transpose(1, 2) if tall else x
            x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
            for _ in range(5):
                a = x @ x.transpose(1, 2)
                x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
            x = (x.transpose(1, 2) if tall else x).reshape(self.models, -1)
            self.weights[:, part] -= 2 * rates * max(1, shape[1] / shape[0]) ** 0.5 * x


def share(idea: Idea, step: int, steps: int) -> float:
    """Of the learning rate, at a step counted from 0."""
    t = step / steps
    falling = {
        "linear": 1 - t,
        "cosine": (1 + math.cos(math.pi * t)) / 2,
        "cooldown": min(1.0, (1 - t) / 0.2),
        "constant": 1.0,
    }[idea.schedule]
    return falling * min(1.0, (step + 1) / max(1.0, idea.warmup * steps))
