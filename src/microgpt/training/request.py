"""All that a training is asked for. Each field bears the name of its flag; this module imports no numpy."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar

from microgpt.data.choices import KINDS, NORMALIZATIONS, size_of
from microgpt.errors import CheckpointError, UsageError
from microgpt.model.settings import SCIENTIFIC_GROUPS, SETTINGS, Settings, check, setting, shown, stated

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Revived = TypeVar("Revived", bound="DataclassInstance")

TEMPERATURE: Final = (
    "Above 1 samples are wilder, below 1 tamer; 0 takes the likeliest token.  [default: 0.5, of running text 0.8]"
)
MIX: Final = "Share of a table of counts of the text in each prediction; 0 is the model alone."
TOKENS: Final = "What a token is: characters, bytes, or bpe:N for N tokens of byte pairs, learned from the text."
Order = Literal["shuffled", "fixed"]
Select = Literal["last", "best"]

_text: Final = partial(setting, group="text")
_selection: Final = partial(setting, group="selection")  # a sweep compares the weights of the last steps
_computing: Final = partial(setting, group="computing")
_place: Final = partial(setting, group="place")


@dataclass(frozen=True)
class Request:
    """A training: settings, text, engine, folder. Raises `UsageError`.

    With `golden` one random stream serves order, weights and samples, as data/README.md of the golden runs tells;
    otherwise each has a stream of its own. `order` is "fixed" where documents come in file order. An empty `out`
    writes no folder at all.
    """

    settings: Settings = field(default_factory=Settings)
    recipe: str = setting("default", "Named settings to begin with; flags override them.", group="recipe")
    golden: bool = _text(False, "Use one random stream for everything, as the golden runs do.", flag=False)
    order: Order = _text(  # noqa: RUF009
        "shuffled", "Order of the documents.", choices=("shuffled", "fixed"), flag=False
    )
    data: tuple[str, ...] = _text(  # the identity has its hash
        ("names",),
        "A built-in text, files, folders, or - for standard input.",
        identity=False,
        axis=True,
        resume=True,
    )
    documents: str = _text("auto", "What one document is.", choices=("auto", *KINDS))
    encoding: str = _text("utf-8", "Encoding of the text.")
    normalize: str = _text("nfc", "Unicode normalisation.", choices=NORMALIZATIONS)
    tokens: str = _text("characters", TOKENS, since="0.1")
    holdout: float = _text(0.1, "Share of the documents held out.", low=0, high=0.99)
    split_seed: int = _text(0, "Seed of the split.", low=0)
    engine: str = _computing("auto", "Engine that computes; `microgpt engines` lists them.", identity=True)
    precision: str = _computing("auto", "Bits of each number.", choices=("auto", "32", "64", "bf16"), identity=True)
    threads: int = _computing(1, "Threads of the engine.", low=1)
    device: str = _computing("cpu", "Device of the engine torch: cpu, cuda, cuda:N, mps, or auto for the best.")
    name: str = _place("", "Name of the run folder (default: date, time and text).")
    out: str = _place("runs", "Folder of the run folders.")
    save_every: int = _place(0, "Steps between saves (default: every few seconds).", low=0)
    keep: str = _place("", "Keep the weights of earlier steps: every:N.")
    eval_every: int = _place(0, "Steps between held-out losses (default: only at the end).", low=0)
    eval_documents: int = _selection(
        0, "Held-out documents in each evaluation during training (default: all).", low=0, since="0.1"
    )
    select: Select = _selection(  # noqa: RUF009
        "last",
        "Weights to keep at the end: those of the last step, or of the best held-out loss.",
        choices=("last", "best"),
        since="0.1",
    )
    patience: int = _selection(
        0, "Stop training after so many held-out losses in a row without improvement.", low=0, since="0.1"
    )
    mix: float = _place(0.0, MIX, low=0, high=1, since="0.1")
    samples: int = _place(20, "Samples to write at the end.", low=0, high=100_000)
    temperature: float | None = _place(None, TEMPERATURE, kind=float, low=0)

    def __post_init__(self) -> None:
        for declared in dataclasses.fields(self):
            if declared.name not in ("settings", "data"):
                object.__setattr__(self, declared.name, check(declared, getattr(self, declared.name)))
        if not self.data or not all(isinstance(source, str) and source for source in self.data):
            raise UsageError(f"--data takes a built-in text, files or folders, found {self.data!r}.")
        self._check_name()
        self._check_selection()
        _ = self.keep_every
        size_of(self.tokens)

    @property
    def keep_every(self) -> int:
        """Steps between the weights that are kept; 0 keeps none."""
        kind, _, number = self.keep.partition(":")
        if not self.keep:
            return 0
        digits = number if number.isascii() and number.isdigit() and len(number) < 16 else "0"
        if kind != "every" or not int(digits):
            raise UsageError(f"--keep takes every:N with N of 1 or more, found {self.keep!r}; every:100 would do.")
        return int(digits)

    def _check_selection(self) -> None:
        """Choosing among held-out losses needs some."""
        if (self.select == "best" or self.patience) and not self.eval_every:
            name = "--patience" if self.patience else "--select best"
            every = max(1, self.settings.steps // 20)
            raise UsageError(f"{name} compares held-out losses, found no --eval-every; --eval-every {every} would do.")
        if (self.select == "best" or self.patience) and not self.holdout:
            raise UsageError("--select best and --patience compare held-out losses, found --holdout 0; 0.1 is usual.")

    def _check_name(self) -> None:
        name = self.name
        if name.startswith(".") or any(mark in name for mark in "/\\:\0") or not name.isprintable() or len(name) > 128:
            raise UsageError(
                "--name takes a plain name of at most 128 characters, without / \\ : and not beginning with a dot, "
                f"found {name[:140]!r}; put the folder into --out."
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without the run's place on this machine."""
        values = dataclasses.asdict(self)
        return {key: value for key, value in values.items() if key not in _PRIVATE} | {"data": list(self.data)}

    def stated(self) -> dict[str, Any]:
        """The same as a file holds it: settings that came later only where they change something."""
        values = self.to_dict()
        return stated(Request, values) | {"settings": stated(Settings, values["settings"])}

    @staticmethod
    def from_dict(values: Mapping[str, Any]) -> "Request":
        """The inverse of `to_dict` and `stated`, for untrusted values. Raises `CheckpointError`."""
        request = dict(values)
        try:
            request["settings"] = revive(Settings, request.get("settings"))
            data = request.get("data")
            if not isinstance(data, list):
                raise CheckpointError(f"data: expected a list, found {type(data).__name__}; the file is damaged.")
            return revive(Request, request | {"data": tuple(data), "name": "", "out": ""})
        except (UsageError, OverflowError) as error:
            raise CheckpointError(
                f"expected valid settings, found: {str(error)[:200]} The file is damaged, or newer."
            ) from None


