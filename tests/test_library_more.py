"""What a notebook gives to the library and asks of a Run: texts in memory, any numbers, Ctrl-C, a look inside."""

import dataclasses
import inspect
import io
import json
import pickle
import signal
import subprocess
import sys
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

import microgpt
from microgpt import library
from microgpt.cli.reference import keywords
from microgpt.errors import DataError, UsageError
from microgpt.library import options
from microgpt.model.settings import ModelConfig, Settings
from microgpt.training.evaluate import t_quantile
from microgpt.training.records import Finished, Progress, Record
from microgpt.training.sample import Sampling
from trials.small import NAMES, text

PROSE = "the cat sat on the mat and the dog sat on the log. " * 8


def train(*given: Any, **settings: Any) -> library.Run:
    """A training without compiling."""
    return library.train(*given, **{"engine": "array", "samples": 0, **settings})


def interrupt(record: Record) -> None:
    """Ctrl-C, as it comes in the midst of a training."""
    if isinstance(record, Progress):
        signal.raise_signal(signal.SIGINT)


def test_what_the_package_has_is_listed() -> None:
    assert {"train", "load", "resume", "runs", "Run"} <= set(dir(microgpt))
    assert all(getattr(microgpt, name) is not None for name in dir(microgpt))


# ── What is given ────────────────────────────────────────


def test_numbers_of_any_kind_are_stored_as_pythons_own(cwd: Path) -> None:
    run = train(
        text(cwd), steps=np.int64(5), lr=np.float32(0.25), beta1=Fraction(1, 2), holdout=0, emb=np.int8(8),
        norm_head=np.bool_(True), temperature=np.float64(0.5), decay=np.str_("cosine"), name=np.str_("mine"),
    )  # fmt: skip
    assert run.settings == Settings(5, 1, 0.25, 0.5, decay="cosine", emb=8, norm_head=True)
    for values in (Settings(lr=1, steps=np.uint16(7)), Sampling(np.int64(1), np.float64(1), np.uint8(0)), run.model):
        for name, hint in get_type_hints(type(values)).items():
            kind = {float | None: float, Sequence[str]: tuple}.get(hint, hint if isinstance(hint, type) else str)
            assert type(getattr(values, name)) is kind
    assert json.loads(json.dumps(dataclasses.asdict(run.settings))) == dataclasses.asdict(run.settings)
    again = library.load("mine")
    assert again.settings == run.settings
    assert again.sample(count=np.int64(2), seed=np.int64(1)) == run.sample(count=2, seed=1)
    assert library.resume(again, steps=np.int64(7)).step == 7


@pytest.mark.parametrize(
    "wrong", [{"steps": True}, {"lr": False}, {"steps": 5.0}, {"lr": "1"}, {"lr": Fraction(10**400)}, {"lr": 1j}]
)
def test_what_is_no_number_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=r"--steps|--lr"):
        Settings(**wrong)
    with pytest.raises(UsageError):
        ModelConfig(5, **{"emb": wrong["steps"]} if "steps" in wrong else {"emb": "16"})


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"data": None}, "found None; text= takes a text in memory"),
        ({"data": b"emma"}, r"text=data.decode\(\)"),
        ({"data": io.StringIO("emma\nava")}, r"text=file.read\(\)"),
        ({"data": ["names", None]}, "found None in a list of 2"),
        ({"data": []}, "found "),
        ({"text": b"emma"}, r"text=data.decode\(\)"),
        ({"text": 5}, "text takes a string, found 5"),
        ({"text": "\ud800"}, "lone surrogate"),
        ({"text": "  \n"}, "blank"),
        ({"documents": ["emma", None]}, "found None in a list of 2"),
        ({"documents": 3}, "documents takes a list of strings"),
        ({"documents": ["", " "]}, "blank"),
        ({"text": "emma", "documents": ["ava"]}, "leave one of them out"),
        ({"text": "emma", "data": "shakespeare"}, "leave one out"),
        ({"progress": 1}, "progress takes True"),
        ({"for_": "soon"}, "60s, 10m or 1h"),
        ({"for": "60s"}, "for_="),
        ({"stepz": 5}, "Did you mean --steps"),
    ],
)
def test_what_can_not_be_given_is_told_with_what_is_right(given: dict[str, Any], told: str) -> None:
    with pytest.raises((UsageError, DataError), match=told):
        library.train(**given)


