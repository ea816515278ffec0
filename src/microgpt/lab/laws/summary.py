"""A law with everything that is said of it: what `microgpt laws` prints, as data."""

import math
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from microgpt.lab.laws.backtest import Backtest, backtest, folds
from microgpt.lab.laws.bootstrap import (
    DRAWS,
    LEVEL,
    Ensemble,
    Resample,
    bootstrap,
    intervals,
    quantities,
    quantity_names,
)
from microgpt.lab.laws.doubts import check_design, doubts
from microgpt.lab.laws.fit import Fit, fit
from microgpt.lab.laws.form import FORMS, Form
from microgpt.lab.laws.points import Floats
from microgpt.lab.laws.solve import DELTA
from microgpt.lab.laws.table import RunTable, distinct

MEANINGS: Final = {
    "E": "floor: what no size and no length removes",
    "A": "coefficient of the size term",
    "B": "coefficient of the length term",
    "alpha": "how fast the loss falls with size",
    "beta": "how fast the loss falls with length",
    "K": "coefficient of the FLOP term",
    "alpha_C": "how fast the loss falls with FLOP",
    "R": "repeats after which a token teaches little",
    "gamma": "below 1 a small model gains less from length",
    "size_exponent": "best size grows as FLOP to this power",
}


@dataclass(frozen=True)
class Fitting:
    """How a law is fitted: its form, the draws of its intervals, their level and seed, how parameters are counted, what
    is drawn, and Huber's threshold."""

    form: Form = FORMS["full"]
    draws: int = DRAWS
    level: float = LEVEL
    seed: int = 0
    counting: str = "all"
    resample: Resample = "runs"
    delta: float = DELTA


@dataclass(frozen=True, eq=False)
class Law:
    """A fitted law, its draws, its backtest, its intervals and its warnings."""

    table: RunTable
    ensemble: Ensemble
    backtest: Backtest
    spans: dict[str, tuple[float, float]]
    level: float
    counting: str
    warnings: tuple[str, ...]

    @property
    def fit(self) -> Fit:
        return self.ensemble.fit

    def to_dict(self) -> dict[str, Any]:
        """The JSON of `microgpt laws`."""
        law = self.fit
        return {
            "form": law.form.name,
            **{name: float(value) for name, value in quantities(law, law.theta).items()},
            "objective": law.objective,
            "points": len(law.points),
            "dropped": self.table.dropped,
            "starts": law.starts,
            "starts_agreeing": law.agreeing,
            "intervals": {name: [finite(bound) for bound in span] for name, span in self.spans.items()},
            "level": self.level,
            "resample": self.ensemble.resample,
            "counting": self.counting,
            "delta": law.delta,
            "held": {name: law.values[name] for name, _ in law.form.fixed} | dict(law.form.tied),
            "run_spread": self.ensemble.scatter.scale,
            "misfit": self.backtest.misfit**0.5,
            "backtest_error": None if not len(self.backtest.misses) else self.backtest.error,
            "data_sha256": self.table.sha256,
            "warnings": list(self.warnings),
            "read": list(self.table.said),
        }


def finite(bound: float) -> float | None:
    """A bound, or None where it is not determined."""
    return bound if math.isfinite(bound) else None


def in_words(span: tuple[float, float], digits: int = 4) -> str:
    """An interval as text."""
    low, high = (f"{bound:.{digits}g}" if math.isfinite(bound) else "not determined" for bound in span)
    return "not determined" if low == high == "not determined" else f"{low} to {high}"


def law(table: RunTable, how: Fitting, given: Floats | None = None) -> Law:
    """Check the design, fit, draw, test on the larger runs, and say what is doubtful. `given` are draws of the runs
    from elsewhere (see `bootstrap`). Raises `DataError`."""
    table = distinct(table)
    check_design(how.form, table.points)
    found = bootstrap(fit(how.form, table.points, how.delta), how.draws, how.seed, how.resample, given)
    spans = intervals(found, how.level)
    tested = backtest(found.fit)
    said = tuple(doubts(table, found, spans, tested, how.counting))
    return Law(table, found, tested, spans, how.level, how.counting, said)


def draws_csv(law: Law) -> str:
    """The draws behind the intervals as a CSV: a row for each, a column for each parameter, in full precision. They are
    as drawn, before the stretch to Student's t that an interval has."""
    columns = quantities(law.fit, law.ensemble.theta)
    rows = zip(*(np.broadcast_to(column, len(law.ensemble.theta)).tolist() for column in columns.values()), strict=True)
    return "\n".join([",".join(columns), *(",".join(map(repr, row)) for row in rows)]) + "\n"


def draws_heads() -> list[bytes]:
    """The first line of the draws of each form, by which such a file is known again."""
    return [(",".join(quantity_names(form)) + "\n").encode() for form in FORMS.values()]


def compare(
    table: RunTable, delta: float = DELTA, forms: tuple[str, ...] = ("full", "joint", "no-floor", "params", "tokens")
) -> list[dict[str, Any]]:
    """Forms side by side: how each predicts the same larger runs from the same smaller ones."""
    split = list(folds(fit(FORMS["full"], table.points, delta)))
    rows = []
    for name in forms:
        found = fit(FORMS[name], table.points, delta)
        error = backtest(found, split).error if split else None
        rows.append({"form": name, "objective": found.objective, "backtest_error": error})
    return rows
