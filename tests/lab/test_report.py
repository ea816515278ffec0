"""The report: one page that needs nothing else, says what was found, and lets no text become markup."""

import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from microgpt.errors import UsageError
from microgpt.lab.pictures.canvas import PICTURES, embed, save, write_svg
from microgpt.lab.pictures.plots import loss_plot, returns_plot
from microgpt.lab.report.contents import Section, report
from microgpt.lab.report.page import page
from microgpt.lab.statistics.returns import returns
from microgpt.lab.statistics.series import STEPS, series
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from microgpt.lab.store.record import Curve, RunRecord
from microgpt.outputs import destination

pytest.importorskip("scipy", reason="intervals need SciPy")
pytest.importorskip("matplotlib", reason="plots need matplotlib")
NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)
HOSTILE = "<script>alert(1)</script>\"'&<img src=x onerror=y>"


class Reader(HTMLParser):
    """Notes every element, every attribute and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def read(text: str) -> Reader:
    reader = Reader()
    reader.feed(text)
    return reader


@pytest.fixture(scope="module")
def records() -> list[RunRecord]:
    steps = simulate(NAMES, Design(), Noise(), 1)
    return steps + simulate(NAMES, Design(sizes=SIZES, steps=(5000,), sweep="params", tuned=True), Noise(), 2)


@pytest.fixture(scope="module")
def whole(records: list[RunRecord]) -> str:
    curves = {run.identity: Curve(100, (3.0, 2.6, 2.5, 2.4)) for run in records}
    return page(report(records, "my lab.db", curves, Section("A law of these runs", ["It holds."])))


def test_the_page_asks_nothing_of_a_network_and_runs_nothing(whole: str) -> None:
    reader = read(whole)
    assert not {"script", "link", "iframe", "img", "object", "base", "form"} & set(reader.elements)
    asking = [value for name, value in reader.attributes if name in ("src", "href", "xlink:href", "action", "srcset")]
    assert all(value.startswith("#") for value in asking)
    assert "url(http" not in whole
    assert "@import" not in whole


def test_the_page_has_the_tables_pictures_samples_warnings_and_the_laws(whole: str) -> None:
    text = " ".join(read(whole).text)
    for told in ("Trained longer", "Made larger", "Return on investment", "What they write", "A law of these runs"):
        assert told in text
    assert whole.count("<svg") == 6


def test_each_figure_has_the_command_that_makes_it_again(whole: str) -> None:
    text = " ".join(read(whole).text)
    assert "microgpt analyze steps --sweep steps --store 'my lab.db' --plot loss.svg" in text
    assert "microgpt sweep steps --seeds 3 --store 'my lab.db'" in text
    assert "microgpt sweep params --seeds 3 --store 'my lab.db'" in text


def test_an_untuned_sweep_is_told_apart_and_made_again_untuned(records: list[RunRecord]) -> None:
    untuned = [replace(run, sweeps=("steps-original",)) for run in records if run.sweeps == ("steps",)]
    text = " ".join(read(page(report(untuned, "lab.db"))).text)
    assert "with one learning rate for all" in text
    assert "microgpt sweep steps --original --seeds 3 --store lab.db" in text


def test_it_says_how_to_cite_it(whole: str, records: list[RunRecord]) -> None:
    text = " ".join(read(whole).text)
    assert records[0].commit in text
    assert records[0].data_sha256 in text


def test_text_of_a_store_is_never_markup(records: list[RunRecord]) -> None:
    spoilt = [
        replace(
            run, samples=(HOSTILE,), data=HOSTILE, sweeps=(HOSTILE,), machine=HOSTILE, version=HOSTILE, error=HOSTILE
        )
        for run in records
    ]
    failed = replace(spoilt[0], identity="failed", status="failed", loss=None, error=HOSTILE)
    reader = read(page(report([*spoilt, failed], HOSTILE)))
    assert not {"script", "img"} & set(reader.elements)
    assert not [name for name, _ in reader.attributes if name.startswith("on")]
    assert "alert(1)" in "".join(reader.text)


def test_names_within_the_page_are_unique(whole: str) -> None:
    names = re.findall(r' id="([^"]+)"', whole)
    assert len(names) == len(set(names))


def test_an_empty_store_gives_a_page_all_the_same() -> None:
    assert "0 finished runs" in page(report([], "lab.db"))


def test_runs_without_a_held_out_loss_give_a_page_that_says_so(records: list[RunRecord]) -> None:
    assert "not held out" in page(report([replace(run, loss=None) for run in records], "lab.db"))


def test_the_same_rows_give_the_same_picture(records: list[RunRecord]) -> None:
    first, second = (write_svg(loss_plot(series(records, STEPS)).figure, "a") for _ in range(2))
    assert first == second
    assert "<dc:date>" not in first


@pytest.mark.long
def test_a_picture_hangs_on_no_environment(tmp_path: Path) -> None:
    """A backend that is none, as a notebook's is elsewhere, and a person's own style."""
    (tmp_path / "matplotlibrc").write_text("lines.linewidth: 9\nfigure.facecolor: red\nsvg.fonttype: path\n")
    program = (
        "import hashlib\nfrom microgpt.lab.pictures.canvas import drawing, write_svg\n"
        "with drawing() as (figure, axes):\n"
        "    axes.plot([1, 2])\nprint(hashlib.sha256(write_svg(figure, 'a').encode()).hexdigest())"
    )
    plain = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    done = [
        subprocess.run([sys.executable, "-c", program], cwd=cwd, env=plain | more, capture_output=True, text=True)
        for cwd, more in ((tmp_path.parent, {}), (tmp_path, {"MPLBACKEND": "nonsense"}))
    ]
    assert done[0].stdout == done[1].stdout != ""
    assert done[1].stderr == ""


def test_a_picture_in_a_page_takes_its_colours_from_there(records: list[RunRecord]) -> None:
    svg = embed(write_svg(loss_plot(series(records, STEPS)).figure, "a"))
    assert "var(--hue0, #0072b2)" in svg
    assert not re.match(r'<svg[^>]* width="', svg)
    assert "<text" in svg


@pytest.mark.parametrize(("name", "head"), [("a.svg", b"<svg"), ("b.png", b"\x89PNG")])
def test_a_plot_is_a_file_of_the_kind_that_its_name_says(
    name: str, head: bytes, tmp_path: Path, records: list[RunRecord]
) -> None:
    save(returns_plot(returns(records, STEPS)), tmp_path / name)
    assert (tmp_path / name).read_bytes().startswith(head)


def test_another_ending_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.svg or \.png"):
        destination(tmp_path / "a.jpeg", PICTURES)
