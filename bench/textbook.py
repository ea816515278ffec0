"""The textbook formulation of a scalar GPT, as a peer for the bench: what symmetry.py is measured against.

It computes the same losses the way most introductions do: operators that ask `isinstance`, a set of children and a
closure-free tuple of local gradients for each node, a recursive topological sort, and Python's collector left on.
"""

import math
import random
import sys
from collections.abc import Iterator

sys.setrecursionlimit(1_000_000)


class Value:
    def __init__(self, data: float, children: tuple["Value", ...] = (), slopes: tuple[float, ...] = ()) -> None:
        self.data = data
        self.grad = 0.0
        self.children = children
        self.slopes = slopes

    def __add__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0))

    def __mul__(self, other: "Value | float") -> "Value":
        other = other if isinstance(other, Value) else Value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data))

    def __pow__(self, other: float) -> "Value":
        return Value(self.data**other, (self,), (other * self.data ** (other - 1),))

    def log(self) -> "Value":
        return Value(math.log(self.data), (self,), (1 / self.data,))

    def exp(self) -> "Value":
        return Value(math.exp(self.data), (self,), (math.exp(self.data),))

    def relu(self) -> "Value":
        return Value(max(0.0, self.data), (self,), (float(self.data > 0),))

    def __neg__(self) -> "Value":
        return self * -1

    def __radd__(self, other: float) -> "Value":
        return self + other

    def __sub__(self, other: "Value | float") -> "Value":
        return self + (-other)

    def __truediv__(self, other: "Value | float") -> "Value":
        return self * other**-1

    def backward(self) -> None:
        order: list[Value] = []
        seen: set[Value] = set()

        def visit(node: Value) -> None:
            if node not in seen:
                seen.add(node)
                for child in node.children:
                    visit(child)
                order.append(node)

        visit(self)
        self.grad = 1.0
        for node in reversed(order):
            for child, slope in zip(node.children, node.slopes, strict=True):
                child.grad += slope * node.grad


Vector = list[Value]


def linear(x: Vector, w: list[Vector]) -> Vector:
    return [sum((wi * xi for wi, xi in zip(row, x, strict=True)), Value(0.0)) for row in w]


def softmax(logits: Vector) -> Vector:
    peak = max(value.data for value in logits)
    exps = [(value - peak).exp() for value in logits]
    total = sum(exps, Value(0.0))
    return [e / total for e in exps]


def rmsnorm(x: Vector) -> Vector:
    mean_square = sum((xi * xi for xi in x), Value(0.0)) / len(x)
    scale = (mean_square + 1e-5) ** -0.5
    return [xi * scale for xi in x]


def losses(
    documents: list[str], steps: int, emb: int = 16, head: int = 4, layer: int = 1, ctx: int = 16
) -> Iterator[float]:
    """Yield the loss of each of the first `steps` of a 1,000-step training, recipe `karpathy`, seed 42."""
    stream = random.Random(42)
    documents = list(documents)
    stream.shuffle(documents)
    characters = sorted(set("".join(documents)))
    bos, size = len(characters), emb // head

    def matrix(rows: int, columns: int) -> list[Vector]:
        return [[Value(stream.gauss(0, 0.08)) for _ in range(columns)] for _ in range(rows)]

    w = {"wte": matrix(bos + 1, emb), "wpe": matrix(ctx, emb), "lm_head": matrix(bos + 1, emb)}
    for i in range(layer):
        for name in ("wq", "wk", "wv", "wo"):
            w[f"{i}{name}"] = matrix(emb, emb)
        w[f"{i}fc1"], w[f"{i}fc2"] = matrix(4 * emb, emb), matrix(emb, 4 * emb)
    params = [p for rows in w.values() for row in rows for p in row]
    m, v = [0.0] * len(params), [0.0] * len(params)

    def gpt(token: int, position: int, keys: list[list[Vector]], values: list[list[Vector]]) -> Vector:
        x = rmsnorm([a + b for a, b in zip(w["wte"][token], w["wpe"][position], strict=True)])
        for i in range(layer):
            residual, x = x, rmsnorm(x)
            q = linear(x, w[f"{i}wq"])
            keys[i].append(linear(x, w[f"{i}wk"]))
            values[i].append(linear(x, w[f"{i}wv"]))
            mixed: Vector = []
            for h in range(0, emb, size):
                scores = [sum((q[h + j] * k[h + j] for j in range(size)), Value(0.0)) / size**0.5 for k in keys[i]]
                weights = softmax(scores)
                mixed += [
                    sum((weights[t] * values[i][t][h + j] for t in range(len(weights))), Value(0.0))
                    for j in range(size)
                ]
            x = [a + b for a, b in zip(linear(mixed, w[f"{i}wo"]), residual, strict=True)]
            residual, x = x, rmsnorm(x)
            x = linear([n.relu() for n in linear(x, w[f"{i}fc1"])], w[f"{i}fc2"])
            x = [a + b for a, b in zip(x, residual, strict=True)]
        return linear(x, w["lm_head"])

    for step in range(steps):
        tokens = [bos] + [characters.index(c) for c in documents[step % len(documents)]] + [bos]
        n = min(ctx, len(tokens) - 1)
        keys: list[list[Vector]] = [[] for _ in range(layer)]
        values: list[list[Vector]] = [[] for _ in range(layer)]
        picked = [-softmax(gpt(tokens[t], t, keys, values))[tokens[t + 1]].log() for t in range(n)]
        loss = sum(picked, Value(0.0)) * (1 / n)
        loss.backward()
        lr = 0.01 * (1 - step / 1000)
        for i, p in enumerate(params):
            m[i] = 0.85 * m[i] + 0.15 * p.grad
            v[i] = 0.99 * v[i] + 0.01 * p.grad**2
            p.data -= lr * (m[i] / (1 - 0.85 ** (step + 1))) / ((v[i] / (1 - 0.99 ** (step + 1))) ** 0.5 + 1e-8)
            p.grad = 0.0
        yield loss.data
