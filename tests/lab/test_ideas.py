"""The ablation: its plan at equal time, what stays of it when a sweep goes on, and what its table says."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.lab.laws.compare import paired
from microgpt.lab.report import study
from microgpt.lab.report.contents import report
from microgpt.lab.statistics.ideas import IdeaRow, ideas_table
from microgpt.lab.statistics.intervals import mean
from microgpt.lab.statistics.simulate import Design as Simulated
from microgpt.lab.statistics.simulate import Law, Noise, simulate
from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.equal_time import at_equal_time, begun, by_idea
from microgpt.lab.sweep.ideas import IDEAS as ALL
from microgpt.lab.sweep.ideas import ideas, named
from microgpt.lab.sweep.plan import Plan, plan
from microgpt.lab.sweep.texts import Texts
from microgpt.recipes.speed import costs
from microgpt.training.request import DECLARED, SWEEP_AXES
from tests.command import microgpt, refused, succeeded
from trials import few
from trials.small import text

pytest.importorskip("scipy", reason="intervals need SciPy")
IDEAS = {name: changes for name, changes in ALL.items() if "tokens" not in changes}  # few names have no pairs to spare
SMALL = ("--data", "few.txt", "--steps", "40", "--emb", "8", "--head", "2", "--layer", "1", "--ctx", "8")
QUICK = ("--jobs", "1", "--engine", "array")  # which compiles nothing


def planned(folder: Path) -> Plan:
    base = {"data": (text(folder),), "steps": 40, "layer": 1, "ctx": 8, "emb": 8, "head": 2}
    return plan(replace(ideas(base), seeds=(0, 1)), Texts(), engine="array")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a finished sweep of ideas on a few names."""
    folder = tmp_path_factory.mktemp("ideas")
    text(folder)
    succeeded(microgpt("sweep", "ideas", *SMALL, *QUICK, "--seeds", "3", cwd=folder))
    return folder


def steps_of(store: Path, sweep: str = "ideas") -> dict[str, int]:
    with Store.open(store) as opened:
        return {named(run.settings): run.steps for run in opened.records(sweep, "study")}


def rows(home: Path, *more: str) -> list[dict[str, Any]]:
    return list(json.loads(succeeded(microgpt("analyze", "ideas", "--json", *more, cwd=home)).stdout)["rows"])


def test_every_idea_is_of_settings_there_are_and_differs_from_the_base() -> None:
    for name, changes in ALL.items():
        assert changes.keys() <= set(SWEEP_AXES)
        assert all(value != DECLARED[setting].default for setting, value in changes.items())
        assert named(changes) == name
    assert named({}) == ""


def test_the_table_has_a_row_for_each_idea_with_its_verdict(home: Path) -> None:
    found = rows(home)
    assert [row["idea"] for row in found] == list(IDEAS)
    assert {row["equal"] for row in found} == {"time"}
    assert all(row["low"] <= row["drop"] <= row["high"] and row["seeds"] == 3 for row in found)
    assert {row["verdict"] for row in found} <= {"better", "worse", "no difference seen"}
    assert len({row["base_loss"] for row in found}) == 1
    steps = steps_of(home / "lab.db")
    assert all(row["steps"] == steps[row["idea"]] == round(40 / row["step"]) for row in found)
    printed = succeeded(microgpt("analyze", "ideas", cwd=home)).stdout
    assert "Ideas at equal time" in printed
    assert all(name in printed for name in IDEAS)


def test_a_sweep_that_goes_on_keeps_its_steps(home: Path, tmp_path: Path) -> None:
    home = shutil.copytree(home, tmp_path / "home")
    before = steps_of(home / "lab.db")
    again = succeeded(microgpt("sweep", "ideas", *SMALL, *QUICK, "--seeds", "4", cwd=home))
    assert f"{len(IDEAS) + 1} runs done" in again.stdout
    assert steps_of(home / "lab.db") == before
    told = json.loads(succeeded(microgpt("sweep", "ideas", *SMALL, *QUICK, "--dry-run", "--json", cwd=home)).stdout)
    assert {named(row["settings"]): row["settings"]["steps"] for row in told["rows"]} == before


