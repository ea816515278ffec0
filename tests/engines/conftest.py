"""What the tests of compiling kernels share."""

from pathlib import Path

import pytest

from trials.stand_in import STAND_IN


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    path = tmp_path / "stand_in.c"
    path.write_text(STAND_IN)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "cache"
    path.mkdir(mode=0o700)
    return path
