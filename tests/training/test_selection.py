"""A run that ends with its best weights, ends early, or ends when its time is up."""

import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.errors import UsageError
from microgpt.training import checkpoint as checkpoints
from microgpt.training import session
from microgpt.training.loop import train
from microgpt.training.records import Evaluated, Finished, Note, Progress, Record
from microgpt.training.request import Request
from microgpt.training.run_folder import RunFolder
from microgpt.training.selection import lowest, spread, waited
from trials.small import fingerprint, finish, request, resumed, stopped_at

OVERFIT = {"steps": 300, "emb": 16, "lr": 0.05, "holdout": 0.4, "eval_every": 20, "decay": "constant"}


def overfitting(folder: Path, **settings: object) -> Request:
    """A training that soon knows its few names by heart."""
    return request(folder, **OVERFIT | settings)


def test_a_run_ends_with_the_weights_of_its_lowest_held_out_loss(tmp_path: Path) -> None:
    records = list(train(overfitting(tmp_path, select="best")))
    looks = [record for record in records if isinstance(record, Evaluated)]
    end = records[-1]
    assert isinstance(end, Finished)
    best = min(looks, key=lambda look: look.held_out.loss)
    assert best.step < 300
    assert (end.result.selected_step, end.result.steps_taken) == (best.step, 300)
    assert end.result.loss.holdout == best.held_out.loss
    assert end.checkpoint.state.step == best.step
    assert any("selected by it" in record.text for record in records if isinstance(record, Note))


def test_what_a_folder_keeps_is_the_best_and_only_that(tmp_path: Path) -> None:
    end = finish(overfitting(tmp_path, select="best", save_every=30))
    folder = RunFolder(tmp_path / "runs" / "run")
    assert fingerprint(checkpoints.read(folder.weights)) == fingerprint(end.checkpoint)
    assert folder.read_best() is None


def test_choosing_changes_nothing_of_the_training(tmp_path: Path) -> None:
    plain = finish(overfitting(tmp_path, name="plain"))
    chosen = finish(overfitting(tmp_path, name="chosen", select="best"))
    assert np.array_equal(plain.losses, chosen.losses)


def test_without_a_better_loss_training_ends_early(tmp_path: Path) -> None:
    end = finish(overfitting(tmp_path, select="best", patience=3))
    assert end.result.steps_taken < 300
    assert end.result.steps_taken == end.result.selected_step + 3 * 20
    assert len(end.losses) == end.result.steps_taken


@pytest.mark.parametrize("step", [30, 120, *(pytest.param(step, marks=pytest.mark.long) for step in (90, 200))])
def test_stopped_and_resumed_it_ends_with_the_same_weights(tmp_path: Path, step: int) -> None:
    asked = overfitting(tmp_path, select="best", patience=8)
    whole = finish(replace(asked, name="whole"))
    stopped_at(replace(asked, save_every=step), step)
    again = resumed(tmp_path / "runs" / "run")
    assert fingerprint(again.checkpoint) == fingerprint(whole.checkpoint)
    assert again.result.steps_taken == whole.result.steps_taken
    assert again.result.loss == whole.result.loss


def test_an_extended_run_goes_on_from_the_weights_it_kept(tmp_path: Path) -> None:
    chosen = finish(overfitting(tmp_path, select="best"))
    longer = resumed(tmp_path / "runs" / "run", {"steps": 320})
    assert longer.result.steps == 320
    assert len(longer.losses) == 320
    assert np.array_equal(longer.losses[: chosen.result.selected_step], chosen.losses[: chosen.result.selected_step])


def trained_by_the_clock(monkeypatch: pytest.MonkeyPatch, asked: Request, seconds: float) -> list[Record]:
    """The records of a training with a deadline, on a clock that moves by a millisecond a step."""
    now, records = 0.0, []
    monkeypatch.setattr(session, "time", SimpleNamespace(perf_counter=lambda: now))
    for record in train(asked, deadline=seconds):
        records.append(record)
        if isinstance(record, Progress):
            now = 0.001 * record.step
    return records


def test_past_its_deadline_a_run_takes_no_step_and_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = request(tmp_path, steps=1_000_000, eval_every=1000, select="best")
    end = trained_by_the_clock(monkeypatch, asked, 0.5)[-1]
    assert isinstance(end, Finished)
    assert 0 < end.result.steps_taken <= 500


