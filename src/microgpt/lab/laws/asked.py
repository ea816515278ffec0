"""The form that a person asks for: by its name, and with the parameters that are not to be fitted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from microgpt.errors import UsageError
from microgpt.lab.laws.form import EXPONENTS, FORMS, LETTERS, Form
from microgpt.model.settings import shown

LIMITS: Final = {"E": (1e-9, 1e3), "R": (1e-3, 1e9), "gamma": (0.01, 10.0)}
STEEPNESS: Final = (1e-4, 10.0)  # of an exponent
UNFIXED: Final = {letters[0] for letters in LETTERS.values()}  # coefficients, which move with the centre of the runs


def form(name: str, held: Sequence[str] = ()) -> Form:
    """The form of a name; `held` are parameters that are not fitted, as `alpha=0.34` or `alpha=beta`. Raises
    `UsageError`."""
    if name not in FORMS:
        raise UsageError(f"--form takes {', '.join(FORMS)}; found {name!r}.")
    found, fixed, tied = FORMS[name], dict[str, float](), dict[str, str]()
    able = [each for each in found.names if each not in UNFIXED]
    pair = {"alpha", "beta"} if {"alpha", "beta"} <= {*able} else set[str]()
    for text in held:
        one, _, other = (part.strip() for part in text.partition("="))
        if one not in able:
            others = [each.name for each in FORMS.values() if one in {*each.names} - UNFIXED]
            advice = f"; --form {others[0]} has it" if others else ""
            raise UsageError(f"--fix with --form {name} takes {', '.join(able)}; found {shown(text)}{advice}.")
        if one in fixed or tied.get(one) == other:
            raise UsageError(f"--fix takes {one} once; found {shown(text)} besides.")
        if {one, other} == pair:
            tied[one] = other
            continue
        low, high = LIMITS.get(one, STEEPNESS)
        value = _number(other)
        if value is None or not low <= value <= high:
            tie = f", or {one}={min(pair - {one})}" if one in pair else ""
            raise UsageError(f"--fix takes {one} as a number from {low:g} to {high:g}{tie}; found {shown(text)}.")
        fixed[one] = value if one in EXPONENTS else float(np.log(value))
    if len(tied) > 1:
        raise UsageError("--fix ties alpha and beta once: alpha=beta or beta=alpha.")
    if tied and pair & {*fixed}:
        raise UsageError("--fix both ties and fixes alpha or beta; give one, or both numbers.")
    return replace(found, fixed=tuple(fixed.items()), tied=tuple(tied.items()))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
