"""The store of a sweep as JSON for the page Scaling.

A point is what all runs of the same settings gave: {"levels": {axis: level}, "params", "mean", "low", "high", "seeds",
"samples", "runs"}. Beside the points stand fitted laws as curves, tables and warnings; each may be missing.
"""

from pathlib import Path
from typing import Any, Final

EMPTY: Final = (
    "There is no store of runs yet. A sweep makes one: run “microgpt sweep steps” in another terminal, "
    "and open the studio with --store lab.db."
)


def scaling(store: Path | None) -> dict[str, Any]:
    """What the page shows of a store, or the sentence that says how to make one."""
    return {"points": [], "laws": [], "tables": [], "warnings": [], "sentence": EMPTY, "store": store and str(store)}