def test_a_slow_machine_gets_fewer_steps_whose_learning_rate_still_falls_to_zero(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = request(tmp_path, steps=1_000_000, eval_every=50, lr=0.01)
    records = trained_by_the_clock(monkeypatch, asked, 1.0)
    end = records[-1]
    assert isinstance(end, Finished)
    assert 970 <= end.result.steps == end.result.steps_taken <= 1000
    rates = [record.lr for record in records if isinstance(record, Progress)]
    assert rates[-1] < 0.05 * rates[0]
    assert any("slower than measured" in record.text for record in records if isinstance(record, Note))


def test_a_quick_machine_gets_more_steps_up_to_the_most_that_are_of_use(tmp_path: Path) -> None:
    asked = request(tmp_path, steps=200, eval_every=10)
    records = list(train(asked, deadline=time.perf_counter() + 60, most=600))
    end = records[-1]
    assert isinstance(end, Finished)
    assert end.result.steps == end.result.steps_taken == 600
    assert end.checkpoint.training is not None
    assert end.checkpoint.training.request.settings.steps == 600
    rates = [record.lr for record in records if isinstance(record, Progress)]
    assert rates[-1] < 0.05 * rates[0]
    assert any("quicker than measured" in record.text for record in records if isinstance(record, Note))
    kept = list(train(replace(asked, name="kept"), deadline=time.perf_counter() + 60))[-1]
    assert isinstance(kept, Finished)
    assert kept.result.steps_taken == 200


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"select": "best", "eval_every": 0}, "--eval-every"),
        ({"patience": 2, "eval_every": 0}, "--eval-every"),
        ({"select": "best", "holdout": 0.0}, "--holdout"),
        ({"select": "worst"}, "last, best"),
    ],
)
def test_choosing_needs_held_out_losses(tmp_path: Path, wrong: dict[str, object], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        overfitting(tmp_path, **wrong)


def test_a_checkpoint_from_before_there_was_a_choice_is_read(tmp_path: Path) -> None:
    values = request(tmp_path).to_dict()
    for name in ("select", "patience", "eval_documents"):
        del values[name]
    assert Request.from_dict(values).select == "last"


@given(st.lists(st.floats(0, 10), min_size=1))
def test_waiting_counts_from_the_lowest_loss(losses: list[float]) -> None:
    evaluations = [(step, loss, 0.0) for step, loss in enumerate(losses)]
    assert losses[len(losses) - 1 - waited(evaluations)] == lowest(evaluations) == min(losses)


@given(st.integers(1, 50), st.integers(0, 60))
def test_a_part_of_the_held_out_documents_is_evenly_spread(size: int, count: int) -> None:
    sequences = [np.array([place]) for place in range(size)]
    part = [int(tokens[0]) for tokens in spread(sequences, count)]
    assert len(part) == (count if 0 < count < size else size)
    assert part == sorted(set(part))


def test_a_text_that_is_unlike_names_is_told_of_a_better_way(tmp_path: Path) -> None:
    path = tmp_path / "prose.txt"
    path.write_text("It was a bright cold day in April, and the clocks were striking. " * 20)
    usual = {"steps": 1000, "emb": 16, "head": 4, "ctx": 16}
    asked = [request(tmp_path, **usual, name=name) for name in ("names", "prose")]
    asked[1] = replace(asked[1], data=(str(path),), documents="windows")
    told = [[record.text for record in train(a, stop=lambda: True) if isinstance(record, Note)] for a in asked]
    assert [any("try --for 60s" in note for note in notes) for notes in told] == [False, True]


@pytest.mark.parametrize(("settings", "warned"), [({"steps": 3000}, True), ({"steps": 10}, False)])
def test_a_text_too_small_for_its_model_is_warned_of(tmp_path: Path, settings: dict[str, object], warned: bool) -> None:
    asked = request(tmp_path, emb=16, **settings)
    told = [record.text for record in train(asked, stop=lambda: True) if isinstance(record, Note) and record.warning]
    assert any("learn them by heart" in text for text in told) == warned


@pytest.mark.parametrize(("times", "warned"), [(1, True), (6, False)])
def test_a_text_of_rare_characters_is_warned_of(tmp_path: Path, times: int, warned: bool) -> None:
    (tmp_path / "rare.txt").write_text("\n".join(f"{chr(0x4E00 + n)}{chr(0x4E01 + n)}" for n in range(90)) * times)
    asked = replace(request(tmp_path), data=(str(tmp_path / "rare.txt"),), documents="windows")
    told = [record.text for record in train(asked, stop=lambda: True) if isinstance(record, Note) and record.warning]
    assert any("occur fewer than 5 times" in text for text in told) == warned
