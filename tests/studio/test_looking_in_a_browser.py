"""The pages X-ray and Atoms in a real browser: they show the engines' numbers, and 60,000 atoms don't slow them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import pytest

from microgpt.engines import create
from microgpt.engines.contract import Drawing, EngineConfig
from microgpt.engines.drawing import weights
from microgpt.studio import graphs
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from tests.browser import Watched, browser, browser_page
from trials.serving import listening
from trials.small import finish, request

pytestmark = [pytest.mark.browser, pytest.mark.long]
NAME = "isabella"
READY = ".page[data-ready]"


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a run of two layers that kept its history, and one of the default sizes."""
    folder = tmp_path_factory.mktemp("looking")
    finish(request(folder, steps=60, keep="every:20", layer=2, name="deep"))
    names = {"data": ("names",), "holdout": 0.01, "emb": 16, "head": 4, "ctx": 16}
    finish(request(folder, steps=30, name="large", **names))
    return folder / "runs"


@pytest.fixture(scope="module")
def address(runs: Path) -> Iterator[str]:
    pytest.importorskip("uvicorn", reason="needs the studio's packages")
    with listening(runs, "--port", "0") as found:
        yield found


@pytest.fixture(scope="module")
def watched(address: str) -> Iterator[Watched]:
    root = address.split("#")[0]
    with browser() as opened, browser_page(opened, lambda url: url.startswith(root), viewport=SIZE) as page:
        page.tab.goto(address)
        page.tab.wait_for_selector(READY)
        yield page


SIZE = {"width": 1280, "height": 900}


@pytest.fixture
def visit(watched: Watched, address: str) -> Iterator[Any]:
    """Opens a page by its state; what it complains of fails the test."""
    root = address.split("#")[0]

    def visited(**state: Any) -> Any:
        watched.tab.goto(f"{root}?{urlencode(state)}")
        watched.tab.wait_for_selector(READY)
        watched.tab.evaluate("document.querySelector('.tour')?.remove()")
        return watched.tab

    yield visited
    watched.check()


def checkpoint(runs: Path, name: str, file: str = "weights.safetensors") -> Checkpoint:
    return checkpoints.read(runs / name / file)


def bars(tab: Any) -> dict[int, tuple[float, float]]:
    """Of every token, the model's own chance and the one at the chosen temperature."""
    if tab.locator("text=Show all").is_visible():
        tab.locator("text=Show all").click()
    rows = tab.eval_on_selector_all(
        ".chances li", "all => all.map(({dataset: d}) => [+d.token, +d.probability, +d.chance])"
    )
    return {token: (own, now) for token, own, now in rows}


# X-ray


@pytest.mark.parametrize("at", [0, 3, 5])
def test_the_bars_are_the_probabilities_of_the_engine_to_a_millionth(visit: Any, runs: Path, at: int) -> None:
    tab = visit(page="xray", run="deep", prompt="olive", at=at)
    shown = bars(tab)
    opened = checkpoint(runs, "deep")
    expected = create("array", EngineConfig("64")).open(opened.state)
    tokens = [opened.tokenizer.bos, *opened.tokenizer.encode("olive").tolist()][: at + 1]
    chances = expected.next(tokens)
    assert len(shown) == opened.model.vocabulary
    np.testing.assert_allclose([shown[token][0] for token in range(len(chances))], chances, rtol=0, atol=1e-6)


def test_temperature_and_top_k_act_at_once_and_as_sampling_does(visit: Any, runs: Path) -> None:
    tab = visit(page="xray", run="deep", prompt="mia")
    tab.fill("#xray-temperature", "0.4")
    tab.fill("#xray-topk", "5")
    shown = bars(tab)
    own = np.array([shown[token][0] for token in range(len(shown))])
    drawn = weights(np.log(own)[None], Drawing(0.4, 5))[0]
    np.testing.assert_allclose([shown[token][1] for token in range(len(shown))], drawn / drawn.sum(), atol=1e-9)
    assert "temperature=0.4" in tab.url
    assert "topk=5" in tab.url


def test_the_footer_tells_how_far_the_run_s_own_engine_is(visit: Any) -> None:
    tab = visit(page="xray", run="deep", prompt="emma")
    tab.wait_for_selector(".checked[data-difference]")
    assert float(tab.get_attribute(".checked", "data-difference")) < 1e-6
    assert "checked against array (64 bits)" in tab.inner_text(".checked")


