"""Named settings, each with its command, the held-out loss to expect and the time it takes. This module is data.

A recipe only fills in what nobody asked for: `resolve` lays the person's own settings over it. Nothing here imports
numpy, because the command line's help lists the recipes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from microgpt.errors import UsageError, nearest
from microgpt.model.settings import ARCHITECTURE, LONGEST_SHOWN, SETTINGS, Settings, flag, plain, shown, usual_rate
from microgpt.training.pace import time_of
from microgpt.training.request import REQUESTED, Request

if TYPE_CHECKING:
    from microgpt.training.checkpoint import Checkpoint


@dataclass(frozen=True)
class Expected:
    """What the recipe's command gave: mean and standard deviation over seeds of the held-out loss, its mean mixed with
    counts, what the best table alone scores, seconds in all, and where that was measured. None where it was not."""

    holdout: float | None = None
    mixed: float | None = None
    counts: float | None = None
    spread: float | None = None
    seeds: int = 0
    seconds: float | None = None
    measured: str = ""


@dataclass(frozen=True)
class Recipe:
    """A request under a name, and what to expect of it."""

    request: Request
    summary: str
    command: str
    expected: Expected = field(default_factory=Expected)

    @property
    def name(self) -> str:
        return self.request.recipe

    @property
    def told(self) -> str:
        """What it is for, its command, and what that came to."""
        losses = {"held-out loss": self.expected.holdout, "with counts": self.expected.mixed}
        losses |= {"counts alone": self.expected.counts}
        found = [f"{name} {loss:.3f}" for name, loss in losses.items() if loss is not None]
        found += [f"{self.expected.seconds:g} s"] if self.expected.seconds else []
        return f"{self.summary} {', '.join(found)}: {self.command}"


DEFAULT: Final = Recipe(
    Request(
        recipe="default",
        settings=Settings(lr=0.01, norm_embeddings=True, norm_head=False),
        holdout=0.1,
    ),
    summary="Small and fast. One tenth of the text is kept for testing.",
    command="microgpt train",
    expected=Expected(holdout=2.3646, spread=0.0064, seeds=8, seconds=0.8, measured="sweeps/norms.toml, 2026-11-22"),
)

KARPATHY: Final = Recipe(
    Request(
        recipe="karpathy",
        settings=Settings(lr=0.01, norm_embeddings=True, norm_head=False, initial="gauss", initial_scale=0.08),
        golden=True,
        order="shuffled",
        holdout=0.0,
    ),
    summary="Karpathy's microgpt.py, number for number; nothing is kept for testing.",
    command="microgpt train --recipe karpathy",
    expected=Expected(seconds=0.8, measured="docs/BENCHMARKS.md, 2026-11-22"),  # it holds nothing out
)

ARTISTIC: Final = Recipe(
    Request(
        recipe="artistic",
        settings=Settings(lr=0.005, norm_embeddings=False, norm_head=True, initial="uniform", initial_scale=0.1),
        golden=True,
        order="fixed",
        holdout=0.0,
    ),
    summary="The Rust original, number for number; nothing is kept for testing.",
    command="microgpt train --recipe artistic",
    expected=Expected(seconds=0.8, measured="docs/BENCHMARKS.md, 2026-11-22"),  # it holds nothing out
)

NAMES_GOOD: Final = Recipe(
    Request(
        recipe="names-good",
        settings=Settings(
            steps=21_000,
            batch=16,
            lr=0.005,
            beta1=0.9,
            weight_decay=0.05,
            warmup=1050,
            emb=64,
            layer=3,
            position="rotary",
            activation="swiglu",
        ),
        mix=0.5,
    ),
    summary="Names and other short lines: the best of ten seconds.",
    command="microgpt train --recipe names-good --threads 2",
    expected=Expected(
        holdout=1.9597,
        mixed=1.9282,
        counts=1.9963,
        spread=0.0017,
        seeds=3,
        seconds=6.9,
        measured="bench/your_text.py, 2026-11-29; mixed 2026-11-30",
    ),
)

PROSE_SMALL: Final = Recipe(
    Request(
        recipe="prose-small",
        settings=Settings(
            steps=1_225,
            batch=16,
            lr=0.004,
            beta1=0.9,
            weight_decay=0.3,
            warmup=61,
            emb=96,
            layer=2,
            ctx=64,
            position="rotary",
            activation="swiglu",
        ),
        tokens="bpe:1024",
        data=("shakespeare",),
        documents="windows",
        mix=0.5,
    ),
    summary="Running text of 300,000 characters or more: the best of ten seconds.",
    command="microgpt train --recipe prose-small --threads 2",
    expected=Expected(
        holdout=1.5804,
        mixed=1.5147,
        counts=1.5513,
        spread=0.0079,
        seeds=3,
        seconds=8.8,
        measured="bench/your_text.py, 2026-11-29; mixed 2026-11-30",
    ),
)

PROSE_GOOD: Final = Recipe(
    Request(
        recipe="prose-good",
        settings=Settings(
            steps=3_300,
            batch=16,
            lr=0.003,
            beta1=0.9,
            weight_decay=0.5,
            warmup=165,
            emb=128,
            layer=3,
            ctx=64,
            position="rotary",
            activation="swiglu",
        ),
        tokens="bpe:1024",
        data=("shakespeare",),
        documents="windows",
        mix=0.5,
    ),
    summary="Running text of 500,000 characters or more: the best of a minute.",
    command="microgpt train --recipe prose-good --threads 2",
    expected=Expected(
        holdout=1.4973,
        mixed=1.4805,
        counts=1.5513,
        spread=0.0085,
        seeds=3,
        seconds=47,
        measured="bench/your_text.py, 2026-11-29; mixed 2026-11-30",
    ),
)

CODE_GOOD: Final = Recipe(
    Request(
        recipe="code-good",
        settings=Settings(
            steps=3_300,
            batch=16,
            lr=0.003,
            beta1=0.9,
            weight_decay=1.0,
            warmup=165,
            emb=128,
            layer=3,
            ctx=64,
            position="rotary",
            activation="swiglu",
        ),
        tokens="bpe:1024",
        documents="windows",
        mix=0.5,
    ),
    summary="Programs of 500,000 characters or more, given with --data; measured on Python's standard library.",
    command="microgpt train --recipe code-good --data my-text.txt --threads 2",
    expected=Expected(
        holdout=1.2376,
        mixed=1.1213,
        counts=1.2307,
        seeds=1,
        seconds=98,
        measured="bench/your_text.py, 2026-11-30",
    ),
)

RECIPES: Final[dict[str, Recipe]] = {
    recipe.name: recipe for recipe in (DEFAULT, KARPATHY, ARTISTIC, NAMES_GOOD, PROSE_SMALL, PROSE_GOOD, CODE_GOOD)
}


GENTLER: Final = 0.2  # of the usual learning rate, for weights that have learned another text


def find(name: str) -> Recipe:
    """The recipe of this name. Raises `UsageError` with the nearest one."""
    if name not in RECIPES:
        told = f"{', '.join(RECIPES)}; found {shown(name)}"
        raise UsageError(f"--recipe takes {told}. Did you mean {nearest(str(name), RECIPES, 0)}?")
    return RECIPES[name]


def resolve(recipe: str = "default", overrides: Mapping[str, Any] | None = None) -> Request:
    """The request of a recipe with a person's own settings over it, by the names of their flags. The default recipe's
    learning rate follows the size, unless one is given.

    Raises `UsageError` for a setting that there is not, or a value that can't be.

    >>> resolve("artistic", {"steps": 50, "holdout": 0.1}).settings.lr
    0.005
    """
    overrides = dict(overrides or {})
    for name in overrides:
        if name not in SETTINGS and name not in REQUESTED:
            near = nearest(name, (*SETTINGS, *REQUESTED), 0)
            raise UsageError(f"{flag(name)[:LONGEST_SHOWN]} is no setting of a training. Did you mean {flag(near)}?")
    base = find(recipe).request
    settings = replace(base.settings, **{name: value for name, value in overrides.items() if name in SETTINGS})
    if base.recipe == "default" and "lr" not in overrides:
        settings = replace(settings, lr=usual_rate(settings.emb))
    return replace(base, settings=settings, **{name: v for name, v in overrides.items() if name in REQUESTED})


def beginning(first: "Checkpoint", given: Mapping[str, Any]) -> dict[str, Any]:
    """What is given, and the sizes and tokens of a model whose weights a training begins with, and unless a rate or a
    recipe is given, a lower learning rate than usual."""
    from microgpt.data.token_folder import is_token_folder

    same = {name: getattr(first.model, name) for name in ARCHITECTURE}
    if not any(map(is_token_folder, given.get("data", ()))):  # which has its own
        same["tokens"] = first.tokenizer.tokens
    if given.get("recipe", "default") == "default":
        same["lr"] = GENTLER * usual_rate(first.model.emb)
    return same | dict(given)


def seconds_of(time: object) -> float:
    """Seconds of a time such as "90", "60s", "10m" or "1.5h", or of a number of them. Raises `UsageError`.

    >>> seconds_of("10m"), seconds_of(90)
    (600.0, 90.0)
    """
    try:
        amount, unit = time_of(time if isinstance(time, str) else str(plain(float, time)))
        return amount * (unit or 1)
    except ValueError:
        raise UsageError(f"--for takes a time such as 60s, 10m or 1h, found {shown(time)}.") from None
