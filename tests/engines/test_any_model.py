"""One function in all engines, whatever valid sizes, norms and text hypothesis draws."""

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from trials.agreement import FEW, Case, cases, disagreement


@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(cases(st.sampled_from(FEW)))
def test_engines_agree_on_any_text(case: Case) -> None:
    assert disagreement(case) == []
