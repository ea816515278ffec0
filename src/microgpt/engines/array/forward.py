"""The forward pass: tokens to logits and losses. It keeps what the backward pass and `trace` need.

Shapes: B documents, T positions, N = B·T tokens, P positions of keys (T and those of a cache),
V vocabulary, H heads, S numbers of a head, emb = H·S, wide = ff·emb. The model is that of symmetry.py and
variations.py.
"""

import math
from functools import lru_cache
from typing import Any, Final, NamedTuple

import numpy as np

from microgpt.engines.array.matrices import Array, LayerMatrices, Matrices
from microgpt.engines.contract import EPSILON_NORM, ROTARY_BASE
from microgpt.model.settings import ModelConfig


class Normed(NamedTuple):
    """RMSNorm: the vectors, and what each was multiplied by."""

    vectors: Array  # (N, emb)
    scale: Array  # (N, 1)


class LayerPass(NamedTuple):
    """What happened in one layer."""

    norm_attention: Normed
    query: Array  # (B, H, T, S)
    key: Array  # (B, H, P, S)
    value: Array  # (B, H, P, S)
    scores: Array  # (B, H, T, P) -inf where the causal mask hides the key
    attention: Array  # (B, H, T, P)
    attention_output: Array  # (N, emb)
    residual_attention: Array  # (N, emb)
    norm_mlp: Normed
    expanded: Array  # (N, wide) before the activation; for SwiGLU (N, 2 wide), gates and what they are multiplied with
    hidden: Array  # (N, wide) after it
    residual_mlp: Array  # (N, emb)


class ForwardPass(NamedTuple):
    """What happened in all of the model."""

    embedding: Array  # (N, emb)
    norm_embeddings: Normed | None
    layers: list[LayerPass]
    norm_head: Normed | None
    final: Array  # (N, emb) what lm_head reads
    logits: Array  # (N, V)


class Cache(NamedTuple):
    """Keys and values of the positions before this pass, with room for its own."""

    key: Array  # (layer, B, H, ctx, S)
    value: Array  # (layer, B, H, ctx, S)
    filled: int


def forward(model: ModelConfig, weights: Matrices[Array], inputs: Array, cache: Cache | None = None) -> ForwardPass:
    """Logits of tokens (B, T), and the way to them; with a cache, of the tokens after the cached ones."""
    start = cache.filled if cache else 0
    embedding = weights.wte[inputs]  # (B, T, emb)
    if weights.wpe is not None:
        embedding += weights.wpe[start : start + inputs.shape[1]]  # (T, emb)
    embedding = embedding.reshape(-1, model.emb)  # (N, emb)
    norm_embeddings = rmsnorm(embedding) if model.norm_embeddings else None
    x = norm_embeddings.vectors if norm_embeddings else embedding
    layers = []
    for index, layer in enumerate(weights.layers):
        layers.append(_layer(model, layer, x, inputs.shape, index, cache))
        x = layers[-1].residual_mlp
    norm_head = rmsnorm(x) if model.norm_head else None
    final = norm_head.vectors if norm_head else x
    return ForwardPass(embedding, norm_embeddings, layers, norm_head, final, linear(final, weights.lm_head))


def _layer(
    model: ModelConfig, weights: LayerMatrices[Array], x: Array, shape: tuple[int, ...], index: int, cache: Cache | None
) -> LayerPass:
    """x + attention(norm(x)), then x + mlp(norm(x)) (GPT-2, Radford et al. 2019, section 2.3)."""
    norm_attention = rmsnorm(x)
    projected = linear(norm_attention.vectors, weights.qkv)  # (N, 3 emb)
    query, key, value = projected.reshape(*shape, 3, model.head, model.head_size).transpose(2, 0, 3, 1, 4)
    if model.position == "rotary":
        start = cache.filled if cache else 0
        query, key = (turned(x, start) for x in (query, key))
    if cache:
        key, value = _extend(cache.key[index], key, cache.filled), _extend(cache.value[index], value, cache.filled)
    scores = query @ key.swapaxes(-1, -2)  # (B, H, T, P)
    scores *= 1.0 / math.sqrt(model.head_size)
    scores += causal_mask(*scores.shape[-2:], scores.dtype)
    attention = softmax(scores)
    output = (attention @ value).swapaxes(1, 2).reshape(-1, model.emb)  # (N, emb)
    residual_attention = x + linear(output, weights.wo)
    norm_mlp = rmsnorm(residual_attention)
    expanded = linear(norm_mlp.vectors, weights.fc1)  # (N, wide) or (N, 2 wide)
    hidden = ACTIVATIONS[model.activation](expanded)  # (N, wide)
    residual_mlp = residual_attention + linear(hidden, weights.fc2)
    return LayerPass(
        norm_attention, query, key, value, scores, attention, output, residual_attention, norm_mlp, expanded, hidden,
        residual_mlp,
    )  # fmt: skip


