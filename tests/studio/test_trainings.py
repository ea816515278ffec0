"""Trainings from the page: the same runs as from the command line, interrupted at will, and told to every page."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.lab.store.store import Store
from microgpt.studio import trainings
from microgpt.studio.studio import Studio
from microgpt.studio.watched import due
from microgpt.studio.worker import Curve
from microgpt.training import checkpoint as checkpoints
from microgpt.training.run_folder import RunFolder
from microgpt.training.tables import LOSSES
from trials.serving import REFUSED, Visit, visit
from trials.small import finish
from trials.waiting import until

SMALL = {"engine": "array", "emb": 8, "head": 2, "ctx": 8, "samples": 3, "holdout": 0.005}


def start(there: Visit, steps: int, **more: Any) -> str:
    settings = SMALL | {"steps": steps} | more.pop("settings", {})
    found: str = there.post("/api/trainings", {"settings": settings, **more})["id"]
    return found


def events(there: Visit, training: str, first: int = 0) -> list[dict[str, Any]]:
    """The events of a training that has ended, as a page asks for them."""
    told: list[dict[str, Any]] = []
    while not told or not told[-1].get("last"):
        told += there.get(f"/api/trainings/{training}/events?from={first + len(told)}")["events"]
    return told


def kept(here: Visit, training: str) -> list[dict[str, Any]]:
    """The events of a training so far, also while it is paused."""
    return [json.loads(event) for event in here.studio.trainings.find(training).events]


def weights(folder: Path) -> Any:
    return checkpoints.read(folder / "weights.safetensors").state.weights


def test_a_training_from_the_page_is_the_run_of_the_command_line_bit_by_bit(here: Visit, tmp_path: Path) -> None:
    from microgpt.recipes import resolve

    training = start(here, 120)
    run = tmp_path / "runs" / here.wait(training)["run"]
    plain = finish(resolve("default", SMALL | {"steps": 120, "out": str(tmp_path / "plain")})).result
    np.testing.assert_array_equal(weights(run), weights(Path(plain.run or "")))
    assert (run / "losses.csv").read_bytes() == (Path(plain.run or "") / "losses.csv").read_bytes()
    assert (run / "samples.txt").read_bytes() == (Path(plain.run or "") / "samples.txt").read_bytes()


def test_its_events_tell_curve_looks_and_result(here: Visit, tmp_path: Path) -> None:
    training = start(here, 120)
    run = here.wait(training)["run"]
    told = events(here, training)
    kinds = [event["kind"] for event in told]
    assert kinds[0] == "phase"
    assert told[-1] == {"kind": "phase", "phase": "finished", "step": 120, "last": True}
    points = [point for event in told if event["kind"] == "losses" for point in event["points"]]
    rows = LOSSES.read(tmp_path / "runs" / run, 120)[0]
    assert points == [[int(step), loss] for step, loss, _ in rows]
    looks = [event for event in told if event["kind"] == "look"]
    assert [looks[0]["step"], looks[-1]["step"]] == [0, 120]
    assert looks[-1]["samples"][:3] == next(event for event in told if event["kind"] == "finished")["result"]["samples"]
    kept = {int(path.stem.removeprefix("step-")) for path in (tmp_path / "runs" / run / "history").iterdir()}
    assert kept == {look["step"] for look in looks}
    assert [look["step"] for look in here.get(f"/api/runs/{run}")["looks"]] == [look["step"] for look in looks]
    assert events(here, training, len(told) - 2) == told[-2:]


def test_paused_it_takes_one_step_at_a_time_and_goes_on(here: Visit) -> None:
    training = start(here, 60, paused=True)
    here.wait(training, ("paused",))
    here.post(f"/api/trainings/{training}", {"action": "step"})
    taken = lambda: [e["step"] for e in kept(here, training) if e["kind"] == "losses"]  # noqa: E731
    until(lambda: taken() == [1])
    here.post(f"/api/trainings/{training}", {"action": "step"})
    until(lambda: taken() == [1, 2] and here.training(training)["phase"] == "paused")
    here.post(f"/api/trainings/{training}", {"action": "go_on"})
    assert here.wait(training)["phase"] == "finished"
    assert taken()[-1] == 60


def test_stopped_it_is_saved_and_goes_on_to_the_same_weights(here: Visit, tmp_path: Path) -> None:
    whole = here.wait(start(here, 80))["run"]
    training = start(here, 80, paused=True)
    for _ in range(3):
        here.post(f"/api/trainings/{training}", {"action": "step"})
    until(lambda: any(e.get("step") == 3 for e in kept(here, training)))
    here.post(f"/api/trainings/{training}", {"action": "end"})
    stopped = here.wait(training)
    assert stopped["phase"] == "stopped"
    again = here.post(f"/api/runs/{stopped['run']}/resume")["id"]
    assert here.wait(again)["phase"] == "finished"
    runs = tmp_path / "runs"
    np.testing.assert_array_equal(weights(runs / stopped["run"]), weights(runs / whole))
    steps = [step for e in events(here, again) if e["kind"] == "losses" for step, _ in e["points"]]
    assert steps == list(range(1, 81))
    looks = [look["step"] for look in here.get(f"/api/runs/{stopped['run']}")["looks"]]
    assert looks == sorted(set(looks))
    assert {0, 1, 80} <= set(looks)


def test_a_finished_run_is_extended_in_a_new_folder(here: Visit) -> None:
    first = here.wait(start(here, 20))["run"]
    assert "give --steps above 20" in events(here, here.post(f"/api/runs/{first}/resume")["id"])[-1]["error"]
    longer = here.wait(here.post(f"/api/runs/{first}/resume", {"steps": 40})["id"])
    assert longer["phase"] == "finished"
    assert here.get(f"/api/runs/{longer['run']}")["step"] == 40


def test_beyond_the_cores_a_training_is_refused_with_a_sentence(here: Visit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainings, "cores", lambda: 1)
    first = start(here, 50, paused=True)
    refused = here.post("/api/trainings", {"settings": SMALL | {"steps": 5}}, 409)
    assert "wait until a training ends, or stop one" in refused["error"]
    here.post(f"/api/trainings/{first}", {"action": "end"})
    here.wait(first)
    assert here.wait(start(here, 5))["phase"] == "finished"


def test_what_goes_wrong_in_a_training_is_told_as_its_last_event(here: Visit) -> None:
    here.wait(start(here, 5, settings={"name": "taken"}))
    told = events(here, start(here, 5, settings={"name": "taken"}))[-1]
    assert (told["phase"], told["last"]) == ("failed", True)
    assert "expected a new --name" in told["error"]
    told = events(here, start(here, 50, settings={"lr": 1e300}))[-1]
    assert told["phase"] == "failed"
    assert "try --lr" in told["error"]


def test_closing_the_studio_saves_what_is_trained(tmp_path: Path) -> None:
    with visit(Studio(tmp_path / "runs")) as there:
        training = start(there, 10**6)
        until(lambda: there.studio.trainings.find(training).step)
        run = there.training(training)["run"]
        there.studio.close()
        assert there.training(training)["phase"] == "stopped"
    assert checkpoints.describe(tmp_path / "runs" / run / "weights.safetensors").step > 0


@pytest.mark.parametrize("action", ["explode", None, 3, "__init__", "stop"])
def test_an_unknown_action_or_training_is_a_sentence(here: Visit, action: object) -> None:
    training = start(here, 5)
    assert "expected one of" in here.post(f"/api/trainings/{training}", {"action": action}, REFUSED)["error"]
    assert "not known" in here.post("/api/trainings/none", {"action": action}, 404)["error"]
    for query, status in (
        ("none/events", 404),
        (f"{training}/events?from=x", 422),
        (f"{training}/events?from=-1", 422),
    ):
        assert here.get(f"/api/trainings/{query}", status)["error"]


@pytest.mark.long
def test_a_time_to_make_the_most_of_chooses_a_training(here: Visit) -> None:
    training = here.post("/api/trainings", {"for": 4, "settings": {"threads": 1}})["id"]
    phase, told = here.wait(training)["phase"], events(here, training)
    assert phase == "finished", told[-1]
    assert any("is taken as lines" in event.get("text", "") for event in told)


def test_a_stop_is_heard_while_the_machine_is_measured(here: Visit) -> None:
    """However long the time that is to be filled."""
    training = here.post("/api/trainings", {"for": 86_400, "settings": {"engine": "atomic", "threads": 1}})["id"]
    here.wait(training, ("measuring",))
    here.post(f"/api/trainings/{training}", {"action": "end"})
    assert here.wait(training)["phase"] == "stopped"
    assert here.get("/api/runs")["runs"] == []


def test_a_running_training_is_told_as_one_in_the_list_of_runs_and_by_its_name(here: Visit) -> None:
    training = start(here, 50, paused=True)
    here.wait(training, ("paused",))
    [run] = here.get("/api/runs")["runs"]
    assert (run["training"], run["status"]) == (training, "paused")
    assert here.get(f"/api/runs/{run['name']}")["training"] == training
    here.post(f"/api/trainings/{training}", {"action": "end"})
    here.wait(training)
    [run] = here.get("/api/runs")["runs"]
    assert ("training" in run, run["status"]) == (False, "unfinished")


def test_a_training_that_can_not_keep_what_it_wrote_says_so_and_goes_on(here: Visit, tmp_path: Path) -> None:
    training = start(here, 50, paused=True)
    run = here.wait(training, ("paused",))["run"]
    (tmp_path / "runs" / run / "looks.json").mkdir()
    here.post(f"/api/trainings/{training}", {"action": "go_on"})
    assert here.wait(training)["phase"] == "finished"
    assert any("is not kept" in event.get("text", "") for event in events(here, training))


def test_warnings_and_the_reason_of_a_divergence_are_there_when_it_is_over(here: Visit) -> None:
    run = here.wait(start(here, 50, settings={"lr": 1e300}))["run"]
    notes = here.get(f"/api/runs/{run}")["notes"]
    assert [note["warning"] for note in notes if "at a learning rate of" in note["text"]] == [True]


@pytest.mark.parametrize("seconds", [0, -1, 1e9, 10**400, "60", True, [1]])
def test_a_time_that_can_not_be_is_a_sentence(here: Visit, seconds: object) -> None:
    assert "--for takes" in here.post("/api/trainings", {"for": seconds}, REFUSED)["error"]


@pytest.mark.parametrize("steps", [1, 2, 3, 7, 1000, 123_457])
def test_looks_are_dense_at_first_and_few_in_all(steps: int) -> None:
    looks = due(steps)
    assert looks[0] == 0
    assert looks[-1] == steps
    assert looks == sorted(set(looks))
    assert len(looks) <= 60
    assert {1, 2, 4} & set(range(steps + 1)) <= set(looks)


@pytest.mark.parametrize("cuts", [[10], [1, 9], [3, 3, 4], [7, 1, 1, 1]])
def test_a_curve_does_not_depend_on_how_steps_come(cuts: list[int]) -> None:
    losses, curve, points, first = np.arange(10.0), Curve(4), [], 1
    for count in cuts:
        points += curve.add(first, losses[first - 1 : first - 1 + count])
        first += count
    assert points == [(4, 1.5), (8, 5.5)]


def test_a_training_that_has_ended_leaves_no_process(here: Visit) -> None:
    training = here.studio.trainings.find(start(here, 2))
    pid = training.process.pid
    here.wait(training.id)
    training.join(20)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


@pytest.mark.parametrize(("name", "once"), [("SIGKILL", ("step", "step", "saved")), ("SIGSEGV", ("step",) * 3)])
def test_a_training_whose_process_dies_ends_alone_and_says_why(
    here: Visit, tmp_path: Path, name: str, once: tuple[str, ...]
) -> None:
    """A kernel that fails, or a lack of memory, is met at any step; the first save comes after a second."""
    other = start(here, 20, paused=True)
    for reached in once:
        training = here.studio.trainings.find(start(here, 10**6))
        until(lambda: getattr(training, reached))  # noqa: B023
        os.kill(training.process.pid, getattr(signal, name))
        assert here.wait(training.id)["phase"] == "failed"
        last = events(here, training.id)[-1]
        assert (last["kind"], last["last"], last["code"]) == ("phase", True, 5)
        assert f"the training's process ended (signal {name}, " in last["error"]
        assert ("memory may have run out" in last["error"]) == (name == "SIGKILL")
        run = tmp_path / "runs" / training.run
        saved = checkpoints.describe(run / "weights.safetensors").step
        assert f"until step {saved:,} stays: go on with it from the list of runs" in last["error"]
        assert here.get(f"/api/runs/{training.run}")["status"] == "unfinished"
    here.post(f"/api/trainings/{other}", {"action": "go_on"})
    assert here.wait(other)["phase"] == "finished"


@pytest.mark.long
def test_a_training_whose_studio_is_killed_is_saved_and_ends(tmp_path: Path) -> None:
    step = 0
    with _killed(tmp_path) as ask:
        training = ask("trainings", {"settings": SMALL | {"steps": 10**6, "name": "run"}})["id"]
        while step < 100:
            told = ask(f"trainings/{training}/events")["events"]
            step = max((event.get("step", 0) for event in told), default=0)
    folder = RunFolder(tmp_path / "runs" / "run")
    checkpoint, rows, broken_off = folder.reopen()
    assert (checkpoint.state.step, broken_off) == (len(rows), 0)
    assert checkpoint.state.step >= step


@pytest.mark.long
def test_a_sweep_whose_studio_is_killed_ends_with_what_is_done_in_its_store(tmp_path: Path) -> None:
    pytest.importorskip("scipy", reason="needs the extra lab")
    with _killed(tmp_path) as ask:
        ask("sweep", {"what": "laws"})
        until(lambda: ask("sweep").get("done"))
    with Store.open(tmp_path / "lab.db") as store:
        assert len(store.records()) >= 1


@contextlib.contextmanager
def _killed(folder: Path) -> Iterator[Callable[..., Any]]:
    """A studio that is killed in the end, with nothing left of it; what asks it."""
    command = [sys.executable, "-m", "microgpt", "studio", "--no-browser", "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True, start_new_session=True) as server:
        assert server.stdout
        root, token = server.stdout.readline().split()[-1].split("#token=")

        def ask(path: str, body: Any = None) -> Any:
            data = None if body is None else json.dumps(body).encode()
            asked = urllib.request.Request(f"{root}api/{path}", data, {"x-studio-token": token})
            return json.load(urllib.request.urlopen(asked))

        yield ask
        server.kill()
    until(lambda: _is_gone(server.pid))


def _is_gone(group: int) -> bool:
    """Whether no process of this group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return True
    return False
