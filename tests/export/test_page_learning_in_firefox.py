"""Another engine of JavaScript and WebAssembly learns the same."""

from pathlib import Path

import numpy as np
import pytest

from microgpt.export.page import TRY, page_to_try
from tests.export.test_page_learning import compiled
from tests.export.test_page_learning_in_a_browser import binned, losses_of
from tests.firefox import firefox

pytestmark = [pytest.mark.browser, pytest.mark.long, compiled]
LEARNED = """new Promise((done) => {
  const look = () => (lesson && lesson.heldOut !== undefined ? done(lesson.heldOut) : setTimeout(look, 50));
  look();
})"""


def test_the_page_to_try_learns_the_same_in_firefox(tmp_path: Path) -> None:
    (tmp_path / "try.html").write_bytes(page_to_try())
    (tmp_path / "profile").mkdir()
    losses, held_out = losses_of(TRY.settings.steps)
    with firefox(tmp_path / "profile") as tab:
        tab.goto((tmp_path / "try.html").as_uri())
        assert tab.evaluate(LEARNED) == pytest.approx(held_out, abs=1e-5)
        np.testing.assert_allclose(tab.evaluate("lesson.bins.map(meanOf)"), binned(losses), rtol=0, atol=1e-5)
        assert len(tab.evaluate("microgpt.write({ count: 3 })")) == 3
        assert tab.evaluate("microgpt.learn()")["step"] == TRY.settings.steps
        assert tab.evaluate("checkpoint().size") > 12 * 4192
