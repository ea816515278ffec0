"""Many models of one shape as stacked matrices: their forward and backward pass, every gradient derived by hand.

One small model keeps a processor waiting for the next operation. Here each operation serves all models at once, and
autograd's own work, which takes longer than a small step itself, is left out. The formulas are those of
engines/array/backward.py, in the same order (docs/MATHEMATICS.md derives them); `d_x` is d(loss)/d(x), with the shape
of x.

Shapes: N models, B documents of each, T positions, D = N·B documents, M = B·T tokens of a model, V vocabulary,
H heads, S numbers of a head, emb = H·S, wide = ff·emb.
"""

import math
from functools import lru_cache
from typing import Final, NamedTuple

import torch
from torch import Tensor

from microgpt.engines.base import EPSILON_NORM
from microgpt.engines.torch.net import LayerNet, Net
from microgpt.model.ledger import ledger
from microgpt.model.settings import ModelConfig

LOG2_E: Final = math.log2(math.e)  # e^x is 2^(x log₂ e), which PyTorch computes five times as fast on a processor
Shape = tuple[int, int, int]  # N, B, T


class Lesson(NamedTuple):
    """What all models read in one pass. A short document is filled up at its end; the filling has no share."""

    rows: Tensor  # (D·T,) the row of each input token's vector, among the rows of all weights of all models
    targets: Tensor  # (D·T, 1)
    shares: Tensor  # (D·T, 1) of each prediction in its model's loss: 1 / (B · predictions of the document), or 0
    shape: Shape


class Normed(NamedTuple):
    """RMSNorm: the vectors, and what each was multiplied by."""

    vectors: Tensor  # (N, M, emb)
    scale: Tensor  # (N, M, 1)


class LayerPass(NamedTuple):
    """What the backward pass needs of one layer."""

    norm_attention: Normed
    query: Tensor  # (D, T, emb)
    key: Tensor  # (D, H·T, emb) set apart
    value: Tensor  # (D, H·T, emb) set apart
    attention: Tensor  # (D, T, H·T)
    answer: Tensor  # (N, M, emb)
    norm_mlp: Normed
    hidden: Tensor  # (N, M, wide) after ReLU


class ForwardPass(NamedTuple):
    """What the backward pass needs of all models."""

    norm_embeddings: Normed | None
    layers: list[LayerPass]
    norm_head: Normed | None
    final: Tensor  # (N, M, emb) what lm_head reads
    log_p: Tensor  # (N·M, V)


def stack(model: ModelConfig, numbers: Tensor) -> Net:
    """Weights or gradients (N, params) as matrices by name, each (N, out, in): views, which share its memory."""
    spans = {entry.name: entry.span for entry in ledger(model)}
    named = {entry.name: numbers[:, entry.span].view(-1, entry.rows, entry.columns) for entry in ledger(model)}
    layers = []
    for layer in (f"layer{i}." for i in range(model.layer)):
        first, last = spans[layer + "attn_wq"], spans[layer + "attn_wv"]
        qkv = numbers[:, first.start : last.stop].view(-1, 3 * model.emb, model.emb)
        layers.append(LayerNet(qkv, *(named[layer + part] for part in ("attn_wo", "mlp_fc1", "mlp_fc2"))))
    return Net(named["wte"], named["wpe"], named["lm_head"], tuple(layers))


def forward(model: ModelConfig, weights: Net, vectors: Tensor, lesson: Lesson) -> ForwardPass:
    """log p of every token at every position, and the way to it; `vectors` are the weights of all models as rows."""
    models, documents, positions = lesson.shape
    x = vectors.index_select(0, lesson.rows).view(models, documents, positions, -1)
    x = (x + weights.wpe[:, None, :positions]).view(models, -1, model.emb)  # (N, M, emb)
    norm_embeddings = rmsnorm(x) if model.norm_embeddings else None
    x = norm_embeddings.vectors if norm_embeddings else x
    layers = []
    for layer in weights.layers:
        kept, x = _layer(model, layer, x, lesson.shape)
        layers.append(kept)
    norm_head = rmsnorm(x) if model.norm_head else None
    final = norm_head.vectors if norm_head else x
    logits = linear(final, weights.lm_head).view(-1, model.vocabulary)  # (N·M, V)
    return ForwardPass(norm_embeddings, layers, norm_head, final, torch.log_softmax(logits, -1))


def losses(kept: ForwardPass, lesson: Lesson) -> Tensor:
    """The loss of each model (N,): the mean over its documents of each document's mean over its predictions."""
    return (kept.log_p.gather(1, lesson.targets) * lesson.shares).view(lesson.shape[0], -1).sum(1).neg_()


