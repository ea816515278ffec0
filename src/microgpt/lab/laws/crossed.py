"""Which sweeps of a store a law can be fitted to: those whose runs differ in size, length and seed alone."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.laws.doubts import check_design
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import points
from microgpt.lab.laws.table import RunTable, table
from microgpt.lab.statistics.series import usable
from microgpt.lab.store.record import RunRecord

VARIED: Final = ("steps", "warmup", "lr", "seed", "emb", "head", "layer", "ff")  # what runs of one law may differ in
NOTHING: Final = "there are no finished runs with a held-out loss; `microgpt sweep laws` makes some"


def crossed_sweeps(records: Sequence[RunRecord]) -> tuple[dict[str, RunTable], str]:
    """The sweeps that carry the full law, the one of most runs first, and why the largest of the others does not."""
    every = {name for sweeps in {run.sweeps for run in records} for name in sweeps}
    runs = {name: [run for run in records if name in run.sweeps] for name in every}
    names = [name for name, members in runs.items() if any(map(usable, members))]
    found: dict[str, RunTable] = {}
    reason = "" if names else NOTHING
    for name in sorted(names, key=lambda name: (-len(runs[name]), name)):
        try:
            found[name] = checked(runs[name])
        except DataError as error:
            reason = reason or f"{name}: {error}"
    return found, reason


def checked(records: Sequence[RunRecord]) -> RunTable:
    """The points of a sweep. Raises `DataError` where they can't carry the full law, with what to do. The design is
    looked at first: it costs little, where a table has all its runs audited."""
    runs = [run for run in records if usable(run)]
    check_design(FORMS["full"], points([run.params for run in runs], [run.tokens for run in runs], np.ones(len(runs))))
    if mixed := _mixed(runs):
        raise DataError(
            f"its runs differ in {', '.join(mixed)} too, where a law takes size, length and seed alone; `microgpt "
            "sweep laws` crosses those."
        )
    return table(records)


def around(run: RunRecord) -> dict[str, object]:
    """What the runs of one law have in common."""
    kept = {name: value for name, value in run.settings.items() if name not in VARIED}
    return kept | {"data": run.data_sha256, "engine": run.engine, "precision": run.precision}


def _mixed(records: Sequence[RunRecord]) -> list[str]:
    """What the runs of one law should have in common and have not."""
    shared = [around(run) for run in records]
    return [name for name in shared[0] if len({repr(each.get(name)) for each in shared}) > 1]
