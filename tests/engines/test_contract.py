"""What every engine promises (engines/contract.py), asked of each in each of its precisions."""

import math
from dataclasses import replace

import numpy as np
import pytest

from microgpt.engines import REGISTRY, available, choose, create
from microgpt.engines.contract import Batch, EngineConfig, Runner
from microgpt.errors import UsageError
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import State, fresh

MODEL = ModelConfig(9, 8, 2, 2, 5, 2, norm_head=True)
USABLE = [one.name for one in available() if one.usable]
FUSED = "fused" in USABLE  # it needs a compiler
KINDS: list[tuple[str, Precision]] = [(name, precision) for name in USABLE for precision in REGISTRY[name].precisions]
STEPS = 6
LONG = replace(MODEL, emb=20, layer=1, ctx=40)  # the kernel's other ways: heads of 10 are no lanes, ctx is many vectors
TOLERANCES = {"64": 1e-12, "32": 1e-5, "bf16": 2e-2}
every_kind = pytest.mark.parametrize(("name", "precision"), KINDS)
every_shape = pytest.mark.parametrize(
    ("name", "precision", "model", "most"),
    [
        *((name, precision, MODEL, 3) for name, precision in KINDS),
        *(("fused", precision, *shape) for precision in ("64", "32") for shape in ((MODEL, 70), (LONG, 9)) if FUSED),
    ],
)


def documents(count: int, model: ModelConfig = MODEL) -> list[np.ndarray]:
    """Of every length from 2 tokens to some beyond ctx."""
    stream = np.random.default_rng(1)
    return [np.array([8, *stream.integers(0, 8, length % (model.ctx + 4)), 8]) for length in range(count)]


def batches(model: ModelConfig = MODEL, most: int = 3) -> list[Batch]:
    """Of so many documents and some fewer."""
    whole = documents(most * STEPS, model)
    return [whole[most * step : most * (step + 1) - step % 3] for step in range(STEPS)]


def limit(name: str, precision: Precision) -> float:
    """How far what is computed in two ways may be apart; in the kernel it is computed in one."""
    return 0.0 if name == "fused" else TOLERANCES[precision]


def opened(name: str, precision: Precision = "64", model: ModelConfig = MODEL, scale: float = 0.3) -> Runner:
    weights = np.random.default_rng(0).normal(0, scale, params(model))
    return create(name, EngineConfig(precision)).open(fresh(model, weights))


def same(left: State, right: State) -> bool:
    parts = ("weights", "adam_m", "adam_v")
    return left.step == right.step and all(np.array_equal(getattr(left, p), getattr(right, p)) for p in parts)


@every_shape
@pytest.mark.parametrize("cut", range(STEPS + 1))
def test_division_into_calls_changes_nothing(
    name: str, precision: Precision, model: ModelConfig, most: int, cut: int
) -> None:
    rates, steps = np.linspace(0.05, 0.01, STEPS), batches(model, most)
    whole, parted = opened(name, precision, model), opened(name, precision, model)
    losses = whole.advance(steps, rates)
    first = parted.advance(steps[:cut], rates[:cut])
    parted.next([8]), parted.gradient(steps[0]), parted.evaluate(documents(3, model))
    rest = parted.advance(steps[cut:], rates[cut:])
    assert np.array_equal(losses, np.concatenate([first, rest]))
    assert same(whole.state(), parted.state())


@every_kind
def test_a_state_goes_round(name: str, precision: Precision) -> None:
    first, rates = opened(name, precision), np.full(STEPS, 0.02)
    first.advance(batches()[:3], rates[:3])
    between = first.state()
    again = create(name, EngineConfig(precision)).open(between)
    assert same(between, again.state())
    assert between.step == 3
    assert between.weights.dtype == (np.float64 if precision == "64" else np.float32)
    first.advance(batches()[3:], rates[3:])
    again.advance(batches()[3:], rates[3:])
    assert same(first.state(), again.state())
    assert not same(between, again.state()), "a state is a copy"


@every_kind
def test_a_state_of_another_precision_is_converted(name: str, precision: Precision) -> None:
    for dtype in (np.float32, np.float64):
        runner = create(name, EngineConfig(precision)).open(fresh(MODEL, np.full(params(MODEL), 0.1, dtype)))
        assert np.allclose(runner.state().weights, np.float32(0.1))
        assert np.isfinite(runner.advance(batches()[:1], np.array([0.01]))).all()


