"""Going on with a run: bit by bit the same, refused where it would be another, extended in a new folder."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt import files
from microgpt.engines import create
from microgpt.errors import CheckpointError, DataError, UsageError
from microgpt.model.ledger import ledger
from microgpt.training import checkpoint as checkpoints
from microgpt.training.computing import engine_config
from microgpt.training.description import Description, Training, from_json, to_json
from microgpt.training.loop import train
from microgpt.training.records import Note, Progress, Saved
from microgpt.training.resume import resume
from microgpt.training.run_folder import RunFolder
from trials.small import NAMES, fingerprint, finish, last, request, resumed, stopped_at, text

STEPS = 50


def test_a_run_that_died_goes_on_from_its_last_save(tmp_path: Path) -> None:
    asked = request(tmp_path, save_every=20)
    whole = finish(replace(asked, name="whole"))
    records = train(asked)
    for record in records:
        if isinstance(record, Progress) and record.step > 20:
            break
    records.close()
    again = resumed(tmp_path / "runs" / "run")
    assert fingerprint(again.checkpoint) == fingerprint(whole.checkpoint)
    assert again.result.resumed_from == str(tmp_path / "runs" / "run")


def test_a_run_that_died_after_its_last_step_only_evaluates_and_samples(tmp_path: Path) -> None:
    records = train(request(tmp_path))
    for record in records:
        if isinstance(record, Saved) and record.step == STEPS:
            break
    records.close()
    assert RunFolder(tmp_path / "runs" / "run").status == "unfinished"
    assert not any(isinstance(record, Progress) for record in resume(tmp_path / "runs" / "run"))
    assert RunFolder(tmp_path / "runs" / "run").status == "finished"


def test_an_evaluation_that_was_cut_short_is_made_up_for(tmp_path: Path) -> None:
    asked = request(tmp_path, save_every=20, eval_every=20)
    whole = finish(replace(asked, name="whole"))
    stopped_at(asked, 20)
    resumed(tmp_path / "runs" / "run")
    one, two = ((tmp_path / "runs" / name / "evaluations.csv").read_text() for name in ("whole", "run"))
    assert one == two
    assert one.count("\n") == 1 + 3
    assert whole.result.loss.holdout == float(one.splitlines()[-1].split(",")[1])


def test_losses_are_cut_back_to_the_committed_step(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    table = tmp_path / "runs" / "run" / "losses.csv"
    committed = table.read_bytes()
    table.write_bytes(committed + b"21,1.5,0.001\n22,1.25,0.00")  # rows of a save that was cut short
    _, rows, _ = RunFolder(table.parent).reopen()
    assert table.read_bytes() == committed
    assert len(rows) == 20


def test_losses_have_full_precision(tmp_path: Path) -> None:
    end = finish(request(tmp_path))
    lines = (tmp_path / "runs" / "run" / "losses.csv").read_text().splitlines()
    assert lines[0] == "step,loss,lr"
    assert [float(line.split(",")[1]) for line in lines[1:]] == end.losses.tolist()
    assert lines[1].split(",")[::2] == ["1", "0.01"]


def test_losses_that_someone_damaged_cost_no_more_than_themselves(tmp_path: Path) -> None:
    whole = finish(request(tmp_path, name="whole"))
    stopped_at(request(tmp_path, save_every=20), 20)
    table = tmp_path / "runs" / "run" / "losses.csv"
    table.write_text(table.read_text().replace("\n7,", "\nseven,"))
    records = list(resume(tmp_path / "runs" / "run"))
    assert any(
        isinstance(record, Note) and record.warning and "expected 20 steps, found 6" in record.text
        for record in records
    )
    assert fingerprint(checkpoints.read(table.parent / "weights.safetensors")) == fingerprint(whole.checkpoint)


@pytest.mark.parametrize(
    "changes",
    [{"lr": 0.02}, {"emb": 8}, {"steps": 60}, {"holdout": 0.5}, {"seed": 1}, {"batch": 2}, {"recipe": "artistic"}],
)
def test_changed_settings_are_refused_by_name(tmp_path: Path, changes: dict[str, Any]) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    (name,) = changes
    with pytest.raises(
        UsageError, match=f"--{name}: this run was begun with .* found {next(iter(changes.values()))!r}"
    ):
        list(resume(tmp_path / "runs" / "run", changes))


def test_the_same_settings_and_what_is_only_shown_may_be_given(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    end = resumed(tmp_path / "runs" / "run", {"lr": 0.01, "steps": 50, "samples": 1, "save_every": 10, "name": "run"})
    assert len(end.result.samples) == 1


def test_an_unknown_setting_is_refused(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    with pytest.raises(UsageError, match="found 'colour'"):
        list(resume(tmp_path / "runs" / "run", {"colour": "red"}))


def test_a_changed_text_is_refused(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    text(tmp_path, [*NAMES, "lucas"])
    with pytest.raises(DataError, match="expected the text of this run"):
        list(resume(tmp_path / "runs" / "run"))


def test_a_text_that_only_moved_is_accepted(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    moved = tmp_path / "elsewhere.txt"
    (tmp_path / "few.txt").rename(moved)
    assert resumed(tmp_path / "runs" / "run", {"data": (str(moved),)}).result.steps == 50


def test_a_finished_run_is_extended_in_a_new_folder_that_names_its_origin(tmp_path: Path) -> None:
    finish(request(tmp_path, eval_every=25))
    origin = tmp_path / "runs" / "run"
    before = {path.name: path.read_bytes() for path in origin.iterdir() if path.is_file()}
    records = list(resume(origin, {"steps": 80, "name": "longer"}))
    assert any(isinstance(record, Note) and "schedule of 80 steps" in record.text for record in records)
    assert before == {path.name: path.read_bytes() for path in origin.iterdir() if path.is_file()}
    longer = RunFolder(tmp_path / "runs" / "longer")
    assert longer.status == "finished"
    assert longer.read_report()["origin"] == "run"
    assert longer.read_report()["steps"] == 80
    rows = (longer.path / "losses.csv").read_text().splitlines()
    assert [int(row.split(",")[0]) for row in rows[1:]] == list(range(1, 81))
    assert float(rows[51].split(",")[2]) == pytest.approx(0.01 * (1 - 50 / 80))
    assert [row.split(",")[0] for row in (longer.path / "evaluations.csv").read_text().splitlines()] == [
        "step",
        "25",
        "50",
        "75",
        "80",
    ]


@pytest.mark.parametrize("changes", [{}, {"steps": 50}, {"steps": 10}])
def test_a_finished_run_without_more_steps_has_nothing_to_do(tmp_path: Path, changes: dict[str, Any]) -> None:
    finish(request(tmp_path))
    with pytest.raises(UsageError, match="finished with 50 steps; give --steps above 50"):
        list(resume(tmp_path / "runs" / "run", changes))


def test_history_keeps_the_weights_of_earlier_steps(tmp_path: Path) -> None:
    end = finish(request(tmp_path, keep="every:20"))
    history = sorted((tmp_path / "runs" / "run" / "history").iterdir())
    kept = [checkpoints.read(path) for path in history]
    assert [checkpoint.state.step for checkpoint in kept] == [0, 20, 40]
    assert not kept[0].has_moments
    training = end.checkpoint.training
    assert training is not None
    runner = create("array", engine_config(training.request)).open(kept[0].state)
    loss = runner.gradient([end.checkpoint.tokenizer.encode("ava")])[0]
    assert np.isfinite(loss)


def test_weights_alone_are_not_resumed(tmp_path: Path) -> None:
    end = finish(request(tmp_path))
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "weights.safetensors").write_bytes(checkpoints.to_bytes(checkpoints.shared(end.checkpoint)))
    with pytest.raises(CheckpointError, match="expected Adam's moments"):
        list(resume(folder))


def test_a_run_that_is_being_trained_is_not_resumed_twice(tmp_path: Path) -> None:
    records = train(request(tmp_path, save_every=20))
    while not isinstance(next(records), Saved):
        pass
    with pytest.raises(CheckpointError, match="found one in use"):
        list(resume(tmp_path / "runs" / "run"))
    records.close()
    assert resumed(tmp_path / "runs" / "run").result.steps == 50


def test_the_files_of_two_equal_runs_are_equal(tmp_path: Path) -> None:
    for name in ("one", "two"):
        finish(request(tmp_path, name=name))
    for file in ("weights.safetensors", "losses.csv", "evaluations.csv", "samples.txt"):
        assert (tmp_path / "runs" / "one" / file).read_bytes() == (tmp_path / "runs" / "two" / file).read_bytes()


def test_a_checkpoint_says_how_many_ranks_computed_it_and_one_needs_no_word(tmp_path: Path) -> None:
    kept = finish(request(tmp_path)).checkpoint
    assert kept.training
    shapes = {entry.name: (entry.rows, entry.columns) for entry in ledger(kept.model)}
    one = Description(kept.model, kept.tokenizer, kept.kind, kept.state.step, kept.training)
    two = replace(one, training=replace(kept.training, ranks=2))
    assert "ranks" not in to_json(one)  # as in the files of earlier versions
    assert [_training(from_json(to_json(each), shapes)).ranks for each in (one, two)] == [1, 2]
    with pytest.raises(CheckpointError, match="ranks: expected a whole number"):
        from_json(to_json(two).replace('"ranks": 2', '"ranks": 0'), shapes)


def _training(description: Description) -> Training:
    assert description.training
    return description.training


def test_a_copied_state_goes_on_from_its_own_step_in_a_new_folder(tmp_path: Path) -> None:
    whole = finish(request(tmp_path, name="whole"))
    stopped_at(request(tmp_path, save_every=20), 20)
    run = tmp_path / "runs" / "run"
    inside, alone = run / "old.safetensors", tmp_path / "alone.safetensors"
    for copy in (inside, alone):
        copy.write_bytes((run / "weights.safetensors").read_bytes())
    resumed(run)
    before = fingerprint(checkpoints.read(run / "weights.safetensors"))
    for copy, name in ((inside, "from-inside"), (alone, "from-alone")):
        again = resumed(copy, {"name": name, "out": str(tmp_path / "runs")})
        assert fingerprint(again.checkpoint) == fingerprint(whole.checkpoint)
        assert again.result.resumed_from == str(copy)
        assert again.checkpoint.training.origin == ("run" if copy == inside else "alone.safetensors")
    assert np.array_equal(resumed(inside, {"steps": 60}).losses[:20], whole.losses[:20])
    assert fingerprint(checkpoints.read(run / "weights.safetensors")) == before
    with pytest.raises(UsageError, match=r"old.safetensors has taken 20 steps; give --steps above 20"):
        list(resume(inside, {"steps": 20}))


def test_a_state_beside_another_run_does_not_take_its_losses(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=20), 20)
    finish(request(tmp_path, name="other", seed=7))
    copy = tmp_path / "runs" / "other" / "old.safetensors"
    copy.write_bytes((tmp_path / "runs" / "run" / "weights.safetensors").read_bytes())
    records = list(resume(copy, {"out": str(tmp_path / "runs")}))
    assert any(isinstance(record, Note) and "expected 20 steps, found 0" in record.text for record in records)


def test_kept_weights_say_that_they_begin_a_new_run_and_they_do(tmp_path: Path) -> None:
    finish(request(tmp_path, keep="every:20"))
    kept = tmp_path / "runs" / "run" / "history" / "step-00000020.safetensors"
    with pytest.raises(CheckpointError, match=f"{kept}: expected Adam's moments .* --from {kept}"):
        list(resume(kept, {"steps": 100}))
    first = checkpoints.read(kept)
    assert list(train(request(tmp_path, name="new", keep="every:1", steps=1), begin=first))
    begun = checkpoints.read(tmp_path / "runs" / "new" / "history" / "step-00000000.safetensors")
    assert np.array_equal(begun.state.weights, first.state.weights)
    with pytest.raises(UsageError, match=r"--from: expected a model of these sizes .* emb 4, .* emb 8,"):
        list(train(request(tmp_path, name="wide", emb=8), begin=first))


def test_a_best_that_a_kill_left_goes_with_the_next_opening(tmp_path: Path) -> None:
    finish(request(tmp_path, select="best", eval_every=10))
    run = RunFolder(tmp_path / "runs" / "run")
    (run.path / "best.safetensors").write_bytes(run.weights.read_bytes())
    run.reopen()
    assert not (run.path / "best.safetensors").exists()


def test_a_name_that_another_training_took_meanwhile_is_told_as_taken(tmp_path: Path) -> None:
    asked, overtaken = request(tmp_path), []

    def overtake(moment: str, operation: files.Operation) -> None:
        if moment == "before" and operation.kind == "replace" and operation.path.name == "run" and not overtaken:
            overtaken.append(True)
            finish(asked)

    with files.watched(overtake), pytest.raises(UsageError, match="expected a new --name, found a folder of that name"):
        finish(asked)
    assert overtaken
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["run"]


@pytest.mark.parametrize("documents", ["lines", "windows"])
def test_a_model_goes_on_with_a_text_that_lacks_some_of_its_characters(tmp_path: Path, documents: str) -> None:
    first = finish(request(tmp_path, name="first")).checkpoint
    words = ["".join(first.tokenizer.characters[(i * j) % 7] for j in range(1, 6)) for i in range(1, 30)]
    (tmp_path / "lacking.txt").write_text(("\n" if documents == "lines" else "").join(words))
    asked = request(tmp_path, data=(str(tmp_path / "lacking.txt"),), documents=documents)
    end = last(train(asked, begin=first))
    more = resumed(tmp_path / "runs" / "run", {"steps": 60})
    assert end.checkpoint.tokenizer == more.checkpoint.tokenizer == first.tokenizer
    assert more.checkpoint.state.step == 60
    lost = first.tokenizer.encode("".join({*first.tokenizer.characters} - {*"".join(words)}))
    used = first.tokenizer.encode(words[0])
    moved = (
        np.abs(more.checkpoint.state.weights - first.state.weights)[: 4 * first.model.vocabulary].reshape(-1, 4).sum(1)
    )
    assert moved[lost].max() == 0 < moved[used].min()
