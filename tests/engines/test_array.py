"""The engine `array` from the inside: its operations at their extremes, its trace, its padded batches."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from microgpt.engines import create, parity
from microgpt.engines.array import ArrayEngine, ArrayRunner, threads
from microgpt.engines.array.batching import AT_ONCE, padded, parts
from microgpt.engines.array.forward import causal_mask, cross_entropy, rmsnorm, softmax
from microgpt.engines.contract import EngineConfig, predictions
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import fresh

MODEL = ModelConfig(9, 8, 2, 2, 6, 2, norm_head=True)
WILD = st.one_of(st.floats(-1e4, 1e4), st.sampled_from([-1e4, 1e4, 0.0]))
ROWS = st.one_of(st.lists(WILD, min_size=1, max_size=12), st.builds(lambda x, n: [x] * n, WILD, st.integers(1, 12)))


def opened(precision: Precision = "64", model: ModelConfig = MODEL) -> ArrayRunner:
    return ArrayEngine(EngineConfig(precision)).open(
        fresh(model, np.random.default_rng(0).normal(0, 0.3, params(model)))
    )


@given(ROWS, st.sampled_from([np.float32, np.float64]))
def test_softmax_of_anything_sums_to_one(row: list[float], dtype: type) -> None:
    x = np.array([row], dtype)
    exact = [math.exp(float(number) - float(x.max())) for number in x[0]]
    p = softmax(x)
    assert np.isfinite(p).all()
    assert p.sum() == pytest.approx(1.0, abs=1e-6)
    assert p[0] == pytest.approx(np.array(exact) / math.fsum(exact), rel=1e-4, abs=1e-7)


@given(ROWS, st.sampled_from([np.float32, np.float64]))
def test_cross_entropy_of_anything_is_finite(row: list[float], dtype: type) -> None:
    x = np.array([row], dtype)
    total = float(x.max()) + math.log(math.fsum(math.exp(float(number) - float(x.max())) for number in x[0]))
    for target in range(len(row)):
        losses, probabilities = cross_entropy(x, np.array([[target]]))
        assert losses[0] == pytest.approx(total - float(x[0, target]), rel=1e-5, abs=1e-5)
        assert probabilities.sum() == pytest.approx(1.0, abs=1e-6)


@given(ROWS, st.sampled_from([np.float32, np.float64]))
def test_rmsnorm_of_anything_is_finite(row: list[float], dtype: type) -> None:
    x = np.array([row], dtype)
    mean = math.fsum(float(number) ** 2 for number in x[0]) / len(row)
    y = rmsnorm(x).vectors
    assert y[0] == pytest.approx(x[0].astype(float) / math.sqrt(mean + 1e-5), rel=1e-5, abs=1e-6)
    assert math.sqrt(float((y**2).mean())) <= 1.0 + 1e-6


@pytest.mark.parametrize("norms", [(True, False), (False, True), (True, True), (False, False)])
def test_the_gradient_is_that_of_central_differences(norms: tuple[bool, bool]) -> None:
    case = parity.case(ModelConfig(5, 4, 2, 2, 3, 2, *norms), batch=2)
    engine, batch, stride = create("array", EngineConfig()), case.batches[0], 1e-5

    def loss(weights: NDArray[np.float64]) -> float:
        sums, counts = engine.open(fresh(case.model, weights)).evaluate(batch)
        return float(np.mean(sums / counts))

    moves = stride * np.eye(params(case.model))
    slopes = np.array([loss(case.weights + move) - loss(case.weights - move) for move in moves]) / (2 * stride)
    _, gradient = engine.open(fresh(case.model, case.weights)).gradient(batch)
    assert gradient == pytest.approx(slopes, rel=1e-6, abs=1e-8 * np.abs(gradient).max())


@pytest.mark.parametrize("precision", ["32", "64"])
def test_the_trace_tells_what_next_and_evaluate_tell(precision: Precision) -> None:
    runner, tokens = opened(precision), np.array([8, 1, 2, 3, 1, 0, 8])
    trace, tolerance = runner.trace(tokens), {"32": 1e-5, "64": 1e-12}[precision]
    for position in range(MODEL.ctx):
        told = runner.next(tokens[: position + 1].tolist())
        assert trace["probabilities"][position] == pytest.approx(told, rel=tolerance, abs=tolerance)
    assert trace["losses"].sum() == pytest.approx(runner.evaluate([tokens])[0][0], rel=tolerance)
    assert trace["losses"] == pytest.approx(
        -np.log(trace["probabilities"][np.arange(6), tokens[1:]]), rel=10 * tolerance
    )


def test_the_trace_names_every_intermediate() -> None:
    trace = opened().trace(np.array([8, 1, 2, 3]))
    shapes = {
        "norm_attention": (4, 8),
        "query": (2, 4, 4),
        "key": (2, 4, 4),
        "value": (2, 4, 4),
        "scores": (2, 4, 4),
        "attention": (2, 4, 4),
        "attention_output": (4, 8),
        "residual_attention": (4, 8),
        "norm_mlp": (4, 8),
        "expanded": (4, 16),
        "hidden": (4, 16),
        "residual_mlp": (4, 8),
    }
    expected = {"embedding": (4, 8), "norm_embeddings": (4, 8)}
    expected |= {f"layer{i}.{name}": shape for i in range(2) for name, shape in shapes.items()}
    expected |= {"norm_head": (4, 8), "logits": (4, 9), "probabilities": (4, 9), "losses": (3,)}
    assert {name: value.shape for name, value in trace.items()} == expected
    assert list(trace) == list(expected), "in the order in which they arise"
    assert trace["layer0.attention"] == pytest.approx(softmax(trace["layer0.scores"]))
    assert (np.triu(trace["layer1.attention"], 1) == 0.0).all(), "nothing looks ahead"


def test_the_trace_of_one_token_has_no_loss() -> None:
    trace = opened().trace(np.array([8]))
    assert trace["losses"].shape == (0,)
    assert trace["probabilities"][0] == pytest.approx(opened().next([8]), rel=1e-12)


def test_tracing_leaves_the_cache_alone() -> None:
    runner = opened()
    before = runner.next([8, 1, 2])
    runner.trace(np.array([3, 3, 3, 8]))
    assert runner.next([8, 1, 2, 4]) == pytest.approx(opened().next([8, 1, 2, 4]), rel=1e-12)
    assert runner.next([8, 1, 2]) == pytest.approx(before, rel=1e-12)


@settings(max_examples=50)
@given(st.lists(st.integers(2, 40), min_size=1, max_size=300))
def test_padded_batches_hold_every_document_once(lengths: list[int]) -> None:
    model = ModelConfig(3, ctx=20)
    documents = [np.full(length, 1) for length in lengths]
    together = parts(model, documents)
    assert sorted(i for part in together for i in part) == list(range(len(lengths)))
    for part in together:
        block = padded(model, [documents[i] for i in part], np.dtype(np.float64), len(lengths))
        assert block.inputs.shape == block.targets.shape == block.loss_weights.shape
        assert len(part) == 1 or block.inputs.size <= AT_ONCE
        assert (block.loss_weights > 0).sum(axis=1).tolist() == [predictions(model, documents[i]) for i in part]
        assert block.loss_weights.sum(axis=1) == pytest.approx(1.0 / len(lengths))
    counts = [predictions(model, documents[i]) for part in together for i in part]
    assert counts == sorted(counts, reverse=True), "neighbours by length"


def test_filling_is_not_seen() -> None:
    """Rows of tokens that nobody uses may hold anything; a short document is the same alone and in company."""
    weights = np.random.default_rng(0).normal(0, 0.3, params(MODEL))
    weights[: MODEL.emb] = np.nan  # wte of token 0
    short, long = np.array([8, 1, 8]), np.array([8, 2, 3, 4, 5, 8])
    runner = create("array", EngineConfig()).open(fresh(MODEL, weights))
    alone, company = runner.evaluate([short])[0], runner.evaluate([short, long])[0]
    assert company[0] == pytest.approx(alone[0], rel=1e-13)
    loss, gradient = runner.gradient([short, long])
    assert np.isfinite(loss)
    assert (gradient[: 8 * MODEL.emb].reshape(8, -1)[[0, 6, 7]] == 0.0).all(), "rows of tokens that nobody used"


def test_many_documents_in_several_padded_batches_agree_with_one_by_one() -> None:
    stream, runner = np.random.default_rng(3), opened()
    batch = [np.array([8, *stream.integers(0, 8, n), 8]) for n in stream.integers(0, 9, 200)]
    assert len(parts(MODEL, batch)) > 3
    loss, gradient = runner.gradient(batch)
    single = [runner.gradient([tokens]) for tokens in batch]
    assert loss == pytest.approx(np.mean([one for one, _ in single]), rel=1e-13)
    assert gradient == pytest.approx(np.mean([one for _, one in single], axis=0), rel=1e-10, abs=1e-15)


def test_looking_back() -> None:
    mask = causal_mask(2, 4, np.dtype(np.float64))
    assert np.array_equal(mask, [[0, 0, 0, -np.inf], [0, 0, 0, 0]])


def test_an_interrupted_step_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    runner, batch = opened(), [np.array([8, 1, 2, 8])]
    runner.advance([batch], np.array([0.01]))
    before = runner.state()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("microgpt.engines.array.engine.adam", interrupt)
        with pytest.raises(KeyboardInterrupt):
            runner.advance([batch], np.array([0.01]))
    assert np.array_equal(before.weights, runner.state().weights)
    again = create("array", EngineConfig()).open(before)
    assert runner.advance([batch], np.array([0.01])) == again.advance([batch], np.array([0.01]))
    assert np.array_equal(again.state().weights, runner.state().weights)


def test_the_threads_of_products_are_pinned() -> None:
    with threads.pinned(1)():
        assert {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"} == {1}
