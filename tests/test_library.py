"""The library as someone uses it in a notebook."""

import doctest
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgpt
from microgpt import library
from microgpt.errors import DataError, UsageError
from microgpt.library import run as run_module
from microgpt.training import checkpoint as checkpoints
from microgpt.training.sample import Sampling
from trials.small import text


def test_every_public_name_has_an_example_that_runs(cwd: Path) -> None:
    found = [test for module in (library, run_module) for test in doctest.DocTestFinder().find(module)]
    names = [*microgpt.__all__, *(f"Run.{name}" for name in vars(library.Run) if name[0] != "_")]
    without = {name for name in names if not any(t.examples and t.name.endswith(f".{name}") for t in found)}
    assert without == {"Run", "__version__"}
    for module in (library, run_module):
        assert doctest.testmod(module, extraglobs={"train": library.train}).failed == 0


def test_training_is_silent_and_writes_nothing_unless_asked(cwd: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = library.train(steps=5)
    assert run.path is None
    assert list(cwd.iterdir()) == []
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("place", [{"name": "mine"}, {"out": "there"}, {"out": Path("there"), "name": "mine"}])
def test_a_name_or_a_place_asks_for_a_run_folder(cwd: Path, place: dict[str, Any]) -> None:
    run = library.train(steps=5, **place)
    assert run.path is not None
    assert run.path.parent == Path(place.get("out", "runs"))
    assert (run.path / "weights.safetensors").exists()
    again = library.load(run.path)
    assert np.array_equal(again.losses, run.losses)
    assert again.sample(seed=1) == run.sample(seed=1)
    assert again.evaluate() == run.evaluate()


def test_a_file_a_path_or_several_are_texts(tmp_path: Path) -> None:
    path = text(tmp_path)
    one, two, three = (library.train(data, steps=3) for data in (path, Path(path), [path]))
    assert np.array_equal(one.losses, two.losses)
    assert np.array_equal(one.losses, three.losses)


def test_it_works_off_the_main_thread() -> None:
    runs: list[library.Run] = []
    thread = threading.Thread(target=lambda: runs.append(library.train(steps=5)))
    thread.start()
    thread.join()
    assert runs[0].step == 5


def test_a_stopped_training_is_a_run_that_goes_on(tmp_path: Path) -> None:
    path = text(tmp_path)
    whole = library.train(path, steps=30)
    half = library.train(path, steps=30, out=tmp_path, save_every=10, stop=iter([False, False, True]).__next__)
    assert half.path is not None
    assert 0 < half.step < 30
    again = library.resume(half.path)
    assert np.array_equal(again.losses, whole.losses)


def test_a_run_reads_well(tmp_path: Path) -> None:
    run = library.train(steps=5, out=tmp_path, name="mine")
    assert repr(run) == (
        f"<Run {tmp_path}/mine: 4,192 params, step 5 of 5, held-out loss {run.evaluate().loss:.3f}; "
        "emb=16, head=4, layer=1, ctx=16, ff=4>"
    )
    assert "loss" in repr(library.load(tmp_path / "mine"))


def test_a_shared_file_writes_and_measures_but_names_no_text(tmp_path: Path) -> None:
    run = library.train(steps=5)
    file = tmp_path / "shared.safetensors"
    file.write_bytes(checkpoints.to_bytes(checkpoints.shared(run.checkpoint)))
    shared = library.load(file)
    assert shared.settings is None
    assert shared.sample(seed=3) == run.sample(seed=3)
    assert shared.evaluate("names").documents == 29910
    with pytest.raises(UsageError, match="give one with --data"):
        shared.evaluate()


def test_a_text_that_changed_is_not_evaluated(tmp_path: Path) -> None:
    run = library.train(text(tmp_path), steps=3, out=tmp_path / "runs")
    text(tmp_path, ["emma", "noah", "liam"])
    assert run.path is not None
    with pytest.raises(DataError, match="expected the text of this run"):
        library.load(run.path).evaluate()


def test_a_string_is_no_list_of_texts() -> None:
    run = library.train(
        documents=["anna", "bob", "hannah", "otto"] * 9, steps=3, emb=4, head=1, holdout=0.3, engine="array"
    )
    with pytest.raises(UsageError, match="put it into a list"):
        run.copies("anna")
    for string in ("anna", "windows"):
        with pytest.raises(UsageError, match="documents takes a list of strings"):
            run.evaluate(documents=string)


def test_copies_are_counted_where_the_text_is_at_hand(tmp_path: Path) -> None:
    path = text(tmp_path, ["ab", "ba", "aa", "bb", "abab"])
    run = library.train(path, steps=60, holdout=0.0)
    written = run.write(Sampling(count=20), seed=0)
    assert written.copied == sum(sample in ("ab", "ba", "aa", "bb", "abab") for sample in written.texts) > 0
    Path(path).unlink()
    assert run.write(Sampling(count=20), seed=0).copied is None
    with pytest.raises(DataError):
        run.write(Sampling(count=20), new=True)
