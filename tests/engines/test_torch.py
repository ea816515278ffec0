"""The engine `torch` beyond what every engine promises (test_contract.py) and `verify` proves (test_parity.py)."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed: pip install 'microgpt-symmetry[torch]'")

from microgpt.cli.app import run  # noqa: E402
from microgpt.engines import create, parity  # noqa: E402
from microgpt.engines.contract import EngineConfig  # noqa: E402
from microgpt.engines.torch import engine  # noqa: E402
from microgpt.engines.torch.devices import at_once, computing, device_of, require_memory  # noqa: E402
from microgpt.engines.torch.engine import TorchEngine  # noqa: E402
from microgpt.errors import EnvironmentFault, UsageError  # noqa: E402
from microgpt.model.cost import activation_bytes  # noqa: E402
from microgpt.model.ledger import params, tensors  # noqa: E402
from microgpt.model.settings import ModelConfig, Precision  # noqa: E402
from microgpt.model.state import State, fresh  # noqa: E402
from microgpt.training import checkpoint as checkpoints  # noqa: E402
from microgpt.training.computing import settled  # noqa: E402
from microgpt.training.request import Request  # noqa: E402

MODEL = ModelConfig(9, 8, 2, 2, 5, 2, norm_head=True)
CPU = torch.device("cpu")


def state(model: ModelConfig = MODEL) -> State:
    return fresh(model, np.random.default_rng(0).normal(0, 0.3, params(model)))


def documents(count: int) -> list[np.ndarray]:
    stream = np.random.default_rng(1)
    return [np.array([8, *stream.integers(0, 8, length % 9), 8]) for length in range(count)]


def error(reference: np.ndarray, found: np.ndarray) -> float:
    return max(parity.tensor_errors(MODEL, reference, found).values())


@pytest.mark.parametrize(("precision", "tolerance"), [("64", 1e-14), ("32", 2e-6)])
def test_a_batch_in_several_passes_is_the_batch_at_once(precision: Precision, tolerance: float) -> None:
    batch, config = documents(13), EngineConfig(precision)
    whole, parted = (TorchEngine(config, passing=passing).open(state()) for passing in (10_000, 1))
    (loss, gradient), (in_parts, gradient_in_parts) = whole.gradient(batch), parted.gradient(batch)
    assert in_parts == pytest.approx(loss, rel=tolerance)
    assert error(gradient, gradient_in_parts) < tolerance


def test_filling_up_changes_nothing() -> None:
    batch, runner = documents(9), TorchEngine(EngineConfig(), passing=10_000).open(state())
    loss, gradient = runner.gradient(batch)
    alone = [runner.gradient([tokens]) for tokens in batch]
    assert loss == pytest.approx(np.mean([each for each, _ in alone]), rel=1e-14)
    assert error(np.mean([each for _, each in alone], axis=0), gradient) < 1e-14


def test_rows_that_no_document_uses_may_hold_anything() -> None:
    weights = state().weights.copy()
    named = tensors(MODEL, weights)
    named["wte"][5], named["wpe"][4] = np.nan, np.inf
    runner = create("torch", EngineConfig()).open(fresh(MODEL, weights))
    loss, gradient = runner.gradient([np.array([8, 1, 2, 8]), np.array([8, 3, 8])])
    assert np.isfinite(loss)
    assert np.isfinite(gradient).all()


def test_tokens_may_be_memory_that_can_not_be_written() -> None:
    tokens = np.array([8, 1, 2, 3, 8], np.int64)
    tokens.setflags(write=False)
    assert np.isfinite(create("torch", EngineConfig()).open(state()).gradient([tokens])[0])


def test_bf16_learns_as_float32_does() -> None:
    rates, batches = np.full(60, 0.02), [documents(9)[step % 3 :: 3] for step in range(60)]
    wide, narrow = (
        create("torch", EngineConfig(kind)).open(state()).advance(batches, rates) for kind in ("32", "bf16")
    )
    assert narrow[-10:].mean() == pytest.approx(wide[-10:].mean(), rel=0.1)
    assert wide[-10:].mean() < wide[:10].mean() * 0.8


def test_threads_are_pinned_and_given_back() -> None:
    before, runner = torch.get_num_threads(), create("torch", EngineConfig(threads=2)).open(state())
    runner.advance([documents(3)], np.array([0.01]))
    assert torch.get_num_threads() == before
    with computing(CPU, 1):
        assert torch.get_num_threads() == 1


@pytest.mark.long
@pytest.mark.filterwarnings("default")  # of the compiler, about itself
@pytest.mark.skipif(not (shutil.which("c++") or shutil.which("g++")), reason="torch.compile needs a C++ compiler")
def test_compiled_it_computes_the_same() -> None:
    small = state(ModelConfig(9, 8, 2, 1, 5, 2))
    plain, compiled = (TorchEngine(EngineConfig(), compiled=kind).open(small) for kind in (False, True))
    rates, batches = np.full(4, 0.02), [documents(count) for count in (1, 5, 3, 9)]
    assert compiled.advance(batches, rates) == pytest.approx(plain.advance(batches, rates), rel=1e-12)


@pytest.mark.parametrize(
    ("config", "kind", "said"),
    [
        (EngineConfig(device="tpu"), UsageError, "auto, cpu, cuda, cuda:N or mps"),
        (EngineConfig(device="cpu:1"), UsageError, "auto, cpu"),
        (EngineConfig(device="cuda:one"), UsageError, "auto, cpu"),
        (EngineConfig(device="mps"), UsageError, "--precision 32 or bf16"),
        (EngineConfig("32", device="cuda:63"), EnvironmentFault, "--device auto"),
        (EngineConfig(threads=10_000), UsageError, "--threads"),
    ],
)
def test_what_can_not_be_is_refused(config: EngineConfig, kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        create("torch", config)


def test_out_of_memory_is_one_plain_line() -> None:
    with pytest.raises(EnvironmentFault, match="not enough memory") as caught, computing(CPU, 1):
        torch.empty(1 << 55)
    assert "\n" not in str(caught.value)


def test_a_card_that_is_too_small_is_refused_by_name() -> None:
    card, needed = torch.device("cuda", 1), 4 * 7 * params(MODEL) + activation_bytes(MODEL, 4)
    require_memory(MODEL, card, "bf16", free=needed)
    with pytest.raises(EnvironmentFault, match=r"--device cuda:1: --emb 8 .* of this card's memory, found 0.0 GB free"):
        require_memory(MODEL, card, "bf16", free=needed - 1)
    require_memory(MODEL, CPU, "64", free=0)  # main memory is not its business


def test_memory_that_runs_out_in_mid_training_leaves_the_last_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    steps, rightly = iter(range(1000)), engine.adam

    def adam(*arguments: Any) -> None:
        if next(steps) == 25:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.\nGPU 0 has a capacity of")
        rightly(*arguments)

    monkeypatch.setattr(engine, "adam", adam)
    asked = ["train", "--engine", "torch", "--emb", "4", "--head", "1", "--steps", "50", "--save-every", "10"]
    assert run([*asked, "--samples", "1", "--name", "run", "--quiet"]) == 5
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert said[0].startswith("microgpt: --device cpu has not enough memory for this; smaller sizes")
    assert checkpoints.read(tmp_path / "runs/run/weights.safetensors").state.step == 20
    assert run(["train", "--resume", "run", "--quiet"]) == 0


def test_other_errors_stay_what_they_are() -> None:
    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"), computing(CPU, 1):
        torch.ones(2, 3) @ torch.ones(2, 3)


def test_auto_is_a_device_that_is_there() -> None:
    found = settled(Request(engine="torch", device="auto"))
    assert found.precision == "32"
    assert device_of(EngineConfig("32", device=found.device)).type == found.device
    assert settled(Request(engine="array", device="auto")).device == "cpu"


def test_a_pass_follows_the_memory_and_takes_one_document_at_least() -> None:
    assert at_once(MODEL, CPU, "64") >= 1024
    huge = ModelConfig(50_257, 1 << 14, 128, 1000, 8192)
    assert at_once(huge, CPU, "64") == huge.ctx
