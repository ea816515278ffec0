"""The page computes what the engines compute, writes what they write, and lets nothing in or out.

Pages are made here as where no compiler is at hand, so that JavaScript writes; what the kernel does in one is tested in
test_page_learning.py.
"""

import base64
import hashlib
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines import create
from microgpt.engines.contract import EngineConfig, Runner
from microgpt.engines.fused import toolchain
from microgpt.errors import DivergedError
from microgpt.export import export
from microgpt.export.page import PageWarning, page
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.sample import Sampling, Writer
from tests.browser import Watched, browser, browser_page
from tests.command import microgpt, refused
from tests.models import LETTERS, MERGED, VARIATIONS, model_of

pytestmark = pytest.mark.filterwarnings("ignore::microgpt.export.page.PageWarning")
Visit = Callable[[Checkpoint], Any]
HOSTILE = Tokenizer.of("</script><img src=x onerror=alert(1)>&quot;<!--{{weights}}\\\u2028\u0301\u0000😀é")


@pytest.fixture(autouse=True, scope="module")
def without_compiler() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(toolchain, "_BUNDLED", "a_package_that_nobody_has")
        yield


def engine(checkpoint: Checkpoint) -> Runner:
    return create("array", EngineConfig("64")).open(checkpoint.state)


def part(text: str, name: str) -> str:
    """What stands in the script element of an id."""
    return re.findall(rf'<script type="[a-z/]+" id="{name}">(.*?)</script>', text, re.DOTALL)[0]


# The file itself


def test_the_page_names_no_address_and_loads_nothing() -> None:
    text = page(model_of()).decode()
    assert not re.search(r"https?:|//\w+\.|@import|url\(|<iframe|<object", text.replace(part(text, "weights"), ""))
    assert re.findall(r'\s(?:src|href|action|srcset)="([^"]*)"', text) == ["data:,"]


def test_the_policy_allows_what_stands_in_the_page_by_its_hash_and_no_more() -> None:
    text = page(model_of()).decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', text)[0]
    inline = re.findall(r"<(?:script|script data-thread|style)>(.*?)</(?:script|style)>", text, re.DOTALL)
    hashes = {f"sha256-{base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()}" for code in inline}
    assert len(inline) == 9
    assert set(re.findall(r"'(sha256-[^']+)'", policy)) == hashes
    assert policy.startswith("default-src 'none'; ")
    assert re.findall(r"'unsafe[^']*'", policy) == []
    assert re.findall(r"(?<![\w'])[a-z]+:", policy) == ["blob:", "data:"]  # a thread of these scripts, and no host


def test_the_same_model_gives_the_same_bytes_and_another_other_ones() -> None:
    assert page(model_of(seed=1)) == page(model_of(seed=1)) != page(model_of(seed=2))


def test_the_footer_tells_what_the_model_varies() -> None:
    assert b", ff 4; 11 characters" in page(model_of())
    assert b", ff 4, position rotary, activation swiglu; 11 characters" in page(model_of(**VARIATIONS[-1]))


@given(st.text(min_size=1).map(Tokenizer.of))
def test_no_vocabulary_opens_or_closes_an_element(tokenizer: Tokenizer) -> None:
    text = page(model_of(tokenizer, emb=2, head=1, ctx=2)).decode()
    about = part(text, "about")
    assert "<" not in about
    assert about.isascii()
    assert json.loads(about)["characters"] == tokenizer.characters


def test_weights_stand_in_the_page_as_little_endian_float32_in_four_thirds_of_their_bytes() -> None:
    checkpoint = model_of(emb=64)
    text = page(checkpoint).decode()
    numbers = np.frombuffer(base64.b64decode(part(text, "weights")), "<f4")
    np.testing.assert_array_equal(numbers, checkpoint.state.weights)
    assert len(part(text, "weights")) == pytest.approx(4 / 3 * 4 * len(numbers), rel=0.02)