@every_shape
def test_evaluate_is_the_loss(name: str, precision: Precision, model: ModelConfig, most: int) -> None:
    runner, sequences = opened(name, precision, model), documents(model.ctx + 7, model)
    sums, counts = runner.evaluate(sequences)
    assert sums.dtype == np.float64
    assert counts.tolist() == [min(len(tokens) - 1, model.ctx) for tokens in sequences]
    alone = [runner.evaluate([tokens])[0][0] for tokens in sequences]
    assert alone == pytest.approx(sums, rel=limit(name, precision), abs=0), "whatever a document is packed with"
    for tokens, mean in zip(sequences, sums / counts, strict=True):
        assert mean == pytest.approx(runner.gradient([tokens])[0], rel=TOLERANCES[precision])
    assert runner.gradient(sequences)[0] == pytest.approx(np.mean(sums / counts), rel=TOLERANCES[precision])


@every_shape
def test_next_is_the_evaluated_distribution(name: str, precision: Precision, model: ModelConfig, most: int) -> None:
    runner, tokens, heard = opened(name, precision, model), documents(model.ctx + 4, model)[-1], 0.0
    for length in range(1, model.ctx + 1):
        probabilities = runner.next(tokens[:length].tolist())
        assert probabilities.dtype == np.float64
        assert probabilities.sum() == pytest.approx(1.0, abs=1e-12)
        heard -= math.log(probabilities[tokens[length]])
    assert heard == pytest.approx(runner.evaluate([tokens])[0][0], rel=TOLERANCES[precision])


@every_shape
def test_the_cache_changes_no_probability(name: str, precision: Precision, model: ModelConfig, most: int) -> None:
    cached, off = opened(name, precision, model), limit(name, precision)
    for prefix in ([8], [8, 1], [8, 1, 2, 3], [8, 1, 2, 3], [8, 1, 5], [3], [3, 3, 3, 3, 3], [3, 3]):
        new = opened(name, precision, model)
        assert cached.next(prefix) == pytest.approx(new.next(prefix), rel=off, abs=min(off, 1e-12))


@every_kind
def test_training_empties_the_cache(name: str, precision: Precision) -> None:
    runner = opened(name, precision)
    before = runner.next([8, 1, 2])
    runner.advance(batches(), np.full(STEPS, 0.05))
    after = runner.next([8, 1, 2])
    assert not np.allclose(before, after)
    new = create(name, EngineConfig(precision)).open(runner.state())
    assert after == pytest.approx(new.next([8, 1, 2]), rel=TOLERANCES[precision])


@every_shape
@pytest.mark.parametrize("lr", [1e25, 1e39, 1e300, 1e308])
def test_it_stops_before_an_update_that_is_not_finite(
    name: str, precision: Precision, model: ModelConfig, most: int, lr: float
) -> None:
    runner, reference = opened(name, precision, model), opened(name, precision, model)
    steps, rates = batches(model, most), np.array([0.01, 0.01, lr, lr, lr, lr])
    losses = runner.advance(steps, rates)
    state = runner.state()
    assert 2 <= len(losses) < STEPS + (lr < 1e300)
    if name == "fused":
        array = create("array", EngineConfig(precision)).open(reference.state())
        assert len(losses) == len(array.advance(steps, rates))
    assert state.finite
    assert state.step == len(losses)
    assert np.isfinite(losses).all()
    reference.advance(steps[: len(losses)], rates[: len(losses)])
    assert same(state, reference.state()), "as of the last whole step"
    assert len(runner.advance(steps[:2], np.full(2, 1e-3))) in (0, 2), "it is still of use"


@every_kind
@pytest.mark.parametrize("poison", [math.nan, math.inf, -math.inf])
def test_it_takes_no_step_from_weights_that_are_not_finite(name: str, precision: Precision, poison: float) -> None:
    weights = np.random.default_rng(0).normal(0, 0.3, params(MODEL))
    tensors(MODEL, weights)["layer1.mlp_fc2"][:] = poison
    runner = create(name, EngineConfig(precision)).open(fresh(MODEL, weights))
    assert len(runner.advance(batches(), np.full(STEPS, 0.01))) == 0
    assert runner.state().step == 0
    assert not np.isfinite(runner.gradient(batches()[0])[0])
    assert not np.isfinite(runner.evaluate(documents(2))[0]).any()
    assert not np.isfinite(runner.next([8, 1])).any()


