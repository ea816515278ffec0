"""The studio's figures: how soon it is there and answers, what a kill costs, and what an open page costs a training.

    python bench/studio.py [--only pages buttons edits kills speed] [--engine array fused] [--repeats 3] [--kills 20]

`pages`: the first page after the command, each page complete after it was asked for, the bytes of them all. `buttons`:
twelve tabs show one running training; from a click to the change that it brings. `edits`: from switching off a head of
a model of emb 64 and layer 4 to the forward pass as it is then, drawn. `kills`: SIGKILL at random moments for the
server and for the processes of trainings; the seconds since the last save, after which the page goes on with the run
each time. `speed`: a training from the page, watched, takes turns with the same one from the command line; told is the
ratio of the medians of the seconds that run.json gives for training. Goals: the first page within 1 s, each page in
300 ms, 350 kB, each button within 300 ms, an edit within 100, at most 3 s lost, 90% of the command line's speed. It
needs Linux, the extras studio and browser, and a Chromium.
"""

import json
import os
import random
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

import machine
from microgpt.studio.server import STATIC

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
STEPS: Final = {"atomic": 100, "array": 8000, "fused": 400_000}  # some seconds each
PAGES: Final = ("train", "xray", "model", "atoms", "compare", "scaling", "lessons")
READY: Final = ".page[data-ready]"
TABS: Final = 12
LONGEST: Final = 5.0  # seconds of training until a kill
READY_AT: Final = """new MutationObserver(() => {
  if (document.querySelector(".page[data-ready]")) window.readyAt ??= performance.now();
}).observe(document, { subtree: true, childList: true, attributes: true });"""
ANSWERED: Final = """([button, place]) => new Promise((done) => {
  const text = () => document.querySelector(place).textContent;
  const [before, began] = [text(), performance.now()];
  const look = () => text() === before ? setTimeout(look, 1) : done(performance.now() - began);
  document.querySelector(button).click();
  look();
})"""

FOLLOWED: Final = """(place) => new Promise((done) => {
  const [body, began] = [document.querySelector(".xray-body"), performance.now()];
  const before = body.dataset.edits;
  const look = () => body.dataset.edits === before ? requestAnimationFrame(look) : done(performance.now() - began);
  document.querySelector(place).click();
  look();
})"""