def test_weights_that_float32_can_not_hold_are_refused() -> None:
    checkpoint = model_of()
    large = replace(checkpoint, state=replace(checkpoint.state, weights=checkpoint.state.weights * 1e300))
    with pytest.raises(DivergedError, match="float32"):
        page(large)


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
def test_colours_keep_the_contrast_of_wcag_aa(scheme: int) -> None:
    colours = dict(re.findall(r"--([\w-]+): (#\w{6})", page(model_of()).decode().split(":root {")[1 + scheme]))

    def luminance(name: str) -> float:
        parts = np.array([int(colours[name][i : i + 2], 16) / 255 for i in (1, 3, 5)])
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    def contrast(one: str, other: str) -> float:
        low, high = sorted(map(luminance, (one, other)))
        return (high + 0.05) / (low + 0.05)

    texts = [(name, ground) for name in ("ink", "soft", "accent", "warn") for ground in ("paper", "sheet")]
    assert min(contrast(*pair) for pair in [*texts, ("on-accent", "accent")]) >= 4.5
    assert min(contrast(*pair) for pair in [("edge", "paper"), ("bar", "track"), ("bar", "paper")]) >= 3


def test_without_a_compiler_it_warns_and_the_page_says_so() -> None:
    with pytest.warns(PageWarning, match="can't learn: Expected the compiler of the package ziglang, found none; pip"):
        text = page(model_of()).decode()
    assert json.loads(part(text, "learning")).keys() == {"why"}


def test_a_page_to_try_needs_a_compiler(tmp_path: Path) -> None:
    line = refused(microgpt("export", "--try", "try.html", cwd=tmp_path), 5)
    assert line.endswith("found none; pip install 'microgpt-symmetry[cc]'.")
    assert not (tmp_path / "try.html").exists()


# In a browser


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watched]:
    """One tab for all, as narrow as a small telephone, which may ask for the pages of these tests alone."""
    home = tmp_path_factory.getbasetemp().as_uri()
    with browser() as opened, browser_page(opened, lambda url: url.startswith(home), viewport=NARROW) as page:
        yield page


@pytest.fixture
def visit(watched: Watched, tmp_path: Path) -> Iterator[Visit]:
    """Opens the page of a model in the tab, which must not complain and ask for nothing."""

    def opened(checkpoint: Checkpoint) -> Any:
        export(checkpoint, tmp_path / "model.html")
        watched.tab.goto((tmp_path / "model.html").as_uri())
        watched.tab.evaluate("() => microgpt.ready")
        return watched.tab

    yield opened
    watched.check()


NARROW = {"width": 360, "height": 740}
LONG = ["bad cab \n" * 3]  # more than ctx
SETTINGS = [
    {"kind": "lines"},
    {"kind": "lines", "norm_embeddings": False, "norm_head": True, "layer": 2, "head": 4, "emb": 8, "ff": 3},
    {"kind": "paragraphs", "norm_embeddings": False, "ctx": 5, "head": 1},
    {"kind": "windows", "norm_head": True, "layer": 2, "ctx": 6},
    {"kind": "windows", "ctx": 1},
    *({"kind": "windows", "emb": 12, "head": 3, "layer": 2, "ctx": 6, **changes} for changes in VARIATIONS),
]


@pytest.mark.parametrize("tokenizer", [LETTERS, MERGED], ids=["characters", "byte pairs"])
def test_probabilities_are_those_of_the_array_engine(visit: Visit, tokenizer: Tokenizer) -> None:
    for settings in SETTINGS:
        checkpoint = model_of(tokenizer, **settings)
        runner, tab, ctx = engine(checkpoint), visit(checkpoint), checkpoint.model.ctx
        for text in ["", "a", "é", "h\nbé", "bad", *LONG * (settings["kind"] == "windows")]:
            ids = tokenizer.encode(text).tolist()
            tokens = (ids or [0])[-ctx:] if settings["kind"] == "windows" else [tokenizer.bos, *ids]
            found = tab.evaluate("text => microgpt.probabilities(text)", text)
            assert len(found) == tokenizer.vocabulary
            np.testing.assert_allclose(found, runner.next(tokens), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "ctx", "changes"),
    [("lines", 9, {}), ("windows", 1, {}), ("windows", 2, {}), ("windows", 7, {}), ("windows", 7, VARIATIONS[-1])],
)
@pytest.mark.parametrize("tokenizer", [LETTERS, MERGED], ids=["characters", "byte pairs"])
def test_a_seed_writes_what_the_engine_writes_with_it(
    visit: Visit, kind: Kind, ctx: int, changes: dict[str, Any], tokenizer: Tokenizer
) -> None:
    checkpoint = model_of(tokenizer, kind, ctx=ctx, **changes)
    tab, writer = visit(checkpoint), Writer(engine(checkpoint), tokenizer, kind, ctx)
    for prompt, seed, temperature in (("", 3, 0.5), ("b", 4, 0.0), ("bad", -7, 1.3), ("é h", 2**70 + 1, 0.8)):
        expected = writer.write(Sampling(3, temperature, 0, prompt, 40), random.Random(seed)).texts
        asked = {"prompt": prompt, "count": 3, "temperature": temperature, "length": 40, "seed": str(seed)}
        assert tab.evaluate("asked => microgpt.write(asked)", asked) == list(expected)


