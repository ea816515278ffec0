"""What the tests of the studio share."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.studio.serving import Visit, visit


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Visit]:
    """A visit to a studio without runs."""
    from microgpt.studio.studio import Studio

    with visit(Studio(tmp_path / "runs")) as visiting:
        yield visiting
