"""The model that measures ideas (docs/IDEAS.md) is that of the page where no switch is set; rotary sees distances."""

from dataclasses import replace

import pytest

from microgpt import symmetry

torch = pytest.importorskip("torch")
from bench.ideas_model import Idea, Size, Stack  # noqa: E402, needs torch

SIZE = Size(emb=32, layer=2, ctx=6, batch=1)
NAMES = {"wq": "attn_wq", "wk": "attn_wk", "wv": "attn_wv", "wo": "attn_wo", "fc1": "mlp_fc1", "fc2": "mlp_fc2"}


def test_the_base_is_the_model_of_the_page() -> None:
    tokens = [3, 1, 4, 1, 0, 2, 4]
    stack = Stack(Idea(), SIZE, 5, seeds=(0, 1), rates=(0.01, 0.01))
    for _ in range(3):
        stack.step(*_both([tokens, tokens[::-1]]), 10)
    losses = stack.losses(*_both([tokens, tokens])).mean((1, 2))
    for model, loss in enumerate(losses.tolist()):
        parts = stack.weights[model].split([a * b for a, b in stack.shapes.values()])
        weights = {}
        for (name, shape), part in zip(stack.shapes.items(), parts, strict=True):
            layer, _, short = name.rpartition(".")
            found = {"head": "lm_head"}.get(name, f"layer{layer}.{NAMES[short]}" if layer else name)
            weights[found] = (part.view(shape) if name in ("wte", "wpe") else part.view(shape).T).tolist()
        page = symmetry.GPT(symmetry.Config(emb=32, head=2, layer=2, ctx=6), weights)
        assert loss == pytest.approx(page.loss(tokens), abs=2e-6)


def test_rotary_sees_distances_alone() -> None:
    """Whoever asks three places later and finds the same keys three places later is answered the same."""
    stack = Stack(Idea(rotary=True), replace(SIZE, ctx=8), 5, seeds=(0,), rates=(0.01,))
    q, k = torch.randn(2, 1, 1, 2, 16)
    scores = [
        (stack._turned(q.expand(1, 8, 2, 16))[0, at] * stack._turned(k.expand(1, 8, 2, 16))[0, at - 2]).sum(-1)
        for at in (2, 5)
    ]
    assert torch.allclose(*scores, atol=1e-5)
    assert not torch.allclose(scores[0], (q * k).sum(-1)[0, 0], atol=1e-2)


def _both(sequences: list[list[int]]) -> "tuple[torch.Tensor, torch.Tensor]":
    """Tokens and targets, (models, 1, time) each."""
    both = torch.tensor(sequences)[:, None]
    return both[..., :-1], both[..., 1:]
