"""The backward pass: the gradient of the loss, every formula derived by hand.

`d_x` is d(loss)/d(x), with the shape of x. Each function is one rule: its formula, then the line that computes it;
docs/MATHEMATICS.md derives them in this order.

Shapes: B documents, T positions, N = B·T tokens, V vocabulary, H heads, S numbers of a head, emb = H·S, wide = ff·emb.
"""

import math
from typing import Final

import numpy as np

from microgpt.engines.array.batching import PaddedBatch
from microgpt.engines.array.forward import ForwardPass, LayerPass, Normed, sigmoid, total, turned
from microgpt.engines.array.matrices import Array, LayerMatrices, Matrices
from microgpt.model.settings import ModelConfig


def backward(
    model: ModelConfig,
    weights: Matrices[Array],
    gradient: Matrices[Array],
    batch: PaddedBatch,
    kept: ForwardPass,
    p: Array,
) -> None:
    """Write the gradient of every matrix, given what the forward pass kept and its probabilities p (N, V)."""
    d_logits = d_cross_entropy(p, batch)
    d_weight(d_logits, kept.final, gradient.lm_head)
    d_x = d_linear(d_logits, weights.lm_head)  # (N, emb)
    if kept.norm_head:
        d_x = d_rmsnorm(d_x, kept.norm_head)
    for layer, layer_gradient, layer_kept in zip(
        reversed(weights.layers), reversed(gradient.layers), reversed(kept.layers), strict=True
    ):
        d_x = d_mlp(model, d_x, layer, layer_gradient, layer_kept)
        d_x = d_attention(model, d_x, layer, layer_gradient, layer_kept)
    if kept.norm_embeddings:
        d_x = d_rmsnorm(d_x, kept.norm_embeddings)
    d_embedding(d_x, batch.inputs, gradient)


def d_cross_entropy(p: Array, batch: PaddedBatch) -> Array:
    """d_logits = loss weight · (p - onehot(target)): what the model believed, less what was true."""
    d_logits = p  # (N, V) in the same memory: the probabilities have served
    d_logits[np.arange(len(p)), batch.targets.reshape(-1)] -= 1.0
    d_logits *= batch.loss_weights.reshape(-1, 1)
    return d_logits


def d_linear(d_y: Array, weight: Array) -> Array:
    """y = x Wᵀ: d_x = d_y W."""
    d_x: Array = d_y.dot(weight)
    return d_x


def d_weight(d_y: Array, x: Array, d_w: Array) -> None:
    """y = x Wᵀ: d_W = d_yᵀ x, the sum over all tokens."""
    np.dot(d_y.T, x, out=d_w)


def d_rmsnorm(d_y: Array, normed: Normed) -> Array:
    """y = s x with s = (mean(x²) + ε)^(-1/2): d_x = s (d_y - y mean(d_y · y))."""
    y, scale = normed
    d_x: Array = scale * (d_y - y * (total(d_y * y) / y.shape[-1]))
    return d_x


def d_relu(d_y: Array, x: Array) -> Array:
    """y = max(x, 0): the gradient passes where x is above zero."""
    return d_y * (x > 0.0)


def d_swiglu(d_y: Array, x: Array) -> Array:
    """y = g s h with s = σ(g), whose slope is s (1 - s): d_g = d_y h s (1 + g (1 - s)), d_h = d_y g s."""
    gate, h = np.split(x, 2, axis=-1)  # (N, wide) each
    s = sigmoid(gate)
    return np.concatenate([d_y * h * s * (1.0 + gate * (1.0 - s)), d_y * gate * s], axis=-1)


D_ACTIVATIONS: Final = {"relu": d_relu, "swiglu": d_swiglu}


def d_softmax(d_p: Array, p: Array) -> Array:
    """p = softmax(x): d_x = p (d_p - Σ d_p p)."""
    d_x: Array = p * (d_p - total(d_p * p))
    return d_x


def d_mlp(
    model: ModelConfig, d_x: Array, weights: LayerMatrices[Array], gradient: LayerMatrices[Array], kept: LayerPass
) -> Array:
    """x + fc2(relu(fc1(norm(x)))): the gradient goes straight through the sum, and once more through the branch."""
    d_activation = D_ACTIVATIONS[model.activation]
    d_weight(d_x, kept.hidden, gradient.fc2)
    d_expanded = d_activation(d_linear(d_x, weights.fc2), kept.expanded)  # (N, wide) or (N, 2 wide)
    d_weight(d_expanded, kept.norm_mlp.vectors, gradient.fc1)
    return d_x + d_rmsnorm(d_linear(d_expanded, weights.fc1), kept.norm_mlp)


def d_attention(
    model: ModelConfig, d_x: Array, weights: LayerMatrices[Array], gradient: LayerMatrices[Array], kept: LayerPass
) -> Array:
    """x + wo(attend(norm(x))), in the same way."""
    d_weight(d_x, kept.attention_output, gradient.wo)
    d_projected = d_attend(model, d_linear(d_x, weights.wo), kept)  # (N, 3 emb)
    if model.position == "rotary":
        d_turn(d_projected, kept)
    d_weight(d_projected, kept.norm_attention.vectors, gradient.qkv)
    return d_x + d_rmsnorm(d_linear(d_projected, weights.qkv), kept.norm_attention)


def d_attend(model: ModelConfig, d_y: Array, kept: LayerPass) -> Array:
    """attention output Y = A V, A = softmax(Q Kᵀ / √S) (Vaswani et al. 2017, eq. 1), in each head:

    d_V = Aᵀ d_Y,  d_A = d_Y Vᵀ,  d_Q = d_scores K / √S,  d_K = d_scoresᵀ Q / √S.
    """
    documents, heads, positions, size = kept.query.shape
    d_heads = d_y.reshape(documents, positions, heads, size).swapaxes(1, 2)  # (B, H, T, S)
    d_scores = d_softmax(d_heads @ kept.value.swapaxes(-1, -2), kept.attention)  # (B, H, T, T)
    d_scores *= 1.0 / math.sqrt(size)
    d_projected = np.empty((documents, positions, 3, heads, size), d_y.dtype)
    d_query, d_key, d_value = d_projected.transpose(2, 0, 3, 1, 4)  # (B, H, T, S) each
    np.matmul(d_scores, kept.key, out=d_query)
    np.matmul(d_scores.swapaxes(-1, -2), kept.query, out=d_key)
    np.matmul(kept.attention.swapaxes(-1, -2), d_heads, out=d_value)
    return d_projected.reshape(len(d_y), -1)


def d_turn(d_projected: Array, kept: LayerPass) -> None:
    """Queries and keys were turned: their gradients (N, 3 emb) are turned back, for a turn is orthogonal."""
    documents, heads, positions, size = kept.query.shape
    d_heads = d_projected.reshape(documents, positions, 3, heads, size).transpose(2, 0, 3, 1, 4)  # (3, B, H, T, S)
    d_heads[:2] = turned(d_heads[:2], sign=-1.0)


def d_embedding(d_x: Array, inputs: Array, gradient: Matrices[Array]) -> None:
    """x = wte[token] + wpe[position]: each row gets the sum over the tokens that used it."""
    gradient.wte.fill(0.0)
    np.add.at(gradient.wte, inputs.reshape(-1), d_x)
    if gradient.wpe is None:
        return
    documents, positions = inputs.shape
    gradient.wpe[positions:] = 0.0
    np.add.reduce(d_x.reshape(documents, positions, -1), axis=0, out=gradient.wpe[:positions])
