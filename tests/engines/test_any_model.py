"""One function in all engines, whatever valid sizes, norms and text hypothesis draws."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trials.agreement import FEW, LARGE, SMALL, Case, cases, disagreement, models


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases(st.sampled_from(FEW)))
def test_engines_agree_on_any_text(case: Case) -> None:
    assert disagreement(case) == []


@pytest.mark.long
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases(models(SMALL)))
def test_engines_agree_on_any_model_and_text(case: Case) -> None:
    assert disagreement(case) == []


@pytest.mark.long
@settings(max_examples=15, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases(models(LARGE), "array"))
def test_engines_agree_on_larger_models(case: Case) -> None:
    assert disagreement(case) == []
