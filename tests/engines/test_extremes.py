"""Softmax and RMSNorm inside each engine where their numbers are extreme; and every gradient as a slope."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from microgpt.engines import create, parity
from microgpt.engines.contract import EngineConfig
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import fresh
from trials import numbers
from trials.divergence import kinds

every_kind = pytest.mark.parametrize(("name", "precision"), list(kinds()))
SCORES = st.floats(-numbers.MOST, numbers.MOST) | st.sampled_from((-numbers.MOST, 0.0, 5e-324, 700.0, numbers.MOST))
COORDINATES = st.floats(-1e30, 1e30) | st.sampled_from((0.0, -0.0, 5e-324, 1e-40, -1e-30, 1e8, 1e18))


def rows(number: st.SearchStrategy[float]) -> st.SearchStrategy[list[float]]:
    """Of one number and of five, for which a kernel is compiled once; all equal at times."""
    equal = st.builds(lambda x: [x] * 5, number)
    return st.lists(number, min_size=1, max_size=1) | st.lists(number, min_size=5, max_size=5) | equal


@every_kind
@settings(max_examples=8, deadline=None)
@given(rows(SCORES))
def test_softmax_of_anything_is_its_definition(name: str, precision: Precision, row: list[float]) -> None:
    assert numbers.softmax_heard(name, precision, row) == ""


@every_kind
@settings(max_examples=8, deadline=None)
@given(rows(COORDINATES))
def test_rmsnorm_of_anything_is_its_definition(name: str, precision: Precision, row: list[float]) -> None:
    assert numbers.norm(name, precision, row) == ""


@pytest.mark.parametrize("name", [name for name, precision in kinds() if precision == "64"])
def test_every_gradient_is_its_slope(name: str) -> None:
    case = parity.case(ModelConfig(5, 4, 2, 1, 3, 1, norm_embeddings=True, norm_head=True), batch=1)
    engine, document = create(name, EngineConfig()), case.batches[0][0]

    def loss(weights: NDArray[np.float64]) -> float:
        sums, counts = engine.open(fresh(case.model, weights)).evaluate([document])
        return float(sums[0] / counts[0])

    moves = parity.STRIDE * np.eye(params(case.model))
    slopes = np.array([(loss(case.weights + move) - loss(case.weights - move)) / (2 * parity.STRIDE) for move in moves])
    _, gradient = engine.open(fresh(case.model, case.weights)).gradient([document])
    assert max(parity.tensor_errors(case.model, slopes, gradient, same_zeros=False).values()) < 1e-7
