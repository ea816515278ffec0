"""docs/LAWS.md is true: its CSV gives a law, and every command on it runs."""

import re
import shlex
from pathlib import Path

import pytest

from microgpt.cli.app import run
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.fit import fit
from microgpt.lab.laws.form import FORMS

pytest.importorskip("scipy", reason="a law needs SciPy")
pytest.importorskip("matplotlib", reason="the page draws a law")
PAGE = (Path(__file__).parents[3] / "docs" / "LAWS.md").read_text()


def commands() -> list[list[str]]:
    """The commands on the CSV of the page, and the simulation, made short."""
    lines = [line.split("#")[0] for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()]
    chosen = [line.replace("--simulate 20", "--simulate 2") for line in lines if "runs.csv" in line or "simul" in line]
    return [shlex.split(line)[1:] for line in chosen]


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


@pytest.mark.long
def test_the_commands_of_the_page_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_runs(tmp_path)
    assert len(commands()) >= 4
    for words in commands():
        assert run(words) == 0, words
        first = capsys.readouterr().out.splitlines()[0]
        assert words[0] == "frontier" or "--simulate" in words or first[:24] in PAGE
    assert Path("law.svg").exists()
    assert Path("said.json").exists()
