"""The studio's figures: how soon it is there, how small it is, and what an open page costs the training it shows.

    python bench/studio.py [--engine atomic array fused] [--repeats 3]

A training from the page, watched in a headless Chromium, takes turns with the same training from the command line; told
is the ratio of the medians of the seconds that run.json gives for training. Goals: the first page within 1 s of the
command, the page itself in 300 ms, assets of 300 kB or less, 90% of the command line's speed. It needs the extras
studio and browser, and a Chromium.
"""

import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright

import machine
from microgpt.studio.server import STATIC

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
STEPS: Final = {"atomic": 100, "array": 8000, "fused": 400_000}  # some seconds each
READY: Final = ".page[data-ready]"


@contextmanager
def studio(folder: Path) -> Iterator[str]:
    """A studio of its own process; the address that it printed."""
    command = [sys.executable, "-m", "microgpt", "studio", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as server:
        assert server.stdout
        try:
            yield server.stdout.readline().split()[-1]
        finally:
            server.terminate()


def first_page(folder: Path) -> float:
    """Seconds from the command to the first page's bytes."""
    start = time.perf_counter()
    with studio(folder) as address, urllib.request.urlopen(address.split("#")[0]) as answer:
        answer.read()
        return time.perf_counter() - start


def page_ready(tab: Any) -> float:
    """Seconds from asking for the page to its being complete, in a browser that has it in no cache."""
    tab.reload()
    tab.wait_for_selector(READY)
    return float(tab.evaluate("performance.now()")) / 1000


def spent(folder: Path, run: str) -> float:
    """The seconds of training that a run tells."""
    return float(json.loads((folder / "runs" / run / "run.json").read_text())["seconds"]["train"])


def from_the_command_line(folder: Path, engine: str, run: str) -> float:
    flags = ["--engine", engine, "--steps", str(STEPS[engine]), "--name", run, "--quiet"]
    subprocess.run([sys.executable, "-m", "microgpt", "train", *flags], cwd=folder, check=True, capture_output=True)
    return spent(folder, run)


def from_the_page(folder: Path, tab: Any, engine: str) -> float:
    known = set((folder / "runs").iterdir())
    tab.select_option("#field-engine", engine)
    tab.fill("#field-steps", str(STEPS[engine]))
    tab.click("#start")
    tab.wait_for_function("() => document.querySelector('#phase')?.textContent === 'Finished'", timeout=600_000)
    [run] = [path for path in (folder / "runs").iterdir() if path not in known and path.name[0] != "."]
    tab.goto(tab.url.split("?")[0])
    tab.wait_for_selector(READY)
    return spent(folder, run.name)


def compared(folder: Path, tab: Any, engine: str, repeats: int) -> dict[str, float]:
    """Median seconds of both ways, in turn, and the share of the command line's speed that the page leaves."""
    lines, pages = [], []
    for repeat in range(repeats):
        lines.append(from_the_command_line(folder, engine, f"{engine}-{repeat}"))
        pages.append(from_the_page(folder, tab, engine))
    line, page = statistics.median(lines), statistics.median(pages)
    return {"command_line": line, "page_open": page, "ratio": line / page}


def measured(engines: list[str], repeats: int) -> dict[str, Any]:
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "runs").mkdir()
        first = min(first_page(folder) for _ in range(repeats))
        with studio(folder) as address, sync_playwright() as driver:
            browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            tab = browser.new_page()
            tab.goto(address)
            tab.click("#tour-skip")
            ready = min(page_ready(tab) for _ in range(repeats))
            speed = {engine: compared(folder, tab, engine, repeats) for engine in engines}
            browser.close()
    assets = sum(file.stat().st_size for file in STATIC.iterdir())
    return {"first_page_s": first, "page_ready_s": ready, "assets_bytes": assets, "speed": speed}


def main() -> None:
    chosen = machine.asked(__doc__, engine=list(STEPS), repeats=3)
    print(f"{machine.line()}; {machine.load()} at the start")
    found = measured(chosen.engine, chosen.repeats)
    print(
        f"first page {found['first_page_s']:.2f} s after the command, complete in {1000 * found['page_ready_s']:.0f} ms"
    )
    print(f"assets {found['assets_bytes']:,} bytes")
    for engine, one in found["speed"].items():
        print(f"{engine:7} {one['command_line']:6.2f} s, page open {one['page_open']:6.2f} s: {one['ratio']:.2f}")


if __name__ == "__main__":
    main()