def _layer(model: ModelConfig, weights: LayerNet, x: Tensor, shape: Shape) -> tuple[LayerPass, Tensor]:
    """x + attention(norm(x)), then x + mlp(norm(x))."""
    norm_attention = rmsnorm(x)
    projected = linear(norm_attention.vectors, weights.qkv).view(-1, shape[2], 3, model.emb)
    query, key, value = projected.unbind(2)  # (D, T, emb) each
    key, value = apart(model, key), apart(model, value)  # (D, H·T, emb)
    unit = LOG2_E / math.sqrt(model.head_size)
    seen = look_back(shape[2], model.head, x.dtype, x.device)
    attention = softmax(torch.baddbmm(seen, query, key.mT, alpha=unit), model.head)  # (D, T, H·T)
    answer = torch.bmm(attention, value).view(x.shape)  # (N, M, emb)
    x = torch.baddbmm(x, answer, weights.wo.mT)
    norm_mlp = rmsnorm(x)
    hidden = linear(norm_mlp.vectors, weights.fc1).relu_()  # (N, M, wide)
    x = torch.baddbmm(x, hidden, weights.fc2.mT)
    return LayerPass(norm_attention, query, key, value, attention, answer, norm_mlp, hidden), x


def apart(model: ModelConfig, x: Tensor) -> Tensor:
    """Keys or values (D, T, emb) once for each head, (D, H·T, emb), with zeros where other heads have their numbers.

    So all heads of a document are one product: what a head's own numbers give is not touched by the others'.
    """
    heads = x.unflatten(2, (model.head, model.head_size)).transpose(2, 3)  # (D, T, S, H)
    return torch.diag_embed(heads, dim1=1, dim2=3).view(len(x), -1, model.emb)  # (D, H, T, H, S)


def together(model: ModelConfig, x: Tensor) -> Tensor:
    """The other way: of what was set apart (D, H·T, emb), each head's own numbers, (D, T, H, S)."""
    spread = x.view(len(x), model.head, -1, model.head, model.head_size)  # (D, H, T, H, S)
    return spread.diagonal(dim1=1, dim2=3).transpose(2, 3)


def linear(x: Tensor, weight: Tensor) -> Tensor:
    """y = x Wᵀ, for W out × in."""
    return torch.bmm(x, weight.mT)


def rmsnorm(x: Tensor) -> Normed:
    """y = x / sqrt(mean(x²) + ε) (Zhang & Sennrich 2019, eq. 4)."""
    scale = (x * x).mean(-1, keepdim=True).add_(EPSILON_NORM).rsqrt_()  # (N, M, 1)
    return Normed(x * scale, scale)


