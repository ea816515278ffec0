"""Models whose weights are chosen so that a softmax or a norm inside an engine gets the numbers that are asked for.

Every engine is asked through its contract alone: what it says of such a model is what its own softmax or norm made.
"""

import math

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.contract import Runner
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State, fresh

Vector = NDArray[np.float64]


def heard(scores: Vector) -> State:
    """A model that gives these logits after any token: the residual stream is 1, and the head's rows are the scores."""
    model = ModelConfig(len(scores), 1, 1, 1, 2, 1, norm_embeddings=False, norm_head=False)
    flat = np.zeros(params(model))
    named = tensors(model, flat)
    named["wte"][:], named["lm_head"][:, 0] = 1.0, scores
    return fresh(model, flat)


def attended(scores: Vector) -> State:
    """A model in which the last of so many tokens attends to token i of them with a weight of about softmax(scores).

    Token i is a vector of its own direction. Only the last has a query; token i's key is its score, its value e_i.
    """
    count = len(scores)
    model = ModelConfig(count, count, 1, 1, count, 1, norm_embeddings=False, norm_head=False)
    flat = np.zeros(params(model))
    named = tensors(model, flat)
    named["wte"][:] = 10.0 * np.eye(count)
    named["layer0.attn_wq"][0, -1] = 1.0  # after the norm a token is √count · e_i
    named["layer0.attn_wk"][0] = scores / math.sqrt(count)
    named["layer0.attn_wv"][:] = np.eye(count) / math.sqrt(count)
    named["layer0.attn_wo"][:] = named["lm_head"][:] = np.eye(count)
    return fresh(model, flat)


def normed(x: Vector) -> State:
    """A model whose logits are the norm of a vector."""
    model = ModelConfig(len(x), len(x), 1, 1, 2, 1, norm_embeddings=False, norm_head=True)
    flat = np.zeros(params(model))
    named = tensors(model, flat)
    named["wte"][:], named["lm_head"][:] = x, np.eye(len(x))
    return fresh(model, flat)


def softmax(x: Vector) -> Vector:
    """By definition, in float64, exact to the last digits: the sum is `math.fsum`'s."""
    peak = max(x)
    powers = [math.exp(number - peak) for number in x]
    return np.array(powers) / math.fsum(powers)


def rmsnorm(x: Vector) -> Vector:
    """By definition in float64, of numbers whose squares may be beyond it: the largest is taken off first."""
    peak = float(np.abs(x).max())
    if peak == 0.0:
        return x
    y = x / peak  # x / √(mean(x²) + ε) = y / √(mean(y²) + ε / peak²)
    return y / math.sqrt(math.fsum(y * y) / len(y) + (1e-5 / peak) / peak)


def defined(state: State, tokens: list[int]) -> tuple[Vector, float]:
    """What these models compute, by definition: the logits after each token (T, V), and the largest number that a
    softmax gets. One layer, one head, and an MLP of zeros."""
    named = tensors(state.model, state.weights.astype(np.float64))
    stream = named["wte"][tokens]  # (T, emb)
    inner = np.array([rmsnorm(x) for x in stream])  # (T, emb)
    query, key, value = (inner @ named[f"layer0.attn_w{part}"].T for part in "qkv")
    scores = query @ key.T / math.sqrt(state.model.emb)  # (T, T)
    outputs = [softmax(row[: t + 1]) @ value[: t + 1] for t, row in enumerate(scores)]
    stream = stream + np.array(outputs) @ named["layer0.attn_wo"].T
    final = np.array([rmsnorm(x) for x in stream]) if state.model.norm_head else stream
    logits = final @ named["lm_head"].T
    return logits, float(max(np.abs(scores).max(), np.abs(logits).max()))


def problem(runner: Runner, state: State, rounding: float, exact: bool = True) -> str:
    """What is wrong with an engine's answers about such a model; nothing where all is well."""
    size = state.model.vocabulary
    tokens = list(range(size))[: state.model.ctx]
    said, sequence = runner.next(tokens), np.array([*tokens, 0])
    (told,), (count,) = runner.evaluate([sequence])
    loss, gradient = runner.gradient([sequence])
    if not (np.isfinite(said).all() and np.isfinite([told, loss]).all() and np.isfinite(gradient).all()):
        return "not finite"
    if abs(math.fsum(said) - 1.0) > 1e-12 or (said < 0.0).any():
        return f"probabilities that sum to {math.fsum(said)}"
    head = tensors(state.model, gradient.astype(np.float64))["lm_head"]  # of each column Σ (p - onehot) x is zero
    if np.abs(head.sum(axis=0)).max() > 8 * rounding * size * (1.0 + np.abs(head).max()):
        return "probabilities of the backward pass that don't sum to 1"
    logits, largest = defined(state, tokens)
    off = 64 * rounding * (1.0 + largest)  # of a logit
    if exact and not np.allclose(said, softmax(logits[-1]), rtol=off, atol=off):
        return f"probabilities {said}, expected {softmax(logits[-1])}"
    targets = sequence[1 : count + 1]
    expected = math.fsum(_loss(row, target) for row, target in zip(logits, targets, strict=True))
    return "" if not exact or abs(told - expected) <= off * count else f"a loss of {told}, expected {expected}"


def _loss(logits: Vector, target: int) -> float:
    """-log softmax(logits)[target], which no underflow makes infinite."""
    peak = float(logits.max())
    return peak + math.log(math.fsum(math.exp(number - peak) for number in logits)) - float(logits[target])