def test_what_a_run_can_not_be_asked_is_told() -> None:
    run = train(documents=NAMES, steps=3)
    for ask in (
        lambda: run.sample(prompt=None),
        lambda: run.sample(["em", 5]),
        lambda: run.sample(seed="x"),
        lambda: run.sample(temperature="hot"),
        lambda: run.next(b"e"),
        lambda: run.evaluate(b"emma"),
        lambda: run.compare("other"),
        lambda: run.compare(run, level=2),
        lambda: library.load(5),
        lambda: library.resume(run, steps=9),  # it has no folder
    ):
        with pytest.raises(UsageError, match="found"):
            ask()


def test_a_text_in_memory_is_a_text(cwd: Path) -> None:
    joined = "\n".join(NAMES)
    runs = [train(text(cwd), steps=9), train(text=joined, steps=9), train(documents=NAMES, steps=9)]
    assert len({tuple(run.losses) for run in runs}) == 1
    assert len({run.evaluate() for run in runs}) == 1
    assert not set(runs[1].sample(count=9, new=True, temperature=2, seed=1)) & set(NAMES)
    assert runs[2].evaluate(text="emma\nava").documents == runs[0].evaluate(documents=["emma", "ava"]).documents == 2


def test_documents_are_kept_as_they_are_given() -> None:
    poems = ["roses\n\nred", "violets\r\nblue ", "e\u0301", "", "sugar"] * 2
    run = train(documents=poems, steps=3, holdout=0)
    corpus = run._split.corpus
    assert corpus.kind == "paragraphs"
    assert [corpus.document(place) for place in range(4)] == ["roses\n\nred", "violets\nblue ", "é", "sugar"]
    assert corpus.notes == ("line breaks were turned into LF", "normalised to NFC: 4 characters replaced; "
        "--normalize none keeps them", "2 blank documents were left out")  # fmt: skip


def test_a_run_on_a_text_in_memory_asks_for_it_again(cwd: Path) -> None:
    run = train(text=PROSE, documents="windows", steps=20, name="mine", stop=iter([False, True]).__next__)
    assert 0 < run.step < 20
    for ask in (library.load("mine").evaluate, lambda: library.resume("mine")):
        with pytest.raises(DataError, match="text in memory; give it again"):
            ask()
    with pytest.raises(DataError, match="found another"):
        library.load("mine", text=PROSE + "x")
    assert library.load("mine", text=PROSE).evaluate() == run.evaluate()
    (cwd / "prose.txt").write_text(PROSE, encoding="utf-8")
    assert library.load("mine", data="prose.txt").evaluate() == run.evaluate()
    whole = train(text=PROSE, documents="windows", steps=20)
    assert np.array_equal(library.resume(run).losses, whole.losses)  # it still has its text


@pytest.mark.long
def test_a_time_chooses_the_training() -> None:
    run = train(documents=NAMES * 20, for_="3s", threads=1)
    assert run.checkpoint.kind == "lines"
    assert run.settings.steps >= 24
    assert run.sample("em", count=1)[0].startswith("em")


def test_keywords_are_the_settings() -> None:
    assert Path(options.__file__).read_text("utf-8") == keywords()  # else `make docs` writes it anew
    assert {"data", "documents", "recipe"} < set(inspect.signature(library.train).parameters)


