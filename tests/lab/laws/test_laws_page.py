"""docs/LAWS.md is true: its CSV gives the law that it tells; its commands are carried out in tests/documents."""

import re
from pathlib import Path

import pytest

from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS

pytest.importorskip("scipy", reason="a law needs SciPy")
pytest.importorskip("matplotlib", reason="the page draws a law")
PAGE = (Path(__file__).parents[3] / "docs" / "LAWS.md").read_text()


def write_runs(folder: Path) -> Path:
    """The CSV of the page as a file."""
    (rows,) = re.findall(r"```csv\n(.*?)```", PAGE, re.S)
    path = folder / "runs.csv"
    path.write_text(rows)
    return path


def test_the_csv_of_the_page_gives_the_law_that_it_tells(tmp_path: Path) -> None:
    law = fit(FORMS["full"], read_csv(write_runs(tmp_path), Columns()).points)
    for name, value in law.values.items():
        (told,) = re.findall(rf"^  {name} +([0-9.]+) ", PAGE, re.M)
        assert value == pytest.approx(float(told), rel=1e-3)
