"""Every engine repeats the golden runs, step for step."""

import numpy as np
import pytest

from microgpt.engines import available
from microgpt.model.settings import Precision
from trials.golden import golden

RUNS = ("karpathy_1000", "karpathy_e32h4l2_60", "artistic_200")
BEGUN = {("atomic", "karpathy_1000"): 20, ("atomic", "artistic_200"): 20}  # in the everyday suite only so many steps
LONG = {("atomic", "karpathy_e32h4l2_60"), ("torch", "karpathy_1000")}
KINDS = ("atomic", "64"), *((name, precision) for name in ("array", "fused", "torch") for precision in ("64", "32"))


@pytest.mark.parametrize(
    ("engine", "precision", "run"),
    [
        pytest.param(*kind, run, marks=pytest.mark.long if (kind[0], run) in LONG else ())
        for kind in KINDS
        for run in RUNS
    ],
)
def test_it_repeats_the_golden_run(engine: str, precision: Precision, run: str) -> None:
    check(engine, precision, run, BEGUN.get((engine, run)))


@pytest.mark.long
@pytest.mark.parametrize("run", ["karpathy_1000", "artistic_200"])
def test_atoms_repeat_more_of_it(run: str) -> None:
    check("atomic", "64", run, 200)


def check(engine: str, precision: Precision, run: str, steps: int | None) -> None:
    if reason := {found.name: found.reason for found in available()}[engine]:
        pytest.skip(reason)
    record = golden(run)
    errors = record.errors(engine, precision, steps or record.settings.steps)
    assert len(errors) == (steps or record.settings.steps)
    assert errors.max() < {"64": 1e-10, "32": 1e-5}[precision], f"step {np.argmax(errors)}"
