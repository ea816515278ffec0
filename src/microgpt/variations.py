"""How the model may vary: each setting that symmetry.py's page leaves at its first value, in the lines it changes.

Standard library alone, like the page, from Python 3.9 on, and in the same atoms: an exported program holds both. A
variation is a class that overrides one part of `GPT`; `varied` puts those that a model asks for over one another. Every
engine is held against them, as against the page.
"""

import math
from dataclasses import dataclass
from functools import reduce

from microgpt.symmetry import GPT, Config, Matrix, Past, Vector, dot, linear, relu, softmax

ROTARY_BASE = (
    10_000.0  # the angles of a head fall from 1 to nearly 1 / base for each position (Su et al. 2021, sec. 3.2)
)


@dataclass(frozen=True)
class Varied(Config):
    """The page's settings, and those by which a model may differ from it."""

    position: str = "learned"  # or rotary
    activation: str = "relu"  # or relu2
    tied: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.position == "rotary" and self.emb // self.head % 2:
            raise ValueError(f"rotary turns pairs of numbers, found heads of {self.emb // self.head}")


def turned(x: Vector, position: int) -> Vector:
    """Numbers i and i + n/2 of a head as the axes of a plane, turned by position · base^(-2i/n) (Su et al. 2021,
    eq. 34, whose pairs are neighbours): a product of two turned vectors knows only how far apart they stand."""
    half = len(x) // 2
    angles = [position * ROTARY_BASE ** (-i / half) for i in range(half)]
    planes = [(a, b, math.cos(angle), math.sin(angle)) for a, b, angle in zip(x[:half], x[half:], angles)]
    return [a * cos - b * sin for a, b, cos, sin in planes] + [b * cos + a * sin for a, b, cos, sin in planes]


class Rotary(GPT):
    """No numbers for a position, but queries and keys turned by it."""

    def __init__(self, config: Config, weights: dict[str, Matrix]) -> None:
        super().__init__(config, weights | {"wpe": [[0.0] * config.emb] * config.ctx})

    def attention(self, x: Vector, layer: str, past: Past) -> Vector:
        query, key, value = [linear(x, self.weights[layer + name]) for name in ("attn_wq", "attn_wk", "attn_wv")]
        position, size = len(past.setdefault(layer, [])), len(x) // self.config.head
        parts = [slice(start, start + size) for start in range(0, len(x), size)]
        past[layer].append((reduce(list.__add__, [turned(key[part], position) for part in parts]), value))
        output = Vector()
        for part in parts:
            asked = turned(query[part], position)
            weights = softmax([dot(asked, key[part]) / size**0.5 for key, _ in past[layer]])
            output += [dot(weights, column) for column in zip(*[value[part] for _, value in past[layer]])]
        return linear(output, self.weights[layer + "attn_wo"])


class SquaredReLU(GPT):
    """An MLP that is silent below zero and grows with the square above (So et al. 2021, section 4.2)."""

    def mlp(self, x: Vector, layer: str) -> Vector:
        hidden = [relu(h) for h in linear(x, self.weights[layer + "mlp_fc1"])]
        return linear([h * h for h in hidden], self.weights[layer + "mlp_fc2"])


class Tied(GPT):
    """The head scores a token by the numbers that stand for it (Press & Wolf 2017): one matrix, two gradients."""

    def __init__(self, config: Config, weights: dict[str, Matrix]) -> None:
        super().__init__(config, weights | {"lm_head": weights["wte"]})


def decay(atoms: Vector, lr: float, weight_decay: float) -> None:
    """Takes a share off each weight, before Adam moves it (Loshchilov & Hutter 2019, algorithm 2): what no gradient
    asks for fades."""
    for atom in atoms:
        atom.data *= 1.0 - lr * weight_decay


def varied(config: Varied, weights: dict[str, Matrix]) -> GPT:
    """The model of a configuration: the page, under the variations that it asks for."""
    asked = [(Rotary, config.position == "rotary"), (SquaredReLU, config.activation == "relu2"), (Tied, config.tied)]
    kinds = tuple(kind for kind, wanted in asked if wanted)
    model: GPT = type("Varied", kinds, {})(config, weights) if kinds else GPT(config, weights)
    return model
