"""The page Scaling in a real browser: a real small store, one that grows while it is shown, and one of 2,000 points."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from microgpt.lab.statistics.simulate import SIZES, Design, Noise, simulate
from microgpt.studio.scaling import EMPTY, Scaling
from tests.browser import Watched, browser_page
from tests.studio.test_scaling import NAMES
from trials.few import carry_out, planned
from trials.serving import listening
from trials.stores import keep

pytest.importorskip("scipy", reason="needs the extra lab")
pytestmark = [pytest.mark.browser, pytest.mark.long]
AXES = {"steps": (10, 20, 40, 80), "emb": (4, 8, 16)}
DOTS = "#main .chart svg circle:not(.ring)"
FRAMES = """() => new Promise((done) => {
  const box = document.querySelector(".chart").getBoundingClientRect(), took = [];
  let last = performance.now(), count = 0;
  const step = (now) => {
    took.push(now - last); last = now;
    if (++count > 60) return done(took.slice(1).sort((a, b) => a - b));
    const at = { clientX: box.left + 60 + count * 8, clientY: box.top + 60 + (count * 37) % 200, bubbles: true };
    document.querySelector(".chart svg").dispatchEvent(new PointerEvent("pointermove", at));
    requestAnimationFrame(step);
  };
  requestAnimationFrame(step);
})"""


@pytest.fixture
def visit(opened: Any, tmp_path: Path) -> Iterator[Any]:
    """Opens the page Scaling of a store; what it complains of fails the test."""
    left: list[Any] = []

    def visited(store: Path, **state: str) -> Watched:
        server = listening(tmp_path / "runs", "--port", "0", "--store", str(store))
        address = server.__enter__()
        root = address.split("#")[0]
        context = browser_page(opened, lambda url: url.startswith(root), viewport={"width": 1280, "height": 900})
        left.extend([server, context])
        watched = context.__enter__()
        watched.tab.goto(address)
        watched.tab.click("#tour-skip")
        watched.tab.goto(root + "?" + "&".join(f"{key}={value}" for key, value in {"page": "scaling", **state}.items()))
        watched.tab.wait_for_selector(".page[data-ready]")
        left.append(watched)
        return watched

    yield visited
    for each in reversed(left):
        each.check() if isinstance(each, Watched) else each.__exit__(None, None, None)


def test_a_real_store_is_shown_with_its_runs_and_samples(visit: Any, tmp_path: Path) -> None:
    store = tmp_path / "lab.db"
    carry_out(planned(tmp_path, axes=AXES), store)
    found = Scaling(store).show()
    tab = visit(store).tab
    assert tab.locator(DOTS).count() == len(found["points"]) == 12
    assert tab.locator("#tables td").filter(has_text="learning efficiently").count() > 0
    assert tab.locator("#warnings li").count() == len(found["warnings"]) > 0
    tab.wait_for_selector("#law-told, #law-reason")
    circle = tab.locator(DOTS).first
    circle.hover(force=True)  # a neighbour's bar may lie above it
    tab.wait_for_selector(".hover-card:not([hidden])")
    told = tab.inner_text(".hover-card")
    assert "seed 0" in told
    assert any(point["samples"] and point["samples"][0] in told for point in found["points"])
    circle.click(force=True)
    tab.wait_for_function("() => location.search.includes('at=')")
    pinned = tab.inner_text("#point")
    assert "Runs: seed 0" in pinned
    tab.reload()
    tab.wait_for_selector("#point h2")
    assert tab.inner_text("#point") == pinned
    tab.select_option("#axis", "params")
    tab.wait_for_function("() => location.search.includes('axis=params')")
    tab.locator(".chart").focus()
    tab.keyboard.press("ArrowRight")
    tab.wait_for_function("before => document.querySelector('#point').innerText !== before", arg=pinned)


def test_a_sweep_that_runs_fills_the_page(visit: Any, tmp_path: Path) -> None:
    store = tmp_path / "lab.db"
    tab = visit(store).tab
    assert tab.inner_text(".empty") == EMPTY
    carry_out(planned(tmp_path, axes={"steps": (10, 20)}), store)
    tab.wait_for_function("selector => document.querySelectorAll(selector).length === 2", arg=DOTS)
    carry_out(planned(tmp_path, axes={"steps": (10, 20, 40, 80)}), store)
    tab.wait_for_function("selector => document.querySelectorAll(selector).length === 4", arg=DOTS)
    assert "12 runs" in tab.inner_text("#store-told")


def test_two_thousand_points_are_drawn_and_answer_the_pointer(visit: Any, tmp_path: Path) -> None:
    lengths = tuple(range(1000, 26000, 50))
    records = simulate(NAMES, Design(sizes=SIZES, steps=lengths, seeds=1, sweep="laws"), Noise(), seed=1)
    tab = visit(keep(tmp_path / "lab.db", [replace(run, samples=("anna",)) for run in records])).tab
    assert tab.locator(DOTS).count() == len(records) == 2000
    tab.evaluate(FRAMES)
    assert tab.locator(".hover-card").inner_text()
