"""Draws docs/pictures/studio-*.png, of the pages Train, Model and Atoms: the studio with a run of 1,000 steps.

    python bench/picture_studio.py [--out FOLDER]

The run is trained from the page itself, by the default recipe. It needs the extras lab, studio and browser, and a
Chromium.
"""

import io
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from PIL import Image
from playwright.sync_api import sync_playwright

import machine
from picture import PICTURES as OUT
from studio import CHROMIUM, studio

LIMIT: Final = 150_000  # bytes of a picture
WIDTH: Final = 1200
COLOURS: Final = 256  # enough for flat colours and their edges
NAME: Final = "isabella"
EXPRESSION: Final = "((a*b + c).relu() - 1) ** 2"


def train(tab: Any, page: Callable[..., None]) -> None:
    """Train from the page, and go back to where names begin to appear."""
    page()
    tab.click("#start")
    tab.wait_for_function("() => document.querySelector('#phase')?.textContent === 'Finished'")
    tab.wait_for_function("() => location.search.includes('look=1000')")
    tab.wait_for_timeout(300)
    tab.locator("#film").fill("7")  # on the way, where names begin to appear


def model(tab: Any, page: Callable[..., None]) -> None:
    page(page="model", prompt=NAME, at=5, edits="layer0.head1", stage="layer0.query", index=5)
    tab.wait_for_selector(".before-and-now ol")


def atoms(tab: Any, page: Callable[..., None]) -> None:
    page(page="atoms", expression=EXPRESSION)
    tab.locator("[data-label=a]").click()
    tab.wait_for_selector(".detail[data-atom]")


PICTURES: Final = {
    "train": ("light", 1000, train),
    "model": ("light", 1150, model),
    "atoms": ("light", 900, atoms),
}


def shoot(browser: Any, address: str, name: str) -> bytes:
    """One page as PNG."""
    scheme, height, prepare = PICTURES[name]
    tab = browser.new_page(viewport={"width": WIDTH, "height": height}, color_scheme=scheme, reduced_motion="reduce")
    tab.goto(address)
    tab.wait_for_selector(".page[data-ready]")
    tab.click("#tour-skip")

    def page(**state: Any) -> None:
        if state:
            query = "&".join(f"{key}={str(value).replace('+', '%2B')}" for key, value in state.items())
            tab.goto(f"{address.split('#')[0]}?{query}")
        tab.wait_for_selector(".page[data-ready]")

    prepare(tab, page)
    tab.mouse.move(5, 5)
    tab.evaluate("scrollTo(0, 0)")
    tab.wait_for_timeout(500)
    shot = Image.open(io.BytesIO(tab.screenshot())).convert("RGB").quantize(COLOURS)
    tab.close()
    small = io.BytesIO()
    shot.save(small, "PNG", optimize=True)
    return small.getvalue()


def main() -> None:
    out = machine.asked(__doc__, out=OUT).out
    executable = next(filter(None, map(shutil.which, CHROMIUM)), None)
    with tempfile.TemporaryDirectory() as folder, studio(Path(folder)) as (address, _), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        for name in PICTURES:
            shot = shoot(browser, address, name)
            path = out / f"studio-{name}.png"
            path.write_bytes(shot)
            note = "" if len(shot) <= LIMIT else f", more than {LIMIT:,}"
            print(f"{path.name}: {len(shot):,} bytes{note}")
        browser.close()


if __name__ == "__main__":
    main()
