"""What a page shows and to whom, in a real Chromium: no violation that axe finds, all by keyboard, whole charts, plain
words. Light, dark and forced colours; a telephone and a laptop."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.browser import Watched
from tests.studio.visiting import PAGES, SLOW, go, phase, start, visited
from trials.serving import listening
from trials.small import finish, request

pytestmark = [pytest.mark.browser, pytest.mark.long]
COLOURS = ({"color_scheme": "light"}, {"color_scheme": "dark"}, {"forced_colors": "active"})
BEYOND = ("label-content-name-mismatch", "focus-order-semantics")  # rules of axe that are not its usual ones
OVERLAPS = """(place) => {
  const boxes = [...document.querySelectorAll(`${place} svg[role=img] text`)]
    .filter((text) => text.textContent).map((text) => [text.textContent, text.getBoundingClientRect()]);
  const frame = document.querySelector(`${place} svg[role=img]`).getBoundingClientRect();
  const found = [];
  boxes.forEach(([one, a], i) => {
    if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.top < frame.top - 1 || a.bottom > frame.bottom + 1)
      found.push(`${one} is cut off`);
    for (const [other, b] of boxes.slice(i + 1))
      if (a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 3 && b.top < a.bottom - 3)
        found.push(`${one} lies on ${other}`);
  });
  return found;
}"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a whole run, one that diverged on another text, and one that can't be read."""
    folder = tmp_path_factory.mktemp("seen")
    names = {"data": ("names",), "emb": 16, "head": 4, "ctx": 16}
    finish(request(folder, steps=60, keep="every:20", layer=2, name="one", **names))
    finish(request(folder, steps=12_000, name="two"))
    (folder / "runs" / "broken").mkdir()
    (folder / "runs" / "broken" / "weights.safetensors").write_bytes(b"no weights")
    return folder / "runs"


@pytest.fixture(scope="module")
def place(runs: Path) -> Iterator[str]:
    lone = runs.parent / "lone.safetensors"  # of which nobody knows how it learned
    lone.write_bytes((runs / "one" / "weights.safetensors").read_bytes())
    with listening(runs, "--port", "0", str(lone)) as found:
        yield found


def violations(watched: Watched) -> list[str]:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    found = axe.run(watched.tab, options={"rules": {name: {"enabled": True} for name in BEYOND}}).response
    assert found["passes"]
    return [f"{each['id']}: {[node['html'][:120] for node in each['nodes']]}" for each in found["violations"]]


@pytest.mark.parametrize("colours", COLOURS, ids=lambda colours: next(iter(colours.values())))
def test_axe_finds_nothing_on_any_page_in_any_state(opened: Any, place: str, colours: dict[str, str]) -> None:
    with visited(opened, place, **colours) as watched:
        tab = watched.tab
        for page in PAGES:
            go(watched, place, page=page, run="one", runs="one/two", source="loss", atom="0", taken="1")
            tab.wait_for_timeout(800)
            assert (page, violations(watched)) == (page, [])
        for opened_to in ({"stage": "layer0.key"}, {"stage": "layer0.hidden", "index": "2", "edits": "layer0.head1"}):
            go(watched, place, page="model", run="one", prompt="emma", **opened_to)
            tab.wait_for_timeout(500)
            assert (opened_to, violations(watched)) == (opened_to, [])
        go(watched, place, page="lessons", lesson="8")
        tab.fill("#lesson-answer", "99")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#lesson-told:not(:empty)")
        assert ("a lesson", violations(watched)) == ("a lesson", [])
        for state in ({"met": "1", "atom": "0"}, {"rate": "-1"}):
            go(watched, place, page="atoms", **state)
            assert (state, violations(watched)) == (state, [])
        go(watched, place, page="train")
        for summary in tab.locator("details > summary").all():
            summary.click()
        tab.fill("#field-head", "3")
        tab.click("#start")
        tab.wait_for_function("() => document.querySelector('#form-trouble').innerText")
        assert ("an error", violations(watched)) == ("an error", [])
        tab.fill("#field-head", "4")
        tab.click("#way-timed")
        assert ("a time", violations(watched)) == ("a time", [])
        tab.click("#way-sized")
        start(watched, lr="1e300", engine="array")
        phase(watched, "Failed")
        assert ("a failure", violations(watched)) == ("a failure", [])
        tab.fill("#field-lr", "0.01")
        start(watched, **SLOW)
        phase(watched, "Training")
        assert ("training", violations(watched)) == ("training", [])
        tab.click("#do-pause")
        phase(watched, "Paused")
        assert ("paused", violations(watched)) == ("paused", [])
        tab.click("#do-end")
        phase(watched, "Stopped and saved")
        tab.wait_for_selector("#own-settings")
        for summary in tab.locator("#tools details > summary").all():
            summary.click()
        tab.click("#delete")
        tab.fill("#write-prompt", "a")
        tab.click("#write")
        tab.wait_for_selector("#written li")
        assert ("a run", violations(watched)) == ("a run", [])
        tab.click("#delete-sure")
        tab.wait_for_selector(".empty:not([hidden])")
        tab.click("#tour")
        tab.wait_for_selector(".tour[data-arrived='0']")
        assert ("the tour", violations(watched)) == ("the tour", [])
        watched.check()


