"""The form that a person asks for: by its name, and with the parameters that are not to be fitted."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from microgpt.errors import UsageError
from microgpt.lab.laws.form import EXPONENTS, FORMS, LETTERS, Form
from microgpt.model.settings import shown


def form(name: str, held: Sequence[str] = ()) -> Form:
    """The form of a name; `held` are parameters that are not fitted, as `alpha=0.34` or `alpha=beta`. Raises
    `UsageError`."""
    if name not in FORMS:
        raise UsageError(f"--form takes {', '.join(FORMS)}; found {name!r}.")
    found, fixed, tied = FORMS[name], dict[str, float](), dict[str, str]()
    able = [each for each in found.names if each not in {letters[0] for letters in LETTERS.values()}]
    for text in held:
        one, _, other = (part.strip() for part in text.partition("="))
        if one not in able or one in {**fixed, **tied}:
            raise UsageError(f"--fix takes each of {', '.join(able)} once, as alpha=0.34; found {shown(text)}.")
        if {one, other} == {"alpha", "beta"} <= {*able}:
            tied[one] = other
            continue
        value = _positive(other)
        if value is None:
            tie = ", or alpha=beta" if {"alpha", "beta"} <= {*able} else ""
            raise UsageError(f"--fix takes a number above 0 as in {one}=0.34{tie}; found {shown(text)}.")
        fixed[one] = value if one in EXPONENTS else float(np.log(value))
    if len(tied) > 1:
        raise UsageError("--fix ties alpha and beta once: alpha=beta or beta=alpha.")
    if any({*pair} & {*fixed} for pair in tied.items()):
        raise UsageError("--fix both ties and fixes alpha or beta; give one, or both numbers.")
    return replace(found, fixed=tuple(fixed.items()), tied=tuple(tied.items()))


def _positive(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 < value < 1e100 else None
