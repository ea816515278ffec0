"""A real browser for tests: pages that may load nothing but what they are allowed, and that keep what went wrong.

It needs the Python package playwright and a Chromium of the machine; without them a test skips and says why.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@dataclass
class Watched:
    """A page of the browser (`tab`, playwright's Page), and what it did that a good page does not."""

    tab: Any
    errors: list[str] = field(default_factory=list)  # of the console, and exceptions that nothing caught
    refused: list[str] = field(default_factory=list)  # addresses that it wanted and was not given

    def check(self) -> None:
        assert (self.errors, self.refused) == ([], [])


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window (playwright's Browser), closed at the end; skips where there is none."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs the package playwright")
    with playwright.sync_playwright() as driver, launched(driver.chromium) as opened:
        yield opened


@contextmanager
def launched(kind: Any, *flags: str) -> Iterator[Any]:
    """Another browser of the same kind (playwright's BrowserType) with more flags."""
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    opened = kind.launch(executable_path=executable, args=[*FLAGS, *flags])
    try:
        yield opened
    finally:
        opened.close()


@contextmanager
def browser_page(opened: Any, allowed: Callable[[str], bool], **options: Any) -> Iterator[Watched]:
    """A fresh page, which may ask for the addresses that `allowed` says and no other.

    `options` are those of playwright's new_context: viewport, color_scheme, reduced_motion, …
    """
    context = opened.new_context(**options)
    watched = Watched(context.new_page())

    def decide(route: Any) -> None:
        if allowed(route.request.url):
            route.continue_()
        else:
            watched.refused.append(route.request.url)
            route.abort()

    context.route("**/*", decide)
    watched.tab.on("console", lambda said: watched.errors.append(said.text) if said.type == "error" else None)
    watched.tab.on("pageerror", lambda error: watched.errors.append(str(error)))
    watched.tab.on("dialog", lambda dialog: (watched.errors.append(f"dialog: {dialog.message}"), dialog.dismiss()))
    try:
        yield watched
    finally:
        context.close()
