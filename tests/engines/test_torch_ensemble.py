"""Many models at once are many runs of the engine `torch`: each the same numbers as alone, whatever the others do."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'microgpt-symmetry[torch]'")

from microgpt.engines import create  # noqa: E402
from microgpt.engines.base import Batch, EngineConfig, Precision  # noqa: E402
from microgpt.engines.torch.ensemble import MOST, Ensemble, gathered, models_at_once  # noqa: E402
from microgpt.errors import UsageError  # noqa: E402
from microgpt.model.ledger import params, tensors  # noqa: E402
from microgpt.model.settings import ModelConfig  # noqa: E402
from microgpt.model.state import State, fresh  # noqa: E402

MODEL = ModelConfig(9, 8, 2, 2, 5, 2, norm_head=True)
STEPS = 50

shapes = st.builds(
    lambda size, head, layer, ctx, ff, norms: ModelConfig(9, size * head, head, layer, ctx, ff, *norms),
    st.integers(4, 6),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 7),
    st.integers(1, 4),
    st.tuples(st.booleans(), st.booleans()),
)


def states(model: ModelConfig, count: int, seed: int = 0) -> list[State]:
    stream = np.random.default_rng(seed)
    return [fresh(model, stream.normal(0, 0.3, params(model))) for _ in range(count)]


def documents(stream: np.random.Generator, count: int) -> Batch:
    """Some of one prediction, some longer than ctx."""
    return [stream.integers(0, 9, stream.integers(2, 11)) for _ in range(count)]


def batches(models: int, batch: int, steps: int = STEPS) -> list[list[Batch]]:
    """For each step, for each model, its documents."""
    stream = np.random.default_rng(1)
    return [[documents(stream, batch) for _ in range(models)] for _ in range(steps)]


def rates(models: int, steps: int = STEPS) -> np.ndarray:
    """Another schedule for each model: how high it begins, and how fast it falls."""
    left = 1.0 - np.arange(steps)[:, None] / steps
    return np.asarray(np.geomspace(0.003, 0.03, models) * left ** np.arange(models))


def error(model: ModelConfig, reference: np.ndarray, found: np.ndarray) -> float:
    """The largest over tensors, relative to the tensor's largest; what is exactly zero must be so in both. A tensor of
    which only rounding is left, as with a ctx of 1, is held to the rounding of the others."""
    right, mine = tensors(model, reference), tensors(model, found)
    assert all(right[name].any() or not mine[name].any() for name in right)
    least = 1e-5 * np.abs(reference).max() or 1.0
    return max(float(np.abs(right[name] - mine[name]).max() / max(np.abs(right[name]).max(), least)) for name in right)


@settings(max_examples=40, deadline=None)
@given(model=shapes, models=st.integers(1, 4), batch=st.integers(1, 3), seed=st.integers(0, 99))
def test_every_gradient_is_that_of_the_model_alone(model: ModelConfig, models: int, batch: int, seed: int) -> None:
    stream, begun = np.random.default_rng(seed), states(model, models, seed)
    asked = [documents(stream, batch) for _ in range(models)]
    found, gradients = Ensemble(EngineConfig(), begun).gradient(asked)
    for state, tokens, loss, gradient in zip(begun, asked, found, gradients, strict=True):
        expected, reference = create("torch", EngineConfig()).open(state).gradient(tokens)
        assert loss == pytest.approx(expected, rel=1e-12)
        assert error(model, reference, gradient) < 1e-12


def test_in_float32_gradients_keep_the_tolerance_of_the_engine() -> None:
    begun, asked, config = states(MODEL, 3), batches(3, 2)[0], EngineConfig("32")
    _, gradients = Ensemble(config, begun).gradient(asked)
    for state, tokens, gradient in zip(begun, asked, gradients, strict=True):
        assert error(MODEL, create("torch", config).open(state).gradient(tokens)[1], gradient) < 5e-5


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("precision", "loss_tolerance", "state_tolerance"), [("64", 1e-11, 1e-9), ("32", 1e-5, 2e-3)])
def test_fifty_steps_are_those_of_each_model_alone(
    precision: Precision, loss_tolerance: float, state_tolerance: float, batch: int
) -> None:
    begun, asked, schedule, config = states(MODEL, 4), batches(4, batch), rates(4), EngineConfig(precision)
    ensemble = Ensemble(config, begun)
    losses = ensemble.advance(gathered(MODEL, asked), schedule)
    held_out = documents(np.random.default_rng(2), 20)
    sums, counts = ensemble.evaluate(held_out)
    for n, after in enumerate(ensemble.states()):
        runner = create("torch", config).open(begun[n])
        expected = runner.advance([step[n] for step in asked], schedule[:, n])
        assert losses[:, n] == pytest.approx(expected, rel=loss_tolerance)
        assert after is not None
        assert after.step == STEPS
        for part in ("weights", "adam_m", "adam_v"):
            assert error(MODEL, getattr(runner.state(), part), getattr(after, part)) < state_tolerance
        alone, predicted = runner.evaluate(held_out)
        assert sums[n] == pytest.approx(alone, rel=100 * loss_tolerance)
        assert np.array_equal(counts, predicted)


def test_results_do_not_depend_on_how_steps_are_divided() -> None:
    asked, schedule = batches(3, 2, 12), rates(3, 12)
    whole, parted = (Ensemble(EngineConfig("32"), states(MODEL, 3)) for _ in range(2))
    at_once = whole.advance(gathered(MODEL, asked), schedule)
    parts = [parted.advance(gathered(MODEL, asked[i : i + 5]), schedule[i : i + 5]) for i in (0, 5, 10)]
    assert np.array_equal(at_once, np.concatenate(parts))
    for left, right in zip(whole.states(), parted.states(), strict=True):
        assert left is not None
        assert right is not None
        assert np.array_equal(left.weights, right.weights)


@pytest.mark.parametrize("precision", ["64", "32"])
def test_one_that_diverges_stops_at_its_step_and_the_others_never_notice(precision: Precision) -> None:
    asked, schedule, config = batches(3, 2), rates(3), EngineConfig(precision)
    calm = Ensemble(config, states(MODEL, 3))
    expected = calm.advance(gathered(MODEL, asked), schedule)
    schedule[7, 1] = 1e200  # a step so long that nothing is finite after it, or after the next one
    alone = create("torch", config).open(states(MODEL, 3)[1])
    alone_losses = alone.advance([step[1] for step in asked], schedule[:, 1])
    assert len(alone_losses) in (7, 8)
    wild = Ensemble(config, states(MODEL, 3))
    first = wild.advance(gathered(MODEL, asked[:20]), schedule[:20])
    losses = np.concatenate([first, wild.advance(gathered(MODEL, asked[20:]), schedule[20:])])
    assert np.isfinite(losses[:, 1]).sum() == len(alone_losses)
    assert losses[: len(alone_losses), 1] == pytest.approx(alone_losses, rel=1e-5)
    assert np.array_equal(losses[:, [0, 2]], expected[:, [0, 2]])
    sound, lost, last = wild.states()
    assert lost is None
    for found, reference in zip((sound, last), calm.states()[::2], strict=True):
        assert found is not None
        assert reference is not None
        assert np.array_equal(found.weights, reference.weights)
        assert np.array_equal(found.adam_v, reference.adam_v)


def test_a_gradient_whose_square_overflows_is_divergence_too() -> None:
    """Adam would divide by infinity and stand still for ever."""
    huge = states(MODEL, 2)
    weights = huge[1].weights.copy()
    tensors(MODEL, weights)["lm_head"][:] *= 1e25
    huge[1] = dataclasses.replace(huge[1], weights=weights)
    losses = Ensemble(EngineConfig("32"), huge).advance(gathered(MODEL, batches(2, 1, 3)), rates(2, 3))
    alone = create("torch", EngineConfig("32")).open(huge[1])
    assert len(alone.advance([step[1] for step in batches(2, 1, 3)], rates(2, 3)[:, 1])) == 0
    assert np.isfinite(losses[:, 0]).all()
    assert np.isnan(losses[:, 1]).all()


def test_a_lone_prediction_teaches_attention_nothing() -> None:
    """Beside longer documents too: the gradient is exactly zero, or Adam would make a step of a rounding error."""
    asked = [[np.array([8, 3])], [np.arange(6)]]
    for precision in ("64", "32"):
        _, gradients = Ensemble(EngineConfig(precision), states(MODEL, 2)).gradient(asked)
        named = tensors(MODEL, gradients[0])
        assert not named["layer0.attn_wq"].any()
        assert not named["layer1.attn_wk"].any()
        assert not named["wpe"][1:].any()
        assert named["layer0.attn_wv"].any()


def test_what_can_not_train_together_is_refused() -> None:
    with pytest.raises(UsageError, match="--precision 64 or 32, found bf16"):
        Ensemble(EngineConfig("bf16"), states(MODEL, 2))
    with pytest.raises(UsageError, match="one shape"):
        Ensemble(EngineConfig(), [*states(MODEL, 1), *states(ModelConfig(9, 8, 2, 1, 5, 2), 1)])
    with pytest.raises(UsageError, match="Token ids must lie in 0 … 8"):
        Ensemble(EngineConfig(), states(MODEL, 1)).gradient([[np.array([1, 9])]])


def test_a_group_is_as_large_as_is_good_and_never_empty() -> None:
    assert models_at_once(ModelConfig(27), 1, EngineConfig("32")) == MOST
    assert models_at_once(ModelConfig(65, 256, 8, 6, 256), 64, EngineConfig("32")) == 1
    assert models_at_once(ModelConfig(50_257, 1 << 14, 128, 1000, 8192), 1, EngineConfig()) == 1
