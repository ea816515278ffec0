"""The rows of a CSV as runs that the audit can look at, and what is wrong with the file itself."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from microgpt.errors import DataError
from microgpt.lab.audit import Finding, Severity, audit
from microgpt.lab.laws.csv_file import Columns, Opened, Reading, open_csv
from microgpt.lab.laws.points import Floats, Ints, levels, points
from microgpt.lab.laws.rows import RATE, telling, units, values
from microgpt.lab.laws.sheet import number
from microgpt.lab.statistics.series import COUNTED, Series, series
from microgpt.lab.store.record import RunRecord

SEEDS: Final = ("seed", "random_seed", "rng_seed")
VOCABULARIES: Final = ("vocabulary", "vocab", "vocab_size", "n_vocab")


@dataclass(frozen=True)
class Named:
    """Columns beside those of a law: the learning rate and the seed, found by their names without; and how many
    different tokens there are, from a column `vocabulary` without."""

    lr: str | None = None
    seed: str | None = None
    vocabulary: int | None = None


@dataclass(frozen=True, eq=False)
class Looked:
    """The runs of a CSV, their series along tokens and parameters, and what to beware of, the gravest first."""

    source: str
    runs: tuple[RunRecord, ...]
    lines: tuple[Series, ...]
    findings: tuple[Finding, ...]

    @property
    def sentence(self) -> str:
        """What was looked at."""
        settings = [run.settings for run in self.runs]
        names = sorted({name for each in settings for name in each} - {"params", "tokens", "seed"})
        counts = {name: len({each.get(name) for each in settings}) for name in ("params", "tokens", *names)}
        others = "".join(f", {counts[name]} of {name}" for name in names if counts[name] > 1)
        return (
            f"{self.source}: {len(self.runs):,} runs, {counts['params']} sizes, {counts['tokens']} lengths{others}; "
            f"{len({(each['params'], each['tokens']) for each in settings}):,} pairs of size and length"
        )


def look(path: Path, columns: Columns, reading: Reading, named: Named = Named()) -> Looked:
    """Audit a CSV. What is wrong in a row is a finding, and the other rows are looked at without it. Raises `DataError`
    where there is no table at all."""
    faults = list[str]()
    opened = open_csv(path, columns, reading, [name for name in (named.lr, named.seed) if name], faults)
    rows = len(opened.sheet.rows)
    found = _read(opened, rows, faults)
    runs = _runs(opened, named)
    lines = [line for axis in COUNTED for line in series(runs, axis)]
    told = audit(runs, [line for line in lines if len(line.levels) > 1] or lines)
    grave: dict[Severity, int] = {"serious": 0, "warning": 1, "note": 2}
    every = sorted([*found, *told], key=lambda finding: grave[finding.severity])
    return Looked(path.name, tuple(runs), tuple(lines), tuple(every))


def _read(opened: Opened, rows: int, faults: Sequence[str]) -> list[Finding]:
    """What the file itself gives cause to say."""
    columns, numbers = opened.columns, opened.numbers
    finite = numbers[columns.loss][np.isfinite(numbers[columns.loss])]
    if not len(finite):
        raise DataError(f"{opened.sheet.path}: expected losses in column {columns.loss!r}, found none; name another.")
    asked = units(
        numbers[columns.params],
        opened.tokens,
        finite,
        (columns.params, columns.tokens or columns.flop or "", columns.loss),
    )
    bad = {"rows": len(faults), "of": rows + len(faults)}
    return [
        *([Finding("unreadable rows", "serious", tuple(faults), bad)] if faults else []),
        *(Finding("units", "serious", (), {"said": said}) for said in asked),
        *(Finding("reading", "warning", (), {"said": said}) for said in opened.notes),
    ]


def _runs(opened: Opened, named: Named) -> list[RunRecord]:
    """A record for each row. Of alike rows, which differ in nothing that is told, each counts as a seed."""
    sheet, columns, numbers = opened.sheet, opened.columns, opened.numbers
    params, tokens, flop = numbers[columns.params], opened.tokens, opened.flop
    size, length = levels(params), levels(tokens)
    rate = named.lr or next((name for name in sheet.names if RATE.search(name)), None)
    seeds = named.seed or next((name for name in sheet.names if name.lower() in SEEDS), "")
    skipped = {*columns.used, rate, seeds}
    cells = points(params, tokens, np.ones(len(params))).cells
    names = [name for name in telling(sheet, skipped, size, length) if not _of_cell(values(sheet, name), cells)]
    texts = {name: values(sheet, name) for name in sheet.names if name}
    vocabulary = named.vocabulary or _vocabulary(opened, texts)
    unique = numbers[columns.unique] if columns.unique else None
    lowest = _lowest(params, size), _lowest(tokens, length)
    runs, met = list[RunRecord](), dict[Any, int]()
    for i, row in enumerate(sheet.rows):
        settings: dict[str, Any] = {"params": lowest[0][i], "tokens": lowest[1][i]}
        if rate:
            settings["lr"] = number(texts[rate][i], opened.decimal) or math.nan
        settings |= {name: texts[name][i] for name in names}
        alike = tuple(settings.values())
        settings["seed"] = met[alike] = met.get(alike, -1) + 1
        loss = float(numbers[columns.loss][i])
        runs.append(
            RunRecord(
                identity=f"row {row.line}", sweeps=(), role="study", settings=settings,
                status="done" if math.isfinite(loss) else "failed", data=sheet.path.name, data_sha256="", kind="",
                engine="", precision="", params=round(params[i]), params_embedding=0, params_head=0, params_body=0,
                tokens=round(tokens[i]), unique_tokens=0, epochs=0 if unique is None else float(tokens[i] / unique[i]),
                flop=float(flop[i]), loss=loss if math.isfinite(loss) else None, loss_se=None,
                training_loss=None, unigram=math.inf, uniform=math.log(vocabulary) if vocabulary else math.inf,
                holdout_documents=0,
            )
        )  # fmt: skip
    return runs


def _lowest(column: Floats, level: Ints) -> list[int]:
    """For each value the lowest of its level, so that what is within a level is one. (rows,)"""
    lowest = np.full(int(level.max()) + 1, np.inf)
    np.minimum.at(lowest, level, column)
    return [round(value) for value in lowest[level].tolist()]


def _of_cell(texts: Sequence[str], cells: Any) -> bool:
    """Whether a column is told by size and length: it is then no setting of its own, where runs repeat."""
    pairs = len({*zip(cells, texts, strict=True)})
    return pairs == len({*cells}) < len(texts)


def _vocabulary(opened: Opened, texts: dict[str, list[str]]) -> float | None:
    name = next((name for name in texts if name.lower() in VOCABULARIES), None)
    found = {number(text, opened.decimal) for text in texts[name]} if name else set()
    (one,) = found if len(found) == 1 else (None,)
    return one if one and one > 1 else None
