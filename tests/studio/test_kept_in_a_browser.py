"""What a person must not lose, in a real Chromium: errors, trainings, answers of buttons, settings, runs."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from microgpt.training import checkpoint as checkpoints
from tests.browser import Watched
from tests.studio.visiting import READY, SLOW, go, phase, start, step_of, visited
from trials.serving import listening
from trials.small import finish, request
from trials.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.long]
LAPTOP = {"width": 1366, "height": 768}


def shown(watched: Watched, selector: str) -> bool:
    """Whether all of an element is in the window."""
    box = watched.tab.locator(selector).bounding_box()
    size = watched.tab.viewport_size
    assert box
    return bool(
        box["y"] >= 0 and box["y"] + box["height"] <= size["height"] and box["x"] + box["width"] <= size["width"]
    )


def run_of(watched: Watched) -> str:
    watched.tab.wait_for_function("() => location.search.includes('run=')")
    return str(watched.tab.evaluate("new URLSearchParams(location.search).get('run')"))


def soon(watched: Watched, check: Any) -> None:
    until(lambda: (watched.tab.wait_for_timeout(50), check())[1])


@pytest.mark.parametrize("width", [360, 1366])
def test_an_error_stands_above_the_buttons_with_the_focus_on_it(opened: Any, address: str, width: int) -> None:
    with visited(opened, address, viewport={"width": width, "height": 768}) as watched:
        tab = watched.tab
        tab.fill("#field-head", "3")
        tab.click("#start")
        tab.wait_for_function("() => document.activeElement.id === 'form-trouble'")
        assert "heads" in tab.inner_text("#form-trouble")
        assert shown(watched, "#form-trouble")
        tab.fill("#field-head", "4")
        tab.click("#way-timed")
        for seconds in ("1", "0", "-1", "", "1000000000"):
            tab.fill("#seconds", seconds)
            tab.click("#start")
            tab.wait_for_function("() => document.activeElement.id === 'form-trouble'")
            tab.wait_for_timeout(600)  # a new price must not take it away
            assert "seconds" in tab.inner_text("#form-trouble")
            assert shown(watched, "#form-trouble")
            assert tab.locator("#start").is_enabled()
        watched.check()


def test_stop_is_heard_while_the_machine_is_measured(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        tab.click("#way-timed")
        tab.fill("#seconds", "86400")
        tab.click("#start")
        tab.wait_for_function("() => document.querySelector('#phase').textContent.startsWith('Measuring')")
        tab.click("#do-end")
        phase(watched, "Stopped before it began")
        watched.check()


def test_a_running_training_is_found_again_by_a_click(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        start(watched, **SLOW)
        phase(watched, "Training")
        run = run_of(watched)
        go(watched, address, page="compare")
        tab.wait_for_function("() => document.querySelector('#runs').innerText.includes('training now')")
        tab.click(f"#runs a:text-is('{run}')")
        phase(watched, "Training")
        go(watched, address, page="train", run="none")
        assert "expected a run" in tab.inner_text(".right > .trouble")
        tab.click(f".running button:text-is('{run}')")
        phase(watched, "Training")
        go(watched, address, page="train", run=run)
        phase(watched, "Training")
        tab.click("#do-end")
        phase(watched, "Stopped and saved")
        assert "left" not in tab.inner_text("#facts")
        assert [error for error in watched.errors if "404" not in error] == []


def test_twelve_tabs_are_open_and_each_button_answers(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        start(watched, **SLOW)
        phase(watched, "Training")
        others = [watched.tab.context.new_page() for _ in range(11)]
        for tab in others:
            tab.goto(watched.tab.url)
            tab.wait_for_function("() => document.querySelector('#phase')?.textContent === 'Training'")
        for tab in [watched.tab, *others]:
            tab.bring_to_front()
            tab.click("#do-pause", timeout=5000)
            tab.wait_for_function("() => document.querySelector('#phase').textContent === 'Paused'", timeout=5000)
            tab.click("#do-go_on", timeout=5000)
            tab.wait_for_function("() => document.querySelector('#phase').textContent === 'Training'", timeout=5000)
        others[-1].click("#do-end")
        phase(watched, "Stopped and saved")
        watched.check()


def test_after_the_server_was_killed_the_page_leads_to_the_run(opened: Any, out: Path) -> None:
    command = [sys.executable, "-m", "microgpt", "studio", "--no-browser", "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=out.parent) as server:
        assert server.stdout
        address = server.stdout.readline().split()[-1]
        with visited(opened, address) as watched:
            tab = watched.tab
            start(watched, **SLOW)
            phase(watched, "Training")
            run = run_of(watched)
            soon(watched, lambda: step_of(watched) > 1000)
            server.kill()
            step = step_of(watched)
            tab.wait_for_selector("#trouble:not([hidden])", timeout=20_000)
            until(lambda: checkpoints.describe(out / run / "weights.safetensors").step >= step)
            with listening(out, "--port", address.split(":")[-1].split("/")[0]) as again:
                token = tab.context.new_page()
                token.goto(again)
                token.wait_for_selector(READY)
                phase(watched, "Unfinished")
                assert tab.locator("#trouble").is_hidden()
                assert step_of(watched) >= step
                tab.click("#resume")
                phase(watched, "Training")
                tab.click("#do-end")
                phase(watched, "Stopped and saved")


def test_a_page_without_the_token_says_what_to_open_and_offers_no_tour(opened: Any, address: str) -> None:
    from tests.browser import browser_page

    root = address.split("#")[0]
    with browser_page(opened, lambda url: url.startswith(root)) as watched:
        watched.tab.goto(root)
        watched.tab.wait_for_selector("#trouble:not([hidden])")
        assert "Open the address that the terminal printed" in watched.tab.inner_text("#trouble")
        watched.tab.wait_for_timeout(300)
        assert watched.tab.locator(".tour").count() == 0
        other = watched.tab.context.new_page()
        other.goto(address)
        watched.tab.wait_for_selector(READY, timeout=20_000)
        assert watched.tab.locator("#trouble").is_hidden()


def test_a_sweep_is_begun_watched_and_stopped_on_the_page(opened: Any, out: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    with listening(out, "--port", "0") as address, visited(opened, address) as watched:
        go(watched, address, page="scaling")
        tab = watched.tab
        tab.wait_for_selector("#sweep-what option", state="attached")
        tab.select_option("#sweep-what", "steps")
        tab.click("#sweep-start")
        tab.wait_for_selector("#main .chart svg circle:not(.ring)", timeout=120_000)
        tab.wait_for_function(
            "() => document.querySelector('#sweep-told').innerText.includes('ended')", timeout=120_000
        )
        tab.wait_for_function("() => document.querySelector('.chart').innerHTML.includes('table of counts')")
        tab.select_option("#sweep-what", "laws")
        tab.click("#sweep-start")
        tab.wait_for_function("() => / of .* runs are done/.test(document.querySelector('#sweep-told').innerText)")
        tab.click("#sweep-stop")
        tab.wait_for_function("() => document.querySelector('#sweep-told').innerText.includes('stopped')")
        assert (out.parent / "lab.db").is_file()
        watched.check()


def test_the_tour_of_a_used_studio_trains_its_own_run_and_covers_no_button(opened: Any, out: Path) -> None:
    from tests.browser import browser_page

    finish(request(out.parent, steps=5, name="other"))
    with listening(out, "--port", "0") as address:
        root = address.split("#")[0]
        view = {"viewport": {"width": 390, "height": 844}, "reduced_motion": "reduce"}
        with browser_page(opened, lambda url: url.startswith(root), **view) as watched:
            tab = watched.tab
            tab.goto(address)
            tab.wait_for_selector(".tour")
            tab.click("#start", trial=True, timeout=5000)
            tab.click("#tour-begin")
            for place in range(5):
                tab.wait_for_selector(f".tour[data-arrived='{place}']")
                tab.click("#tour-next")
            [made] = [path.name for path in out.iterdir() if path.name[0] != "." and path.name != "other"]
            assert json.loads((out / made / "run.json").read_text())["status"] == "finished"
            tab.go_back()
            assert run_of(watched) == made
            watched.check()


def test_curve_and_samples_are_seen_without_scrolling(opened: Any, address: str) -> None:
    with visited(opened, address, viewport=LAPTOP) as watched:
        watched.tab.evaluate("scrollTo(0, 0)")
        start(watched, steps="200", engine="array")
        phase(watched, "Finished")
        assert watched.tab.evaluate("scrollY") == 0
        assert shown(watched, "#curve")
        assert shown(watched, "#samples")
        watched.check()


def test_a_text_that_is_known_by_heart_is_said_so_with_what_to_do(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        tab.click("text=Use your own text")
        tab.fill("#own-text", "\n".join(["anna", "otto", "hannah", "bob", "eve", "ada", "lola", "kim", "tim", "zoe"]))
        tab.click("#take-text")
        tab.wait_for_function("() => /^10 lines/m.test(document.querySelector('#text-block').innerText)")
        assert tab.locator("#text option:checked").inner_text().startswith("anna otto hannah bob")
        start(watched, steps="1500", engine="array")
        phase(watched, "Finished")
        tab.wait_for_selector("#verdict:not([hidden])")
        assert "by heart" in tab.inner_text("#verdict")
        assert tab.locator("#curve text", has_text="best").count() >= 1
        first = run_of(watched)
        tab.click("#again")
        soon(watched, lambda: run_of(watched) != first and tab.inner_text("#phase") == "Finished")
        assert "kept the weights of step" in tab.inner_text("#view")
        watched.check()


def test_a_text_in_other_letters_is_no_dead_end_and_a_long_one_gets_an_offer(
    opened: Any, address: str, tmp_path: Path
) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        prose = "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich, und niemand weiß warum. " * 60
        (tmp_path / "old.txt").write_bytes(prose.encode("latin-1"))
        tab.click("text=Use your own text")
        tab.set_input_files("#own-file", str(tmp_path / "old.txt"))
        tab.wait_for_selector("#encodings:not([hidden])")
        assert "--" not in tab.inner_text("#text-block")
        tab.select_option("#own-encoding", "latin-1")
        tab.click("#read-again")
        tab.wait_for_function("() => document.querySelector('#text-block').innerText.includes('Zwölf')")
        tab.click("#choose-timed")
        assert tab.is_checked("#way-timed")
        watched.check()


def test_settings_notes_and_reasons_are_there_after_other_pages_and_a_reload(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        tab.fill("#field-steps", "60")
        tab.fill("#field-emb", "8")
        tab.click("nav a[data-page=compare]")
        tab.wait_for_selector(".page-compare[data-ready]")
        tab.click("nav a[data-page=train]")
        tab.wait_for_selector(".page-train[data-ready]")
        assert (tab.input_value("#field-steps"), tab.input_value("#field-emb")) == ("60", "8")
        start(watched, lr="1e300", engine="array")
        phase(watched, "Failed")
        assert "learning rate" in tab.inner_text("#view-trouble")
        assert str(Path.cwd()) not in tab.inner_text("body")
        tab.reload()
        phase(watched, "Diverged")
        assert "at a learning rate of" in tab.inner_text(".notes .warning")
        tab.fill("#field-steps", "99")
        tab.click("#own-settings summary")
        tab.click("#use-settings")
        assert (tab.input_value("#field-steps"), tab.input_value("#field-lr")) == ("60", "1e+300")
        watched.check()


def test_a_run_writes_gets_a_name_is_taken_along_and_deleted(opened: Any, address: str, out: Path) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        start(watched, steps="40", engine="array")
        phase(watched, "Finished")
        tab.fill("#write-prompt", "ann")
        tab.keyboard.press("Enter")
        tab.wait_for_selector("#written li")
        assert all(text.startswith("ann") for text in tab.locator("#written li").all_inner_texts())
        tab.fill("#write-prompt", "ß")
        tab.click("#write")
        tab.wait_for_function("() => document.querySelector('#tools-trouble').innerText.includes('ß')")
        tab.click("#more-tools summary")
        with tab.expect_download() as handed:
            tab.click("#export")
        assert handed.value.suggested_filename.endswith(".html")
        assert b"<!" in Path(handed.value.path()).read_bytes()[:20]
        tab.fill("#new-name", "mine")
        tab.click("#rename")
        tab.wait_for_function("() => document.querySelector('#run-name').textContent === 'mine'")
        assert (out / "mine" / "run.json").is_file()
        tab.click("#more-tools summary")
        tab.click("#delete")
        assert tab.evaluate("document.activeElement.id") == "delete-not"
        tab.click("#delete-not")
        assert (out / "mine").is_dir()
        tab.click("#delete")
        tab.click("#delete-sure")
        tab.wait_for_selector(".empty:not([hidden])")
        assert not (out / "mine").exists()
        watched.check()
