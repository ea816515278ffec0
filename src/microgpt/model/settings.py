"""The validated configuration, and the registry: every setting is declared once, with all that follows from it.

Flags, forms, JSON keys, columns of a store and axes bear the field's name. This module imports no numpy, because the
command line's help is generated from it.
"""

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Final, Literal

from microgpt.errors import UsageError, nearest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

LONGEST_SHOWN = 80  # characters of a wrong value that a message repeats
LARGEST_NUMBER = 10**15  # of any whole number: beyond it a product of sizes is no number of bytes any more

Decay = Literal["linear", "cosine", "constant", "cooldown"]
Initial = Literal["uniform", "gauss"]
Precision = Literal["32", "64", "bf16"]  # bits of a number
Position = Literal["learned", "rotary"]
Activation = Literal["relu", "relu2"]
Group = Literal["model", "schedule", "text", "selection", "computing", "place", "recipe"]
SCIENTIFIC_GROUPS: Final = ("model", "schedule", "text")  # what decides the result of a run


def setting(
    default: Any,
    help: str,  # the name that argparse, click and dataclasses share
    *,
    group: Group,
    short: str | None = None,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    choices: tuple[str, ...] = (),
    kind: type | None = None,
    since: str | None = None,
    before: Any = None,
    flag: bool = True,
    identity: bool | None = None,
    axis: bool | None = None,
    resume: bool | None = None,
) -> Any:
    """Declare a field with its help, short flag and bounds: `low <= value <= high`, or `above < value`. A default of
    None needs the `kind` of other values.

    `group` says what it belongs to: the model, the schedule of its training, the text, the selection among its steps,
    how it is computed, the place where it is kept and shown; or the recipe, which is told and decides nothing. By
    default settings of the first three decide the result, so they are in a run's `identity`, and those with a `flag`
    may be an `axis` of a sweep; those of the place may change on `resume`, and so may how it is computed.

    A setting that came after files were written names the version `since` which there is one. Without it a file meant
    `before`, which is the default unless given. Files and identities leave it out at that value, so those of older
    versions stay what they are.
    """
    scientific = group in SCIENTIFIC_GROUPS if identity is None else identity
    metadata = {
        "help": help,
        "group": group,
        "short": short,
        "choices": choices,
        "bounds": {"low": low, "high": high, "above": above},
        "kind": kind or type(default),
        "since": since,
        "before": default if before is None else before,
        "flag": flag,
        "identity": scientific,
        "axis": scientific and flag if axis is None else axis,
        "resume": group == "place" if resume is None else resume,
    }
    return dataclasses.field(default=default, metadata=metadata)


_model: Final = partial(setting, group="model")
_schedule: Final = partial(setting, group="schedule")


@dataclass(frozen=True)
class Architecture:
    """The settings of the model: its sizes, where its norms stand, and whatever else it varies by."""

    emb: int = _model(16, "Numbers that represent a token.", short="-e", low=1)
    head: int = _model(4, "Attention heads; they divide emb.", low=1)
    layer: int = _model(1, "Blocks of attention and MLP.", short="-y", low=1)
    ctx: int = _model(16, "Positions that the model can look back on.", short="-c", low=1)
    ff: int = _model(4, "The MLP is ff times as wide as emb.", short="-f", low=1)
    norm_embeddings: bool = _model(True, "RMSNorm on the summed embeddings.")
    norm_head: bool = _model(False, "RMSNorm before the head.")
    position: Position = _model(
        "learned",
        "How a token's place is told: learned numbers added to its embedding, or rotary turns of queries and keys.",
        choices=("learned", "rotary"),
        since="0.1",
    )
    activation: Activation = _model(
        "relu", "Activation of the MLP: relu, or relu2, its square.", choices=("relu", "relu2"), since="0.1"
    )
    tied: bool = _model(False, "The head reads with the embedding's own numbers.", since="0.1")


@dataclass(frozen=True)
class _Vocabulary:
    vocabulary: int


