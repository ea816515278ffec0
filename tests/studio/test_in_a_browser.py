"""The studio in a real Chromium: from the page to the samples, interrupted, in two tabs, on a telephone."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from microgpt.training import checkpoint as checkpoints
from tests.browser import browser_page
from tests.studio.visiting import PAGES, READY, SLOW, go, phase, start, step_of, visited
from trials.serving import behind_a_proxy, listening
from trials.small import finish, request
from trials.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.long]
HTML = "<img src=x onerror=alert(1)>"


def test_from_the_page_to_the_samples_and_back_by_the_address(opened: Any, address: str, out: Path) -> None:
    with visited(opened, address) as watched:
        start(watched, steps="300", engine="array")
        phase(watched, "Finished")
        tab = watched.tab
        samples = tab.locator("#samples li").all_inner_texts()
        [run] = [path for path in out.iterdir() if path.name[0] != "."]
        assert samples[:5] == (run / "samples.txt").read_text().splitlines()[:5]
        assert "nats per character" in tab.inner_text("#result")
        assert json.loads((run / "run.json").read_text())["status"] == "finished"
        tab.wait_for_function("() => location.search.includes('look=300')")
        tab.locator("#film").fill("0")
        assert tab.locator("#samples li").all_inner_texts() != samples
        tab.wait_for_function("() => location.search.includes('look=0')")
        before = tab.locator("#samples li").all_inner_texts()
        tab.reload()
        phase(watched, "Finished")
        tab.wait_for_function("() => document.querySelector('#film').value === '0'")
        assert tab.locator("#samples li").all_inner_texts() == before
        watched.check()


def test_a_training_in_byte_pairs_shows_its_tokens_and_losses_per_character(
    opened: Any, address: str, out: Path
) -> None:
    with visited(opened, address) as watched:
        go(watched, address, tokens="bpe:90", steps="40", engine="array")
        tab = watched.tab
        tab.wait_for_selector(".piece")
        assert max(map(len, tab.locator(".piece").all_inner_texts())) > 1
        tab.click("#start")
        phase(watched, "Finished")
        [run] = [path for path in out.iterdir() if path.name[0] != "."]
        loss = json.loads((run / "run.json").read_text())["loss"]
        assert f"{loss['holdout_per_character']:.3f}" in tab.inner_text("#result")
        go(watched, address, page="xray", run=run.name, prompt="annabella")
        tab.wait_for_selector(".letter")
        letters = tab.locator(".letter b").all_inner_texts()
        assert "".join(letters[1:]) == "annabella"
        assert len(letters) < 10
        watched.check()


def test_pause_one_step_reload_go_on_and_stop(opened: Any, address: str, out: Path) -> None:
    with visited(opened, address) as watched:
        start(watched, **SLOW)
        phase(watched, "Training")
        tab = watched.tab
        tab.click("#do-pause")
        phase(watched, "Paused")
        tab.wait_for_timeout(300)
        step = step_of(watched)
        tab.click("#do-step")
        until(lambda: (tab.wait_for_timeout(50), step_of(watched) == step + 1)[1])
        tab.reload()
        phase(watched, "Paused")
        until(lambda: (tab.wait_for_timeout(50), step_of(watched) == step + 1)[1])
        tab.click("#do-go_on")
        until(lambda: (tab.wait_for_timeout(50), step_of(watched) > step + 100)[1])
        tab.reload()
        phase(watched, "Training")
        tab.click("#do-end")
        phase(watched, "Stopped and saved")
        [run] = [path for path in out.iterdir() if path.name[0] != "."]
        saved = checkpoints.describe(run / "weights.safetensors").step
        assert saved == step_of(watched)
        tab.click("#resume")
        phase(watched, "Training")
        until(lambda: (tab.wait_for_timeout(50), step_of(watched) > saved)[1])
        tab.click("#do-end")
        phase(watched, "Stopped and saved")
        watched.check()


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_a_training_whose_process_dies_says_so_and_is_gone_on_with(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        start(watched, **SLOW)
        phase(watched, "Training")
        tab = watched.tab
        until(lambda: (tab.wait_for_timeout(50), step_of(watched) > 100)[1])
        [killed] = _trainings(os.getpid())
        os.kill(killed, signal.SIGSEGV)
        phase(watched, "Failed")
        told = tab.inner_text("#view-trouble")
        assert "process ended (signal SIGSEGV, Segmentation fault); what was saved until step" in told
        tab.wait_for_selector("#resume")  # from here too
        tab.reload()
        phase(watched, "Unfinished")
        tab.click("#resume")
        phase(watched, "Training")
        tab.click("#do-end")
        phase(watched, "Stopped and saved")
        watched.check()


def _trainings(of: int) -> list[int]:
    """The processes of trainings, which are forked from one that a studio below this process has started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    above = lambda pid, times: pid if not times else above(parents.get(pid, 0), times - 1)  # noqa: E731
    found = [pid for pid in parents if above(pid, 3) == of]
    return [pid for pid in found if "forkserver" in Path(f"/proc/{pid}/cmdline").read_text()]