@lru_cache(maxsize=64)
def look_back(positions: int, heads: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(T, H·T) zero where a position may look, -inf where it would look ahead: for each head the same."""
    return torch.full((positions, positions), -math.inf, dtype=dtype, device=device).triu(1).repeat(1, heads)


def softmax(x: Tensor, heads: int) -> Tensor:
    """2^x / Σ 2^x over the positions of each head, (D, T, H·T), in the memory of x.

    Rows are short, and on them PyTorch's own softmax takes four times as long; a power of e takes five times as long
    as one of 2.
    """
    rows = x.view(*x.shape[:2], heads, -1)  # (D, T, H, T)
    rows.sub_(rows.amax(-1, keepdim=True)).exp2_()
    rows.div_(rows.sum(-1, keepdim=True))
    return x


def backward(model: ModelConfig, weights: Net, gradient: Net, rows: Tensor, lesson: Lesson, kept: ForwardPass) -> None:
    """Write the gradient of every matrix; `rows` are all gradients as rows, in the memory of `gradient`."""
    d_logits = d_cross_entropy(kept.log_p, lesson).view(*kept.final.shape[:2], -1)  # (N, M, V)
    d_weight(d_logits, kept.final, gradient.lm_head)
    d_x = torch.bmm(d_logits, weights.lm_head)  # (N, M, emb)
    if kept.norm_head:
        d_x = d_rmsnorm(d_x, kept.norm_head)
    for layer, layer_gradient, layer_kept in zip(
        reversed(weights.layers), reversed(gradient.layers), reversed(kept.layers), strict=True
    ):
        d_x = d_mlp(d_x, layer, layer_gradient, layer_kept)
        d_x = d_attention(model, d_x, layer, layer_gradient, layer_kept, lesson.shape)
    if kept.norm_embeddings:
        d_x = d_rmsnorm(d_x, kept.norm_embeddings)
    d_embedding(d_x, rows, gradient, lesson)


def d_cross_entropy(log_p: Tensor, lesson: Lesson) -> Tensor:
    """d_logits = share · (p - onehot(target)): what the model believed, less what was true. In the memory of log_p."""
    return log_p.mul_(LOG2_E).exp2_().mul_(lesson.shares).scatter_add_(1, lesson.targets, -lesson.shares)


def d_weight(d_y: Tensor, x: Tensor, d_w: Tensor) -> None:
    """y = x Wᵀ: d_W = d_yᵀ x, the sum over all tokens."""
    d_w.copy_(torch.bmm(d_y.mT, x))


def d_rmsnorm(d_y: Tensor, normed: Normed) -> Tensor:
    """y = s x with s = (mean(x²) + ε)^(-1/2): d_x = s (d_y - y mean(d_y · y))."""
    y, scale = normed
    along = (d_y * y).mean(-1, keepdim=True)
    return torch.addcmul(d_y, y, along, value=-1.0).mul_(scale)  # (N, M, emb)


def d_mlp(d_x: Tensor, weights: LayerNet, gradient: LayerNet, kept: LayerPass) -> Tensor:
    """x + fc2(relu(fc1(norm(x)))): the gradient goes straight through the sum, and once more through the branch."""
    d_weight(d_x, kept.hidden, gradient.fc2)
    d_hidden = torch.bmm(d_x, weights.fc2).mul_(kept.hidden.sign())  # (N, M, wide) ReLU lets it pass above zero
    d_weight(d_hidden, kept.norm_mlp.vectors, gradient.fc1)
    return d_rmsnorm(torch.bmm(d_hidden, weights.fc1), kept.norm_mlp).add_(d_x)


def d_attention(
    model: ModelConfig, d_x: Tensor, weights: LayerNet, gradient: LayerNet, kept: LayerPass, shape: Shape
) -> Tensor:
    """x + wo(answer(norm(x))), in the same way."""
    d_weight(d_x, kept.answer, gradient.wo)
    d_projected = d_answer(model, torch.bmm(d_x, weights.wo), kept, shape)  # (N, M, 3 emb)
    d_weight(d_projected, kept.norm_attention.vectors, gradient.qkv)
    return d_rmsnorm(torch.bmm(d_projected, weights.qkv), kept.norm_attention).add_(d_x)


def d_answer(model: ModelConfig, d_y: Tensor, kept: LayerPass, shape: Shape) -> Tensor:
    """answer = A V, A = softmax(Q Kᵀ / √S) (Vaswani et al. 2017, eq. 1), in each head:

    d_V = Aᵀ d_answer,  d_A = d_answer Vᵀ,  d_Q = d_scores K / √S,  d_K = d_scoresᵀ Q / √S.
    """
    d_heads = d_y.view(kept.query.shape)  # (D, T, emb)
    d_scores = d_softmax(torch.bmm(d_heads, kept.value.mT), kept.attention, model.head)  # (D, T, H·T)
    d_scores *= 1.0 / math.sqrt(model.head_size)
    d_projected = d_y.new_empty(*d_heads.shape[:2], 3, model.head, model.head_size)
    d_query, d_key, d_value = d_projected.unbind(2)  # (D, T, H, S) each
    d_query.copy_(torch.bmm(d_scores, kept.key).view(d_query.shape))
    d_key.copy_(together(model, torch.bmm(d_scores.mT, kept.query)))
    d_value.copy_(together(model, torch.bmm(kept.attention.mT, d_heads)))
    return d_projected.view(*d_y.shape[:2], -1)


def d_softmax(d_p: Tensor, p: Tensor, heads: int) -> Tensor:
    """p = softmax(x): d_x = p (d_p - Σ d_p p), in the memory of d_p."""
    rows = d_p.view(*p.shape[:2], heads, -1)
    rows.sub_((d_p * p).view(rows.shape).sum(-1, keepdim=True))
    return d_p.mul_(p)


def d_embedding(d_x: Tensor, rows: Tensor, gradient: Net, lesson: Lesson) -> None:
    """x = wte[token] + wpe[position]: each row gets the sum over the tokens that used it."""
    models, documents, positions = lesson.shape
    gradient.wte.zero_()
    rows.index_add_(0, lesson.rows, d_x.view(-1, d_x.shape[-1]))
    gradient.wpe[:, positions:] = 0.0
    torch.sum(d_x.view(models, documents, positions, -1), 1, out=gradient.wpe[:, :positions])