@dataclass(frozen=True)
class ModelConfig(Architecture, _Vocabulary):
    """The function that every engine computes, for a text of so many token ids. Raises `UsageError`."""

    def __post_init__(self) -> None:
        for name in ("vocabulary", "emb", "head", "layer", "ctx", "ff"):
            size = plain(int, getattr(self, name))
            if type(size) is not int or size < 1:
                raise UsageError(f"{name} must be a whole number of 1 or more, found {shown(size)}.")
            object.__setattr__(self, name, size)
        if self.emb % self.head:
            near = _near_divisor(self.emb, self.head)
            raise UsageError(
                f"emb must be a multiple of head, found --emb {self.emb} --head {self.head}; --head {near} would do."
            )
        if self.position == "rotary" and self.head_size % 2:
            raise UsageError(
                f"--position rotary turns pairs of numbers, so emb / head must be even, found --emb {self.emb} "
                f"--head {self.head}; --emb {2 * self.emb} would do."
            )

    @property
    def head_size(self) -> int:
        """Numbers of a token that one head sees."""
        return self.emb // self.head

    @property
    def wide(self) -> int:
        """Width of the MLP."""
        return self.ff * self.emb


@dataclass(frozen=True)
class _Schedule:
    steps: int = _schedule(1000, "Adam updates.", short="-s", low=1)
    batch: int = _schedule(1, "Documents in each step.", low=1)
    lr: float = _schedule(0.01, "Highest learning rate; the default is lower for emb above 16.", short="-l", above=0)
    beta1: float = _schedule(0.85, "Adam's decay of the mean gradient.", low=0, high=0.999999)
    beta2: float = _schedule(0.99, "Adam's decay of the mean squared gradient.", low=0, high=0.99999999)
    warmup: int = _schedule(0, "Steps over which the learning rate rises to --lr.", low=0)
    decay: Decay = _schedule(
        "linear", "How the learning rate falls after the warm-up.", choices=("linear", "cosine", "constant", "cooldown")
    )
    weight_decay: float = _schedule(
        0.0, "Share of each weight, times the learning rate, that a step takes off.", low=0, since="0.1"
    )
    seed: int = _schedule(42, "Seed of weights, order and samples.", low=0)
    initial: Initial = _schedule("gauss", "Distribution of the first weights.", choices=("uniform", "gauss"))
    initial_scale: float = _schedule(
        0.08, "Standard deviation (gauss) or half-width (uniform) of the first weights.", above=0
    )


@dataclass(frozen=True)
class Settings(Architecture, _Schedule):
    """All that determines a training besides its data, its engine and its folder. Raises `UsageError`."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, check(field, getattr(self, field.name)))
        if self.warmup > self.steps:
            raise UsageError(f"warmup must not exceed steps, found --warmup {self.warmup} --steps {self.steps}.")
        self.model(vocabulary=1)

    def model(self, vocabulary: int) -> ModelConfig:
        """The part that engines see, for a text of so many token ids."""
        return ModelConfig(vocabulary, **{name: getattr(self, name) for name in ARCHITECTURE})


def variations(model: Architecture) -> dict[str, Any]:
    """The settings by which a model differs from the model of symmetry.py's page, which every engine and export
    computes: those that came later, at another value than before."""
    later = (field for field in dataclasses.fields(Architecture) if field.metadata["since"])
    values = ((field, getattr(model, field.name)) for field in later)
    return {field.name: value for field, value in values if value != field.metadata["before"]}


ARCHITECTURE: Final = tuple(declared.name for declared in dataclasses.fields(Architecture))
SETTINGS: Final = tuple(declared.name for declared in dataclasses.fields(Settings))


def stated(kind: "type[DataclassInstance]", values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a configuration as files and identities hold them: a setting that came later only where it differs
    from what was before."""
    old = {field.name: field.metadata["before"] for field in dataclasses.fields(kind) if field.metadata.get("since")}
    return {name: value for name, value in values.items() if name not in old or value != old[name]}


def usual_rate(emb: int) -> float:
    """The highest learning rate that suits a width: 0.01 at 16 and, as sweeps/learning-rate.toml found, in inverse
    proportion above it.

    >>> usual_rate(16), usual_rate(128)
    (0.01, 0.00125)
    """
    return float(f"{0.16 / max(16, emb):.3g}")