def test_keys_move_the_position_and_the_address_reopens_the_view(visit: Any) -> None:
    tab = visit(page="xray", run="deep", prompt="ava")
    tab.focus(".letters")
    tab.keyboard.press("Home")
    tab.wait_for_selector(".xray-body[data-at='0']")
    tab.keyboard.press("ArrowRight")
    tab.wait_for_selector(".xray-body[data-at='1']")
    tab.get_by_role("button", name="layer 1", exact=True).first.click()
    tab.get_by_role("button", name="head 1").click()
    tab.wait_for_function("location.search.includes('head=1')")
    tab.wait_for_timeout(200)
    told = tab.inner_text(".strip .told")
    assert "head 1 of layer 1" in told
    tab.reload()
    tab.wait_for_selector(".xray-body[data-at='1']")
    assert tab.inner_text(".strip .told") == told


def test_the_history_can_be_scrubbed(visit: Any, runs: Path) -> None:
    tab = visit(page="xray", run="deep", prompt="noah")
    before = tab.eval_on_selector(".heads canvas", "canvas => canvas.toDataURL()")
    tab.fill("#xray-step", "1")
    tab.wait_for_selector(".xray-body[data-step='20']")
    assert tab.eval_on_selector(".heads canvas", "canvas => canvas.toDataURL()") != before
    opened = checkpoint(runs, "deep", "history/step-00000020.safetensors")
    chances = (
        create("array", EngineConfig("64"))
        .open(opened.state)
        .next([opened.tokenizer.bos, *opened.tokenizer.encode("noah").tolist()])
    )
    shown = bars(tab)
    np.testing.assert_allclose([shown[token][0] for token in range(len(chances))], chances, rtol=0, atol=1e-6)


def test_a_head_s_image_is_told_in_words(visit: Any) -> None:
    tab = visit(page="xray", run="deep", prompt="ava", at=0)
    assert "attends most to position 0, begin or end: 100%" in tab.get_attribute(".heads canvas", "aria-label")
    tab.locator(".heads canvas").first.hover(position={"x": 3, "y": 3})
    assert "100%" in tab.inner_text(".attention .told")


def test_markup_in_a_prompt_stays_text(visit: Any, watched: Watched) -> None:
    tab = visit(page="xray", run="deep", prompt="<img src=x onerror=alert(1)>")
    tab.wait_for_selector("#xray-trouble:not(:empty)")
    assert "doesn't know" in tab.inner_text("#xray-trouble")
    watched.check()
    tab.fill("#xray-prompt", "emma")
    tab.wait_for_selector(".xray-body[data-prompt='emma']")
    assert tab.inner_text("#xray-trouble") == ""


# Atoms


def test_the_gradient_of_a_parameter_is_that_of_the_engine(visit: Any, runs: Path) -> None:
    opened = checkpoint(runs, "large")
    engine = create("array", EngineConfig("64")).open(opened.state)
    _, gradient = engine.gradient([np.array(graphs.document(opened, NAME))])
    for parameter in (0, 1000, int(np.abs(gradient).argmax())):
        tab = visit(page="atoms", source="loss", run="large", text=NAME, atom=parameter)
        tab.wait_for_selector(f".detail[data-atom='{parameter}']")
        shown = float(tab.get_attribute("[data-fact=gradient]", "data-exact"))
        assert shown == pytest.approx(gradient[parameter], rel=1e-9, abs=1e-15)


def test_sixty_thousand_atoms_open_collapsed_and_unfold_box_by_box(visit: Any) -> None:
    tab = visit(page="atoms", source="loss", run="large", text=NAME)
    assert int(tab.get_attribute(".atoms-told", "data-atoms")) >= 60_000
    assert tab.locator("[data-box]").count() < 10
    for name in ["layer 0", "layer 0/head 2", "layer 0/head 2/position 5", "layer 0/head 2/position 5/scores"]:
        tab.evaluate(UNFOLD, name)
        assert tab.locator(f"[data-name='{name}']").count() == 0
    tab.locator(".graph .atom").last.click()
    tab.wait_for_selector(".detail[data-atom]")
    tab.evaluate(STEP, 30_000)


UNFOLD = """name => new Promise(done => {
  const picture = document.querySelector('.graph'), before = picture.dataset.open;
  const look = () => picture.dataset.open === before ? setTimeout(look, 1)
    : requestAnimationFrame(() => done());
  document.querySelector(`[data-name="${name}"]`).dispatchEvent(new MouseEvent('click', {bubbles: true}));
  look();
})"""
STEP = """step => new Promise(done => {
  const picture = document.querySelector('.graph');
  const slider = document.querySelector('#atoms-met');
  slider.value = step;
  slider.dispatchEvent(new Event('input'));
  const look = () => picture.dataset.step !== String(step) ? setTimeout(look, 1)
    : requestAnimationFrame(() => done());
  look();
})"""


