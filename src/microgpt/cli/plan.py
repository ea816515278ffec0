"""`microgpt plan`"""

import dataclasses
import json
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.options import JSON
from microgpt.errors import UsageError
from microgpt.model.settings import LARGEST_NUMBER, ModelConfig
from microgpt.planning.devices import DEVICES
from microgpt.planning.memory import ATTENTIONS, PRECISIONS

if TYPE_CHECKING:
    from microgpt.planning.plan import Assumptions, TrainingPlan

CTX, VOCABULARY = 1024, 50_257  # those of GPT-2, where nothing else is said
GB = 1e9
NAMES = ("emb", "head", "layer", "ctx", "ff", "vocabulary")


@click.command("plan")
@click.option("--params", type=float, metavar="X", help="Number of parameters, from which sizes are chosen.")
@click.option("--emb", type=int, metavar="N", help="Numbers that represent a token, instead of --params.")
@click.option("--head", type=int, metavar="N", help="Attention heads; they divide emb.")
@click.option("--layer", type=int, metavar="N", help="Blocks of attention and MLP.")
@click.option("--ctx", type=int, default=CTX, show_default=True, help="Positions of a sequence.")
@click.option("--ff", type=int, default=4, show_default=True, help="The MLP is ff times as wide as emb.")
@click.option("--vocabulary", type=int, default=VOCABULARY, show_default=True, help="Token ids.")
@click.option("--tokens", type=float, metavar="X", help="Tokens to train on.  [default: 20 for each parameter]")
@click.option("--gpus", type=int, default=1, show_default=True, help="Devices.")
@click.option("--device", default="h100", show_default=True, help=f"Kind of device: {', '.join(DEVICES)}.")
@click.option("--precision", default="bf16", show_default=True, type=click.Choice(PRECISIONS), help="Of a number.")
@click.option(
    "--sharding",
    default="1",
    show_default=True,
    type=click.Choice(["0", "1", "2", "3"]),
    help="What is divided among devices (ZeRO): 1 Adam's moments, 2 also gradients, 3 also weights.",
)
@click.option("--utilisation", default=0.4, show_default=True, help="Fraction of the peak that is reached.")
@click.option("--peak", type=float, metavar="X", help="FLOP/s of a device.  [default: that of --device]")
@click.option("--memory", type=float, metavar="X", help="GB (10^9 bytes) of a device.  [default: that of --device]")
@click.option("--reserve", default=0.1, show_default=True, help="Fraction of the memory that is left free.")
@click.option(
    "--attention",
    default="fused",
    show_default=True,
    type=click.Choice(ATTENTIONS),
    help="fused keeps no attention scores for the backward pass, whole keeps all.",
)
@click.option("--recompute", is_flag=True, help="Keep only the input of each layer, and compute the rest again.")
@click.option("--price", type=float, metavar="X", help="Price of one device for one hour, in any currency.")
@JSON
def command(params: float | None, as_json: bool, **given: Any) -> None:
    """Estimate what a larger training would take: time, memory, devices, price, the largest batch.

    On paper, from sizes or --params and from assumptions, all of which are shown and can be changed:
    microgpt plan --params 1.5e9 --tokens 3e10 --gpus 64 --price 2
    """
    from microgpt.planning.plan import plan

    model = _model(params, {name: given.pop(name) for name in NAMES})
    found = plan(model, _assumptions(model, given))
    click.echo(json.dumps(found.to_dict()) if as_json else "\n".join(_lines(found, params)))


def _model(wanted: float | None, sizes: dict[str, int | None]) -> ModelConfig:
    """The sizes that were given, or chosen for so many parameters."""
    from microgpt.planning.plan import MOST_OF
    from microgpt.planning.shape import heads, shape_for

    for name, size in sizes.items():
        if size is not None and not 1 <= size <= MOST_OF[name]:
            raise UsageError(f"--{name} must be 1 to {MOST_OF[name]:,}, found {size:,}.")
    missing = [name for name in ("emb", "layer") if sizes[name] is None]
    known: dict[str, Any] = {name: size for name, size in sizes.items() if size is not None}
    if wanted is None:
        if missing:
            raise UsageError(f"expected --params or --emb and --layer, found no {missing[0]}; try --params 1.5e9.")
        return ModelConfig(**{"head": heads(known["emb"]), **known})
    if not 1 <= wanted <= LARGEST_NUMBER:
        raise UsageError(f"--params must be 1 to {LARGEST_NUMBER:g}, found {wanted:g}.")
    if not missing:
        raise UsageError("--params chooses emb and layer, found both given; leave --params or one of them out.")
    head = known.pop("head", None)
    model = shape_for(wanted, **known)
    return model if head is None else dataclasses.replace(model, head=head)


