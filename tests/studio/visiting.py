"""A visit to the studio with a real browser: its first page, a training begun, and how far it is."""

import contextlib
import re
from collections.abc import Iterator
from typing import Any

from tests.browser import Watched, browser_page

READY = ".page[data-ready]"
PAGES = ("train", "xray", "model", "atoms", "compare", "scaling", "lessons")
SLOW = {"engine": "array", "steps": "400000"}  # minutes, if nobody stops it


@contextlib.contextmanager
def visited(opened: Any, address: str, **options: Any) -> Iterator[Watched]:
    """A fresh browser's first visit, without the tour; it may ask the studio alone."""
    root = address.split("#")[0]
    options = {"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce"} | options
    with browser_page(opened, lambda url: url.startswith(root), **options) as watched:
        watched.tab.goto(address)
        watched.tab.wait_for_selector(READY)
        watched.tab.click("#tour-skip")
        yield watched


def go(watched: Watched, address: str, **state: str) -> None:
    root = address.split("#")[0]
    watched.tab.goto(root + "?" + "&".join(f"{key}={value}" for key, value in state.items()))
    watched.tab.wait_for_selector(READY)


def start(watched: Watched, **settings: str) -> None:
    tab = watched.tab
    for name, value in settings.items():
        field = tab.locator(f"#field-{name}")
        field.select_option(value) if field.evaluate("e => e.tagName") == "SELECT" else field.fill(value)
    tab.click("#start")


def phase(watched: Watched, name: str) -> None:
    watched.tab.wait_for_function("name => document.querySelector('#phase')?.textContent === name", arg=name)


def step_of(watched: Watched) -> int:
    found = re.search(r"step ([\d,]+) of", watched.tab.inner_text("#facts"))
    return int(found[1].replace(",", "")) if found else -1
