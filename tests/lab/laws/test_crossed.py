"""Where a store carries a law: its section in the report and its slopes beside the returns; and why there is none."""

from dataclasses import replace

import numpy as np
import pytest

from microgpt.lab.laws.crossed import crossed_sweeps
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.points import points
from microgpt.lab.laws.slopes import law_slopes
from microgpt.lab.report.contents import Report
from microgpt.lab.report.law_section import section
from microgpt.lab.report.page import page
from microgpt.lab.statistics.series import PARAMS, STEPS, series
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from microgpt.lab.statistics.tables import returns_table
from microgpt.lab.store.record import RunRecord

pytest.importorskip("scipy", reason="a law needs SciPy")
NAMES = Law(E=1.6, A=1.5, B=8.0, alpha=0.3, beta=0.4)
CROSSED = Design(sizes=SIZES, steps=(2000, 4000, 8000, 16000), sweep="laws", tuned=True)
COLUMN = "law's slope per 1,000"


@pytest.fixture(scope="module")
def crossed() -> list[RunRecord]:
    return simulate(NAMES, CROSSED, Noise(run=0.001, seed=0, held_out=0), 0)


@pytest.fixture(scope="module")
def l_shaped() -> list[RunRecord]:
    steps = simulate(NAMES, Design(steps=(2000, 4000, 8000)), Noise(), 1)
    return steps + simulate(NAMES, Design(sizes=SIZES, steps=(5000,), sweep="params"), Noise(), 2)


def test_a_crossed_sweep_carries_a_law_and_others_do_not(crossed: list[RunRecord], l_shaped: list[RunRecord]) -> None:
    found, reason = crossed_sweeps([*l_shaped, *crossed])
    assert list(found) == ["laws"]
    assert len(found["laws"].points) == 48
    assert reason.startswith("params: A law needs 3 lengths")
    assert "microgpt sweep laws" in reason
    assert crossed_sweeps([])[1].startswith("there are no finished runs")


def test_a_sweep_that_varies_more_is_told_so(crossed: list[RunRecord]) -> None:
    mixed = [replace(run, settings={**run.settings, "batch": 1 + run.seed % 2}) for run in crossed]
    found, reason = crossed_sweeps(mixed)
    assert not found
    assert "differ in batch too" in reason


def test_the_slope_beside_a_return_is_the_derivative_of_the_fitted_law(crossed: list[RunRecord]) -> None:
    slope = law_slopes(crossed)
    assert slope is not None
    law = fit(FORMS["full"], crossed_sweeps(crossed)[0]["laws"].points)

    def loss(size: float, tokens: float) -> float:
        return float(law.form.loss(law.theta, points([size], [tokens], [1.0]))[0])

    for axis in (STEPS, PARAMS):
        line = series(crossed, axis)[0]
        before, after = line.pairs[1]
        size, tokens = (
            float(np.sqrt(getattr(before.first, name) * getattr(after.first, name))) for name in ("params", "tokens")
        )
        each = 7.1 if axis is STEPS else 1.0  # tokens of a step
        less = loss(size, tokens * (1 - 1e-5)) if axis is STEPS else loss(size * (1 - 1e-5), tokens)
        more = loss(size, tokens * (1 + 1e-5)) if axis is STEPS else loss(size * (1 + 1e-5), tokens)
        by_differences = 1000 * each * (less - more) / (2e-5 * (tokens if axis is STEPS else size))
        assert slope(axis, before, after) == pytest.approx(by_differences, rel=1e-6)
        assert slope(axis, before, before) is None


def test_the_slope_stands_beside_the_returns_where_the_law_was_fitted_to_such_runs(
    crossed: list[RunRecord], l_shaped: list[RunRecord]
) -> None:
    lines = series([run for run in l_shaped if run.sweeps == ("steps",)], STEPS)
    slope = law_slopes([*crossed, *l_shaped])
    with_law = returns_table(lines, STEPS, slope)
    assert COLUMN in [column.title for column in with_law.columns]
    for row in with_law.rows:
        assert row.law_per_1000 == pytest.approx(row.per_1000, rel=0.5)
    assert law_slopes(l_shaped) is None
    assert COLUMN not in [column.title for column in returns_table(lines, STEPS).columns]
    other = [replace(run, settings={**run.settings, "batch": 8}) for run in l_shaped]
    assert COLUMN not in [column.title for column in returns_table(series(other, STEPS), STEPS, slope).columns]


def test_beyond_its_runs_the_law_has_no_slope_to_tell(crossed: list[RunRecord]) -> None:
    far = series(simulate(NAMES, Design(steps=(200, 400, 3000, 5000)), Noise(), 3), STEPS)
    slopes = [row.law_per_1000 for row in returns_table(far, STEPS, law_slopes(crossed)).rows]
    assert [found is None for found in slopes] == [True, True, False]


def test_the_report_has_the_law_with_its_intervals_picture_and_command(crossed: list[RunRecord]) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    found = section(crossed, "my lab.db")
    assert found.paragraphs[0].startswith("The 48 runs of laws on names: L(N, D) = ")
    assert [row.parameter for row in found.tables[0].rows] == ["E", "A", "B", "alpha", "beta", "size_exponent"]
    assert all(row.span[0] <= row.value <= row.span[1] for row in found.tables[0].rows)
    assert found.commands == ["microgpt laws --sweep laws --store 'my lab.db'"]
    assert "Scaling law" in page(Report("How it learns", "", [found]))


def test_a_report_without_a_law_says_why_in_a_sentence(l_shaped: list[RunRecord]) -> None:
    (said,) = section(l_shaped, "lab.db").paragraphs
    assert said.startswith("No law was fitted: params: A law needs 3 lengths")
    assert said.endswith("crosses 5 sizes with 5 lengths.")
    assert not section(l_shaped, "lab.db").tables