def _near_divisor(emb: int, head: int) -> int:
    """A number of heads close to the one asked for that divides emb; 1 always does."""
    around = range(1, 1 + min(emb, 2 * head, 1 << 12))
    return min((heads for heads in around if emb % heads == 0), key=lambda heads: abs(heads - head))


def flag(name: str) -> str:
    """The flag of a field: `norm_head` is `--norm-head`."""
    return "--" + name.replace("_", "-")


def counted(number: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "run"), counted(2000, "run")
    ('1 run', '2,000 runs')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def shown(value: object) -> str:
    """A wrong value as a message repeats it: in one line, and of a size that a person reads.

    >>> shown("a" * 1000)[:-1] == repr("a" * 1000)[:80]
    True
    """
    try:
        text = repr(value[: 2 * LONGEST_SHOWN] if isinstance(value, str) else value)
    except ValueError:  # Python refuses to write out a whole number of more than 4300 digits
        return "a number of more than 4000 digits"
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"


def _length(number: int) -> str:
    """A whole number that is too large, by its digits; Python itself refuses to write out one of more than 4300."""
    known = abs(number) < 10**4000
    return f"a number of {len(str(abs(number))) if known else 'more than 4000'} digits"


_WIDER: Final[dict[Any, Any]] = {int: Integral, float: Real}


def plain(kind: type, value: Any) -> Any:
    """A value of NumPy's or another's types as Python's own `kind`, which JSON and files can hold; else as it is.

    Whole numbers are all that are `Integral`, numbers all that are `Real`; on and off are none of them.

    >>> from fractions import Fraction
    >>> plain(float, Fraction(1, 4)), plain(float, 3), plain(int, True)
    (0.25, 3.0, True)
    """
    if kind is bool:
        return bool(value) if str(getattr(value, "dtype", "")) == "bool" and not value.shape else value
    if isinstance(value, bool) or not isinstance(value, _WIDER.get(kind, kind)):
        return value
    if kind is str:
        return str.__str__(value)
    if kind is int or (isinstance(value, Integral) and abs(int(value)) > LARGEST_NUMBER):  # which the bounds refuse
        return int(value)
    try:
        return float(value)
    except OverflowError:
        return math.inf


def check(field: "dataclasses.Field[Any]", value: Any) -> Any:
    """The value as it is stored. Raises `UsageError` when it has not the type of the field's default or is out of its
    bounds."""
    if value is None and field.default is None:
        return None
    kind: Any = field.metadata["kind"]
    value = plain(kind, value)
    if type(value) is not kind and not (kind is float and type(value) is int):
        raise UsageError(f"{flag(field.name)} takes {_describe(kind)}, found {shown(value)}.")
    choices = field.metadata["choices"]
    if choices and value not in choices:
        told = f"{', '.join(choices)}; found {shown(value)}"
        raise UsageError(f"{flag(field.name)} takes {told}. Did you mean {nearest(value, choices, 0)}?")
    if kind in (int, float):
        _check_bounds(field.name, value, field.metadata["bounds"])
    return value


def _check_bounds(name: str, value: float, bounds: dict[str, float | None]) -> None:
    low, high, above = bounds["low"], bounds["high"], bounds["above"]
    if isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        raise UsageError(f"{flag(name)} must be {LARGEST_NUMBER:,} or less, found {_length(value)}.")
    if not math.isfinite(value):
        raise UsageError(f"{flag(name)} must be a finite number, found {value}.")
    if low is not None and value < low:
        raise UsageError(f"{flag(name)} must be {low:g} or more, found {value}.")
    if above is not None and value <= above:
        raise UsageError(f"{flag(name)} must be above {above:g}, found {value}.")
    if high is not None and value > high:
        raise UsageError(f"{flag(name)} must be {high:.10g} or less, found {value}.")


def _describe(kind: type) -> str:
    return {int: "a whole number", float: "a number", bool: "on or off (--no-…)", str: "a word"}[kind]
