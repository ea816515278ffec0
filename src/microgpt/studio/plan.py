"""What a training will take, said before it starts: parameters, operations, memory, and time by a short measurement."""

from typing import Any, Final

from microgpt.data.dataset import Dataset
from microgpt.data.split import Split
from microgpt.engines import REGISTRY
from microgpt.model.cost import activation_bytes, state_bytes, step_cost
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.recipes.speed import measured
from microgpt.training.computing import settled
from microgpt.training.prepare import check_memory
from microgpt.training.request import Request

MEASURING: Final = 0.1  # seconds
TOO_SLOW: Final = 1.0  # seconds of a step that are not spent on measuring
FORWARD: Final = 1 / 3  # share of the forward pass in a step

_measured: dict[tuple[Any, ...], float] = {}  # operations a second, by engine and sizes


def plan(request: Request, split: Split, *, measure: bool) -> dict[str, Any]:
    """Sizes and cost of a training; with `measure`, its time by a few steps that are thrown away.

    Raises `UsageError` for sizes beyond the machine's memory.
    """
    request = settled(request)
    settings, model = request.settings, request.settings.model(split.corpus.tokenizer.vocabulary)
    check_memory(request, model)
    dataset = Dataset.of(split, ctx=settings.ctx, seed=settings.seed, order="shuffled")
    mean = max(1, round(dataset.tokens_in_epoch / dataset.documents))
    flop = step_cost(model, [mean] * settings.batch).total
    rate, known = _rate(request, split, model, flop, measure)
    held_out = dataset.holdout_documents * step_cost(model, [mean]).forward * FORWARD
    each = 4 if request.precision == "32" else 8
    return {
        "params": params(model),
        "vocabulary": model.vocabulary,
        "engine": request.engine,
        "precision": request.precision,
        "documents": dataset.documents,
        "held_out": dataset.holdout_documents,
        "flop_per_step": flop,
        "flop": flop * settings.steps,
        "tokens": mean * settings.batch * settings.steps,
        "epochs": settings.steps * settings.batch / dataset.documents,
        "memory": state_bytes(model, each) + activation_bytes(model, each, settings.batch),
        "seconds": (flop * settings.steps + held_out) / rate,
        "steps_per_second": rate / flop,
        "measured": known,
        "uniform": dataset.uniform,
    }


def _rate(request: Request, split: Split, model: ModelConfig, flop: int, measure: bool) -> tuple[float, bool]:
    """Operations a second, and whether they were measured."""
    key = (request.engine, request.precision, request.threads, model, request.settings.batch)
    nominal = REGISTRY[request.engine].nominal
    slow = flop / nominal > TOO_SLOW
    if key not in _measured and measure and not slow:
        _measured[key] = flop / measured(request, split, MEASURING).step
    return _measured.get(key, nominal * request.threads), key in _measured