def test_below_a_path_of_a_proxy_a_training_is_seen_to_its_end(opened: Any, out: Path) -> None:
    flags = ("--port", "0", "--allow-host", "localhost")
    with listening(out, *flags) as address, behind_a_proxy(address) as proxied, visited(opened, proxied) as watched:
        for page in PAGES:
            go(watched, proxied, page=page)
        go(watched, proxied, page="train")
        start(watched, engine="array", steps="200")
        phase(watched, "Finished")
        watched.check()


def test_two_tabs_see_the_same_training(opened: Any, address: str) -> None:
    with visited(opened, address) as one, visited(opened, address) as two:
        start(one, **SLOW)
        phase(one, "Training")
        two.tab.reload()
        phase(two, "Training")
        two.tab.click("#do-pause")
        phase(one, "Paused")
        phase(two, "Paused")
        until(lambda: (one.tab.wait_for_timeout(50), step_of(one) == step_of(two) > 0)[1])
        one.tab.click("#do-end")
        phase(two, "Stopped and saved")
        one.check()
        two.check()


def test_ones_own_text_is_taken_and_a_bad_one_is_a_sentence(opened: Any, address: str, tmp_path: Path) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        tab.click("text=Use your own text")
        tab.click("#take-text")
        tab.wait_for_function("() => document.querySelector('#text-block').innerText.includes('expected text')")
        odd = tmp_path / "odd.bin"
        odd.write_bytes(b"\x00\x01\x02")
        tab.set_input_files("#own-file", str(odd))
        tab.wait_for_function("() => document.querySelector('#text-block').innerText.includes('odd.bin')")
        tab.fill("#own-text", "\n".join(["anna", "otto", "hannah", HTML] * 5))
        tab.click("#take-text")
        tab.wait_for_function("() => document.querySelector('#text-block').innerText.includes('20 lines')")
        tab.fill("#field-head", "3")
        tab.wait_for_function("() => document.querySelector('#form-trouble').innerText.includes('heads')")
        assert tab.get_attribute("#field-head", "aria-invalid") == "true"
        tab.fill("#field-head", "4")
        start(watched, steps="50", engine="array")
        phase(watched, "Finished")
        watched.check()


def test_markup_in_names_and_samples_is_inert_text(opened: Any, out: Path, tmp_path: Path) -> None:
    made = Path(finish(request(tmp_path, steps=5, name="plain")).result.run or "")
    folder = made.with_name(HTML)
    made.rename(folder)
    (folder / "samples.txt").write_text(HTML + "\n")
    (folder / "run.json").write_text(json.dumps({"status": HTML, "engine": HTML, "loss": {"holdout": None}}))
    look = {"step": 5, "loss": 2.5, "documents": 1, "samples": [HTML, "\u202e" + HTML]}
    (folder / "looks.json").write_text(json.dumps({"looks": [look]}))
    with listening(out, "--port", "0") as address, visited(opened, address) as watched:
        name = HTML.replace("<", "%3C").replace(">", "%3E").replace("=", "%3D").replace(" ", "%20")
        for state in ({"page": "train", "run": name}, {"page": "compare", "runs": name}, {"page": "xray", "run": name}):
            go(watched, address, **state)
            watched.tab.wait_for_timeout(500)
            assert watched.tab.locator("img").count() == 0
        assert not [error for error in watched.errors if "dialog" in error]
        assert not watched.refused


