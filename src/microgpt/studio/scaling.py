"""The store of a sweep as JSON for the page Scaling: read when it changed, and never held open.

A page asks every few seconds, naming what it has seen. Whether the store changed is told by the time and size of its
file alone: opening it each time would stand in the way of the sweep that writes it, and closing any other handle on it
would drop the locks of SQLite in this process.
"""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from microgpt.errors import EnvironmentFault, StoreError
from microgpt.studio.kept import Kept

if TYPE_CHECKING:
    from microgpt.lab.store.record import RunRecord

EMPTY: Final = "There are no runs of a sweep yet. Begin one here, and watch the page fill."
STARTED: Final = "The sweep has no finished runs with a held-out loss yet; they appear here as they come."
SETTLED: Final = 0.1  # seconds: clocks of file systems tick a hundred times a second
NOTHING: Final[dict[str, Any]] = {"points": [], "lines": [], "tables": [], "warnings": [], "sweeps": [], "runs": 0}


class Scaling:
    """What the page shows of one store. Answers are kept, so that several tabs and every look share the work."""

    def __init__(self, store: Path) -> None:
        self._store = store
        self._shown: Kept[dict[str, Any]] = Kept(4)
        self._laws: Kept[dict[str, Any]] = Kept(4)
        self._reading = threading.Lock()  # one at a time: a handle that closes drops the locks of the other

    def show(self, sweep: str = "", seen: str = "") -> dict[str, Any]:
        """Points, lines, tables and warnings of a sweep (the one that was busy last, where none is named), or the
        sentence that says why there are none; {"stamp"} alone where the store is still as it was `seen`."""
        stamp = self._stamp()
        if stamp is None:
            return {**NOTHING, "sentence": EMPTY, "stamp": ""}
        if seen == stamp:
            return {"stamp": stamp}
        try:
            return self._shown.get((stamp, sweep), lambda: {**self._read(sweep), "stamp": stamp})
        except (StoreError, EnvironmentFault) as error:  # in use, damaged, or SciPy is missing: tried again later
            return {**NOTHING, "sentence": self._plain(error), "stamp": ""}

    def law(self, sweep: str = "") -> dict[str, Any]:
        """The law of a sweep as curves and a table, and the best sizes for budgets; or why there are none."""
        stamp = self._stamp()
        if stamp is None:
            return {"reason": EMPTY}
        try:
            return self._laws.get((stamp, sweep), lambda: self._fit(sweep))
        except (StoreError, EnvironmentFault) as error:
            return {"reason": self._plain(error)}

    def _stamp(self) -> str | None:
        """Another one whenever the store has changed; None where there is none."""
        try:
            found = self._store.stat()
        except OSError:
            return None
        young = "" if time.time() - found.st_mtime > SETTLED else "+"  # it may change again and keep its time and size
        return f"{found.st_mtime_ns}-{found.st_size}{young}"

    def _read(self, sweep: str) -> dict[str, Any]:
        from microgpt.studio.scaling_points import shown

        sweeps, chosen, records = self._records(sweep)
        found = shown(chosen, records) if records else NOTHING
        sentence = "" if found["points"] else STARTED
        return {**found, "sweeps": sweeps, "sweep": chosen, "sentence": sentence, "runs": len(records)}

    def _fit(self, sweep: str) -> dict[str, Any]:
        from microgpt.studio.scaling_laws import law_of, mark_of

        _, chosen, records = self._records(sweep)
        return {**law_of(chosen, records), "counts": mark_of(records)}

    def _records(self, sweep: str) -> tuple[list[str], str, "list[RunRecord]"]:
        """The sweeps that have runs, the one to show, and its runs."""
        from microgpt.lab.store.store import Store

        with self._reading, Store.open(self._store) as store:
            every = store.records()
            there = {name for run in every for name in run.sweeps}
            sweeps = [name for name in store.sweeps() if name in there]
            newest = next((name for run in reversed(every) for name in run.sweeps), "")
            chosen = sweep if sweep in there else newest
            return sweeps, chosen, store.records(chosen) if chosen else every

    def _plain(self, error: Exception) -> str:
        """Without the folder, which is nobody's business on a shared screen."""
        text = " ".join(str(error).split())
        return text.replace(str(self._store), self._store.name)
