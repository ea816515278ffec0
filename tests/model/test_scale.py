"""Figures on paper against torch's own counters: operations, and bytes of what a training keeps."""

from typing import Any

import pytest

from microgpt.model.cost import flop_per_token
from microgpt.model.ledger import ledger
from microgpt.model.memory import Attention, Precision, kept_bytes, state_of
from microgpt.model.settings import ModelConfig

torch: Any = pytest.importorskip("torch", reason="torch counts what the plan predicts")

from torch.autograd.graph import saved_tensors_hooks  # noqa: E402
from torch.nn import functional  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

pytestmark = pytest.mark.long

BATCH = 3
MODELS = [
    ModelConfig(65, emb=128, head=4, layer=4, ctx=128),
    ModelConfig(1000, emb=192, head=6, layer=2, ctx=256, ff=3, norm_embeddings=False, norm_head=True),
]
TYPES = {"64": torch.float64, "32": torch.float32, "bf16": torch.float32}  # of the weights; bf16 by autocast
BACKENDS = {"fused": SDPBackend.FLASH_ATTENTION, "whole": SDPBackend.MATH}


def weights(model: ModelConfig, precision: Precision) -> dict[str, Any]:
    made = {e.name: 0.02 * torch.randn(e.rows, e.columns, dtype=TYPES[precision]) for e in ledger(model)}
    return {name: tensor.requires_grad_() for name, tensor in made.items()}


def logits(model: ModelConfig, weight: dict[str, Any], tokens: Any, within: Any) -> Any:
    """The model in torch, with what enters several products in their type at once. (B, T) -> (B, T, vocabulary)"""
    B, T = tokens.shape

    def norm(x: Any) -> Any:
        return functional.rms_norm(x, (model.emb,), eps=1e-5)

    def linear(x: Any, name: str) -> Any:
        return functional.linear(x, weight[name])

    x = weight["wte"][tokens] + weight["wpe"]  # (B, T, emb)
    x = norm(x) if model.norm_embeddings else x
    for layer in (f"layer{number}." for number in range(model.layer)):
        y = norm(x).to(within)
        parts = (linear(y, f"{layer}attn_w{part}").view(B, T, model.head, -1).transpose(1, 2) for part in "qkv")
        answer = functional.scaled_dot_product_attention(*parts, is_causal=True)  # (B, head, T, emb / head)
        x = x + linear(answer.transpose(1, 2).reshape(B, T, -1), f"{layer}attn_wo")
        x = x + linear(functional.relu(linear(norm(x), f"{layer}mlp_fc1")), f"{layer}mlp_fc2")
    return linear(norm(x) if model.norm_head else x, "lm_head")


def loss_of(model: ModelConfig, weight: dict[str, Any], precision: Precision) -> Any:
    tokens, wanted = torch.randint(model.vocabulary, (2, BATCH, model.ctx))
    within = torch.bfloat16 if precision == "bf16" else TYPES[precision]
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return functional.cross_entropy(logits(model, weight, tokens, within).flatten(0, 1), wanted.flatten())


@pytest.mark.parametrize("model", MODELS)
def test_operations_are_those_that_torch_counts(model: ModelConfig) -> None:
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        loss_of(model, weights(model, "32"), "32").backward()
    counted = counter.get_total_flops() / (BATCH * model.ctx)
    assert counted == pytest.approx(flop_per_token(model, whole_squares=True), rel=1e-9)
    assert counted == pytest.approx(flop_per_token(model), rel=0.1)  # half of the squares are masked


@pytest.mark.parametrize("attention", ["fused", "whole"])
@pytest.mark.parametrize("precision", ["64", "32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_activations_are_what_torch_keeps(model: ModelConfig, precision: Precision, attention: Attention) -> None:
    if (precision, attention) == ("bf16", "whole"):
        pytest.skip("on a CPU torch computes whole attention of bfloat16 in float32")
    weight = weights(model, precision)
    own = {tensor.untyped_storage().data_ptr() for tensor in weight.values()}
    shapes = {tuple(tensor.shape) for tensor in weight.values()}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        # autocast's copies of the weights count as weights
        copy = tensor.dtype == torch.bfloat16 and shapes & {tuple(tensor.shape), tuple(tensor.shape[::-1])}
        if storage.data_ptr() not in own and not copy:
            kept[storage.data_ptr()] = storage  # held, so that no other takes its place
        return tensor

    with sdpa_kernel(BACKENDS[attention]), saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(model, weight, precision)
    measured = sum(storage.nbytes() for storage in kept.values())
    assert measured == pytest.approx(BATCH * kept_bytes(model, precision, attention), rel=0.1)
    loss.backward()


@pytest.mark.parametrize("precision", ["64", "32", "bf16"])
def test_weights_gradients_and_moments_are_those_of_torch(precision: Precision) -> None:
    """In bf16 the weights that are multiplied are bfloat16, and Adam's are a float32 copy of them."""
    model = MODELS[0]
    weight = weights(model, precision)
    masters = list(weight.values())
    if precision == "bf16":
        weight = {name: tensor.detach().bfloat16().requires_grad_() for name, tensor in weight.items()}
    adam = torch.optim.Adam(masters)
    functional.cross_entropy(
        logits(model, weight, torch.zeros((1, model.ctx), dtype=torch.int64), next(iter(weight.values())).dtype)[0],
        torch.zeros(model.ctx, dtype=torch.int64),
    ).backward()
    gradients = sum(tensor.grad.nbytes for tensor in weight.values())
    for master, tensor in zip(masters, weight.values(), strict=True):
        master.grad = tensor.grad.to(master.dtype)
    adam.step()
    moments = sum(state[name].nbytes for state in adam.state.values() for name in ("exp_avg", "exp_avg_sq"))
    copies = sum(tensor.nbytes for tensor in masters) if precision == "bf16" else 0
    state = state_of(model, precision)
    assert (sum(tensor.nbytes for tensor in weight.values()), gradients) == (state.weights, state.gradients)
    assert moments + copies == state.adam
