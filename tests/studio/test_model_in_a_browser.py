"""The page Model in a real browser: the engine's numbers, opened down to an atom, changed, and put back."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microgpt.studio import stages, xray
from microgpt.studio.edits import edited
from microgpt.training import checkpoint as checkpoints
from tests.studio.visiting import READY, SLOW, go, phase, start, visited
from trials.serving import listening
from trials.small import finish, request

pytestmark = pytest.mark.long
STATE = {"page": "model", "run": "deep", "prompt": "mia"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    finish(request(folder, steps=60, keep="every:20", layer=2, name="deep"))
    return folder / "runs"


@pytest.fixture(scope="module")
def place(runs: Path) -> Iterator[str]:
    with listening(runs, "--port", "0") as found:
        yield found


def loss_of(runs: Path, edits: str) -> float:
    checkpoint = edited(checkpoints.read(runs / "deep" / "weights.safetensors"), edits)
    found = stages.loss(xray.read(checkpoint, xray.open_array(checkpoint), "mia"))
    assert found is not None
    return found


def shown_loss(tab: Any, edits: str) -> float:
    tab.wait_for_selector(f'.xray-body[data-edits="{edits}"]')
    return float(tab.get_attribute("#model-loss", "data-loss"))


def test_what_is_switched_off_or_changed_is_seen_at_once_and_put_back(opened: Any, place: str, runs: Path) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, **STATE)
        assert shown_loss(tab, "") == pytest.approx(loss_of(runs, ""), rel=1e-9)
        tab.click('.switches [data-switch="layer0.head1"]')
        assert shown_loss(tab, "layer0.head1") == pytest.approx(loss_of(runs, "layer0.head1"), rel=1e-9)
        tab.locator('[data-stage="embedding"] canvas').click(position={"x": 3, "y": 3})
        weight = tab.locator("[data-weight^='wte.']").get_attribute("data-weight")
        tab.fill(f"[data-weight='{weight}']", "0.75")
        tab.keyboard.press("Tab")
        edits = f"layer0.head1,{weight}=0.75"
        assert shown_loss(tab, edits) == pytest.approx(loss_of(runs, edits), rel=1e-9)
        tab.wait_for_function("() => document.querySelectorAll('.before-and-now ol').length === 2")
        tab.wait_for_selector(".checked[data-difference]")
        assert float(tab.get_attribute(".checked", "data-difference")) < 1e-6
        tab.reload()
        tab.wait_for_selector(READY)
        assert shown_loss(tab, edits) == pytest.approx(loss_of(runs, edits), rel=1e-9)
        tab.get_by_role("button", name="Put everything back").click()
        assert shown_loss(tab, "") == pytest.approx(loss_of(runs, ""), rel=1e-9)
        watched.check()


def test_a_number_leads_by_keyboard_to_the_weights_and_the_atom_that_made_it(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, **STATE, at="2")
        tab.focus('[data-stage="layer1.query"] canvas')
        tab.keyboard.press("ArrowRight")
        tab.keyboard.press("Enter")
        tab.wait_for_selector(".number:not([hidden]) .value-of")
        told = tab.inner_text(".number .value-of")
        assert "query of layer 1, head 0, number 1" in tab.inner_text(".number h2")
        products = tab.locator(".number tbody tr td:last-child").all_inner_texts()
        assert len(products) == 4  # the width of this model
        assert tab.evaluate("document.activeElement.className") == "number"
        tab.keyboard.press("Escape")
        tab.wait_for_selector(".number", state="hidden")
        tab.keyboard.press("Enter")  # from the picture again, which has the focus
        tab.wait_for_selector(".number:not([hidden]) .value-of")
        tab.get_by_role("button", name="The atom that made it").click()
        tab.wait_for_selector(".page-atoms .detail[data-atom]")
        assert tab.inner_text("[data-fact=value]")[:8] == told[:8]
        watched.check()


def test_on_a_telephone_the_number_does_not_hide_the_picture_that_it_is_from(opened: Any, place: str) -> None:
    with visited(opened, place, viewport={"width": 390, "height": 844}) as watched:
        tab = watched.tab
        go(watched, place, **STATE)
        for stage in ("layer0.query", "probabilities"):
            tab.locator(f'[data-stage="{stage}"] canvas').click(position={"x": 3, "y": 3})
            tab.wait_for_selector(f'figure.chosen[data-stage="{stage}"]')
            picture, panel = (tab.locator(each).bounding_box() for each in ("figure.chosen canvas", ".number"))
            assert picture
            assert panel
            assert picture["y"] >= 0
            assert picture["y"] + picture["height"] <= panel["y"]
        watched.check()


def test_xray_and_model_lead_to_each_other_with_run_step_and_text(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, **STATE, at="2", step="20")
        for other in ("xray", "model"):
            tab.click(".onward a")
            tab.wait_for_selector(f".page-{other}[data-ready] .xray-body[data-step='20'][data-at='2']")
            assert tab.input_value("#xray-run") == "deep"
            assert tab.input_value("#xray-prompt") == "mia"
        watched.check()


def test_all_positions_open_and_the_next_letter_is_written(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, **STATE, stage="layer0.attention")
        assert tab.locator(".number canvas").count() == 2
        tab.click("#write-next")
        tab.wait_for_function("() => document.querySelector('#drawn').textContent.includes('fell on')")
        assert tab.evaluate("document.activeElement.id") == "write-next"
        watched.check()


def test_a_number_of_two_positions_is_closed_at_another_position(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, **STATE, stage="layer0.attention", index="7")  # head 1, to the last position
        assert "head 1, to position 3" in tab.inner_text(".number h2")
        tab.click(".strip [data-at='1']")
        tab.wait_for_selector(".xray-body[data-at='1']")
        assert tab.is_hidden(".number")
        assert not tab.inner_text("#xray-trouble")
        watched.check()


def test_a_change_that_the_model_has_not_is_told_and_can_be_put_back(opened: Any, place: str) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        go(watched, place, **STATE, edits="layer9.head0")
        assert "put the change back" in tab.inner_text("#xray-trouble")
        watched.check()


def test_a_run_that_is_trained_is_followed_with_its_changes(opened: Any, place: str, runs: Path) -> None:
    with visited(opened, place) as watched:
        tab = watched.tab
        start(watched, **SLOW)
        phase(watched, "Training")
        name = next(run.name for run in runs.iterdir() if run.name[0] not in ".d")
        go(watched, place, page="model", run=name, prompt="mia", edits="layer0.head0")
        first = int(tab.get_attribute(".xray-body", "data-step"))
        tab.wait_for_function("first => +document.querySelector('.xray-body').dataset.step > first", arg=first)
        assert tab.get_attribute(".xray-body", "data-edits") == "layer0.head0"
        watched.check()