@every_kind
@pytest.mark.parametrize("size", [1, 2])
def test_a_vocabulary_of_one_or_two(name: str, precision: Precision, size: int) -> None:
    """One character and BOS; or BOS alone, whose loss is zero, for there is nothing to choose."""
    runner = opened(name, precision, ModelConfig(size, 4, 2, 1, 3, 2))
    bos = size - 1
    losses = runner.advance([[np.array([bos, 0, bos])]] * 5, np.full(5, 0.01))
    assert len(losses) == 5
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0] if size == 2 else (losses == 0.0).all()


@every_kind
@pytest.mark.parametrize("model", [MODEL, replace(MODEL, emb=5, head=1, ctx=1)], ids=["heads of 4", "heads of 5"])
def test_a_lone_prediction_teaches_attention_nothing(name: str, precision: Precision, model: ModelConfig) -> None:
    """One token looks at itself alone: the gradient is exactly zero, or Adam would make a step of a rounding error."""
    _, gradient = opened(name, precision, model).gradient([np.array([8, 3]), np.array([8, 1])])
    named = tensors(model, gradient)
    assert not named["layer0.attn_wq"].any()
    assert not named["layer1.attn_wk"].any()
    assert named["layer0.attn_wv"].any()


@every_kind
@pytest.mark.parametrize("sizes", [(1, 1, 1, 1, 1), (3, 3, 1, 1, 2), (2, 1, 4, 30, 1)])
def test_extreme_sizes_train(name: str, precision: Precision, sizes: tuple[int, ...]) -> None:
    runner = opened(name, precision, ModelConfig(9, *sizes))
    assert len(runner.advance(batches(), np.full(STEPS, 0.01))) == STEPS


@every_kind
def test_no_documents_and_no_steps(name: str, precision: Precision) -> None:
    runner = opened(name, precision)
    assert runner.advance([], np.array([])).shape == (0,)
    assert runner.evaluate([])[0].shape == (0,)
    with pytest.raises(UsageError, match="one document or more"):
        runner.advance([[]], np.array([0.01]))


@every_kind
@pytest.mark.parametrize("tokens", [[8], [], [8, 9], [-1, 3], [8, 2**32]])
def test_sequences_that_can_not_be(name: str, precision: Precision, tokens: list[int]) -> None:
    runner = opened(name, precision)
    sequence = np.array(tokens, np.int64)
    for ask in (
        lambda: runner.advance([batches()[0], [sequence]], np.full(2, 0.01)),
        lambda: runner.gradient([sequence]),
        lambda: runner.evaluate([sequence]),
    ):
        with pytest.raises(UsageError, match="found"):
            ask()
    assert runner.state().step == 0


@every_kind
@pytest.mark.parametrize("prefix", [[], [9], [-1], [0] * 6])
def test_prefixes_that_can_not_be(name: str, precision: Precision, prefix: list[int]) -> None:
    with pytest.raises(UsageError, match="found"):
        opened(name, precision).next(prefix)


def test_the_ladder() -> None:
    assert tuple(REGISTRY) == ("atomic", "array", "fused", "torch")
    assert [one.name for one in available()] == list(REGISTRY)
    assert all(one.usable == (not one.reason) for one in available())
    assert choose("auto") == ("fused" if "fused" in USABLE else "array")


@pytest.mark.parametrize(
    ("wrong", "near"), [("atmic", "atomic"), ("arrays", "array"), ("fusd", "fused"), ("numpy", "")]
)
def test_a_wrong_name_suggests_the_nearest(wrong: str, near: str) -> None:
    with pytest.raises(UsageError, match=f"Did you mean {near}"):
        choose(wrong)


@pytest.mark.parametrize(
    ("name", "config", "named"),
    [
        ("atomic", EngineConfig("32"), "--precision 64"),
        ("atomic", EngineConfig(threads=2), "--threads 1"),
        ("atomic", EngineConfig(device="cuda"), "--device cpu"),
        ("array", EngineConfig("bf16"), "--precision 64 or 32"),
        ("array", EngineConfig(threads=0), "--threads"),
        ("array", EngineConfig(threads=10_000), "--threads"),
        ("array", EngineConfig(device="cuda"), "--device cpu"),
        ("fused", EngineConfig("bf16"), "--precision 64 or 32"),
        ("fused", EngineConfig(threads=0), "--threads"),
        ("fused", EngineConfig(threads=65), "--threads"),
        ("fused", EngineConfig(device="cuda"), "--device cpu"),
    ],
)
def test_what_an_engine_can_not_use_is_refused(name: str, config: EngineConfig, named: str) -> None:
    if name not in USABLE:
        pytest.skip(f"{name} is not usable here")
    with pytest.raises(UsageError, match=named):
        create(name, config)
