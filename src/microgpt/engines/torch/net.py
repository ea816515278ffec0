"""The model in PyTorch: the flat vector as leaves of autograd, tokens to logits and losses.

Shapes: B documents, T positions, P positions of keys (T and those of a cache), V vocabulary,
H heads, S numbers of a head, emb = H·S, wide = ff·emb. The model is that of symmetry.py and variations.py;
attention is one call (`scaled_dot_product_attention`), for which PyTorch has a kernel that never writes the (T, P)
scores down.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, embedding, linear, rms_norm, scaled_dot_product_attention, silu

from microgpt.engines.array.matrices import LayerMatrices, Matrices, cut
from microgpt.engines.contract import EPSILON_NORM, ROTARY_BASE
from microgpt.model.settings import ModelConfig


class Cache(NamedTuple):
    """Keys and values of the positions before this pass, with room for its own."""

    key: Tensor  # (layer, B, H, ctx, S)
    value: Tensor  # (layer, B, H, ctx, S)
    filled: int


def net(model: ModelConfig, flat: Tensor, gradient: Tensor) -> Matrices[Tensor]:
    """Leaves of autograd over a flat vector (params,), whose gradients gather in another (params,).

    Each matrix is a leaf of its own. Slicing one large leaf instead would cost a vector of all parameters for each
    matrix in every backward pass.
    """

    def leaf(span: slice, columns: int) -> Tensor:
        matrix = flat[span].view(-1, columns).requires_grad_()
        matrix.grad = gradient[span].view(-1, columns)
        return matrix

    return cut(model, leaf)


def logits(model: ModelConfig, weights: Matrices[Tensor], inputs: Tensor, cache: Cache | None = None) -> Tensor:
    """Logits (B, T, V) of tokens (B, T); with a cache, of the tokens after the cached ones."""
    start, positions = cache.filled if cache else 0, inputs.shape[1]
    x = embedding(inputs, weights.wte)  # (B, T, emb)
    if weights.wpe is not None:
        x = x + weights.wpe[start : start + positions]  # (B, T, emb)
    if model.norm_embeddings:
        x = rmsnorm(x)
    for index, layer in enumerate(weights.layers):
        x = x + linear(_attention(model, layer, rmsnorm(x), index, cache), layer.wo)  # (B, T, emb)
        x = x + linear(_activated(model, linear(rmsnorm(x), layer.fc1)), layer.fc2)  # (B, T, emb)
    if model.norm_head:
        x = rmsnorm(x)
    return linear(x, weights.lm_head)  # (B, T, V)


def rmsnorm(x: Tensor) -> Tensor:
    """y = x / sqrt(mean(x²) + ε), without a gain (Zhang & Sennrich 2019, eq. 4)."""
    return rms_norm(x, x.shape[-1:], eps=EPSILON_NORM)


def losses(model: ModelConfig, weights: Matrices[Tensor], inputs: Tensor, targets: Tensor) -> Tensor:
    """-log p(target) of each token, (B, T)."""
    flat = logits(model, weights, inputs).flatten(0, 1)  # (B·T, V)
    return cross_entropy(flat, targets.flatten(), reduction="none").view(targets.shape)


def _attention(
    model: ModelConfig, weights: LayerMatrices[Tensor], x: Tensor, index: int, cache: Cache | None
) -> Tensor:
    """The attention output, (B, T, emb): softmax(Q Kᵀ / √S) V (Vaswani et al. 2017, eq. 1), by a causal mask."""
    shape = (*x.shape[:2], 3, model.head, model.head_size)
    query, key, value = linear(x, weights.qkv).view(shape).permute(2, 0, 3, 1, 4)  # (B, H, T, S) each
    if model.position == "rotary":
        query, key = (_turned(part, cache.filled if cache else 0) for part in (query, key))
    if cache is None or not cache.filled:
        if cache:
            _keep(cache, index, key, value)
        if key.shape[-2] == 1:  # a lone token attends to itself alone: query and key get a gradient of exactly zero
            return value.transpose(1, 2).flatten(2)
        output = scaled_dot_product_attention(query, key, value, is_causal=True)  # (B, H, T, S)
    else:
        key, value = _keep(cache, index, key, value)  # (B, H, P, S) each
        seen = torch.ones(query.shape[-2], key.shape[-2], dtype=torch.bool, device=x.device).tril(cache.filled)
        output = scaled_dot_product_attention(query, key, value, attn_mask=seen)  # (B, H, T, S)
    return output.transpose(1, 2).flatten(2)


def _activated(model: ModelConfig, x: Tensor) -> Tensor:
    """ReLU of (B, T, wide); or of (B, T, 2 wide) SwiGLU (Shazeer 2020, eq. 6), (B, T, wide)."""
    if model.activation == "relu":
        return torch.relu(x)
    gate, h = x.chunk(2, -1)  # (B, T, wide) each
    return silu(gate) * h


def _turned(x: Tensor, start: int) -> Tensor:
    """Queries or keys (B, H, T, S), their pairs of numbers i and i + S/2 turned by position · base^(-2i/S), the first
    position being `start` (Su et al. 2021, eq. 34)."""
    positions, size = x.shape[-2:]
    exact = {"dtype": torch.float64, "device": "cpu"}
    turns = ROTARY_BASE ** (-2.0 * torch.arange(size // 2, **exact) / size)  # (S/2,)
    angles = torch.arange(start, start + positions, **exact)[:, None] * turns  # (T, S/2)
    cos, sin = angles.cos().to(x), angles.sin().to(x)
    a, b = x.chunk(2, -1)  # (B, H, T, S/2) each
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


def _keep(cache: Cache, index: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """Write keys and values (B, H, T, S) behind the cached ones; all of them, (B, H, P, S)."""
    stop = cache.filled + key.shape[-2]
    cache.key[index, :, :, cache.filled : stop] = key
    cache.value[index, :, :, cache.filled : stop] = value
    return cache.key[index, :, :, :stop], cache.value[index, :, :, :stop]
