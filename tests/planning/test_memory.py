"""Memory on paper: what is divided among devices, and what grows with the batch."""

import pytest

from microgpt.model.ledger import ledger, params
from microgpt.model.settings import ModelConfig
from microgpt.planning.memory import PRECISIONS, WIDTHS, kept_bytes, layer_bytes, state_of, tensor_count

GPT2 = ModelConfig(50_257, emb=768, head=12, layer=12, ctx=1024)


@pytest.mark.parametrize(("stage", "each"), [(0, 120.0), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_sharding_gives_the_table_of_the_zero_paper(stage: int, each: float) -> None:
    """Rajbhandari et al. 2020, figure 1: 7.5 billion parameters on 64 devices, in GB of mixed precision."""
    state = state_of(GPT2, "bf16", stage, 64)  # type: ignore[arg-type]
    assert state.total / params(GPT2) * 7.5 == pytest.approx(each, abs=0.06)


def test_one_device_has_nothing_to_divide() -> None:
    totals = {state_of(GPT2, "bf16", stage).total for stage in (0, 1, 2, 3)}  # type: ignore[arg-type]
    assert len(totals) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_parameter_has_its_bytes(precision: str) -> None:
    bytes_each = {"64": 32, "32": 16, "bf16": 16}
    assert state_of(GPT2, precision).total == bytes_each[precision] * params(GPT2)  # type: ignore[arg-type,index]


def test_whole_attention_keeps_the_square_of_ctx_and_fused_does_not() -> None:
    short, long = (ModelConfig(100, emb=64, head=4, ctx=ctx) for ctx in (128, 256))
    assert layer_bytes(short, "32") == layer_bytes(long, "32")
    assert layer_bytes(long, "32", "whole") - layer_bytes(short, "32", "whole") == 4 * 128 * WIDTHS["32"].within


def test_recomputing_keeps_less_the_deeper_a_model_is() -> None:
    deep = ModelConfig(100, emb=64, head=4, ctx=64, layer=24)
    assert kept_bytes(deep, "bf16", recompute=True) < kept_bytes(deep, "bf16") / 5


def test_tensors_are_counted_as_the_ledger_has_them() -> None:
    assert tensor_count(GPT2) == len(ledger(GPT2))
