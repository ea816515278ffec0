"""The sentences of a report say what the intervals allow, and no more."""

from dataclasses import replace

import pytest

from microgpt.data.corpus import Corpus
from microgpt.data.reading import read
from microgpt.lab.audit import Finding
from microgpt.lab.report.study import part
from microgpt.lab.report.summary import mark_of, sentences, warned
from microgpt.lab.statistics.series import STEPS
from microgpt.lab.statistics.simulate import Design, Law, Noise, simulate
from microgpt.lab.store.record import RunRecord

pytest.importorskip("scipy", reason="intervals need SciPy")
NAMES = Law(E=2.05, A=1.5, B=8.0, alpha=0.3, beta=0.4)


def said(records: list[RunRecord]) -> str:
    return " ".join(sentences([part("steps", records, [STEPS])], records))


def test_a_fall_is_told_with_its_interval_and_the_rows_that_are_noise() -> None:
    text = said(simulate(NAMES, Design(), Noise(), 1))
    assert "Trained longer, from 1,000 to 21,000 steps, the held-out loss falls" in text
    assert "differences can't be told from noise: 8,000 to 9,000" in text
    assert "guessing every token alike scores 3.296" in text


def test_a_loss_that_does_not_move_is_not_said_to_fall() -> None:
    text = said(simulate(Law(E=2.0, A=0.0, B=0.0), Design(), Noise(), 0))
    assert "falls" not in text
    assert "can't be told from noise" in text


def test_it_says_how_many_runs_are_better_than_counting() -> None:
    records = simulate(NAMES, Design(), Noise(), 1)
    middle = sorted(run.loss for run in records if run.loss)[len(records) // 2]
    told = " ".join(sentences([part("steps", records, [STEPS])], records, middle))
    better = f"{len(records) // 2} of {len(records)} runs are better"
    assert f"The best table of counts scores {middle:.3f}, and {better}." in told
    assert "table of counts" not in said(records)


def test_the_mark_is_found_for_runs_on_one_part_of_a_built_in_text() -> None:
    run = simulate(NAMES, Design(), Noise(), 1)[0]
    settings, whole = {**run.settings, "holdout": 0.1, "split_seed": 0}, Corpus.of(read(("names",)), "lines")
    one = replace(run, data="names", data_sha256=whole.sha256, kind="lines", settings=settings)
    assert mark_of([one]) == pytest.approx(1.9963, abs=1e-3)
    for other in (replace(one, data_sha256="0" * 64), replace(one, data="mine.txt")):
        assert mark_of([other]) is None
        assert mark_of([one, other]) is None or other.data == "mine.txt"
    assert mark_of([]) is None


def test_a_rise_is_called_a_rise() -> None:
    records = [replace(run, loss=5 - run.loss) for run in simulate(NAMES, Design(), Noise(), 1) if run.loss]
    assert "rises from" in said(records)


def test_one_seed_allows_no_verdict() -> None:
    assert "with one seed nobody can say" in said(simulate(NAMES, Design(seeds=1), Noise(), 1))


def test_the_noise_of_two_runs_is_that_of_the_simulation() -> None:
    text = said(simulate(NAMES, Design(seeds=200, steps=(1000, 2000)), Noise(run=0.01, seed=0.0), 1))
    assert "standard deviation of a run 0.0100" in text or "standard deviation of a run 0.009" in text


def test_findings_are_counted_by_how_grave_they_are() -> None:
    findings = [Finding("dead seed", "serious"), Finding("few seeds", "warning"), Finding("epochs", "warning")]
    assert warned(findings) == "The audit found: 1 serious, 2 warnings."
    assert warned([]) == "The audit found no problems."