def test_forced_colours_show_how_far_a_training_is(opened: Any, place: str) -> None:
    with visited(opened, place, forced_colors="active") as watched:
        go(watched, place, page="train", run="one")
        phase(watched, "Finished")
        colour = "e => getComputedStyle(e).backgroundColor"
        done, ground = (watched.tab.locator(each).evaluate(colour) for each in (".bar > div", ".bar"))
        assert done != ground


def test_the_keyboard_reaches_the_button_soon_and_keeps_the_focus(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        stops = 0
        tab.evaluate("document.activeElement.blur()")
        while tab.evaluate("document.activeElement.id") != "start":
            tab.keyboard.press("Tab")
            stops += 1
            assert stops < 32
        tab.keyboard.press("Enter")
        phase(watched, "Finished")
        assert tab.evaluate("document.activeElement.id") == "start"
        go(watched, place, page="xray", run="one")
        tab.wait_for_selector(".heat")
        tab.locator(".attention .heat").first.focus()
        tab.keyboard.press("ArrowDown")
        assert "attends to" in tab.inner_text(".attention .told")
        tab.locator(".images .heat").first.focus()
        tab.keyboard.press("ArrowRight")
        assert re.search(r"column 1: -?[\d.]+", tab.locator(".images + .told").inner_text())
        watched.check()


@pytest.mark.parametrize("width", [360, 768, 1366])
def test_nothing_in_a_chart_is_cut_off_or_lies_on_another(opened: Any, place: str, width: int) -> None:
    with visited(opened, place, viewport={"width": width, "height": 800}) as watched:
        for state, chart in (
            ({"page": "train", "run": "one"}, "#curve"),
            ({"page": "train", "run": "two"}, "#curve"),
            ({"page": "compare", "runs": "one/two"}, "#chosen"),
        ):
            go(watched, place, **state)
            watched.tab.wait_for_selector(f"{chart} svg polyline")
            watched.tab.wait_for_timeout(300)
            assert (state, watched.tab.evaluate(OVERLAPS, chart)) == (state, [])
            assert watched.tab.evaluate("document.scrollingElement.scrollWidth") <= width
        watched.check()


def test_a_chart_has_no_axes_without_data_and_its_readout_moves_nothing(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, page="train", run="two")
        phase(watched, "Finished")
        assert tab.is_checked("#log-steps"), "the first of 12,000 steps would be a line at the edge"
        below = "document.querySelector('#result').getBoundingClientRect().top"
        before = tab.evaluate(below)
        for part in (0.2, 0.5, 0.9):
            box = tab.locator("#curve .chart").bounding_box()
            assert box
            tab.mouse.move(box["x"] + part * box["width"], box["y"] + 80)
            assert "loss" in tab.inner_text("#curve .readout")
            assert tab.evaluate(below) == before
        go(watched, place, page="compare", runs="lone")
        words = tab.locator("#chosen svg[role=img] text")
        words.first.wait_for()
        assert words.all_text_contents() == ["Nothing to draw yet"]
        watched.check()


def test_runs_on_different_texts_are_said_to_be_no_match(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        for runs, other in (("one/two", True), ("one", False)):
            go(watched, place, page="compare", runs=runs)
            watched.tab.wait_for_selector("#chosen svg polyline")
            assert watched.tab.locator("#other-texts").is_visible() == other
        assert "large one on all documents" in watched.tab.inner_text("#chosen .legend")
        watched.check()


def test_pages_speak_no_flags_and_name_no_folder(opened: Any, place: str, runs: Path) -> None:
    with visited(opened, place) as watched:
        for page in PAGES:
            go(watched, place, page=page, run="one", runs="one/two")
            watched.tab.wait_for_timeout(500)
            text = watched.tab.inner_text("body")
            assert not re.findall(r"--[a-z]+|microgpt [a-z]+ ", text)
            assert str(runs.parent) not in text
        go(watched, place, page="train")
        labels = watched.tab.locator("#sizes label").all_inner_texts()
        assert {"learning rate", "width", "heads", "layers", "context length"} <= set(labels)
        watched.tab.locator('.term[data-word="emb"]').hover()
        assert "--emb" in watched.tab.inner_text("#word")
