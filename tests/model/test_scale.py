"""Figures on paper against torch's own counters: operations, and bytes of what a training keeps."""

import itertools
from typing import Any

import pytest

from microgpt.model.cost import flop_per_token
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.planning.memory import Attention, Precision, kept_bytes, state_of

torch: Any = pytest.importorskip("torch", reason="torch counts what the plan predicts")

from torch.autograd.graph import saved_tensors_hooks  # noqa: E402
from torch.nn.attention import SDPBackend, sdpa_kernel  # noqa: E402
from torch.utils.flop_counter import FlopCounterMode  # noqa: E402

from microgpt.engines.array.matrices import Matrices  # noqa: E402
from microgpt.engines.torch.net import losses, net  # noqa: E402

pytestmark = pytest.mark.long

BATCH = 5  # B·T is no size of the model, so that a shape tells weights from activations
MODELS = [
    ModelConfig(65, emb=128, head=4, layer=4, ctx=128),
    ModelConfig(1000, emb=192, head=6, layer=2, ctx=256, ff=3, norm_embeddings=False, norm_head=True),
]
TYPES = {"64": torch.float64, "32": torch.float32, "bf16": torch.float32}  # of the weights; bf16 by autocast
BACKENDS = {"fused": SDPBackend.FLASH_ATTENTION, "whole": SDPBackend.MATH}


def leaves(model: ModelConfig, precision: Precision) -> tuple[Any, Any]:
    """Flat weights (params,) and their gradients in the type of a precision."""
    flat = 0.02 * torch.randn(params(model), dtype=TYPES[precision])
    return flat, torch.zeros_like(flat)


def loss_of(model: ModelConfig, weights: Matrices[torch.Tensor], precision: Precision) -> Any:
    tokens, wanted = torch.randint(model.vocabulary, (2, BATCH, model.ctx))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        return losses(model, weights, tokens, wanted).mean()


@pytest.mark.parametrize("model", MODELS)
def test_operations_are_those_that_torch_counts(model: ModelConfig) -> None:
    counter = FlopCounterMode(display=False)
    with sdpa_kernel(SDPBackend.MATH), counter:
        loss_of(model, net(model, *leaves(model, "32")), "32").backward()
    counted = counter.get_total_flops() / (BATCH * model.ctx)
    assert counted == pytest.approx(flop_per_token(model, whole_squares=True), rel=1e-9)
    assert counted == pytest.approx(flop_per_token(model), rel=0.1)  # half of the squares are masked


@pytest.mark.parametrize("attention", ["fused", "whole"])
@pytest.mark.parametrize("precision", ["64", "32", "bf16"])
@pytest.mark.parametrize("model", MODELS)
def test_activations_are_what_torch_keeps(model: ModelConfig, precision: Precision, attention: Attention) -> None:
    if (precision, attention) == ("bf16", "whole"):
        pytest.skip("on a CPU torch computes whole attention of bfloat16 in float32")
    flat, gradient = leaves(model, precision)
    weights = net(model, flat, gradient)
    matrices = [weights.wte, weights.wpe, weights.lm_head, *itertools.chain(*weights.layers)]
    shapes = {tuple(matrix.shape) for matrix in matrices}
    kept: dict[int, Any] = {}

    def keep(tensor: Any) -> Any:
        storage = tensor.untyped_storage()
        # autocast's copies of the weights count as weights
        copy = tensor.dtype == torch.bfloat16 and shapes & {tuple(tensor.shape), tuple(tensor.shape[::-1])}
        if storage.data_ptr() != flat.untyped_storage().data_ptr() and not copy:
            kept[storage.data_ptr()] = storage  # held, so that no other takes its place
        return tensor

    with sdpa_kernel(BACKENDS[attention]), saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = loss_of(model, weights, precision)
    measured = sum(storage.nbytes() for storage in kept.values())
    assert measured == pytest.approx(BATCH * kept_bytes(model, precision, attention), rel=1e-3)
    loss.backward()


@pytest.mark.parametrize("precision", ["64", "32", "bf16"])
def test_weights_gradients_and_moments_are_those_of_torch(precision: Precision) -> None:
    """In bf16 the weights that are multiplied are bfloat16, and Adam's are a float32 copy of them."""
    model = MODELS[0]
    master, _ = leaves(model, precision)
    flat = master.bfloat16() if precision == "bf16" else master
    gradient = torch.zeros_like(flat)
    losses(model, net(model, flat, gradient), *torch.zeros((2, 1, model.ctx), dtype=torch.int64)).mean().backward()
    master.grad = gradient.to(master.dtype)
    adam = torch.optim.Adam([master.requires_grad_()])
    adam.step()
    moments = sum(adam.state[master][name].nbytes for name in ("exp_avg", "exp_avg_sq"))
    copy = master.nbytes if precision == "bf16" else 0
    state = state_of(model, precision)
    assert (flat.nbytes, gradient.nbytes, moments + copy) == (state.weights, state.gradients, state.adam)
