"""The store on the page: points with intervals, lines, returns, warnings, law and frontier; read as it grows."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from microgpt.lab.store.record import Trained
from microgpt.lab.store.store import Store
from microgpt.studio.scaling import EMPTY, Scaling
from microgpt.studio.studio import Studio
from trials.serving import REFUSED, Visit, visit
from trials.stores import keep
from trials.waiting import until

NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)
LENGTHS = (1000, 2000, 4000, 8000, 16000)
CROSSED = Design(sizes=SIZES, steps=LENGTHS, seeds=3, sweep="laws")


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("scipy", reason="needs the extra lab")
    return keep(tmp_path_factory.mktemp("scaling") / "lab.db", simulate(NAMES, CROSSED, Noise(), seed=1))


def test_a_store_that_comes_later_is_found_at_the_next_visit(here: Visit, tmp_path: Path) -> None:
    assert here.get("/api/scaling")["sentence"] == here.get("/api/scaling/law")["reason"] == EMPTY
    keep(tmp_path / "lab.db", simulate(NAMES, CROSSED, Noise(), seed=1))
    assert here.get("/api/scaling")["runs"] == 60


def test_what_is_no_sweep_is_a_sentence_and_a_stop_without_one_is_none(here: Visit) -> None:
    assert "expected one of steps" in here.post("/api/sweep", {"what": "../steps"}, REFUSED)["error"]
    assert here.post("/api/sweep/stop")["running"] is False


@pytest.mark.long
def test_a_sweep_begun_on_the_page_fills_the_store_and_stops_when_it_is_told_to(here: Visit) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    assert here.post("/api/sweep", {"what": "laws"})["running"]
    assert "under way already" in here.post("/api/sweep", {"what": "steps"}, 409)["error"]
    until(lambda: here.get("/api/sweep").get("done", 0) > 1)
    here.post("/api/sweep/stop")
    ended = until(lambda: not (told := here.get("/api/sweep"))["running"] and told)
    assert (ended["stopped"], ended["failed"], ended.get("error")) == (True, 0, None)
    assert here.get("/api/scaling")["runs"] == ended["done"]


def test_a_point_is_the_mean_of_its_runs_with_their_interval_and_samples(crossed: Path, tmp_path: Path) -> None:
    with visit(Studio(tmp_path, store=crossed)) as there:
        found = there.get("/api/scaling")
    assert (len(found["points"]), found["runs"], found["sweep"]) == (len(SIZES) * len(LENGTHS), 60, "laws")
    records = simulate(NAMES, CROSSED, Noise(), seed=1)
    for point in found["points"]:
        runs = [run for run in records if run.params == point["params"] and run.steps == point["levels"]["steps"]]
        losses = [run.loss for run in runs if run.loss is not None]
        assert point["mean"] == pytest.approx(sum(losses) / 3)
        assert [loss for _, loss in point["runs"]] == pytest.approx(losses)
        assert point["low"] < point["mean"] < point["high"]
        assert (point["seeds"], point["samples"]) == (3, list(runs[0].samples))


def test_lines_along_both_axes_share_their_points(crossed: Path) -> None:
    found = Scaling(crossed).show()
    along = {axis: [line for line in found["lines"] if line["axis"] == axis] for axis in ("steps", "params")}
    assert (len(along["steps"]), len(along["params"])) == (len(SIZES), len(LENGTHS))
    for lines in along.values():
        assert sorted(at for line in lines for _, at in line["at"]) == list(range(len(found["points"])))
    assert {steps for steps, _ in along["steps"][0]["at"]} == set(LENGTHS)


def test_returns_have_verdicts_and_the_audit_speaks(crossed: Path) -> None:
    found = Scaling(crossed).show()
    verdicts = [row[table["columns"].index("verdict")] for table in found["tables"] for row in table["rows"]]
    assert len(verdicts) == len(SIZES) * (len(LENGTHS) - 1) + len(LENGTHS) * (len(SIZES) - 1)
    assert "learning efficiently" in verdicts
    assert any("learning rate was not tuned" in warning["text"] for warning in found["warnings"])


@pytest.fixture(scope="module")
def law(crossed: Path) -> dict[str, Any]:
    return Scaling(crossed).law()


def test_the_curves_are_the_law_that_the_command_line_fits(law: dict[str, Any], crossed: Path) -> None:
    values = {row[0]: float(row[1]) for row in law["numbers"]["rows"]}
    assert values["E"] == pytest.approx(NAMES.E, abs=0.1)
    [curve] = [curve for curve in law["curves"] if curve["label"] == "4,192 params"]
    place, loss = curve["points"][-1]
    assert place == pytest.approx(LENGTHS[-1])
    assert loss == pytest.approx(NAMES.loss(4192, LENGTHS[-1] * 7.1), abs=0.03)
    assert len(law["curves"]) == len(SIZES) + len(LENGTHS)


def test_the_frontier_grows_with_the_budget(law: dict[str, Any]) -> None:
    sizes = [float(row[1].replace(",", "")) for row in law["frontier"]["rows"]]
    assert sizes == sorted(sizes)
    assert len(sizes) > 3


def test_a_sweep_along_one_axis_has_a_law_of_that_axis_and_no_frontier(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    found = Scaling(keep(tmp_path / "lab.db", simulate(NAMES, Design(steps=LENGTHS), Noise(), seed=2))).law()
    assert {row[0] for row in found["numbers"]["rows"]} >= {"E", "B", "beta"}
    assert [curve["axis"] for curve in found["curves"]] == ["steps"]
    assert found["frontier"] is None
    assert found["counts"] == pytest.approx(1.996, abs=0.001)
    assert "the sweep “laws” crosses them" in found["reason"]


def test_a_law_that_can_not_be_fitted_is_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    few = keep(tmp_path / "lab.db", simulate(NAMES, Design(steps=(1000, 2000)), Noise(), seed=2))
    found = Scaling(few).law()
    assert found["reason"].startswith("No law was fitted.")
    assert "expected" in found["reason"].lower() or "needs" in found["reason"]


def test_the_store_is_read_again_only_when_it_has_changed(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    records = simulate(NAMES, Design(steps=LENGTHS), Noise(), seed=3)
    scaling = Scaling(keep(tmp_path / "lab.db", records[:6]))
    os.utime(tmp_path / "lab.db", (time.time() - 60,) * 2)  # long settled
    first = scaling.show()
    assert scaling.show(seen=first["stamp"]) == {"stamp": first["stamp"]}
    assert scaling.show() is first
    keep(tmp_path / "lab.db", records)
    second = scaling.show(seen=first["stamp"])
    assert (first["runs"], second["runs"]) == (6, len(records))


def test_a_look_leaves_a_sweep_free_to_write(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    records = simulate(NAMES, Design(steps=LENGTHS), Noise(), seed=3)
    path = keep(tmp_path / "lab.db", records[:6])
    scaling = Scaling(path)
    with Store.open(path, create=True) as store:
        store.enroll("steps", [(run.identity, run.role) for run in records])
        for place, record in enumerate(records[6:], 7):
            store.add(Trained(record))
            assert scaling.show()["runs"] >= 6  # what is written and not yet committed is nobody's business
            store.commit()
            assert scaling.show()["runs"] == place


def test_the_sweep_that_is_asked_for_is_shown_else_the_newest(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    steps = simulate(NAMES, Design(steps=LENGTHS), Noise(), seed=3)
    sizes = simulate(NAMES, Design(sizes=SIZES, steps=(3000,), sweep="params"), Noise(), seed=4)
    scaling = Scaling(keep(tmp_path / "lab.db", steps + sizes))
    assert (scaling.show()["sweep"], scaling.show()["sweeps"]) == ("params", ["params", "steps"])
    assert {line["axis"] for line in scaling.show("steps")["lines"]} == {"steps"}
    assert scaling.show("gone")["sweep"] == "params"


def test_a_sweep_without_finished_runs_says_so(tmp_path: Path) -> None:
    [record, *_] = simulate(NAMES, Design(steps=LENGTHS), Noise(), seed=3)
    failed = replace(record, status="failed", loss=None, error="it broke")
    found = Scaling(keep(tmp_path / "lab.db", [failed])).show()
    assert (found["points"], "no finished runs" in found["sentence"]) == ([], True)


@pytest.mark.parametrize("data", [b"", b"not a store at all" * 100])
def test_a_damaged_store_is_a_sentence_without_its_folder(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lab.db"
    path.write_bytes(data)
    with visit(Studio(tmp_path, store=path)) as there:
        sentence = there.get("/api/scaling")["sentence"]
    assert sentence.startswith("lab.db: expected")
    assert str(tmp_path) not in sentence


def test_without_scipy_the_page_names_the_extra(crossed: Path) -> None:
    code = (
        "import sys; sys.modules['scipy'] = sys.modules['scipy.special'] = None\n"
        "from pathlib import Path; from microgpt.studio.scaling import Scaling\n"
        "scaling = Scaling(Path(sys.argv[1])); print(scaling.show()['sentence']); print(scaling.law()['reason'])"
    )
    done = subprocess.run([sys.executable, "-c", code, str(crossed)], capture_output=True, text=True, env=os.environ)
    assert done.stdout.count("microgpt-symmetry[lab]") == 2, done.stderr
