"""Every engine repeats the golden runs, step for step."""

import numpy as np
import pytest

from microgpt.model.settings import Precision
from tests.engines.golden import golden

RUNS = ["karpathy_1000", "karpathy_e32h4l2_60", "artistic_200"]


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize(("precision", "tolerance"), [("64", 1e-10), ("32", 1e-5)])
def test_array_repeats_the_golden_run(run: str, precision: Precision, tolerance: float) -> None:
    record = golden(run)
    errors = record.errors("array", precision, record.settings.steps)
    assert len(errors) == record.settings.steps
    assert errors.max() < tolerance, f"step {np.argmax(errors)}"


@pytest.mark.parametrize("run", ["karpathy_1000", "artistic_200"])
def test_atomic_begins_the_golden_run(run: str) -> None:
    assert golden(run).errors("atomic", "64", 20).max() < 1e-10


@pytest.mark.long
@pytest.mark.parametrize(("run", "steps"), [("artistic_200", 200), ("karpathy_e32h4l2_60", 60), ("karpathy_1000", 200)])
def test_atomic_repeats_the_golden_run(run: str, steps: int) -> None:
    assert golden(run).errors("atomic", "64", steps).max() < 1e-10