def boxes(tab: Any) -> dict[str, tuple[float, float]]:
    """Value and gradient of each named atom in view."""
    read = "all => all.map(({dataset: d}) => [d.label, +d.value, +d.gradient])"
    return {label: (value, gradient) for label, value, gradient in tab.eval_on_selector_all(".graph .atom", read)}


def test_a_typed_expression_is_seen_and_its_backward_pass_stepped(visit: Any) -> None:
    tab = visit(page="atoms")
    assert boxes(tab)["a"] == (2, -3)
    tab.fill("#atoms-expression", "(x*x + 3*x).exp()")
    tab.wait_for_selector("[data-label='x * x']")
    tab.fill("[name=x]", "0.5")
    tab.wait_for_selector("[data-label=x][data-value='0.5']")
    assert boxes(tab)["x"][1] == pytest.approx(4 * np.exp(1.75))
    tab.get_by_role("button", name="To the beginning").click()
    tab.wait_for_selector(".graph[data-step='0']")
    assert boxes(tab)["x"][1] == 0
    for step in (1, 2, 3, 4):
        tab.get_by_role("button", name="One step on").click()
        tab.wait_for_selector(f".graph[data-step='{step}']")
    tab.locator("[data-label=x]").click()
    tab.wait_for_selector(".detail[data-atom]")
    assert float(tab.get_attribute("[data-fact=shares]", "data-exact")) == pytest.approx(4 * np.exp(1.75))
    assert "one of 3 paths" in tab.inner_text(".detail")


def test_steps_of_gradient_descent_lower_the_result_and_a_link_reopens_them(visit: Any) -> None:
    tab = visit(page="atoms")
    tab.evaluate("() => { for (const _ of 'ab') document.querySelector('#take-step').click(); }")
    tab.wait_for_function("() => document.querySelector('.atoms-told').innerText.includes('0.8134')")
    told = tab.inner_text("output[for=atoms-rate]")
    assert "result 4 → 2.54 → 0.8134" in told
    assert "predicted to change it by −0.1 × |gradient|² = −1.653; it fell by 1.727" in told
    assert boxes(tab)["a"][0] == pytest.approx(2.62)
    tab.reload()
    tab.wait_for_selector(READY)
    assert tab.inner_text("output[for=atoms-rate]") == told
    tab.get_by_role("button", name="To the beginning").click()
    tab.get_by_role("button", name="One step on").click()
    tab.wait_for_selector(".graph[data-step='1']")
    assert "relu() has the gradient 1. ReLU passes it on" in tab.inner_text("output[for=atoms-met]")
    tab.fill("#atoms-rate", "-1")
    tab.wait_for_selector("#atoms-trouble:not(:empty)")
    tab.fill("#atoms-rate", "0.2")
    tab.get_by_role("button", name="Undo all steps").click()
    tab.wait_for_function("() => document.querySelector('.atoms-told').innerText.includes('result 4.')")
    assert boxes(tab)["a"][0] == 2


def test_a_text_that_is_no_expression_is_a_sentence_and_runs_nothing(visit: Any, watched: Watched) -> None:
    tab = visit(page="atoms", expression="__import__('os').system('true')")
    tab.wait_for_selector("#atoms-trouble:not(:empty)")
    assert "leave it out" in tab.inner_text("#atoms-trouble")
    watched.check()


def test_the_graph_is_walked_by_keys(visit: Any) -> None:
    tab = visit(page="atoms")
    tab.focus(".graph [tabindex='0']")
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("Enter")
    tab.wait_for_selector(".detail[data-atom]")
    assert "a * b + c" in tab.inner_text(".detail h2")


@pytest.mark.parametrize("state", [{"page": "xray", "run": "deep", "prompt": "olivia"}, {"page": "atoms", "atom": 0}])
@pytest.mark.parametrize("width", [360, 1920])
def test_nothing_stands_beside_the_page_at_any_width(visit: Any, watched: Watched, state: Any, width: int) -> None:
    watched.tab.set_viewport_size({"width": width, "height": 900})
    tab = visit(**state)
    tab.wait_for_timeout(200)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    watched.tab.set_viewport_size(SIZE)
