"""In a real browser: the page trains in its thread, what it says of bad texts, and its weights go to `microgpt` and
back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.data.choices import BUILTINS
from microgpt.engines import create
from microgpt.engines.contract import EngineConfig
from microgpt.engines.fused.engine import FusedRunner
from microgpt.export import export
from microgpt.export.page import TRY, page, page_to_try
from microgpt.library import load
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import Settings
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.evaluate import held_out_loss
from microgpt.training.prepare import prepare
from microgpt.training.request import Request
from tests.browser import browser, browser_page, launched
from tests.command import microgpt, succeeded
from tests.export.test_page_learning import compiled, narrow
from tests.models import model_of

pytestmark = [pytest.mark.browser, pytest.mark.long, compiled]
NAMES = BUILTINS["names"].path
BINS = 240  # of the curve
NARROW = {"width": 360, "height": 740}
Visit = Callable[[bytes], Any]


@pytest.fixture(scope="module")
def opened() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture
def visit(opened: Any, tmp_path: Path) -> Iterator[Visit]:
    """Opens a page, as narrow as a small telephone, which must not complain and ask for nothing."""
    home = tmp_path.as_uri()
    with browser_page(opened, lambda url: url.startswith(home), viewport=NARROW) as watched:

        def at(text: bytes) -> Any:
            (tmp_path / "model.html").write_bytes(text)
            watched.tab.goto((tmp_path / "model.html").as_uri())
            watched.tab.evaluate("() => microgpt.ready")
            return watched.tab

        yield at
        watched.check()


def losses_of(steps: int, name: Path = NAMES) -> tuple[list[float], float]:
    """What `microgpt` does with vectors of 16 bytes: the losses of its steps, and that of what is held out."""
    prepared = prepare(Request(settings=Settings(steps=steps), data=(str(name),)))
    checkpoint, dataset = prepared.checkpoint, prepared.dataset
    runner = FusedRunner(EngineConfig("32"), checkpoint.state, narrow(checkpoint.model))
    losses = runner.advance(dataset.sequences_of(0, steps, 1), learning_rates(prepared.request.settings, 0, steps))
    held = held_out_loss(runner, dataset.held_out(), checkpoint.tokenizer, checkpoint.kind, checkpoint.model.ctx)
    return losses.tolist(), held.loss


def binned(losses: list[float]) -> list[float]:
    size = -(-len(losses) // BINS)
    return [float(np.mean(losses[first : first + size])) for first in range(0, len(losses), size)]


def default(tokens: str = "characters") -> Checkpoint:
    return prepare(Request(tokens=tokens)).checkpoint


def test_a_new_model_in_the_page_is_the_default_training(visit: Visit) -> None:
    tab = visit(page(model_of()))
    tab.set_input_files("#file", NAMES)
    tab.select_option("#with", "new")
    found = tab.evaluate("() => microgpt.learn()")
    losses, held_out = losses_of(1000)
    assert found["step"] == 1000
    np.testing.assert_allclose(found["losses"], binned(losses), rtol=0, atol=1e-5)
    assert found["heldOut"] == pytest.approx(held_out, abs=1e-5)
    assert tab.inner_text("h1") == "A GPT of 4,192 parameters"
    assert f"{held_out:.2f} on the tenth" in tab.inner_text("#learned")
    tab.wait_for_selector("#samples li")


@pytest.mark.parametrize("tokens", ["characters", "bpe:60"])
def test_weights_go_to_the_command_and_back(visit: Visit, tmp_path: Path, tokens: str) -> None:
    checkpoint = default(tokens)
    tab = visit(page(checkpoint))
    text = tmp_path / "mine.txt"
    text.write_text("\n".join(NAMES.read_text().split()[:2000]))
    tab.set_input_files("#file", text)
    tab.evaluate("() => microgpt.learn()")
    with tab.expect_download() as downloaded:
        tab.click("#download")
    downloaded.value.save_as(tmp_path / "model.safetensors")
    assert tab.inner_text("#kept") == "To go on from it: microgpt --resume model.safetensors --steps 2000"
    found = checkpoints.read(tmp_path / "model.safetensors")
    assert (found.state.step, found.kind, found.trained.provenance.name) == (1000, "lines", "mine.txt")
    np.testing.assert_array_equal(
        found.state.weights, np.array(tab.evaluate("() => Array.from(lesson.state.weights)"), "f4")
    )
    succeeded(microgpt("--resume", "model.safetensors", "--steps", "1500", "--name", "more", cwd=tmp_path))
    more = load(tmp_path / "runs" / "more")
    assert more.checkpoint.state.step == 1500
    export(more.checkpoint, tmp_path / "more.html")
    tab = visit((tmp_path / "more.html").read_bytes())
    prefix = [checkpoint.tokenizer.bos, *checkpoint.tokenizer.encode("ab").tolist()]
    chances = create("array", EngineConfig()).open(more.checkpoint.state).next(prefix)
    np.testing.assert_allclose(tab.evaluate("() => microgpt.probabilities('ab')"), chances, rtol=0, atol=1e-5)


def test_it_stops_and_goes_on_and_what_was_typed_can_be_gone_on_with(visit: Visit, tmp_path: Path) -> None:
    tab = visit(page(default()))
    tab.fill("#text", "\n".join(NAMES.read_text().split()[:500]) + "\n")
    tab.fill("#steps", "1000000")
    tab.click("#learn")
    tab.wait_for_selector("#learned:text-matches('Step ')")
    tab.click("#halt")
    tab.wait_for_selector("#learned:text-matches('Stopped after')")
    first = tab.evaluate("() => lesson.step")
    assert tab.inner_text("#halt") == "Go on"
    tab.click("#halt")
    tab.wait_for_function("before => lesson.step > before", arg=first)
    tab.click("#halt")
    tab.wait_for_selector("#learned:text-matches('Stopped after')")
    last = tab.evaluate("() => lesson.step")
    assert last > first
    with tab.expect_download() as downloaded:
        tab.click("#download")
    downloaded.value.save_as(tmp_path / "model.safetensors")
    with tab.expect_download() as downloaded:
        tab.click("#kept a")
    downloaded.value.save_as(tmp_path / "text.txt")
    told = succeeded(microgpt("--resume", "model.safetensors", "--steps", str(last + 5), cwd=tmp_path)).stderr
    assert f"from {last}" in told


def test_what_it_writes_is_what_it_has_learned(visit: Visit) -> None:
    tab = visit(page(default()))
    tab.fill("#text", "ada\n" * 3 + "bob\n")
    tab.evaluate("() => microgpt.learn()")
    texts = tab.evaluate("() => microgpt.write({ count: 20, temperature: 0.1 })")
    assert set(texts) <= {"ada", "bob"}


BAD = [
    ("", "There is nothing to learn yet: paste a text, or choose a file."),
    (" \n\t\n", "There is nothing to learn yet: paste a text, or choose a file."),
    ("abc", "The text has one document alone: give one with at least 2 different lines or paragraphs."),
    ("a\0b\nc", "This is no text: it has a NUL at place 2. Choose a plain text."),
]


@pytest.mark.parametrize(("text", "told"), BAD, ids=["empty", "blank", "one line", "NUL"])
def test_a_text_that_can_not_be_learned_is_refused_in_a_sentence(visit: Visit, text: str, told: str) -> None:
    tab = visit(page(model_of()))
    tab.evaluate("text => (document.getElementById('text').value = text)", text)
    before = tab.evaluate("() => microgpt.probabilities('a')")
    tab.click("#learn")
    tab.wait_for_selector("#learn-trouble:not(:empty)")
    assert tab.inner_text("#learn-trouble") == told
    assert tab.evaluate("() => microgpt.probabilities('a')") == before
    assert tab.is_enabled("#learn")


def test_other_characters_are_named_and_a_new_model_learns_them(visit: Visit) -> None:
    tab = visit(page(model_of()))
    tab.fill("#text", "Über\nunter\n😀\n")
    tab.click("#learn")
    tab.wait_for_selector("#learn-trouble button")
    assert tab.inner_text("#learn-trouble").startswith("The model has never seen “n” (U+006E), “r” (U+0072),")
    tab.click("#learn-trouble button")
    tab.wait_for_selector("#learned:text-matches('Learned 1,000 steps')")
    assert tab.inner_text("#learn-trouble") == ""
    assert tab.evaluate("() => writer.tokenizer.texts.join('')") == "".join(sorted(set("Überunter😀")))
    assert tab.inner_text("#sizes").endswith("8 characters and the mark of begin and end; made in this page.")
    assert tab.evaluate("() => microgpt.learn()")["step"] == 1000  # and once more, with this model


def test_a_new_model_of_running_text(visit: Visit) -> None:
    tab = visit(page(default()))
    assert tab.is_disabled("#kind")
    tab.fill("#text", "to be or not to be\n\n" * 30)
    tab.select_option("#with", "new")
    tab.select_option("#kind", "windows")
    assert tab.evaluate("() => microgpt.learn()")["step"] == 1000
    (text,) = tab.evaluate("() => microgpt.write({ count: 1, prompt: 'to be', length: 200, temperature: 0.1 })")
    assert (len(text), text[:18]) == (200, "to be or not to be")
    assert tab.is_visible("#length")


def test_more_characters_than_a_new_model_can_have(visit: Visit) -> None:
    tab = visit(page(model_of()))
    tab.fill("#text", "".join(chr(0x4E00 + i) + "\n" * (i % 9 == 0) for i in range(300)))
    tab.select_option("#with", "new")
    tab.click("#learn")
    tab.wait_for_selector("#learn-trouble:not(:empty)")
    told = "The text has 300 different characters: a new model in this page can have 255. Give it another text."
    assert tab.inner_text("#learn-trouble") == told


def test_too_long_a_text_is_refused_before_it_is_held(visit: Visit, tmp_path: Path) -> None:
    tab = visit(page(model_of()))
    tab.fill("#text", "kept\n")
    tab.evaluate("""() => {
        const carried = new DataTransfer();
        carried.setData("text/plain", "a".repeat(50_000_000));
        const event = { inputType: "insertFromPaste", dataTransfer: carried, bubbles: true, cancelable: true };
        const place = document.getElementById("text");
        if (place.dispatchEvent(new InputEvent("beforeinput", event))) throw new Error("taken");
    }""")
    told = "A page can learn 10,000,000 bytes of text, found 50,000,000: choose a part of it."
    assert tab.inner_text("#learn-trouble") == told
    assert tab.input_value("#text") == "kept\n"
    (tmp_path / "long.txt").write_bytes(b"a\n" * 25_000_000)
    tab.set_input_files("#file", tmp_path / "long.txt")
    assert tab.inner_text("#learn-trouble") == told
    (tmp_path / "latin.txt").write_bytes("café\n".encode("latin-1"))
    tab.set_input_files("#file", tmp_path / "latin.txt")
    tab.click("#learn")
    assert tab.inner_text("#learn-trouble") == "latin.txt is no text in UTF-8: save it as UTF-8."


def test_without_webassembly_it_writes_and_says_that_it_does_not_learn(opened: Any, tmp_path: Path) -> None:
    checkpoint = model_of()
    export(checkpoint, tmp_path / "model.html")
    address = (tmp_path / "model.html").as_uri()
    with launched(opened.browser_type, "--js-flags=--jitless") as other, browser_page(other, address.__eq__) as watched:
        watched.tab.goto(address)
        watched.tab.evaluate("() => microgpt.ready")
        assert "runs no WebAssembly" in watched.tab.inner_text("#no-learning")
        assert not watched.tab.is_visible("#learn-form")
        assert len(watched.tab.evaluate("() => microgpt.write({ count: 3 })")) == 3
        watched.check()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_hinders_a_person_and_nothing_overflows(opened: Any, tmp_path: Path, width: int, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    (tmp_path / "try.html").write_bytes(page_to_try())
    address = (tmp_path / "try.html").as_uri()
    options = {"viewport": {"width": width, "height": 740}, "color_scheme": scheme}
    with browser_page(opened, address.__eq__, **options) as watched:
        tab = watched.tab
        tab.goto(address)
        tab.wait_for_selector("#learned:text-matches('Learned')")
        tab.wait_for_selector("#samples li")
        tab.click("#download")
        tab.fill("#text", "Ü\nÄ\n")
        tab.click("#learn")
        tab.wait_for_selector("#learn-trouble button")
        found = axe.run(tab).response
        assert found["violations"] == []
        assert len(found["passes"]) > 20
        widths = tab.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert widths == [width, width]
        watched.check()


def test_the_page_to_try_is_small_and_teaches_itself_names_offline(visit: Visit) -> None:
    text = page_to_try()
    assert len(text) <= 250_000
    tab = visit(text)
    tab.wait_for_selector("#learned:text-matches('Learned 20,000 steps')")
    losses, held_out = losses_of(TRY.settings.steps)
    assert tab.evaluate("() => lesson.heldOut") == pytest.approx(held_out, abs=1e-5)
    np.testing.assert_allclose(tab.evaluate("() => lesson.bins.map(meanOf)"), binned(losses), rtol=0, atol=1e-5)
    tab.wait_for_selector("#samples li")
