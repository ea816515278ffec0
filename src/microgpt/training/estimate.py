"""What a long training will take, said before it starts."""

from typing import Final

from microgpt.engines import REGISTRY
from microgpt.engines.measure import peak
from microgpt.model.cost import activation_bytes, state_bytes, step_cost
from microgpt.model.settings import Precision
from microgpt.training.pace import duration
from microgpt.training.prepare import Prepared

SLOWEST: Final = 1e9  # operations a second: the peak of a core that no machine is below
LONG: Final = 60.0  # seconds: shorter trainings are not worth a word


def flop(prepared: Prepared) -> float:
    """Operations of all steps that are still to be taken, by the average document."""
    data, settings, checkpoint = prepared.dataset, prepared.request.settings, prepared.checkpoint
    mean = max(1, round(data.tokens_in_epoch / data.documents))
    step = step_cost(checkpoint.model, [mean] * settings.batch).total
    return float(step * (settings.steps - checkpoint.state.step))


def estimate(prepared: Prepared) -> str | None:
    """A sentence on time and memory, or None for a training of less than a minute."""
    request, model = prepared.request, prepared.checkpoint.model
    if request.device != "cpu":
        return None
    share, floor = REGISTRY[request.engine].peak_share, REGISTRY[request.engine].floor
    operations, least = flop(prepared), floor * (request.settings.steps - prepared.checkpoint.state.step)
    if max(operations / (SLOWEST * share), least) < LONG:  # nothing to measure for
        return None
    precision: Precision = "32" if request.precision == "32" else "64"
    speed = peak(precision).gflops * 1e9 * share * request.threads
    seconds = max(operations / speed, least)
    if seconds < LONG:
        return None
    pace = f"at the {speed / 1e9:,.0f} GFLOP/s that this machine reaches"
    if seconds == least:
        pace = f"since {request.engine} takes {floor * 1e6:.0f} µs or more even for the smallest step"
    each = int(precision) // 8
    memory = state_bytes(model, each) + activation_bytes(model, each, request.settings.batch)
    told = f"{memory / 1e9:.1f} GB" if memory >= 1e8 else f"{max(1, round(memory / 1e6))} MB"
    return (
        f"{operations:.1e} operations, about {duration(seconds)} {pace}, and at least {told} of "
        "memory besides the text."
    )
