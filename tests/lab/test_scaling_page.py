"""docs/SCALING.md is true: columns, findings, keys and examples are those of the program, and its queries answer.

Its commands are carried out in tests/documents.
"""

import contextlib
import json
import re
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from bench import scaling_page
from microgpt.lab.audit.finding import SENTENCES
from microgpt.lab.store.schema import migrate
from microgpt.lab.sweep.design_file import KEYS, read_design
from microgpt.lab.sweep.plan import plan
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.tuning import Tuning
from trials import few

ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "SCALING.md").read_text(encoding="utf-8")
EXAMPLES = sorted({ROOT / "sweeps" / name for name in re.findall(r"\(\.\./sweeps/(\S+\.toml)\)", PAGE)})


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)


def section(heading: str) -> str:
    """What stands below a heading, up to the next."""
    return re.split(r"^##", PAGE.split(heading, 1)[1], maxsplit=1, flags=re.M)[0]


def rows(heading: str) -> list[list[str]]:
    """The cells of the first column's code, and of the others as they stand, of the table below a heading."""
    lines = re.findall(r"^\| (.*) \|$", section(heading), re.M)
    return [line.split(" | ") for line in lines if "`" in line.split(" | ")[0]]


def declared() -> dict[str, list[tuple[str, str]]]:
    """Every table of an empty store, with the names and types of its columns."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        migrate(connection)
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: [(name, kind) for _, name, kind, *_ in connection.execute(f"PRAGMA table_info({table})")]
            for table in names
        }


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small store with a sweep of steps and one of sizes whose rates were tuned."""
    folder = tmp_path_factory.mktemp("scaling")
    steps = replace(few.design(folder), name="steps")
    tuning = Tuning(rates=(0.01, 0.02), seeds=(1000,))
    sizes = few.design(folder, axes={"emb": (4, 6)}, base={"steps": 10}, tuned=True, tuning=tuning, seeds=(0,))
    for design in (steps, replace(sizes, name="params")):
        few.carry_out(plan(design, Texts()), folder / "lab.db")
    return folder / "lab.db"


def test_every_column_of_the_runs_is_told_with_its_type_and_in_order() -> None:
    told = [(name.strip("`"), kind) for name, kind, _ in rows("### Table `runs`")]
    assert told == declared()["runs"]


def test_every_column_of_the_other_tables_is_told() -> None:
    told = [(name.strip("`"), kind) for name, kind, _ in rows("### Tables `curves`")]
    tables = declared()
    expected = [(f"{t}.{name}", kind) for t in tables if t != "runs" for name, kind in tables[t]]
    assert sorted(told) == sorted(expected)


def test_every_finding_of_the_audit_is_told_once() -> None:
    told = [match for cells in rows("## What the audit warns of") for match in re.findall(r"`(.*)`", cells[0])]
    assert sorted(told) == sorted(SENTENCES)


def test_every_key_of_a_sweeps_file_is_explained() -> None:
    told = {re.sub(r"[`\[\]]", "", cells[0]) for cells in rows("## A sweep of your own")}
    assert told == set(KEYS)


def test_the_example_is_the_file_that_it_names() -> None:
    assert blocks("toml")[0] == (ROOT / "sweeps" / "heads.toml").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_plans_what_its_name_says_and_takes_no_minute(path: Path) -> None:
    planned = plan(read_design(path), Texts(), engine="array")
    assert planned.name == path.stem
    assert planned.tuning
    steps = sum(member.spec.settings.steps * member.spec.settings.batch for member in planned.outlook)
    assert 100_000 < steps < 2_000_000  # names; a fused kernel takes some 100,000 a second on one core


def test_the_rates_of_ones_own_are_those_of_their_levels(tmp_path: Path) -> None:
    (tmp_path / "rates.toml").write_text(blocks("toml")[1])
    levels = plan(read_design(tmp_path / "rates.toml"), Texts(), engine="array").levels
    assert {(level.settings.batch, level.settings.lr) for level in levels} == {(1, 0.01), (16, 0.02)}


def test_the_question_of_lengths_has_a_row_for_each_with_its_seeds(store: Path) -> None:
    assert [row[:2] for row in ask(store, 0)] == [(10, 3), (20, 3)]


def test_the_question_of_single_runs_gives_a_share_for_each_pair_of_lengths(store: Path) -> None:
    ((shorter, longer, misled),) = ask(store, 1)
    assert (shorter, longer) == (10, 20)
    assert misled * 6 == pytest.approx(round(misled * 6))  # of six pairs of seeds


def test_the_question_of_rates_puts_the_best_of_each_size_first(store: Path) -> None:
    found = ask(store, 2)
    by_size = [[row[2] for row in found if row[0] == params] for params in {row[0] for row in found}]
    assert len(by_size) == 2
    assert all(len(losses) >= 2 and losses == sorted(losses) for losses in by_size)
    assert all(seconds > 0 for *_, seconds in found)


def test_lists_and_objects_are_the_json_that_the_page_says(store: Path) -> None:
    with contextlib.closing(sqlite3.connect(store)) as connection:
        ((samples, seconds),) = connection.execute("SELECT samples, seconds FROM runs LIMIT 1")
    assert len(json.loads(samples)) == 5
    (told,) = [text for name, _, text in rows("### Table `runs`") if name == "`seconds`"]
    assert re.findall("`([a-z]+)`", told) == list(json.loads(seconds))


def ask(store: Path, number: int) -> list[tuple[float, ...]]:
    """The answer to one of the page's queries."""
    with contextlib.closing(sqlite3.connect(store)) as connection:
        return connection.execute(blocks("sql")[number]).fetchall()


def test_a_figure_of_the_page_that_no_level_gives_is_found() -> None:
    part = scaling_page.PARTS["batch"]
    losses = [(float(loss), 0.002) for loss, _ in scaling_page.told(part, PAGE)]
    assert len(losses) == 5
    assert scaling_page.stale(part, PAGE, losses, 0.00005) == []
    moved = [(losses[0][0] + 0.0002, 0.002), *losses[1:]]
    assert scaling_page.stale(part, PAGE, moved, 0.00005) == [f"{losses[0][0]:.4f}: now {moved[0][0]:.4f} ± 0.0020"]
    assert all(scaling_page.told(each, PAGE) for each in scaling_page.PARTS.values())


@pytest.mark.long
def test_the_losses_of_the_batches_are_those_of_the_code(tmp_path: Path) -> None:
    """To the rounding of float32, which differs from machine to machine; bench/scaling_page.py asks for every digit."""
    part = scaling_page.PARTS["batch"]
    assert scaling_page.stale(part, PAGE, scaling_page.swept(part, tmp_path / "page.db"), 0.001) == []