def _assumptions(model: ModelConfig, given: dict[str, Any]) -> "Assumptions":
    """What was given, with the table's numbers for the device and twenty tokens a parameter (Hoffmann et al. 2022)."""
    from microgpt.model.ledger import params
    from microgpt.planning.plan import Assumptions, device_of

    device = device_of(given["device"])
    memory, peak, tokens = given.pop("memory"), given.pop("peak"), given.pop("tokens")
    return Assumptions(
        **{**given, "sharding": int(given["sharding"])},
        memory=device.memory if memory is None else memory * GB,
        peak=device.flops[given["precision"]] if peak is None else peak,
        tokens=20.0 * params(model) if tokens is None else tokens,
    )


def _lines(found: "TrainingPlan", wanted: float | None) -> list[str]:
    """The plan, then all that it rests on."""
    model, told = found.model, found.assumed
    sizes = ", ".join(f"{name} {getattr(model, name):,}" for name in NAMES)
    chosen = f"; chosen for --params {wanted:g}" if wanted else ""
    price = "give --price for the cost" if found.cost is None else f"cost {found.cost:,.2f}"
    return [
        f"model    {found.params:,} parameters in {found.tensors:,} tensors ({sizes}{chosen})",
        f"work     {found.flop_per_token:.3g} FLOP a token, {found.flop:.3g} for {told.tokens:.3g} tokens",
        f"time     {_duration(found.seconds)}, {found.device_hours:,.1f} device-hours; {price}",
        *_memory(found),
        f"assumed  {told.gpus:,} x {told.device} of {told.peak / 1e12:,.1f} TFLOP/s and {told.memory / GB:,.0f} GB, "
        f"--utilisation {told.utilisation:g}, --precision {told.precision}, --sharding {told.sharding}, "
        f"--attention {told.attention}, {'--recompute' if told.recompute else 'nothing computed twice'}, "
        f"--reserve {told.reserve:g}",
        "         full sequences; communication, saving and waiting are part of the utilisation",
        "         --engine torch here divides nothing, and keeps 7 numbers a parameter: 28 bytes, in float64 56",
    ]


def _memory(found: "TrainingPlan") -> list[str]:
    """Bytes of one device, and the largest batch or what would make room for one."""
    from microgpt.planning.plan import remedies

    state, gpus = found.state, found.assumed.gpus
    lines = [
        f"memory   {found.memory / GB:,.2f} GB a device: weights {state.weights / GB:,.2f}, gradients "
        f"{state.gradients / GB:,.2f}, Adam {state.adam / GB:,.2f}, {found.sequence_bytes / GB:,.3f} for each sequence"
    ]
    if found.fits:
        batch = found.batch * gpus
        tokens = f"{batch * found.model.ctx:,} tokens a step, {found.steps:,} steps"
        return [*lines, f"batch    at most {found.batch:,} sequences a device, {batch:,} in all: {tokens}"]
    ways = remedies(found)
    advice = f"{' or '.join(ways[:2])} would do" if ways else "take more devices, larger ones, or a smaller model"
    return [*lines, f"batch    not one sequence fits; {advice}"]


def _duration(seconds: float) -> str:
    """Two digits or more of the unit that suits."""
    units = (("years", 365.25 * 86400), ("days", 86400.0), ("hours", 3600.0), ("minutes", 60.0))
    name, size = next(((name, size) for name, size in units if seconds >= 2 * size), ("seconds", 1.0))
    return f"{seconds / size:,.1f} {name}"
