"""An engine's entry holds its facts, and is all that other rooms need: a new engine is one entry and one class."""

import ast
import json
from pathlib import Path

import numpy as np
import pytest

import microgpt
from microgpt import engines
from microgpt.cli.app import run
from microgpt.engines import REGISTRY, Entry, parity
from microgpt.engines.array import ArrayEngine, ArrayRunner
from microgpt.engines.contract import EngineConfig
from microgpt.engines.measure import SHAPES, measure
from microgpt.errors import UsageError
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State
from microgpt.studio.form import form
from microgpt.studio.plan import plan
from microgpt.training.estimate import estimate
from microgpt.training.prepare import prepare, split_of
from microgpt.training.request import Request

ALLOWED = {  # what has the name of an engine outside their room
    "cli/engines.py": {"fused"},  # --show-kernel prints the kernel of that engine
    "cli/plan.py": {"fused"},  # a kind of attention
    "planning/memory.py": {"fused"},  # the same
}


class Stub:
    """The engine `array` under another name."""

    def __init__(self, config: EngineConfig) -> None:
        self._engine = ArrayEngine(config)

    def ready(self, model: ModelConfig) -> None:
        """There is nothing to prepare."""

    def open(self, state: State) -> ArrayRunner:
        return self._engine.open(state)


@pytest.fixture(autouse=True)
def stub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(REGISTRY, "stub", Entry(Stub, floor=2.0, nominal=7.0))
    monkeypatch.chdir(tmp_path)


def test_it_trains(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["train", "--engine", "stub", "--steps", "3", "--name", "one", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["engine"] == "stub"
    other = microgpt.train(steps=3, engine="array", precision="64", out="")
    assert all(
        np.array_equal(weights, other.weights[name]) for name, weights in microgpt.load("runs/one").weights.items()
    )


def test_it_is_verified(monkeypatch: pytest.MonkeyPatch) -> None:
    smallest, slopes = parity.quick()[4:5], parity.difference_cases()[:1]
    monkeypatch.setattr(parity, "quick", lambda: smallest)
    monkeypatch.setattr(parity, "difference_cases", lambda: slopes)
    checks = [check for check in parity.verify() if check.engine == "stub"]
    assert [(check.precision, check.ok) for check in checks] == [("64", True)]


def test_it_is_measured_with_what_it_has() -> None:
    batch = [np.arange(5)]
    rows = list(measure(["stub"], EngineConfig("32", threads=2), 27, lambda steps, _: [batch] * steps, seconds=0.001))
    assert [(row.engine, row.precision, row.threads) for row in rows] == [("stub", "64", 1)] * len(SHAPES)


def test_it_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engines"]) == 0
    assert "stub     yes" in capsys.readouterr().out
    shown = form()
    assert {"name": "stub", "usable": True, "reason": ""} in shown["engines"]
    assert "stub" in next(field["choices"] for field in shown["fields"] if field["name"] == "engine")
    with pytest.raises(UsageError, match="Did you mean stub"):
        engines.choose("stup")


def test_its_facts_are_those_of_plans_and_estimates() -> None:
    request = Request(engine="stub")
    text = split_of(request, "lines")
    planned = plan(request, text, measure=True)
    assert (planned["engine"], planned["precision"], planned["measured"]) == ("stub", "64", False)
    assert planned["steps_per_second"] * planned["flop_per_step"] == pytest.approx(7.0)
    assert "stub takes 2000000 µs or more even for the smallest step" in str(estimate(prepare(request, text)))


def test_it_is_taken_where_it_is_preferred_and_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY, "stub", Entry(Stub, preference=9))
    assert engines.choose("auto") == "stub"
    assert engines.why_not_fastest() is None
    monkeypatch.setitem(REGISTRY, "stub", Entry(Stub, preference=9, missing=lambda: "it is a stub"))
    assert engines.choose("auto") != "stub"
    assert engines.why_not_fastest() == "it is a stub"


def test_no_other_room_asks_for_an_engine_by_name() -> None:
    package, found = Path(microgpt.__file__).parent, dict[str, set[str]]()
    for path in package.rglob("*.py"):
        tree = ast.walk(ast.parse(path.read_text("utf-8")))
        names = set(REGISTRY) & {
            node.value for node in tree if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        place = path.relative_to(package).as_posix()
        if names and not place.startswith("engines/"):
            found[place] = names
    assert found == ALLOWED