@contextmanager
def studio(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A studio of its own process, and the address that it printed."""
    command = [sys.executable, "-m", "microgpt", "studio", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().split()[-1], server
        finally:
            server.terminate()


@contextmanager
def browsing() -> Iterator[Callable[[str], Any]]:
    """Opens an address in a tab of one headless browser, without the tour."""
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        context = browser.new_context()
        context.add_init_script(READY_AT)

        def opened(address: str) -> Any:
            tab = context.new_page()
            tab.goto(address)
            tab.wait_for_selector(READY)
            if tab.locator("#tour-skip").count():
                tab.click("#tour-skip")
            return tab

        yield opened
        browser.close()


def reach(tab: Any, phase: str) -> None:
    tab.wait_for_function("now => document.querySelector('#phase')?.textContent === now", arg=phase, timeout=600_000)


def start(folder: Path, tab: Any, engine: str, steps: int) -> Path:
    """Begin a training on the page Train; its run, once it is there."""
    known = {*folder.glob("runs/*")}
    tab.goto(tab.url.split("?")[0])
    tab.wait_for_selector(READY)
    tab.select_option("#field-engine", engine)
    tab.fill("#field-steps", str(steps))
    tab.click("#start")
    tab.wait_for_function("() => location.search.includes('run=')")
    [run] = [path for path in folder.glob("runs/[!.]*") if path not in known]
    return run


def in_milliseconds(seconds: Sequence[float]) -> str:
    return f"{1000 * statistics.median(seconds):.0f} ms in the median, {1000 * max(seconds):.0f} at worst"


def pages(folder: Path, repeats: int) -> None:
    first = []
    for _ in range(repeats):
        began = time.perf_counter()
        with studio(folder) as (address, _), urllib.request.urlopen(address.split("#")[0]) as answer:
            answer.read()
            first.append(time.perf_counter() - began)
    print(f"first page after the command: {in_milliseconds(first)} of {repeats}")
    with studio(folder) as (address, _), browsing() as opened:
        tab = opened(address)
        run = start(folder, tab, "array", 1000).name
        reach(tab, "Finished")
        for page in PAGES:
            took = []
            for _ in range(repeats):
                tab.goto(f"{address.split('#')[0]}?page={page}&run={run}&runs={run}")
                tab.wait_for_selector(READY)
                took.append(float(tab.evaluate("readyAt")) / 1000)
            print(f"page {page} complete: {in_milliseconds(took)} of {repeats}")
    print(f"assets: {sum(file.stat().st_size for file in STATIC.iterdir()):,} bytes")


def buttons(folder: Path) -> None:
    with studio(folder) as (address, _), browsing() as opened:
        tab = opened(address)
        start(folder, tab, "array", 10**7)
        took: dict[str, list[float]] = {}
        tabs = [tab, *(opened(tab.url) for _ in range(TABS - 1))]
        for each in tabs:
            each.bring_to_front()
            for action, place, then in (
                ("pause", "#phase", "Paused"),
                ("step", "#facts", "Paused"),
                ("go_on", "#phase", "Training"),
            ):
                took.setdefault(action, []).append(each.evaluate(ANSWERED, [f"#do-{action}", place]) / 1000)
                for other in tabs:
                    reach(other, then)
        took["end"] = [tab.evaluate(ANSWERED, ["#do-end", "#phase"]) / 1000]
    for action, seconds in took.items():
        print(f"button {action} with {TABS} tabs open: {in_milliseconds(seconds)} of {len(seconds)}")


def edits(folder: Path) -> None:
    from_the_command_line(folder, "array", "wide", "--emb", "64", "--layer", "4", "--steps", "20")
    with studio(folder) as (address, _), browsing() as opened:
        tab = opened(address)
        tab.goto(f"{address.split('#')[0]}?page=model&run=wide&prompt=isabella")
        tab.wait_for_selector(READY)
        took = []
        for layer in range(4):
            for head in range(4):
                took.append(tab.evaluate(FOLLOWED, f'.switches [data-switch="layer{layer}.head{head}"]') / 1000)
                tab.wait_for_timeout(300)
        print(f"the forward pass follows an edit: {in_milliseconds(took)} of {len(took)}")


def trainings(server: int) -> list[int]:
    """The processes of trainings, which a child of the server forks."""

    def children(pid: int) -> list[int]:
        return [
            int(child) for each in Path("/proc").glob(f"{pid}/task/*/children") for child in each.read_text().split()
        ]

    return [training for child in children(server) for training in children(child)]


def kills(folder: Path, count: int) -> None:
    stream = random.Random(0)
    for what in ("server", "training"):
        lost = []
        with browsing() as opened:
            for _ in range(count):
                with studio(folder) as (address, server):
                    tab = opened(address)
                    run = start(folder, tab, "array", 10**7)
                    while not (run / "weights.safetensors").exists():
                        time.sleep(0.01)
                    tab.wait_for_timeout(1000 * stream.uniform(0, LONGEST))
                    [training] = trainings(server.pid)
                    os.kill(server.pid if what == "server" else training, signal.SIGKILL)
                    killed = time.time()
                    while Path(f"/proc/{training}").exists():  # until it has saved what the server's end interrupts
                        time.sleep(0.01)
                    lost.append(max(0.0, killed - (run / "weights.safetensors").stat().st_mtime))
                    if what == "training":
                        _go_on(tab, "Failed")
                    tab.close()
                if what == "server":
                    with studio(folder) as (address, _):
                        tab = opened(address)
                        tab.goto(f"{address.split('#')[0]}?page=train&run={run.name}")
                        _go_on(tab, "Unfinished")
                        tab.close()
        print(f"{what} killed {count} times: at most {max(lost):.1f} s since the last save; each time the page went on")


def _go_on(tab: Any, phase: str) -> None:
    """Wait until the page tells how a training ended, go on with it there, and stop it."""
    reach(tab, phase)
    tab.click("#resume")
    reach(tab, "Training")
    tab.click("#do-end")
    reach(tab, "Stopped and saved")


def spent(run: Path) -> float:
    """The seconds of training that a run tells."""
    return float(json.loads((run / "run.json").read_text())["seconds"]["train"])


def from_the_command_line(folder: Path, engine: str, run: str, *others: str) -> float:
    flags = ["--engine", engine, "--steps", str(STEPS[engine]), "--name", run, "--quiet", *others]
    subprocess.run([sys.executable, "-m", "microgpt", "train", *flags], cwd=folder, check=True, capture_output=True)
    return spent(folder / "runs" / run)


def speed(folder: Path, engines: Sequence[str], repeats: int) -> None:
    with studio(folder) as (address, _), browsing() as opened:
        tab = opened(address)
        for engine in engines:
            lines, watched = [], []
            for repeat in range(repeats):
                lines.append(from_the_command_line(folder, engine, f"{engine}-{repeat}"))
                run = start(folder, tab, engine, STEPS[engine])
                reach(tab, "Finished")
                watched.append(spent(run))
            line, page = statistics.median(lines), statistics.median(watched)
            print(f"{engine:7} {line:6.2f} s, page open {page:6.2f} s: {line / page:.2f}")


def main() -> None:
    every = ["pages", "buttons", "edits", "kills", "speed"]
    chosen = machine.asked(__doc__, only=every, engine=list(STEPS), repeats=3, kills=20)
    print(f"{machine.line()}; {machine.load()} at the start")
    for what in chosen.only:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            match what:
                case "pages":
                    pages(folder, chosen.repeats)
                case "buttons":
                    buttons(folder)
                case "edits":
                    edits(folder)
                case "kills":
                    kills(folder, chosen.kills)
                case "speed":
                    speed(folder, chosen.engine, chosen.repeats)


if __name__ == "__main__":
    main()
