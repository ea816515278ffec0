"""The audit: silent where nothing is wrong, and right about every fault that is planted."""

import runpy
from dataclasses import replace
from pathlib import Path

import pytest

from microgpt.lab.audit import Finding, audit, sentence
from microgpt.lab.audit.finding import SENTENCES
from microgpt.lab.statistics.planted import FAULTS
from microgpt.lab.statistics.series import PARAMS, STEPS, series
from microgpt.lab.statistics.simulate import SIZES, Design, Law, Noise, simulate
from microgpt.lab.store.record import RunRecord

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


def test_without_seeds_a_rise_is_found_and_noise_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bench says it of 200; one curve alone tells too little of its noise, and several do."""
    monkeypatch.syspath_prepend(BENCH.parent)
    told = runpy.run_path(str(BENCH))["without_seeds"](30)
    assert told["falling"] == 0
    assert told["flat"] <= 2
    assert told["planted"] >= 25


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


def rates_of_batches(clean: list[RunRecord], rates: dict[int, float]) -> list[RunRecord]:
    """The reported runs once for each batch, at its rate: the larger the batch, the better."""
    study = [run for run in clean if run.role == "study" and run.loss]
    return [
        replace(run, settings={**run.settings, "batch": batch, "lr": rate}, loss=(run.loss or 0) - batch / 100)
        for batch, rate in rates.items()
        for run in study
    ]


def test_rates_of_different_batches_are_not_compared(clean: list[RunRecord]) -> None:
    """Each batch has one rate, so none was tried against another, and the highest is at no edge."""
    assert "learning rate at the edge" not in kinds(rates_of_batches(clean, {1: 0.01, 4: 0.02, 16: 0.04}))


def test_rates_of_different_lengths_are_not_compared(clean: list[RunRecord]) -> None:
    paired = [replace(run, settings={**run.settings, "lr": 1 / run.steps}) for run in clean if run.role == "study"]
    assert "learning rate at the edge" not in kinds(paired)


def test_an_edge_is_told_with_the_batch_that_it_is_of(clean: list[RunRecord]) -> None:
    """The other batch was tried beyond that rate, which must not hide it."""
    larger = [
        replace(run, settings={**run.settings, "batch": 16, "lr": run.settings["lr"] / 4}, loss=2 - run.settings["lr"])
        for run in clean
        if run.role == "tuning"
    ]
    study = [replace(run, settings={**run.settings, "batch": 16}) for run in clean if run.role == "study"]
    (found,) = [each for each in audit([*clean, *larger, *study]) if each.kind == "learning rate at the edge"]
    assert found.rows[0] == "emb 16, head 4, layer 1, batch 16: 0.01"
    assert len(found.rows) == len(SIZES)


def test_levels_that_are_paired_are_no_curve_with_too_few(clean: list[RunRecord]) -> None:
    """Every length has a batch of its own: four series of one level each."""
    batches = dict(zip((1000, 3000, 5000, 10000), (8, 4, 2, 1), strict=True))
    small = [run for run in clean if run.role == "study" and run.settings["emb"] == 16]
    paired = [replace(run, settings={**run.settings, "batch": batches[run.steps]}) for run in small]
    lines = series(paired, STEPS)
    assert len(lines) == 4
    assert "few levels" not in {finding.kind for finding in audit(paired, lines)}
    single = [run for run in paired if run.seed == 0]
    (few,) = [each for each in audit(single, series(single, STEPS)) if each.kind == "few seeds"]
    assert few.numbers["levels"] == 4


def test_what_is_so_in_many_series_is_found_once() -> None:
    crossed = simulate(NAMES, Design(sizes=SIZES, steps=(1000, 2000, 4000), seeds=2, sweep="laws"), Noise(), 3)
    risen = [replace(run, loss=run.loss + 1) if run.loss and run.steps == 2000 else run for run in crossed]
    found = [(each.kind, each.numbers.get("axis")) for each in audit(risen)]
    assert len(found) == len(set(found))
    assert {("few levels", "steps"), ("narrow range", "steps"), ("rising loss", "steps")} <= set(found)
    of_kind = {finding.kind: finding for finding in audit(risen)}
    assert of_kind["few seeds"].numbers["levels"] == 3 * len(SIZES)  # once, though each lies along both axes
    assert of_kind["rising loss"].numbers["rise"] == pytest.approx(1, abs=0.3)
    for kind in ("few levels", "narrow range", "rising loss"):
        assert f"in {len(SIZES)} series" in sentence(of_kind[kind])


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