_PRIVATE: Final = ("name", "out")  # a folder knows its place; a checkpoint that is shared should not
DECLARED: Final[dict[str, "dataclasses.Field[Any]"]] = {
    declared.name: declared
    for kind in (Settings, Request)
    for declared in dataclasses.fields(kind)
    if declared.name != "settings"
}


def having(fact: str, *values: object) -> tuple[str, ...]:
    """The settings of which a declared fact has one of these values, or is on."""
    return tuple(name for name, declared in DECLARED.items() if declared.metadata[fact] in (values or (True,)))


REQUESTED: Final = tuple(name for name in having("flag") if name not in (*SETTINGS, "recipe"))
SCIENTIFIC: Final = tuple(name for name in having("group", *SCIENTIFIC_GROUPS) if DECLARED[name].metadata["identity"])
COMPUTING: Final = having("group", "computing")  # it may change on resume, and the resumed run says so
FREE: Final = having("resume")  # where a run is kept, how often it is saved and what is shown
BEFORE: Final = {  # what files meant that are older than a setting
    name: declared.metadata["before"] for name, declared in DECLARED.items() if declared.metadata["since"]
}
SWEEP_AXES: Final = having("axis")  # what a sweep may vary


def revive(kind: type[Revived], values: object) -> Revived:
    """A dataclass from untrusted values: every field that the version which wrote them had, and no other.

    Raises `CheckpointError`, which for a setting that is not known says that a newer version wrote it, or what `kind`
    raises.
    """
    if not isinstance(values, Mapping):
        raise CheckpointError(f"expected the fields of {kind.__name__}, found no JSON object; the file is damaged.")
    declared = {field.name: field.metadata for field in dataclasses.fields(kind)}
    if unknown := sorted(str(name) for name in values if name not in declared):
        told = shown(", ".join(unknown[:5]))
        raise CheckpointError(f"made by a newer version of microgpt: it sets {told}, which this one does not know.")
    missing = {name: facts for name, facts in declared.items() if name not in values}
    if lost := [name for name, facts in missing.items() if not facts.get("since")]:
        raise CheckpointError(
            f"expected all fields of {kind.__name__}, found none for {', '.join(lost[:5])}; the file is damaged."
        )
    return kind(**values, **{name: facts["before"] for name, facts in missing.items()})