def _extend(cached: Array, new: Array, filled: int) -> Array:
    """The cached keys or values (B, H, ctx, S) with the new ones (B, H, T, S) behind them: (B, H, P, S)."""
    stop = filled + new.shape[-2]
    cached[:, :, filled:stop] = new
    return cached[:, :, :stop]


def total(x: Array) -> Array:
    """The sum along the last axis, which stays as an axis of one."""
    sums: Array = x.sum(axis=-1, keepdims=True)
    return sums


def peak(x: Array) -> Array:
    """The largest along the last axis, which stays as an axis of one."""
    largest: Array = x.max(axis=-1, keepdims=True)
    return largest


def linear(x: Array, weight: Array) -> Array:
    """y = x Wᵀ, for W out × in."""
    y: Array = x.dot(weight.T)
    return y


def relu(x: Array) -> Array:
    """y = max(x, 0)."""
    return np.maximum(x, 0.0)


def sigmoid(x: Array) -> Array:
    """1 / (1 + e^-x), with no power that can overflow."""
    power = np.exp(-np.abs(x))
    y: Array = np.where(x < 0.0, power, 1.0) / (1.0 + power)
    return y


def swiglu(x: Array) -> Array:
    """y = g σ(g) h, of x = (g, h) side by side (Shazeer 2020, eq. 6)."""
    gate, h = np.split(x, 2, axis=-1)  # (N, wide) each
    y: Array = gate * sigmoid(gate) * h
    return y


ACTIVATIONS: Final = {"relu": relu, "swiglu": swiglu}


def turned(x: Array, start: int = 0, sign: float = 1.0) -> Array:
    """Queries or keys (B, H, T, S) whose pairs of numbers i and i + S/2 are turned by position · base^(-2i/S), the
    first position being `start` (Su et al. 2021, eq. 34); with the sign -1 turned back."""
    cos, sin = rotation(x.shape[-1], start, start + x.shape[-2], x.dtype)  # (T, S/2) each
    a, b = np.split(x, 2, axis=-1)  # (B, H, T, S/2) each
    return np.concatenate([a * cos - b * (sign * sin), b * cos + a * (sign * sin)], axis=-1)


@lru_cache(maxsize=32)
def rotation(size: int, start: int, stop: int, dtype: np.dtype[Any]) -> tuple[Array, Array]:
    """Cosines and sines of the angles of positions from `start` to `stop`, (T, S/2) each."""
    angles = np.arange(start, stop)[:, None] * ROTARY_BASE ** (-2.0 * np.arange(size // 2) / size)
    return np.cos(angles).astype(dtype), np.sin(angles).astype(dtype)


def rmsnorm(x: Array) -> Normed:
    """y = x / sqrt(mean(x²) + ε) (Zhang & Sennrich 2019, eq. 4)."""
    scale = 1.0 / np.sqrt(total(x * x) / x.shape[-1] + EPSILON_NORM)  # (N, 1)
    return Normed(x * scale, scale)


@lru_cache(maxsize=32)
def causal_mask(queries: int, keys: int, dtype: np.dtype[Any]) -> Array:
    """(T, P) zero where one of the last T of P positions may attend, -inf at the keys after it."""
    return np.triu(np.full((queries, keys), -np.inf, dtype), keys - queries + 1)


def softmax(x: Array) -> Array:
    """exp(x) / Σ exp(x) along the last axis; the largest is taken off first, so that exp can't overflow."""
    y = x - peak(x)
    np.exp(y, out=y)
    y /= total(y)
    return y


def cross_entropy(logits: Array, targets: Array) -> tuple[Array, Array]:
    """-log softmax(logits)[target] of each token (N,), and the probabilities (N, V).

    With x taken relative to its largest, -log p(target) = log Σ exp(x) - x(target): no probability is ever rounded to
    zero before its logarithm.
    """
    shifted = logits - peak(logits)  # (N, V)
    probabilities = np.exp(shifted)
    totals = total(probabilities)  # (N, 1)
    losses = np.log(totals[:, 0]) - shifted[np.arange(len(shifted)), targets.reshape(-1)]  # (N,)
    probabilities /= totals
    return losses, probabilities
