"""The forward pass stage by stage: every number of it at a position, and what each one is made of.

Shapes: T positions, V tokens of the vocabulary, H heads, S numbers of a head, emb = H·S, wide numbers of the MLP.
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.array.forward import linear, rmsnorm, rotation, softmax
from microgpt.errors import UsageError
from microgpt.model.ledger import tensors
from microgpt.model.settings import ModelConfig
from microgpt.studio.xray import LIKELIEST, Reading
from microgpt.training.checkpoint import Checkpoint

DIGITS: Final = 5  # that a shown number keeps
MOST_CELLS: Final = 200_000  # of a stage that is shown at all positions
MOST_TERMS: Final = 300  # of one number that are listed, the largest

Rule = Literal["sum", "norm", "softmax", "relu", "swiglu"]
Source = tuple[str, int, int]  # a stage, a position, and which of its numbers


@dataclass(frozen=True)
class Term:
    """value · by · times, for a number of an earlier stage, or a weight, or both."""

    value: float
    source: Source | None
    by: float = 1.0
    weight: tuple[str, int, int] | None = None  # what `by` is: a matrix, its row and column …
    by_source: Source | None = None  # … or another number
    times: float = 1.0

    @property
    def product(self) -> float:
        return self.value * self.by * self.times


@dataclass(frozen=True)
class Number:
    """One number of a stage. By its `rule` it is the sum of its terms; or, of terms x and its own one among them,
    x / √(mean x² + ε), exp(x) / Σ exp(x), max(x, 0), or g σ(g) h of two."""

    value: float
    rule: Rule
    terms: tuple[Term, ...]
    own: int = 0


def names(model: ModelConfig) -> list[str]:
    """The stages in the order in which they arise, by the names of `trace`."""
    found = ["embedding"] + ["norm_embeddings"] * model.norm_embeddings
    for layer in range(model.layer):
        found += [
            f"layer{layer}.{part}"
            for part in (
                "norm_attention", "query", "key", "value", "scores", "attention", "attention_output",
                "residual_attention", "norm_mlp", "expanded", "hidden", "residual_mlp",
            )
        ]  # fmt: skip
    return [*found, *["norm_head"] * model.norm_head, "logits", "probabilities"]


def at_position(reading: Reading, stage: str, at: int) -> NDArray[Any]:
    """The numbers of a stage at a position: (1, n), or a row for each head, (H, S) or (H, at + 1).

    Raises `UsageError` for a stage that the model has not.
    """
    numbers = reading.trace.get(stage)
    if numbers is None or numbers.ndim < 2:
        raise UsageError(f"{stage[:40]}: expected a stage of this model's forward pass, found none of this name.")
    if numbers.ndim == 2:
        return numbers[at : at + 1]
    return numbers[:, at, : at + 1] if _looks_back(stage) else numbers[:, at]


def _looks_back(stage: str) -> bool:
    return stage.endswith((".scores", ".attention"))


def picture(model: ModelConfig, reading: Reading, at: int, layers: Iterable[int]) -> dict[str, list[list[float]]]:
    """The stages of these layers, and those of none, at a position, with their numbers to `DIGITS` digits."""
    wanted = {"", *(f"layer{layer}" for layer in layers)}
    shown = [name for name in names(model) if name.rpartition(".")[0] in wanted]
    return {name: _rounded(at_position(reading, name, at)) for name in shown}


def over_time(reading: Reading, stage: str) -> dict[str, Any]:
    """A stage at all positions: a matrix (T, n), or one for each head, (H, T, S) or (H, T, 1 … T)."""
    at_position(reading, stage, 0)  # which it has
    numbers = reading.trace[stage]
    if numbers.size > MOST_CELLS:
        raise UsageError(f"expected at most {MOST_CELLS:,} numbers at once, found {numbers.size:,}; shorten the text.")
    if numbers.ndim == 2:
        return {"heads": [_rounded(numbers)]}
    back = _looks_back(stage)
    return {"heads": [[_digits(row[: at + 1] if back else row) for at, row in enumerate(head)] for head in numbers]}


def _rounded(rows: NDArray[Any]) -> list[list[float]]:
    return [_digits(row) for row in rows]


def _digits(row: NDArray[Any]) -> list[float]:
    return [float(f"{number:.{DIGITS}g}") for number in row.tolist()]


def residuals(model: ModelConfig) -> list[str]:
    """The residual stream: the stage after the embeddings, and after each half of a layer."""
    first = "norm_embeddings" if model.norm_embeddings else "embedding"
    return [first, *(f"layer{i}.residual_{part}" for i in range(model.layer) for part in ("attention", "mlp"))]


def lens(checkpoint: Checkpoint, reading: Reading, at: int) -> list[dict[str, Any]]:
    """What the model would expect next if it ended at each stage of the residual stream: the likeliest tokens with
    their chances, and the chance of the token that does come (the logit lens, nostalgebraist 2020)."""
    model, head = checkpoint.model, tensors(checkpoint.model, checkpoint.state.weights)["lm_head"]
    coming = reading.tokens[at + 1] if at + 1 < len(reading.tokens) else None
    found = []
    for stage in residuals(model):
        x = reading.trace[stage][at : at + 1]  # (1, emb)
        chances = softmax(linear(rmsnorm(x).vectors if model.norm_head else x, head))[0]  # (V,)
        best = np.argsort(-chances, kind="stable")[:LIKELIEST].tolist()
        told = [[token, float(chances[token])] for token in best]
        found.append({"stage": stage, "likeliest": told, "coming": None if coming is None else float(chances[coming])})
    return found


def loss(reading: Reading) -> float | None:
    """The mean surprise over the tokens that have one before them, in nats per token; None where there is none."""
    losses = reading.trace["losses"]
    return float(losses.mean()) if len(losses) else None


def compared(before: Reading, now: Reading, at: int, count: int = 12) -> list[list[float]]:
    """The likeliest tokens after a position with their chances now and before, (count, 3)."""
    new, old = (reading.trace["probabilities"][at] for reading in (now, before))
    likeliest = np.argsort(-np.maximum(new, old), kind="stable")[:count].tolist()
    return [[token, float(new[token]), float(old[token])] for token in likeliest]


def value_of(reading: Reading, source: Source) -> float:
    """A number itself. Raises `UsageError` for one that is not there."""
    stage, at, index = source
    numbers = at_position(reading, stage, at).reshape(-1)
    if not 0 <= index < len(numbers):
        raise UsageError(f"expected a number from 0 to {len(numbers) - 1:,} of this stage, found {index}; choose one.")
    return float(numbers[index])


def number(checkpoint: Checkpoint, reading: Reading, source: Source) -> Number:
    """What a number is made of. Raises `UsageError` for one that is not there."""
    stage, at, index = source
    return _Made(checkpoint, reading, at).number(stage, index, value_of(reading, source))


def told(made: Number) -> dict[str, Any]:
    """For a page: the terms that count the most, and how many are left out, with their sum. Its own one is told first
    of all, unless it is a sum."""

    def size(i: int) -> float:
        if made.rule != "sum" and i == made.own:
            return math.inf
        product = made.terms[i].product
        return product if made.rule == "softmax" else abs(product)

    shown = set(sorted(range(len(made.terms)), key=size, reverse=True)[:MOST_TERMS])
    left = [term.product for i, term in enumerate(made.terms) if i not in shown]
    terms = [asdict(made.terms[i]) | {"product": made.terms[i].product, "own": i == made.own} for i in sorted(shown)]
    return {"value": made.value, "rule": made.rule, "terms": terms, "left": len(left), "left_sum": math.fsum(left)}


class _Made:
    """The terms of the numbers at one position."""

    def __init__(self, checkpoint: Checkpoint, reading: Reading, at: int) -> None:
        self._model, self._reading, self._at = checkpoint.model, reading, at
        self._matrices = tensors(checkpoint.model, checkpoint.state.weights)

    def number(self, stage: str, index: int, value: float) -> Number:
        layer, _, part = stage.rpartition(".")
        before = f"{layer}." if layer else ""
        match part:
            case "norm_embeddings" | "norm_attention" | "norm_mlp" | "norm_head":
                return Number(value, "norm", tuple(self._all(self._normed(stage))), index)
            case "probabilities":
                return Number(value, "softmax", tuple(self._all("logits")), index)
            case "attention":
                keys = self._at + 1
                row = self._all(f"{before}scores")[index // keys * keys :][:keys]
                return Number(value, "softmax", tuple(row), index % keys)
            case "hidden":
                gates = self._all(f"{before}expanded")
                if self._model.activation == "swiglu":
                    return Number(value, "swiglu", (gates[index], gates[index + self._model.wide]))
                return Number(value, "relu", (gates[index],))
        return Number(value, "sum", tuple(self._terms(stage, before, part, index)))

    def _terms(self, stage: str, before: str, part: str, index: int) -> Iterable[Term]:
        match part:
            case "embedding":
                rows = [("wte", self._reading.tokens[self._at])]
                rows += [("wpe", self._at)] if "wpe" in self._matrices else []
                return [Term(1.0, None, self._weight(*row, index), (*row, index)) for row in rows]
            case "query" | "key" if self._model.position == "rotary":
                return self._turned(before, part, index)
            case "query" | "key" | "value":
                return self._linear(f"{before}norm_attention", f"{before}attn_w{part[0]}", index)
            case "scores":
                return self._scores(before, index)
            case "attention_output":
                return self._output(before, index)
            case "residual_attention":
                added = self._linear(f"{before}attention_output", f"{before}attn_wo", index)
                return [self._all(self._entering(before))[index], *added]
            case "expanded":
                gates = self._model.wide if self._model.activation == "swiglu" else 0
                matrix, row = ("mlp_gate", index) if index < gates else ("mlp_fc1", index - gates)
                return self._linear(f"{before}norm_mlp", f"{before}{matrix}", row)
            case "residual_mlp":
                added = self._linear(f"{before}hidden", f"{before}mlp_fc2", index)
                return [self._all(f"{before}residual_attention")[index], *added]
        return self._linear("norm_head" if self._model.norm_head else self._entering(""), "lm_head", index)

    def _all(self, stage: str) -> list[Term]:
        """Every number of a stage at this position, as it is."""
        numbers = at_position(self._reading, stage, self._at).reshape(-1).tolist()
        return [Term(value, (stage, self._at, i)) for i, value in enumerate(numbers)]

    def _weight(self, matrix: str, row: int, column: int) -> float:
        return float(self._matrices[matrix][row, column])

    def _entering(self, before: str) -> str:
        """The residual stream as it enters a layer or, for none, as it leaves the last one."""
        stream = residuals(self._model)
        return stream[2 * int(before[5:-1])] if before else stream[-1]

    def _normed(self, stage: str) -> str:
        """What a norm is taken of."""
        before, _, part = stage.rpartition(".")
        if part == "norm_mlp":
            return f"{before}.residual_attention"
        return "embedding" if part == "norm_embeddings" else self._entering(f"{before}." if before else "")

    def _linear(self, stage: str, matrix: str, row: int, times: float = 1.0) -> Iterator[Term]:
        """A row of a matrix times the vector of a stage."""
        weights = self._matrices[matrix][row].tolist()
        for i, (term, weight) in enumerate(zip(self._all(stage), weights, strict=True)):
            yield Term(term.value, term.source, weight, (matrix, row, i), None, times)

    def _turned(self, before: str, part: str, index: int) -> Iterator[Term]:
        """a cos - b sin, or b cos + a sin, of the projections a and b (`turned` of the engine)."""
        size = self._model.head_size
        place = index % size
        cos, sin = (float(x[0, place % (size // 2)]) for x in rotation(size, self._at, self._at + 1, np.dtype(float)))
        other = index + size // 2 if place < size // 2 else index - size // 2
        for row, times in ((index, cos), (other, -sin if place < size // 2 else sin)):
            yield from self._linear(f"{before}norm_attention", f"{before}attn_w{part[0]}", row, times)

    def _scores(self, before: str, index: int) -> Iterator[Term]:
        """q · k / √S of a head."""
        head, to = divmod(index, self._at + 1)
        query, key = (self._reading.trace[before + name][head] for name in ("query", "key"))  # (T, S) each
        for i in range(self._model.head_size):
            place = head * self._model.head_size + i
            one, other = (before + "query", self._at, place), (before + "key", to, place)
            yield Term(
                float(query[self._at, i]), one, float(key[to, i]), None, other, 1.0 / math.sqrt(self._model.head_size)
            )

    def _output(self, before: str, index: int) -> Iterator[Term]:
        """The values of all positions so far, each by how much it is attended to."""
        head, place = divmod(index, self._model.head_size)
        attention, values = (self._reading.trace[before + name][head] for name in ("attention", "value"))
        for to in range(self._at + 1):
            source = f"{before}attention", self._at, head * (self._at + 1) + to
            yield Term(
                float(attention[self._at, to]), source, float(values[to, place]), None, (before + "value", to, index)
            )
