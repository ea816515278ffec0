"""From runs to the points of a law: which runs count, and how parameters are counted."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

import numpy as np

from microgpt.errors import DataError, UsageError, nearest
from microgpt.lab.audit import audit, sentence
from microgpt.lab.laws.points import Floats, Ints, Points, points
from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.schema import FACTS
from microgpt.model.settings import counted, shown

Counting = Literal["all", "no-embedding", "body"]
# what the audit of a store finds too, and this module or doubts.py says of a law
SAID_ELSEWHERE: Final = ("not held out", "mixed data", "few levels", "narrow range", "epochs", "few seeds")
MOST_GROUPS: Final = 50  # laws of one table
COUNTINGS: Final[tuple[Counting, ...]] = ("all", "no-embedding", "body")


@dataclass(frozen=True, eq=False)
class RunTable:
    """Points with where they are from, the parameters under each way of counting, and what was left out."""

    points: Points
    source: str
    counts: Mapping[str, Floats] = field(default_factory=dict)  # (points,) each
    seconds: Floats | None = None  # (points,) of training
    records: tuple[RunRecord, ...] = ()
    dropped: int = 0
    notes: tuple[str, ...] = ()  # warnings
    said: tuple[str, ...] = ()  # how a file was read
    labels: tuple[str, ...] = ()  # (points,) of a CSV, by which runs are paired

    @property
    def sha256(self) -> str:
        """What the law was fitted to, whatever the order of the runs: a hash of sizes, lengths and losses."""
        rows = np.stack([self.points.params, self.points.tokens, self.points.loss], axis=1)
        ordered = rows[np.lexsort(rows.T)]
        return hashlib.sha256(np.ascontiguousarray(ordered, dtype="<f8").tobytes()).hexdigest()

    def counted(self, counting: str) -> Points:
        """The points with parameters counted another way."""
        return replace(self.points, params=self.counts[counting])


def table(
    records: Sequence[RunRecord], counting: Counting = "all", drop_highest: int = 0, by: str | None = None
) -> RunTable:
    """The finished runs of a study, without those that only chose a learning rate; of each size and length the one that
    is lowest in `by`, if that is named. Raises `DataError`."""
    study = [record for record in records if record.role == "study" and record.status == "done"]
    held = [record for record in study if record.loss is not None]
    if not held:
        raise DataError(
            f"Expected finished runs with a held-out loss, found {counted(len(study), 'finished run')} without one, of "
            f"{len(records)}; `microgpt sweep laws` makes some."
        )
    texts = {record.data_sha256: record.data for record in held}
    if len(texts) > 1:
        named = ", ".join(sorted(texts.values()))
        raise DataError(f"Expected runs on one text, found {len(texts)} ({named}); choose with --sweep or --data.")
    told = {str(record.settings.get("tokens", "characters")) for record in held}
    if len(told) > 1:
        raise DataError(
            f"Expected runs of one kind of tokens, found {len(told)} ({', '.join(sorted(told))}), whose numbers of "
            f"tokens can't be compared; choose with --where tokens={sorted(told)[0]}."
        )
    notes = (
        [f"Left out, with nothing held out: {counted(len(study) - len(held), 'run')}."]
        if len(held) < len(study)
        else []
    )
    if by:
        runs = points([run.params for run in held], [run.tokens for run in held], [run.loss for run in held])
        best = best_of(runs.cells, np.array([_number(run, by) for run in held]))
        notes.append(
            f"Of each size and length the run of the lowest {by} counts: {len(best):,} of {counted(len(held), 'run')}."
        )
        held = [held[i] for i in best]
    kept, losses = _without_highest(held, [float(record.loss or 0) for record in held], drop_highest)
    counts: dict[str, Floats] = {
        name: np.array([_count(record, name) for record in kept], dtype=float) for name in COUNTINGS
    }
    unique = np.array([record.unique_tokens or np.inf for record in kept], dtype=float)
    flop = [record.flop for record in kept]
    found = points(counts[counting], [record.tokens for record in kept], losses, unique, flop)
    seconds = np.array([record.seconds.get("train", np.nan) for record in kept], dtype=float)
    source = next(iter(texts.values()))
    notes += [sentence(finding) for finding in audit(records) if finding.kind not in SAID_ELSEWHERE]
    return RunTable(found, source, counts, seconds, tuple(kept), len(held) - len(kept), tuple(notes))


def value(record: RunRecord, name: str) -> Any:
    """What a run has under the name of a setting or of a fact such as data, engine or loss. Raises `DataError`."""
    if name in record.settings:
        return record.settings[name]
    if name in FACTS and name not in ("samples", "seconds"):
        return getattr(record, name)
    near = nearest(name, [*record.settings, *FACTS])
    hint = f"did you mean {near}?" if near else f"settings are {', '.join(sorted(record.settings))}."
    raise DataError(f"Expected a setting or fact of the runs such as lr, batch or data, found {shown(name)}; {hint}")


def part(records: Sequence[RunRecord], name: str, text: str) -> list[RunRecord]:
    """The runs that have this value, as a text or as a number, and those that tuned: they tell of the learning rates.
    Raises `DataError` where none has."""
    there = [value(record, name) for record in records]
    has = [_is(found, text) for found in there]
    chosen = [each for each, right in zip(records, has, strict=True) if right or each.role == "tuning"]
    if records and not any(has):
        told = ", ".join(dict.fromkeys(map(str, there[:1000])))[:200]
        raise DataError(f"Expected runs with {name} = {shown(text)}, found none; there are: {told}.")
    return chosen


def groups(records: Sequence[RunRecord], name: str) -> dict[str, list[RunRecord]]:
    """The runs of each value, with those that tuned. Raises `DataError` for a setting of too many."""
    found: dict[str, list[RunRecord]] = {}
    for record in records:
        if record.role == "study":
            found.setdefault(str(value(record, name)), []).append(record)
    if len(found) > MOST_GROUPS:
        raise DataError(f"Expected a setting of at most {MOST_GROUPS} values, found {name} with {len(found):,}.")
    tuning = [record for record in records if record.role == "tuning"]
    return {text: [*runs, *tuning] for text, runs in found.items()}


def _is(found: Any, text: str) -> bool:
    if isinstance(found, bool) or not isinstance(found, int | float):
        return str(found).lower() == text.lower()
    try:
        return float(text) == found
    except ValueError:
        return False


def _number(record: RunRecord, name: str) -> float:
    found = value(record, name)
    if isinstance(found, bool) or not isinstance(found, int | float):
        raise DataError(f"--best-of takes what is a number, such as loss; found {name} = {shown(found)}; take loss.")
    return float(found)


def best_of(cells: Ints, by: Floats) -> Ints:
    """Which point of each cell is the lowest, the first of equals, in the order of the points. (cells,)"""
    order = np.lexsort((by, cells))
    first = order[np.unique(cells[order], return_index=True)[1]]
    return np.sort(first)


def distinct(found: RunTable) -> RunTable:
    """Each run once. What is the same in size, length and loss to the last digit is a row that was pasted twice or a
    seed without effect: no new evidence. Losses rounded so far that runs meet by chance lose some, to the safe side."""
    own = found.points
    columns = np.stack([own.params, own.tokens, own.loss, own.unique, own.flop], axis=1)
    first = np.sort(np.unique(columns, axis=0, return_index=True)[1])
    if not (extra := len(own) - len(first)):
        return found
    note = (
        f"Counted once: {counted(extra, 'run')} of the same size, length and loss to the last digit as another; "
        "copies, and seeds that change nothing, are no new evidence."
    )
    return replace(taken(found, first), notes=(*found.notes, note))


def taken(found: RunTable, chosen: Ints) -> RunTable:
    """The runs at some indices, in their order."""
    return replace(
        found,
        points=found.points.take(chosen),
        counts={name: column[chosen] for name, column in found.counts.items()},
        seconds=None if found.seconds is None else found.seconds[chosen],
        records=tuple(found.records[i] for i in chosen) if found.records else (),
        labels=tuple(found.labels[i] for i in chosen) if found.labels else (),
    )


def _count(record: RunRecord, counting: Counting) -> int:
    """Parameters: all, without embeddings (Kaplan et al. 2020 leave them out), or of the blocks alone."""
    left_out = {
        "all": 0,
        "no-embedding": record.params_embedding,
        "body": record.params_embedding + record.params_head,
    }[counting]
    return record.params - left_out


def _without_highest(records: list[RunRecord], losses: list[float], count: int) -> tuple[list[RunRecord], list[float]]:
    chosen = kept_below(np.array(losses), count)
    return [records[i] for i in chosen], [losses[i] for i in chosen]


def kept_below(losses: Floats, count: int) -> list[int]:
    """Which points stay, in their order, when the `count` highest losses go. Raises `UsageError`."""
    if not 0 <= count < len(losses):
        raise UsageError(f"--drop-highest takes 0 to {len(losses) - 1} here, found {count}.")
    order = np.argsort(losses, kind="stable")
    return sorted(int(i) for i in order[: len(losses) - count])
