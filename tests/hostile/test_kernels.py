"""The short form of a thousand damaged kernels."""

from pathlib import Path

import pytest

from microgpt.engines.fused.compile import reason_unavailable
from trials.readers.kernels import Cache

pytestmark = pytest.mark.skipif(reason_unavailable() is not None, reason=str(reason_unavailable()))


def test_damaged_kernels_are_compiled_anew_before_they_are_loaded(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    assert all(cache.survives(seed) for seed in range(8))
