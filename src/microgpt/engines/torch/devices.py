"""Where the engine `torch` computes: which device a name means, how much fits on it, what to say when it doesn't."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import torch

from microgpt.engines.contract import EngineConfig
from microgpt.errors import EnvironmentFault, UsageError
from microgpt.machine import UNKNOWN, main_memory
from microgpt.model.cost import activation_bytes
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision

KINDS: Final = ("cpu", "cuda", "mps")
DTYPES: Final[dict[Precision, torch.dtype]] = {"64": torch.float64, "32": torch.float32, "bf16": torch.float32}
SHARE_OF_MEMORY: Final = 4  # a pass may take a quarter of the device's memory; weights and moments need the rest
MOST_ON_CPU: Final = 2048  # predictions in a pass: at emb 64 and at emb 256 more were no faster
MOST_ON_CARD: Final = 1 << 17
KEPT: Final = 7  # numbers for each parameter: weights and two moments, now and after the step, and the gradient
NO_MEMORY: Final = ("out of memory", "can't allocate memory")  # how a device says so


def settled(name: str) -> str:
    """The device that `auto` means here: the first card, else the processor. Other names stay as they are."""
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def device_of(config: EngineConfig, local_rank: int = 0) -> torch.device:
    """The device of a configuration; of several ranks on one machine, each has a card of its own.

    Raises `UsageError` for a name that is none, or float64 on a card that has no such numbers; `EnvironmentFault`
    where there is no such device.
    """
    name = settled(config.device)
    kind, _, number = name.partition(":")
    if kind not in KINDS or (number and not (kind == "cuda" and number.isascii() and number.isdigit())):
        raise UsageError(f"--device takes auto, cpu, cuda, cuda:N or mps, found {config.device!r}.")
    if kind == "mps" and config.precision == "64":
        raise UsageError("--device mps takes --precision 32 or bf16, found 64: it has no numbers of 64 bits.")
    there = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}[kind]
    index = int(number) if number else local_rank
    if kind != "cpu" and index >= there:
        asked = "" if number or not index else f" for rank {index} of this machine"
        built = kind != "cuda" or torch.backends.cuda.is_built()
        raise EnvironmentFault(
            f"--device {config.device}{asked}: expected a device that is there, found {there} of the kind {kind}"
            f"{'' if built else ', for which this PyTorch was not built'}; --device auto takes what there is."
        )
    return torch.device(kind, index) if kind == "cuda" else torch.device(kind)


def at_once(model: ModelConfig, device: torch.device, precision: Precision) -> int:
    """Predictions in one forward and backward pass. It depends on the device's memory, never on how much of it is
    free, so that a resumed run computes the same sums."""
    each = activation_bytes(model, 8 if precision == "64" else 4) // model.ctx
    most = MOST_ON_CARD if device.type == "cuda" else MOST_ON_CPU
    return max(model.ctx, min(most, memory(device) // SHARE_OF_MEMORY // each))


def require_memory(model: ModelConfig, device: torch.device, precision: Precision, free: int | None = None) -> None:
    """Raise `EnvironmentFault` where a card has less memory free than the weights and one document need. A batch asks
    for no more: it is taken in as many passes as it has to be. Of main memory, `training` says beforehand."""
    if device.type != "cuda":
        return
    each = DTYPES[precision].itemsize
    needed = KEPT * each * params(model) + activation_bytes(model, each)
    left = _free(device) if free is None else free
    if needed > left:
        raise EnvironmentFault(
            f"--device {device}: --emb {model.emb} --layer {model.layer} --ctx {model.ctx} need at least "
            f"{needed / 1e9:,.1f} GB of this card's memory, found {left / 1e9:,.1f} GB free; choose smaller sizes or "
            "another --device."
        )


@contextmanager
def computing(device: torch.device, threads: int) -> Iterator[None]:
    """So many threads, and a plain word where memory runs out: `EnvironmentFault`."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not isinstance(error, MemoryError) and not any(told in str(error) for told in NO_MEMORY):
            raise
        raise EnvironmentFault(
            f"--device {device} has not enough memory for this; smaller sizes (--emb, --layer, --ctx) or another "
            "--device would do. What a run has saved is whole."
        ) from None
    finally:
        torch.set_num_threads(before)


def _free(device: torch.device) -> int:
    """Bytes of a card that nobody uses, or that this process keeps for its next tensors."""
    free, _ = torch.cuda.mem_get_info(device)
    return int(free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device))


def memory(device: torch.device) -> int:
    """Bytes of the device's memory."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "mps":
        return int(torch.mps.recommended_maxmemory())
    found = main_memory()
    return 1 << 33 if found == UNKNOWN else found
