"""Who computes a training: the engine, precision and device that `auto` means here, and the engine itself."""

from dataclasses import replace

from microgpt.engines import EVERYWHERE, REGISTRY, choose, create, device, why_not_fastest
from microgpt.engines.contract import Engine, EngineConfig, Runner
from microgpt.engines.ranks import require_one
from microgpt.errors import EnvironmentFault
from microgpt.model.settings import ModelConfig, Precision
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.request import Request


def settled(request: Request) -> Request:
    """The request with the engine, the precision and the device that `auto` means here, so that a resumed run keeps
    them. Raises `EnvironmentFault` where PyTorch is to choose the device and is not installed."""
    engine = choose(request.engine, request.settings)
    precision = REGISTRY[engine].automatic if request.precision == "auto" else request.precision
    return replace(request, engine=engine, precision=precision, device=device(engine, request.device))


def engine_config(request: Request) -> EngineConfig:
    """What the engine of a settled request needs to know."""
    precision: Precision = request.precision  # type: ignore[assignment]  # validated by Request
    settings = request.settings
    adam = settings.beta1, settings.beta2, settings.weight_decay
    return EngineConfig(precision, request.threads, *adam, request.device)


def ready_engine(asked: Request, model: ModelConfig, request: Request) -> tuple[Request, Engine, str | None]:
    """The engine of a settled `request`, compiled for a model; where `auto` was `asked` for and the fastest can't be
    had, the one that runs everywhere, with the request for it, and why.

    Raises `EnvironmentFault` where the engine that was named can't be had.
    """
    require_one(request.engine)
    engine = create(request.engine, engine_config(request))
    reason = why_not_fastest() if asked.engine == "auto" else None
    try:
        engine.ready(model)
    except EnvironmentFault as fault:
        if asked.engine != "auto":
            raise
        reason, request = str(fault), settled(replace(request, engine=EVERYWHERE, precision=asked.precision))
        engine = create(request.engine, engine_config(request))
    return request, engine, f"engine {request.engine}, for {reason}" if reason else None


def own_engine(checkpoint: Checkpoint) -> tuple[str, EngineConfig]:
    """The engine of a checkpoint's training or, where this machine lacks that, `EVERYWHERE`."""
    if checkpoint.training is None or checkpoint.training.request.engine not in ("auto", *REGISTRY):
        return choose("auto", checkpoint.model), EngineConfig()
    request = settled(checkpoint.training.request)
    if REGISTRY[request.engine].missing():
        return EVERYWHERE, EngineConfig()
    return request.engine, engine_config(request)


def open_own(checkpoint: Checkpoint) -> Runner:
    """The model on its `own_engine` or, where that can't be had after all, on `EVERYWHERE`."""
    try:
        return create(*own_engine(checkpoint)).open(checkpoint.state)
    except EnvironmentFault:
        return create(EVERYWHERE, EngineConfig()).open(checkpoint.state)
