"""The loop: golden runs through and through, records, pace, stopping, divergence, warnings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microgpt.errors import DivergedError, UsageError
from microgpt.recipes import resolve
from microgpt.training import pace
from microgpt.training.loop import train
from microgpt.training.records import Evaluated, Finished, Interrupted, Note, Progress, Result, Sampled, Saved, Started
from microgpt.training.resume import resume
from microgpt.training.run_folder import RunFolder
from tests.conftest import golden
from trials.small import NAMES, fingerprint, finish, last, request, stopped_at, text


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        *((name, "array") for name in ("karpathy_1000", "karpathy_e32h4l2_60", "artistic_200")),
        *(pytest.param(name, "atomic", marks=pytest.mark.long) for name in ("karpathy_e32h4l2_60", "artistic_200")),
    ],
)
def test_golden_runs_come_out_of_the_whole_loop_with_their_samples(name: str, engine: str) -> None:
    expected = golden(name)
    sizes = {size: getattr(expected, size) for size in ("steps", "emb", "head", "layer", "ctx")}
    end = last(train(resolve(name.split("_")[0], sizes | {"engine": engine, "out": ""})))
    assert isinstance(end, Finished)
    assert np.abs(end.losses - expected.losses).max() < 1e-10
    assert list(end.result.samples) == expected.samples
    assert end.result.loss.holdout is None


def test_records_come_in_order_and_each_step_once(tmp_path: Path) -> None:
    records = list(train(request(tmp_path, eval_every=20, save_every=25)))
    kinds = [type(record) for record in records if not isinstance(record, Note | Progress)]
    assert kinds == [Started, Evaluated, Saved, Evaluated, Saved, Evaluated, Sampled, Finished]
    progress = [record for record in records if isinstance(record, Progress)]
    assert [record.step for record in progress] == list(np.cumsum([len(record.losses) for record in progress]))
    assert progress[-1].step == progress[-1].steps == 50
    end = records[-1]
    assert isinstance(end, Finished)
    assert np.array_equal(end.losses, np.concatenate([record.losses for record in progress]))


def test_the_headline_is_that_of_the_original(tmp_path: Path) -> None:
    first = next(iter(train(request(tmp_path, steps=7, out=""))))
    assert isinstance(first, Started)
    assert first.headline == (
        f"MicroGPT: {first.params} params, training for 7 steps (lr=0.01, emb=4, head=2, layer=1, ctx=8, ff=4)"
    )


def test_the_first_news_comes_after_the_first_step() -> None:
    records = train(resolve("default", {"out": "", "engine": "array"}))
    first = next(record for record in records if isinstance(record, Progress))
    assert (first.step, len(first.losses)) == (1, 1)


@pytest.mark.parametrize("engine", ["array", "atomic"])
def test_results_do_not_depend_on_how_steps_are_divided(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prints = set()
    for most in (1, 7, 1 << 16):
        monkeypatch.setattr(pace, "MOST_STEPS", most)
        prints.add(fingerprint(finish(request(tmp_path, engine=engine, steps=20, out="")).checkpoint))
    assert len(prints) == 1


def test_evaluating_and_saving_on_the_way_changes_nothing(tmp_path: Path) -> None:
    plain = finish(request(tmp_path, out=""))
    busy = finish(request(tmp_path, eval_every=3, save_every=4, keep="every:5"))
    assert fingerprint(plain.checkpoint) == fingerprint(busy.checkpoint)
    assert plain.result.samples == busy.result.samples


def test_the_pace_follows_the_engine_and_ends_at_what_is_due() -> None:
    first = pace.Pace()
    assert first.steps == 1
    assert first.after(1, 1e-6).steps == pace.GROWTH
    assert pace.Pace(1000).after(1000, 2.0).steps == 100
    assert pace.Pace(1000).after(10, 60.0).steps == 1
    assert pace.Pace(1000).until(40, 2000, 50, 0) == 10
    assert pace.Pace(1000).until(1990, 2000, 50) == 10
    assert pace.Pace(3).until(40, 2000, 50) == 3


def test_a_stop_saves_and_leaves_the_run_resumable(tmp_path: Path) -> None:
    end = stopped_at(request(tmp_path, save_every=20), 20)
    folder = RunFolder(tmp_path / "runs" / "run")
    assert end.run == str(folder.path)
    assert folder.status == "unfinished"
    checkpoint, rows, _ = folder.reopen()
    assert checkpoint.state.step == len(rows) == 20


def test_a_stop_in_the_midst_of_an_evaluation_comes_at_once_and_goes_on_there(tmp_path: Path) -> None:
    asked, seen = request(tmp_path, eval_every=20), list[int]()
    calls = iter(range(1000))
    records = train(asked, stop=lambda: 20 in seen and next(calls) == 1)  # the second look is inside the evaluation
    for record in records:
        if isinstance(record, Progress):
            seen.append(record.step)
    assert isinstance(record, Interrupted)
    assert record.step == 20
    again = [record.step for record in resume(tmp_path / "runs" / "run") if isinstance(record, Evaluated)]
    assert again == [20, 40, 50]


def test_evaluating_where_nothing_is_held_out_is_no_stop(tmp_path: Path) -> None:
    assert finish(request(tmp_path, holdout=0.0, eval_every=20)).result.loss.holdout is None


def test_a_stop_before_the_first_step_saves_the_beginning(tmp_path: Path) -> None:
    assert stopped_at(request(tmp_path), 0).step == 0


def test_a_stop_is_heeded_before_another_step_is_asked_for(tmp_path: Path) -> None:
    seen, asked = list[int](), request(tmp_path, steps=10_000_000, save_every=1_000_000)
    for record in train(asked, stop=lambda: bool(seen) and seen[-1] >= 100):
        if isinstance(record, Progress):
            seen.append(record.step)
    assert isinstance(record, Interrupted)
    assert record.step == seen[-1]
    assert not any(step >= 100 for step in seen[:-1])


@pytest.mark.parametrize("engine", ["array", "atomic"])
def test_divergence_names_the_step_and_keeps_the_last_finite_weights(tmp_path: Path, engine: str) -> None:
    asked = request(tmp_path, lr=1e300, engine=engine)
    with pytest.raises(DivergedError, match=r"step \d+: .*--lr 0.01.*last finite weights, of step \d+"):
        list(train(asked))
    folder = RunFolder(tmp_path / "runs" / "run")
    assert folder.status == "diverged"
    checkpoint, rows, _ = folder.reopen()
    assert checkpoint.state.finite
    assert len(rows) == checkpoint.state.step == folder.read_report()["diverged_at"] - 1


def test_a_learning_rate_that_is_too_high_but_finite_is_warned_of(tmp_path: Path) -> None:
    notes = [record for record in train(request(tmp_path, steps=100, lr=30.0, out="")) if isinstance(record, Note)]
    assert any(note.warning and "learning rate is too high; try --lr 0.01" in note.text for note in notes)


@pytest.mark.parametrize(
    ("steps", "lr", "advice"),
    [
        (2, 30.0, "too high; try --lr 0.01."),
        (50, 30.0, "too high; try --lr 0.01."),
        (20, 1e-9, "it has learned nothing yet; take more --steps, or another rate such as --lr 0.01."),
        (1, 0.01, "it has learned nothing yet; take more --steps."),
    ],
)
def test_a_held_out_loss_above_knowing_nothing_is_always_warned_of(
    tmp_path: Path, steps: int, lr: float, advice: str
) -> None:
    asked = request(tmp_path, steps=steps, lr=lr, out="", initial_scale=2.0 if lr < 1 else 0.08)
    *_, note = [record for record in train(asked) if isinstance(record, Note)]
    assert note.warning
    assert note.text.startswith("the held-out loss, ")
    assert note.text.endswith(advice)


def test_a_text_that_is_known_by_heart_is_told_as_that(tmp_path: Path) -> None:
    sizes = {"steps": 1000, "emb": 16, "lr": 0.05, "holdout": 0.4, "decay": "constant", "out": ""}
    *_, note = [record for record in train(request(tmp_path, **sizes)) if isinstance(record, Note)]
    assert "knows its training text by heart" in note.text
    assert "--lr" not in note.text


def test_a_loss_that_rises_is_warned_of_once_while_there_is_time(tmp_path: Path) -> None:
    records = list(train(request(tmp_path, steps=2000, lr=30.0, out="", holdout=0.0)))
    places = [
        place
        for place, record in enumerate(records)
        if isinstance(record, Note) and "guessing every token alike" in record.text
    ]
    steps = [record.step if isinstance(record, Progress) else 0 for record in records]
    assert len(places) == 2  # the other one at the end
    assert 100 <= max(steps[: places[0]]) < 2000
    usual = train(request(tmp_path, steps=200, out=""))
    assert not [note for note in usual if isinstance(note, Note) and "guessing every token alike" in note.text]


def test_cropped_documents_are_counted_and_warned_of(tmp_path: Path) -> None:
    long = ["abcdefghij" * 3, "ab", "ba"]
    asked = replace(request(tmp_path, holdout=0.0), data=(text(tmp_path, long),))
    records = list(train(asked))
    started, end = records[0], records[-1]
    assert isinstance(started, Started)
    assert isinstance(end, Finished)
    assert started.cropped_documents == 1
    assert end.result.cropped_tokens == 31 - 8  # its 30 characters and BOS, of which ctx are predicted
    warnings = [record.text for record in records if isinstance(record, Note) and record.warning]
    assert any(
        warning.startswith("1 of 3 documents are longer than --ctx 8, which leaves out 23") for warning in warnings
    )


def test_running_text_trains_and_writes(tmp_path: Path) -> None:
    path = tmp_path / "prose.txt"
    path.write_text("It was a bright cold day in April, and the clocks were striking. " * 20)
    asked = request(tmp_path, documents="windows")
    end = finish(replace(asked, data=(str(path),)))
    assert end.result.samples_copied is None
    assert all(len(sample) == 256 for sample in end.result.samples)
    assert end.result.loss.holdout_se is not None


def test_the_result_is_the_json_of_the_contract(tmp_path: Path) -> None:
    told = finish(request(tmp_path)).result.to_dict()
    assert " ".join(told) == (
        "run recipe engine precision threads ranks params steps steps_taken selected_step batch tokens documents "
        "cropped_tokens vocabulary seconds loss holdout_unseen_characters samples samples_copied resumed_from"
    )
    assert " ".join(told["seconds"]) == "total data compile train evaluate sample"
    assert " ".join(told["loss"]) == (
        "first last mean_last_100 holdout holdout_se holdout_documents holdout_bits_per_character "
        "holdout_per_character holdout_per_character_se unigram uniform unigram_per_character uniform_per_character "
        "characters_per_token counts mixed mixed_se"
    )
    assert Result.from_dict(told) is not None
    del told["loss"]["counts"]  # which came later
    old = Result.from_dict(told)
    assert old is not None
    assert old.loss.counts is None
    assert told["precision"] == 64
    assert told["documents"] == len(NAMES) - told["loss"]["holdout_documents"]
    assert told["tokens"] > 50


def test_sizes_beyond_the_machine_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="GB of memory"):
        list(train(request(tmp_path, emb=1 << 20, head=1, layer=10**9)))
    assert not (tmp_path / "runs").exists()


def test_a_golden_recipe_that_shuffles_refuses_running_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="karpathy shuffles documents"):
        list(train(request(tmp_path, recipe="karpathy", documents="windows")))
