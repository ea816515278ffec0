"""The audit: silent where nothing is wrong, and right about every fault that is planted."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from microgpt.lab.audit import Finding, audit, sentence
from microgpt.lab.audit.finding import SENTENCES
from microgpt.lab.planted import FAULTS
from microgpt.lab.record import RunRecord
from microgpt.lab.series import PARAMS, series
from microgpt.lab.simulate import SIZES, Design, Law, Noise, simulate

pytest.importorskip("scipy", reason="intervals need SciPy")
BENCH = Path(__file__).parents[2] / "bench" / "audit.py"
NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)


@pytest.fixture(scope="module")
def clean() -> list[RunRecord]:
    return simulate(NAMES, Design(sizes=SIZES, steps=(1000, 3000, 5000, 10000), sweep="laws", tuned=True), Noise(), 0)


def kinds(records: list[RunRecord]) -> set[str]:
    return {finding.kind for finding in audit(records)}


def test_a_clean_sweep_raises_no_alarm(clean: list[RunRecord]) -> None:
    assert audit(clean) == []


@pytest.mark.parametrize("kind", FAULTS)
def test_a_planted_fault_is_found_and_told(kind: str, clean: list[RunRecord]) -> None:
    (found, *_) = [finding for finding in audit(FAULTS[kind](clean)) if finding.kind == kind]
    assert sentence(found).endswith(".")
    assert "{" not in sentence(found)


def test_the_short_form_of_the_bench_meets_its_goal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCH.parent)
    outcome = runpy.run_path(str(BENCH))["measure"](16)
    assert outcome.alarms == 0, outcome.kinds
    assert outcome.found == outcome.planted


def test_noise_alone_is_no_rise() -> None:
    """A loss that does not move has rises among its neighbours, and none may be called one."""
    flat = Law(E=2.0, A=0.0, B=0.0)
    alarms = sum("rising loss" in kinds(simulate(flat, Design(), Noise(), number)) for number in range(60))
    assert alarms <= 2


def test_an_axis_without_effect_is_told_though_noise_makes_losses_differ() -> None:
    assert "flat axis" in kinds(simulate(Law(E=2.0, A=0.0, B=0.0), Design(), Noise(), 1))


def test_a_setting_that_never_reached_the_training_is_a_dead_axis_too(clean: list[RunRecord]) -> None:
    """Batch is no axis of a table, but two batches with the same losses are a fault all the same."""
    again = [replace(run, settings={**run.settings, "batch": 2}) for run in clean if run.role == "study"]
    found = [finding for finding in audit(clean + again) if finding.kind == "dead axis"]
    assert {finding.numbers["axis"] for finding in found} == {"batch"}


def test_a_failed_rate_beyond_the_best_one_is_no_edge(clean: list[RunRecord]) -> None:
    highest = max(run.settings["lr"] for run in clean)
    rising = [replace(run, loss=3 - run.settings["lr"]) if run.role == "tuning" else run for run in clean]
    assert "learning rate at the edge" in kinds(rising)
    diverged = [
        replace(run, status="failed", loss=None) if run.role == "tuning" and run.settings["lr"] == highest else run
        for run in rising
    ]
    assert "learning rate at the edge" not in kinds(diverged)


def test_one_seed_is_serious_and_two_are_a_warning(clean: list[RunRecord]) -> None:
    def severity(seeds: int) -> str:
        fewer = [run for run in clean if run.role == "tuning" or run.seed < seeds]
        return next(finding.severity for finding in audit(fewer) if finding.kind == "few seeds")

    assert (severity(1), severity(2)) == ("serious", "warning")


def test_the_gravest_comes_first(clean: list[RunRecord]) -> None:
    order = ["serious", "warning", "note"]
    severities = [finding.severity for finding in audit(FAULTS["mixed versions"](FAULTS["few seeds"](clean)))]
    assert severities == sorted(severities, key=order.index)


def test_an_axis_that_was_asked_for_but_never_varied_has_too_few_levels() -> None:
    records = simulate(NAMES, Design(), Noise(), 1)
    assert "few levels" in {finding.kind for finding in audit(records, series(records, PARAMS))}


def test_many_rows_are_told_by_their_first_and_their_number() -> None:
    finding = Finding("dead seed", "serious", tuple("abcde"))
    assert "a; b; c; and 2 more" in sentence(finding)


def test_an_empty_store_has_nothing_to_beware_of() -> None:
    assert audit([]) == []


def test_every_kind_of_finding_has_its_sentence() -> None:
    assert set(FAULTS) <= set(SENTENCES)