@pytest.mark.long
def test_a_type_checker_finds_a_setting_that_there_is_not(tmp_path: Path) -> None:
    file = tmp_path / "user.py"
    file.write_text(
        'import microgpt\nrun = microgpt.train("names", steps=5, lr=0.1)\ntexts: list[str] = run.sample("ma")\n'
        'several: list[list[str]] = run.sample(["ma", "jo"])\nmicrogpt.train(stepz=5)\nmicrogpt.train(steps="5")\n'
    )
    done = subprocess.run([sys.executable, "-m", "mypy", "--strict", str(file)], capture_output=True, text=True)
    assert [line.split(":")[1] for line in done.stdout.splitlines() if ": error:" in line] == ["5", "6"], done.stdout


# ── While it trains ────────────────────────────────────────


def test_progress_is_printed_where_that_is_asked(capfd: pytest.CaptureFixture[str]) -> None:
    train(documents=NAMES, steps=30, progress=True, eval_every=15)
    out, err = capfd.readouterr()
    assert out == ""
    assert err.startswith("MicroGPT: ")
    assert "step 15  held-out loss " in err
    assert "step 30/30  loss " in err


def test_ctrl_c_saves_the_run_and_load_finds_it(cwd: Path, capfd: pytest.CaptureFixture[str]) -> None:
    train(text(cwd), steps=3, out="runs")
    with pytest.raises(KeyboardInterrupt):
        train(text(cwd), steps=500, progress=interrupt)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    run, err = library.load(), capfd.readouterr().err
    assert 0 < run.step < 500
    assert len(run.losses) == run.step
    assert f"interrupted after step {run.step} of 500, and saved: microgpt.load() finds it" in err
    assert run.result is None
    assert np.array_equal(library.resume(run).losses, train(text(cwd), steps=500).losses)