def test_a_page_that_can_not_learn_says_why(visit: Visit) -> None:
    tab = visit(model_of())
    assert "made where no compiler for WebAssembly was at hand" in tab.inner_text("#no-learning")
    assert not tab.is_visible("#learn-form")


def test_the_button_and_the_keys_write_below_the_prompt(visit: Visit) -> None:
    tab = visit(model_of(ctx=9))
    tab.fill("#prompt", "bad")
    tab.fill("#seed", "5")
    tab.click("#write")
    tab.wait_for_selector("#status:text('Written: 5 texts')")
    first = tab.locator("#texts li").all_text_contents()
    assert len(first) == 5
    assert all(text.startswith("bad") for text in first)
    assert tab.evaluate("asked => microgpt.write(asked)", {"prompt": "bad", "seed": 5}) == first
    tab.fill("#count", "2")
    tab.press("#prompt", "Control+Enter")
    tab.wait_for_selector("#status:text('Written: 2 texts')")
    assert tab.locator("#texts li").all_text_contents() == first[:2]


def test_a_long_text_streams_until_it_is_stopped(visit: Visit) -> None:
    tab = visit(model_of(kind="windows", emb=32))
    tab.fill("#length", "1000000")
    tab.click("#write")
    tab.wait_for_selector("#texts li:text-matches('.{9}', 's')")
    tab.press("body", "Escape")
    tab.wait_for_selector("#status:text('Stopped after 1 text')")
    assert tab.is_enabled("#write")


def test_bars_follow_what_is_typed_and_the_temperature(visit: Visit) -> None:
    checkpoint = model_of()
    tab, runner = visit(checkpoint), engine(checkpoint)
    names = dict(enumerate([*LETTERS.characters, "the end"])) | {0: "line break", 1: "space"}
    for typed, temperature in (("b", 0.5), ("ba", 0.5), ("bad", 1.25)):
        tab.locator("#temperature").fill(str(temperature))
        tab.fill("#prompt", typed)
        tab.wait_for_selector(f"#after bdi:text-is('“{typed}”')")
        powers = runner.next([LETTERS.bos, *LETTERS.encode(typed)]) ** (1 / temperature)
        chances = powers / powers.sum()
        best = sorted(names, key=lambda token: -chances[token])[:10]
        expected = [f"{names[token]}{100 * chances[token]:.1f}%" for token in best]
        assert tab.locator("#chances li").all_text_contents() == expected


def test_unknown_characters_are_named_with_the_nearest_known(visit: Visit) -> None:
    tab = visit(model_of())
    tab.fill("#prompt", "BÉ!")
    told = tab.inner_text("#trouble")
    assert told.startswith("The model has never seen “B” (U+0042), “É” (U+00C9) and “!” (U+0021).")
    assert "Nearest known: “b” for “B”, “é” for “É”." in told
    tab.click("#trouble button")
    assert tab.input_value("#prompt") == "bé!"
    tab.fill("#prompt", "e\u0301")  # not composed
    tab.click("#trouble button")
    assert (tab.input_value("#prompt"), tab.inner_text("#trouble")) == ("é", "")


def test_a_prompt_that_leaves_a_document_no_room_is_refused(visit: Visit) -> None:
    tab = visit(model_of(ctx=4))
    tab.fill("#prompt", "abcd")
    assert "at most 4 characters, found 4 already" in tab.inner_text("#trouble")
    tab.click("#write")
    assert tab.locator("#texts li").count() == 0


@pytest.mark.long
def test_a_hostile_vocabulary_stays_text_and_nothing_overflows(visit: Visit) -> None:
    tab = visit(model_of(HOSTILE, "windows"))
    prompt = "<img src=x onerror=alert(1)></script>😀é\u2028" + "x" * 200
    tab.fill("#prompt", prompt)
    tab.fill("#length", "400")
    tab.click("#write")
    tab.wait_for_selector("#status:text('Written: 1 text')")
    assert tab.inner_text("#trouble") == ""
    assert tab.locator("#texts .given").text_content() == prompt
    assert tab.locator("img").count() == 0
    widths = tab.evaluate("() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert widths == [360, 360]
