"""What a long training will take, said before it starts."""

from typing import Final

from microgpt.engines.base import Precision
from microgpt.engines.measure import peak
from microgpt.model.cost import activation_bytes, state_bytes, step_cost
from microgpt.training.pace import duration
from microgpt.training.prepare import Prepared

LONG: Final = 60.0  # seconds: shorter trainings are not worth a word
# Shares of a core's peak that the engines reach at the sizes of long trainings (docs/BENCHMARKS.md).
SHARES: Final = {"fused": 0.65, "array": 0.3, "torch": 0.25, "atomic": 1e-4}


def flop(prepared: Prepared) -> float:
    """Operations of all steps that are still to be taken, by the average document."""
    data, settings, checkpoint = prepared.dataset, prepared.request.settings, prepared.checkpoint
    mean = max(1, round(data.tokens_in_epoch / data.documents))
    step = step_cost(checkpoint.model, [mean] * settings.batch).total
    return float(step * (settings.steps - checkpoint.state.step))


def estimate(prepared: Prepared) -> str | None:
    """A sentence on time and memory, or None for a training of less than a minute."""
    request, model = prepared.request, prepared.checkpoint.model
    if request.device != "cpu" or request.engine not in SHARES:
        return None
    operations = flop(prepared)
    if operations < LONG * 1e9 * SHARES[request.engine]:  # a minute of the slowest machine: nothing to measure for
        return None
    precision: Precision = "32" if request.precision == "32" else "64"
    speed = peak(precision).gflops * 1e9 * SHARES[request.engine] * request.threads
    seconds = operations / speed
    if seconds < LONG:
        return None
    each = int(precision) // 8
    memory = state_bytes(model, each) + activation_bytes(model, each, request.settings.batch)
    return (
        f"{operations:.1e} operations, about {duration(seconds)} at the {speed / 1e9:,.0f} GFLOP/s that this "
        f"machine is good for, and at least {memory / 1e9:.1f} GB of memory besides the text."
    )