def test_ctrl_c_in_a_run_folder_saves_there(cwd: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(documents=NAMES, steps=500, out="there", name="mine", progress=interrupt)
    assert (
        "microgpt.load('there/mine') finds it, microgpt.resume('there/mine', text=…) goes on" in capfd.readouterr().err
    )
    assert not (cwd / "runs").exists()
    assert 0 < library.load("there/mine").step < 500


def test_a_second_ctrl_c_ends_at_once() -> None:
    def twice(record: Record) -> None:
        interrupt(record)
        interrupt(record)

    with pytest.raises(KeyboardInterrupt):
        train(documents=NAMES, steps=500, progress=twice)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


# ── What a run is asked ────────────────────────────────────────


def test_several_prompts_are_answered_as_each_alone() -> None:
    run = train(documents=NAMES, steps=30)
    assert run.sample(["em", "o"], count=3, seed=7) == [run.sample(prompt, count=3, seed=7) for prompt in ("em", "o")]
    assert run.sample([], count=3) == []


def test_temperature_0_takes_the_likeliest() -> None:
    run = train(documents=NAMES, steps=30)
    (first,), (second,) = run.sample(count=1, temperature=0), run.sample(count=1, temperature=0.0, seed=3)
    assert first == second
    assert first.startswith(next(iter(run.next())))


def test_a_loaded_run_is_the_run_that_was_trained(cwd: Path) -> None:
    run = train(text(cwd), steps=30, name="mine")
    again = library.load("mine")
    assert again.result == run.result
    assert again.result is not None
    assert [summary.name for summary in library.runs()] == ["mine"]
    report = json.loads((cwd / "runs" / "mine" / "run.json").read_text())
    for wrong in (
        report | {"params": "many"},
        report | {"loss": None},
        report | {"samples": [1]},
        {"status": "finished"},
    ):
        (cwd / "runs" / "mine" / "run.json").write_text(json.dumps(wrong))
        assert library.load("mine").result is None
    expected = run.sample(seed=1), run.evaluate()
    twin = pickle.loads(pickle.dumps(run))
    assert (twin.sample(seed=1), twin.evaluate()) == expected


def test_weights_are_looked_at_and_not_written(tmp_path: Path) -> None:
    run = train(documents=NAMES, steps=3)
    assert sum(matrix.size for matrix in run.weights.values()) == run.params
    for array in (run.weights["wte"], run.checkpoint.state.weights, run.runner.state().weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0.0
    run.export(tmp_path / "model.safetensors")
    assert library.load(tmp_path / "model.safetensors").sample(seed=1) == run.sample(seed=1)


@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_the_next_character_has_probabilities(kind: str) -> None:
    run = train(text="\n".join(NAMES), documents=kind, steps=30)
    told = run.next("em")
    assert sum(told.values()) == pytest.approx(1)
    assert list(told.values()) == sorted(told.values(), reverse=True)
    assert ("" in told) == (kind == "lines")
    ends = run.checkpoint.tokenizer.encode("em")
    if kind == "lines":
        prefix = [run.checkpoint.tokenizer.bos, *ends.tolist()]
        assert told[""] == run.runner.next(prefix)[run.checkpoint.tokenizer.bos]


def test_each_document_has_its_loss() -> None:
    run = train(documents=NAMES, steps=30, holdout=0.3)
    held_out = run.evaluate()
    assert held_out.losses @ held_out.counts / held_out.counts.sum() == pytest.approx(held_out.loss)
    one = run.evaluate(documents=["emma", "noah"])
    assert one.losses[0] == pytest.approx(run.evaluate(text="emma").loss)


def test_two_runs_are_compared_on_the_same_documents(tmp_path: Path) -> None:
    path = text(tmp_path)
    few, many = train(path, steps=1, holdout=0.4), train(path, steps=25, holdout=0.4)
    found = many.compare(few)
    ours, theirs = many.evaluate(), few.evaluate()
    assert found.difference == pytest.approx(ours.loss - theirs.loss)
    assert found.low < found.difference < found.high < 0
    assert few.compare(many).low == pytest.approx(-found.high)
    assert few.compare(few).se == 0
    for other in (
        train(path, steps=5, holdout=0.4, split_seed=1),
        train(path, steps=5, holdout=0.3),
        train(path, steps=5, holdout=0.4, ctx=3),
        train(documents=[*NAMES, "zoë"], steps=5, holdout=0.4),
    ):
        with pytest.raises(UsageError, match="expected"):
            few.compare(other)


def test_students_t_is_scipys() -> None:
    special = pytest.importorskip("scipy.special")
    for freedom in (1, 2, 3, 4, 5, 10, 31, 1000):
        for probability in (0.9, 0.95, 0.975):
            exact = special.stdtrit(freedom, probability)
            assert t_quantile(probability, freedom) == pytest.approx(exact, rel=5e-3 if freedom < 5 else 2e-4)


def test_new_samples_of_running_text_are_not_in_it() -> None:
    run = train(text=PROSE, documents="windows", steps=300, holdout=0.1, ctx=8)
    every = run.sample(count=30, length=3, temperature=1.0, seed=0)
    assert any(sample in PROSE for sample in every)
    fresh = run.write(Sampling(count=10, length=3, temperature=1.0), seed=0, new=True)
    assert fresh.rejected > 0
    assert fresh.copied == 0
    assert not any(sample in PROSE[: int(0.9 * len(PROSE))] for sample in fresh.texts)
    assert run.write(Sampling(count=3)).copied is None  # which a sample of usual length never is


def test_a_shared_file_can_not_tell_what_is_new(tmp_path: Path) -> None:
    train(documents=NAMES, steps=3).export(tmp_path / "model.safetensors")
    with pytest.raises(UsageError, match="names no text"):
        library.load(tmp_path / "model.safetensors").sample(new=True)


def test_a_listener_hears_of_the_end() -> None:
    told: list[Record] = []
    run = train(documents=NAMES, steps=3, progress=told.append)
    assert any(isinstance(record, Progress) for record in told)
    assert isinstance(told[-1], Finished)
    assert told[-1].result == run.result
