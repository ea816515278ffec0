"""The site: built without a warning, asking no other host, readable on a telephone, found by its search, and alive."""

import functools
import http.server
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from microgpt import symmetry
from tests.browser import browser, browser_page

ROOT = Path(__file__).parents[2]
pytestmark = [pytest.mark.long, pytest.mark.browser]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name, extra in (("mkdocs", "site"), ("latex2mathml", "site"), ("ziglang", "cc")):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"{name} is not installed: needs the extra {extra}")
    (ROOT / "build").mkdir(exist_ok=True)
    export = [sys.executable, "-m", "microgpt", "export", "--try", "build/try.html", "--force"]
    subprocess.run(export, cwd=ROOT, check=True, capture_output=True)
    out = tmp_path_factory.mktemp("site")
    build = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    done = subprocess.run(
        build, cwd=ROOT, capture_output=True, text=True, env={**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "WARNING" not in done.stderr
    return out


@pytest.fixture(scope="module")
def served(site: Path) -> Iterator[str]:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site))) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()


@pytest.mark.usefixtures("site")  # whose packages are there
def test_make_site_fails_in_words_at_a_page_in_no_list_and_a_link_to_nothing(tmp_path: Path) -> None:
    for name in ("docs", "src"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for path in (*ROOT.glob("*.md"), *ROOT.glob("*.cff"), ROOT / "mkdocs.yml", ROOT / "build/try.html"):
        (tmp_path / path.relative_to(ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy(path, tmp_path / path.relative_to(ROOT))
    (tmp_path / "docs/ALONE.md").write_text("# Alone\n[one](MISSING.md) [two](/etc/passwd) [three](../../x)\n")
    lines = (ROOT / "Makefile").read_text("utf-8").splitlines()
    command = next(line for line in lines if "mkdocs build" in line).replace("$(BIN)/python", sys.executable)
    done = subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode
    assert "Traceback" not in done.stderr
    for said in ('not included in the "nav"', "'MISSING.md'", "'/etc/passwd'", "'../../x'"):
        assert said in done.stderr


def test_every_link_within_the_site_leads_to_a_page_and_its_heading(site: Path) -> None:
    pages = {path: path.read_text("utf-8") for path in site.rglob("*.html")}
    assert len(pages) > 20
    for path, text in pages.items():
        if path.name in ("404.html", "try-page.html"):  # its links begin at the root of a host; it has none
            continue
        for target in re.findall(r'(?:href|src)="([^"]*)"', text):
            if "://" in target or target.startswith(("data:", "mailto:")):
                continue
            file, _, heading = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            there = there / "index.html" if there.is_dir() else there
            assert there.exists(), f"{path.name}: {target}"
            if heading and there in pages:
                assert re.search(rf'(?:id|name)="{re.escape(heading)}"', pages[there]), f"{path.name}: {target}"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_are_whole_on_a_telephone_and_hinder_nobody(served: str, site: Path, scheme: str) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="needs axe-playwright-python").Axe()
    size = {"width": 360, "height": 740}
    with (
        browser() as opened,
        browser_page(opened, lambda url: url.startswith(served), viewport=size, color_scheme=scheme) as watched,
    ):
        for page in sorted(site.glob("*.html")):
            if page.name in ("404.html", "try-page.html"):  # the page that trains has tests of its own
                continue
            watched.tab.goto(served + page.name)
            assert watched.tab.evaluate("document.scrollingElement.scrollWidth") <= 360, page.name
            found = axe.run(watched.tab).response["violations"]
            assert [(page.name, each["id"], each["nodes"][0]["html"][:200]) for each in found] == []
        watched.check()


def test_the_search_finds_and_the_atoms_live(served: str) -> None:
    with browser() as opened, browser_page(opened, lambda url: url.startswith(served)) as watched:
        tab = watched.tab
        tab.goto(served + "index.html")
        tab.locator("input[name=query]").first.click()
        tab.keyboard.type("kneser")
        tab.wait_for_selector(".md-search-result__item a")
        tab.goto(served + "symmetry.html")
        tab.wait_for_selector(".atom-alive")
        before = tab.locator(".atom-alive span").last.inner_text()
        tab.get_by_role("button", name="One step back").click()
        assert "passes on" in tab.inner_text("#alive [aria-live]")
        tab.get_by_role("button", name="Take one step").click()
        assert float(tab.locator(".atom-alive span").last.inner_text()) < float(before)
        watched.check()


def test_the_atoms_of_the_page_are_those_of_the_definition(tmp_path: Path) -> None:
    node = shutil.which("node") or pytest.skip("needs node")
    values = {"a": 2.0, "b": -1.5, "c": 4.0, "t": 0.5}
    script = f"""import {{ backward, recorded }} from {json.dumps((ROOT / "docs/site/alive.js").as_uri())};
        const atoms = recorded({json.dumps(values)});
        console.log(JSON.stringify([atoms.map((atom) => atom.data), backward(atoms, 99).grads]));"""
    (tmp_path / "package.json").write_text('{"type": "module"}')
    done = subprocess.run(
        [node, "--input-type=module", "-e", script], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    data, grads = json.loads(done.stdout)
    a, b, c, t = (symmetry.Val(value) for value in values.values())
    off = symmetry.relu(a * b + c) - t
    loss = off * off
    symmetry.backward(loss)
    assert data[-1] == loss.data
    assert grads[:4] == [atom.grad for atom in (a, b, c, t)]
