"""Parameters of a request as what they mean."""

import math
from typing import Any

from microgpt.errors import UsageError


def whole(parameters: dict[str, Any], name: str, default: int | None = None) -> int | None:
    """A parameter that is a whole number, or `default` where it is missing. Raises `UsageError`."""
    text = str(parameters.get(name, ""))
    if not text:
        return default
    if not (text.isascii() and text.removeprefix("-").isdigit() and len(text) <= 12):
        raise UsageError(f"{name}: expected a whole number, found {text[:20]!r}; correct it.")
    return int(text)


def places(parameters: dict[str, Any], name: str) -> list[int]:
    """The whole numbers of `3.14.15`; what is none, or larger than any here, is left out."""
    found = str(parameters.get(name, "")).split(".")
    return [int(each) for each in found if each.isascii() and each.isdigit() and len(each) <= 9]


def numbers(text: str) -> dict[str, float]:
    """`a=2,b=-3` as numbers by name. Raises `UsageError`."""
    found: dict[str, float] = {}
    for pair in filter(None, text[:2000].split(",")):
        name, _, value = pair.partition("=")
        try:
            found[name.strip()] = float(value)
        except ValueError:
            raise UsageError(f"{name[:20]}: expected a number such as 2 or -0.5, found {value[:20]!r}.") from None
        if not math.isfinite(found[name.strip()]):
            raise UsageError(f"{name[:20]}: expected a finite number, found {value[:20]!r}.")
    return found
