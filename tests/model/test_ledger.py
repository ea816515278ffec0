"""The ledger agrees with the reference about names, shapes and order, and with the published counts."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt import symmetry
from microgpt.model.ledger import ledger, params, tensors
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State, fresh

sizes = st.builds(
    lambda vocabulary, size, head, layer, ctx, ff: ModelConfig(vocabulary, size * head, head, layer, ctx, ff),
    *[st.integers(1, 5)] * 6,
)


@given(sizes)
def test_names_shapes_and_order_are_those_of_the_reference(model: ModelConfig) -> None:
    config = symmetry.Config(emb=model.emb, head=model.head, layer=model.layer, ctx=model.ctx, ff=model.ff)
    expected = symmetry.shapes(config, model.vocabulary)
    assert [(entry.name, (entry.rows, entry.columns)) for entry in ledger(model)] == list(expected.items())


@given(sizes)
def test_matrices_follow_one_another_without_gaps(model: ModelConfig) -> None:
    flat = np.arange(params(model))
    assert np.array_equal(np.concatenate([matrix.ravel() for matrix in tensors(model, flat).values()]), flat)


@pytest.mark.parametrize(
    ("emb", "head", "layer", "expected"), [(16, 4, 1, 4192), (32, 4, 2, 26816), (64, 8, 4, 201088)]
)
def test_the_originals_three_sizes(emb: int, head: int, layer: int, expected: int) -> None:
    assert params(ModelConfig(27, emb=emb, head=head, layer=layer)) == expected


def test_a_matrix_is_a_view_of_the_flat_vector() -> None:
    model = ModelConfig(3, emb=2, head=1, ctx=2)
    flat = np.zeros(params(model))
    tensors(model, flat)["wpe"][1, 0] = 5.0
    assert flat[3 * 2 + 2] == 5.0


def test_a_state_of_another_size_is_refused() -> None:
    model = ModelConfig(3)
    with pytest.raises(ValueError, match="adam_m must have shape"):
        State(model, np.zeros(params(model)), np.zeros(3), np.zeros(params(model)), 0)


def test_a_state_knows_whether_it_is_finite() -> None:
    weights = np.zeros(params(ModelConfig(3)))
    assert fresh(ModelConfig(3), weights).finite
    weights[7] = np.nan
    assert not fresh(ModelConfig(3), weights).finite