def test_steps_in_a_store_count_for_the_same_base_and_text_alone(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    before = asked.to_dict()
    before["levels"] = [{**changes, "steps": 7} for changes in ({}, *IDEAS.values())]
    before = json.loads(json.dumps(before))
    kept = at_equal_time(asked, Texts(), before)
    assert {name: level.settings.steps for name, level in by_idea(kept).items()} == {"": 40} | dict.fromkeys(IDEAS, 7)
    assert kept.design.levels[0] == {}
    for other in (
        {"base": {}},
        {"runs_on": []},
        {"runs_on": 7},
        {"levels": 7},
        {"levels": [{"steps": "7"}, {"steps": 0}, 7]},
    ):
        assert begun(asked, before | other) == {}


def test_an_idea_that_is_new_is_measured_and_the_others_stay(tmp_path: Path) -> None:
    asked = planned(tmp_path)
    before = json.loads(json.dumps(asked.to_dict()))
    first, *others = IDEAS
    before["levels"] = [{**IDEAS[name], "steps": 9} for name in others]
    found = by_idea(at_equal_time(asked, Texts(), before))
    assert {found[name].settings.steps for name in others} == {9}
    assert found[first].settings.steps > 9


def test_a_step_with_sixteen_times_the_work_costs_more(tmp_path: Path) -> None:
    texts = Texts()
    specs = [few.planned(tmp_path, base={"steps": 10, "batch": batch}, axes={}).levels[0] for batch in (4, 64, 4)]
    found = costs([(spec.request(), texts.shared(spec).split) for spec in specs], 0.1)
    assert found[0] == 1
    assert found[1] > found[2] > 0


def test_at_equal_steps_all_have_the_base_s_under_another_name(home: Path) -> None:
    arguments = ("--equal", "steps", "--original", "--seeds", "1", *QUICK, "--store", "one.db")
    told = succeeded(microgpt("sweep", "ideas", *SMALL, *arguments, cwd=home))
    assert "times as long" not in told.stderr
    assert set(steps_of(home / "one.db", "ideas-steps-original").values()) == {40}
    found = rows(home, "--store", "one.db")
    assert {(row["equal"], row["seeds"], row["low"], row["verdict"]) for row in found} == {
        ("steps", 1, None, "not measured")
    }
    with Store.open(home / "one.db") as store:
        losses = {named(run.settings): run.loss for run in store.records()}
    for row in found:
        assert row["drop"] == pytest.approx(losses[""] - losses[row["idea"]])  # type: ignore[operator]


def test_every_idea_has_a_rate_of_its_own_around_the_usual_one(home: Path) -> None:
    with Store.open(home / "lab.db") as store:
        tried = store.records("ideas", "tuning")
    for name in ("", *IDEAS):
        assert {0.005, 0.01, 0.02} <= {run.settings["lr"] for run in tried if named(run.settings) == name}


def test_what_can_not_be_on_a_base_is_told_and_left_out(tmp_path: Path) -> None:
    text(tmp_path)
    odd = (*SMALL[:4], "--emb", "6", *SMALL[6:])  # heads of 3, which rotary can't turn
    told = succeeded(microgpt("sweep", "ideas", *odd, "--dry-run", *QUICK, cwd=tmp_path))
    assert "rotary positions: can't be with the base's settings or text, and is left out" in told.stderr
    assert "activation swiglu" in told.stdout
    assert "position rotary" not in told.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"few.txt"}


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("sweep", "ideas", "--equal", "tiem"), 2, "tiem"),
        (("sweep", "steps", "--equal", "time"), 2, "--equal is for the sweep ideas"),
        (("sweep", "steps", "--steps", "5"), 2, "--steps is what steps varies"),
        (("sweep", "ideas", "--emb", "0"), 2, "--emb must be 1 or more"),
        (("sweep", "ideas", "--data", "none.txt"), 3, "none.txt"),
        (("sweep", "ideas", "--schedule", "trunk"), 2, "no two lengths"),
        (("sweep", "idaes"), 2, "Did you mean ideas"),
        (("analyze", "idaes"), 2, "ideas"),
        (("analyze", "ideas"), 7, "expected a store"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(
    tmp_path: Path, arguments: tuple[str, ...], code: int, told: str
) -> None:
    assert told in refused(microgpt(*arguments, cwd=tmp_path), code)


def test_a_store_without_ideas_or_without_their_base_is_told(home: Path, tmp_path: Path) -> None:
    few.carry_out(few.planned(tmp_path), tmp_path / "lab.db")
    assert "`microgpt sweep ideas`" in refused(microgpt("analyze", "ideas", cwd=tmp_path), 7)
    told = refused(microgpt("analyze", "ideas", "--sweep", "few", cwd=tmp_path), 3)
    assert "expected runs of a base and of ideas" in told
    with Store.open(home / "lab.db") as store:
        records = store.records("ideas")
    assert not ideas_table([run for run in records if named(run.settings)], "ideas").rows


def test_an_idea_that_diverges_is_told(tmp_path: Path) -> None:
    """One with a rate that no training survives, beside others that finish."""
    whole = ideas({"data": (text(tmp_path),), "steps": 40, "emb": 8, "head": 2, "layer": 1, "ctx": 8})
    rates = ({"activation": "swiglu", "weight_decay": 0.0, "lr": 1e30}, {"lr": 0.01})
    few.carry_out(plan(replace(whole, tuned=False, rates=rates, seeds=(0, 1)), Texts()), tmp_path / "lab.db")
    found = {row["idea"]: row for row in rows(tmp_path)}
    bad = found["SwiGLU"]
    assert (bad["verdict"], bad["failed"], bad["loss"], bad["drop"]) == ("2 of 2 runs failed", 2, None, None)
    assert found["rotary positions"]["failed"] == 0
    printed = microgpt("analyze", "ideas", "--plot", "ideas.svg", cwd=tmp_path)
    assert "2 of 2 runs failed" in succeeded(printed).stdout
    assert f"2 of {2 * (1 + len(IDEAS))} runs failed" in " ".join(printed.stderr.split())
    assert (tmp_path / "ideas.svg").read_text().count("<svg") == 1


def test_the_report_has_the_table_the_picture_and_the_command(home: Path) -> None:
    pytest.importorskip("matplotlib", reason="plots need matplotlib")
    with Store.open(home / "lab.db") as store:
        made = report(store.records(), "lab.db", store.curves())
    (section,) = [each for each in made.sections if each.title == "Ideas at equal time"]
    assert [table.title for table in section.tables] == ["Ideas at equal time"]
    assert [picture.caption for picture in section.pictures] == ["What ideas bring", "Training losses"]
    assert {writing.title for writing in section.writings} == {"base", *IDEAS}
    assert section.commands == [
        "microgpt sweep ideas --data few.txt --steps 40 --emb 8 --head 2 --layer 1 --ctx 8 --seeds 3 --store lab.db"
    ]
    assert any("Ideas at equal time, against their base" in told for told in made.sections[0].paragraphs)


def test_the_answer_has_both_sweeps_where_both_are_there() -> None:
    class Both:
        def records(self, sweep: str | None = None, role: object = None) -> list[RunRecord]:
            return [run for run in RUNS if sweep is None or sweep in run.sweeps]

        def sweeps(self) -> dict[str, dict[str, Any]]:
            return {"ideas": {}, "ideas-steps": {}}

        def outcomes(self) -> dict[str, tuple[float | None, str]]:
            return {run.identity: (run.loss, run.error) for run in RUNS}

    found = study.answer(Both(), "ideas")
    assert [table.title for table in found.tables] == ["Ideas at equal time", "Ideas at equal steps"]


def simulated(sweep: str, changes: dict[str, Any], losses: list[float]) -> list[RunRecord]:
    asked = Simulated(steps=(1000,), seeds=len(losses), sweep=sweep, settings=changes)
    runs = simulate(Law(), asked, Noise(), 0)
    return [replace(run, loss=loss) for run, loss in zip(runs, losses, strict=True)]


RUNS = [
    run
    for sweep in ("ideas", "ideas-steps")
    for changes, loss in (({}, 2.0), ({"activation": "swiglu"}, 2.1))
    for run in simulated(sweep, changes, [loss, loss + 0.01])
]


@given(st.lists(st.tuples(*[st.floats(0.1, 9.0)] * 2), min_size=1, max_size=8))
def test_difference_and_interval_are_those_of_pairs_of_seeds(losses: list[tuple[float, float]]) -> None:
    base, idea = (list(each) for each in zip(*losses, strict=True))
    (row,) = ideas_table(
        [*simulated("ideas", {}, base), *simulated("ideas", {"activation": "swiglu"}, idea)], "ideas"
    ).rows
    assert isinstance(row, IdeaRow)
    expected = mean([before - after for before, after in losses])
    assert row.drop == pytest.approx(expected.mean, abs=1e-12)
    assert (row.low is None) == (len(losses) == 1)
    assert row.base_loss == pytest.approx(fmean(base))
    keys = [(1.0, 1.0, str(seed)) for seed in range(len(losses))]
    pairs = paired([np.array(idea), np.array(base)], [keys, keys], 0.9)
    assert pairs is not None
    assert pairs.difference == pytest.approx(row.drop, abs=1e-9)
    if row.low is None or row.high is None:
        assert row.verdict == "not measured"
        return
    assert (row.low, row.high) == pytest.approx(pairs.interval, abs=1e-9)
    assert row.verdict == ("better" if row.low > 0 else "worse" if row.high < 0 else "no difference seen")
