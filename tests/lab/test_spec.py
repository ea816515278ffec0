"""A run's identity, and that a sweep computes what a training computes."""

import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.errors import UsageError
from microgpt.lab.sweep.run import Workshop, curve
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.model.cost import step_cost
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.prepare import prepare
from microgpt.training.records import Finished
from microgpt.training.request import COMPUTING, FREE, SCIENTIFIC, SWEEP_AXES, having
from trials import few


def spec(folder: Path, recipe: str = "default", **changes: Any) -> Spec:
    tiny = {"steps": 30, "data": (few.text(folder),), **few.TINY}
    return Texts().spec(resolve(recipe, tiny | changes))


def test_an_identity_stays_what_it_was() -> None:
    asked = Texts().spec(resolve("default", {"engine": "array", "precision": "64"}))
    assert asked.identity == "b3b954681556a094b149f9ddf9cce6d6970376784966cdd105755792a7ec71c5"


def test_what_does_not_change_a_result_is_no_part_of_the_identity(tmp_path: Path) -> None:
    known = spec(tmp_path).identity
    for change in ({"threads": 2}, {"name": "other"}, {"out": "elsewhere"}, {"samples": 9}, {"save_every": 5}):
        assert spec(tmp_path, **change).identity == known
    (tmp_path / "moved").mkdir()
    assert spec(tmp_path / "moved").identity == known
    assert spec(tmp_path, documents="lines").identity == known  # which auto means here


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 31},
        {"lr": 0.02},
        {"seed": 1},
        {"split_seed": 1},
        {"holdout": 0.3},
        {"engine": "atomic"},
        {"engine": "fused"},
        {"engine": "fused", "precision": "64"},
        {"recipe": "karpathy"},
    ],
)
def test_what_changes_a_result_changes_the_identity(tmp_path: Path, change: dict[str, Any]) -> None:
    others = [{}, {"engine": "fused"}] if "precision" in change else [{}]
    assert spec(tmp_path, **change).identity not in {spec(tmp_path, **other).identity for other in others}


def test_a_number_has_one_identity_however_it_is_written(tmp_path: Path) -> None:
    assert spec(tmp_path, lr=1).identity == spec(tmp_path, lr=1.0).identity


def test_what_decides_a_result_is_scientific_or_has_a_hash_in_the_identity() -> None:
    assert {*having("identity")} - {*SCIENTIFIC} == {"engine", "precision"}
    assert not {"threads", "device", "out", "name", "samples", *COMPUTING, *FREE} & {*SWEEP_AXES} - {
        "data",
        "engine",
        "precision",
    }


@pytest.mark.parametrize("recipe", ["default", "karpathy", "artistic"])
def test_a_run_of_a_sweep_is_the_run_that_train_makes(tmp_path: Path, recipe: str) -> None:
    asked = spec(tmp_path, recipe)
    record = Workshop().carry_out(asked).record
    *_, last = train(asked.request())
    assert isinstance(last, Finished)
    result = last.result
    assert (record.loss, record.loss_se) == (result.loss.holdout, result.loss.holdout_se)
    assert (record.training_loss, record.samples) == (result.loss.mean_last_100, result.samples)
    assert (record.tokens, record.params) == (result.tokens, result.params)
    assert (record.unigram, record.uniform) == (result.loss.unigram, result.loss.uniform)


def test_running_text_is_measured_as_train_measures_it(tmp_path: Path) -> None:
    asked = spec(tmp_path, documents="windows")
    record = Workshop().carry_out(asked).record
    *_, last = train(asked.request())
    assert isinstance(last, Finished)
    assert (record.loss, record.loss_se) == (last.result.loss.holdout, last.result.loss.holdout_se)


def test_a_kept_run_is_the_same_and_has_its_folder(tmp_path: Path) -> None:
    asked = spec(tmp_path)
    plain = Workshop().carry_out(asked).record
    kept = Workshop(out=str(tmp_path / "runs")).carry_out(asked).record
    assert replace(kept, seconds={}, finished="") == replace(plain, seconds={}, finished="")
    assert (tmp_path / "runs" / asked.identity[:16] / "weights.safetensors").is_file()
    again = Workshop(out=str(tmp_path / "runs")).carry_out(asked).record
    assert again.status == "done"
    assert (tmp_path / "runs" / f"{asked.identity[:16]}-2" / "weights.safetensors").is_file()


def test_its_operations_are_those_of_its_steps(tmp_path: Path) -> None:
    asked = spec(tmp_path, batch=3, steps=17)
    dataset = prepare(asked.request()).dataset
    model = asked.settings.model(dataset.vocabulary)
    steps = dataset.sequences_of(0, 17, 3)
    expected = sum(step_cost(model, [min(len(tokens) - 1, model.ctx) for tokens in step]).total for step in steps)
    assert Workshop().carry_out(asked).record.flop == expected


def test_a_run_that_diverges_is_a_failed_record(tmp_path: Path) -> None:
    record = Workshop().carry_out(spec(tmp_path, lr=1e300, initial_scale=1e200)).record
    assert record.status == "failed"
    assert record.loss is None
    assert "expected a finite loss" in record.error


def test_a_run_whose_held_out_loss_is_not_finite_is_a_failed_record(tmp_path: Path) -> None:
    record = Workshop().carry_out(spec(tmp_path, lr=1e150, steps=1)).record
    assert (record.status, record.loss) == ("failed", None)
    assert "expected a finite held-out loss" in record.error


def test_a_curve_has_the_mean_of_each_stretch() -> None:
    found = curve(np.arange(1001.0))
    assert found.every == 6
    assert len(found.losses) == 167
    assert found.losses[0] == 2.5
    assert found.losses[-1] == np.mean(np.arange(996.0, 1001.0))
    assert len(found.steps) == 167


def test_standard_input_is_refused() -> None:
    with pytest.raises(UsageError, match="save the text in a file"):
        Texts().spec(resolve("default", {"data": ("-",)}))


def test_marking_a_run_as_lost_takes_no_memory_for_its_weights(tmp_path: Path) -> None:
    """75 million weights would be 1.8 GB with their moments, in the worker that has just run out of memory."""
    sizes = {"emb": 1024, "layer": 6, "steps": 5}
    asked = few.planned(tmp_path, base=sizes, axes={"steps": (5,)}, seeds=(0,))
    (spec,) = [member.spec for member in asked.members(asked.groups[0], {})]
    tracemalloc.start()
    record = Workshop().lost(spec, "there was not enough memory").record
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (record.status, record.params > 70e6) == ("failed", True)
    assert most < 50e6
