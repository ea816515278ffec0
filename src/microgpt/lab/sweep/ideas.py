"""An ablation: each idea by itself, and all together, against one base. To add an idea, add a line to `IDEAS`."""

from typing import Any, Final, Literal

from microgpt.lab.sweep.design import Design, Level
from microgpt.lab.sweep.tuning import FACTOR, Tuning
from microgpt.model.settings import usual_rate
from microgpt.training.request import DECLARED, SWEEP_AXES

Equal = Literal["time", "steps"]

_WANTED: Final[dict[str, Level]] = {
    "rotary positions": {"position": "rotary"},
    "SwiGLU": {"activation": "swiglu"},
    "weight decay": {"weight_decay": 0.3},
    "byte pairs": {"tokens": "bpe:512"},
    "all of them": {"position": "rotary", "activation": "swiglu", "weight_decay": 0.3, "tokens": "bpe:512"},
}
IDEAS: Final = {name: changes for name, changes in _WANTED.items() if changes.keys() <= set(SWEEP_AXES)}
CHANGED: Final = tuple(dict.fromkeys(name for changes in IDEAS.values() for name in changes))  # settings
SWEEPS: Final[dict[Equal, str]] = {"time": "ideas", "steps": "ideas-steps"}
SEEDS: Final = 5
USUAL: Final[Level] = {"steps": 5_000, "emb": 32, "head": 4, "layer": 2}


def ideas(base: Level | None = None, equal: Equal = "time") -> Design:
    """The design, with settings of the base over those of `USUAL`. Each idea gets a rate of its own, sought around the
    usual one of this size. Its steps are the base's, until equal_time.py gives it others."""
    shared = {**USUAL, **(base or {})}
    rate = usual_rate(max(1, shared["emb"]))
    return Design(
        SWEEPS[equal],
        base={**shared, "lr": rate},
        levels=({}, *IDEAS.values()),
        seeds=tuple(range(SEEDS)),
        tuning=Tuning(rates=(rate / FACTOR, rate, rate * FACTOR)),
    )


def named(settings: Level) -> str:
    """What settings are called by the ideas in them: nothing for the base.

    >>> named({"activation": "swiglu"}), named({"activation": "swiglu", "weight_decay": 0.1}), named({"steps": 10})
    ('SwiGLU', 'activation swiglu, weight_decay 0.1', '')
    """
    changes: dict[str, Any] = {
        name: settings[name] for name in CHANGED if settings.get(name, DECLARED[name].default) != DECLARED[name].default
    }
    known = (name for name, idea in IDEAS.items() if idea == changes)
    return next(known, ", ".join(f"{name} {value}" for name, value in changes.items()))