def test_a_server_that_stops_is_told_and_nothing_is_lost(opened: Any, out: Path) -> None:
    command = [sys.executable, "-m", "microgpt", "studio", "--no-browser", "--out", str(out)]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, text=True, env=environment, cwd=out.parent) as server:
        assert server.stdout
        try:
            address = server.stdout.readline().split()[-1]
            with visited(opened, address) as watched:
                start(watched, **SLOW)
                phase(watched, "Training")
                until(lambda: (watched.tab.wait_for_timeout(50), step_of(watched) > 0)[1])
                server.send_signal(signal.SIGINT)
                watched.tab.wait_for_selector("#trouble:not([hidden])", timeout=20_000)
                assert "Start the studio again" in watched.tab.inner_text("#trouble")
                assert server.wait(30) == 130
                port = address.split(":")[-1].split("/")[0]
                [run] = [path for path in out.iterdir() if path.name[0] != "."]
                assert checkpoints.describe(run / "weights.safetensors").step > 0
                with listening(out, "--port", port) as again:
                    new = watched.tab.context.new_page()
                    new.goto(again)
                    new.wait_for_selector(READY)
                    watched.tab.wait_for_selector("#trouble", state="hidden", timeout=20_000)
        finally:
            server.kill()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1920])
def test_every_page_is_whole_at_every_width(opened: Any, address: str, out: Path, width: int, scheme: str) -> None:
    finish(request(out.parent, steps=20, name="one", keep="every:5"))
    view = {"width": width, "height": 800}
    with visited(opened, address, viewport=view, color_scheme=scheme) as watched:
        for page in PAGES:
            go(watched, address, page=page, run="one", runs="one")
            watched.tab.wait_for_timeout(400)
            wide = watched.tab.evaluate("document.scrollingElement.scrollWidth")
            assert wide <= width, f"{page} is {wide} px wide"
        watched.check()


def test_words_explain_themselves_to_pointer_and_keyboard(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        tab.locator('.term[data-word="lr"]').hover()
        assert "how far a step moves" in tab.inner_text("#word")
        tab.mouse.move(5, 5)
        tab.locator("#field-layer").focus()
        tab.keyboard.press("Tab")
        assert "look back on" in tab.inner_text("#word")
        assert "--ctx" in tab.inner_text("#word")
        tab.keyboard.press("Escape")
        assert tab.locator("#word").is_hidden()
        watched.check()


def test_the_tour_leads_through_the_pages_once(opened: Any, address: str) -> None:
    root = address.split("#")[0]
    with browser_page(opened, lambda url: url.startswith(root), reduced_motion="reduce") as watched:
        tab = watched.tab
        tab.goto(address)
        tab.click("#tour-begin")
        seen: list[str] = []
        tab.wait_for_selector(".tour[data-arrived='0']")
        while tab.inner_text("#tour-next") == "Next":
            seen.append(tab.evaluate("new URLSearchParams(location.search).get('page') ?? 'train'"))
            tab.click("#tour-next")
            tab.wait_for_selector(f".tour[data-arrived='{len(seen)}']")
        tab.click("#tour-next")
        assert [page for place, page in enumerate(seen) if page not in seen[:place]] == [
            "train",
            "xray",
            "model",
            "atoms",
            "scaling",
        ]
        tab.reload()
        tab.wait_for_selector(READY)
        assert tab.locator(".tour").count() == 0
        watched.check()


def test_the_first_page_comes_whole_each_time(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        for _ in range(5):
            watched.tab.reload()
            watched.tab.wait_for_selector(READY)
        watched.check()


def test_the_keyboard_alone_trains_and_the_theme_is_kept(opened: Any, address: str) -> None:
    with visited(opened, address) as watched:
        tab = watched.tab
        tab.locator("#field-steps").focus()
        tab.keyboard.press("Control+A")
        tab.keyboard.type("40")
        tab.keyboard.press("Enter")
        phase(watched, "Finished")
        tab.wait_for_function("() => document.querySelector('#film').value === document.querySelector('#film').max")
        tab.locator("#curve .chart").focus()
        last = tab.input_value("#film")
        tab.keyboard.press("ArrowLeft")
        assert int(tab.input_value("#film")) == int(last) - 1
        tab.locator("#theme").focus()
        tab.keyboard.press("Enter")
        assert tab.get_attribute("html", "data-theme") == "dark"
        tab.reload()
        assert tab.get_attribute("html", "data-theme") == "dark"
        watched.check()
