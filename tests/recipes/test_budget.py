"""A time becomes a training: sizes by the table, steps by the clock, and a command that asks for the same."""

import io
import itertools
import shlex
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data.choices import Kind
from microgpt.errors import UsageError
from microgpt.recipes import budget, resolve, seconds_of, speed
from microgpt.recipes.budget import fit
from microgpt.recipes.command import command
from microgpt.recipes.rungs import ladder
from microgpt.recipes.trials import TELLING, Trial, TrialPlan
from microgpt.training.loop import train
from microgpt.training.prepare import split_of, text_of
from microgpt.training.records import Finished

FIXTURES = Path(__file__).parent.parent / "fixtures"
LYRICS = str(FIXTURES / "lyrics_pt.txt")


def asked_by(command: str) -> dict[str, Any]:
    """The settings that a command names, as the command line would read them."""
    import click

    from microgpt.cli.train import command as verb

    words = shlex.split(command)[1:]
    with click.Context(verb, help_option_names=["-h", "--help"]) as context:
        parsed = verb.make_parser(context).parse_args(words)[0]
    values = {
        parameter.name: parameter.type_cast_value(context, parsed[str(parameter.name)])
        for parameter in verb.params
        if parameter.name in parsed
    }
    return {str(name): value for name, value in values.items()}


@pytest.mark.parametrize(
    "data", [str(FIXTURES / "chat.txt"), *(pytest.param(text, marks=pytest.mark.long) for text in ("names", LYRICS))]
)
def test_what_it_plans_is_trained_and_learns(tmp_path: Path, data: str) -> None:
    """How near it comes to its time is a figure of bench/budgets.py."""
    fitted = fit({"data": (data,), "out": str(tmp_path / "runs"), "samples": 2}, 3.0)
    *_, end = train(fitted.request, split=fitted.split)
    assert isinstance(end, Finished)
    assert end.result.loss.holdout is not None
    assert end.result.loss.holdout < end.result.loss.unigram


def test_the_command_asks_for_the_same_training() -> None:
    fitted = fit({"data": (LYRICS,), "seed": 7}, 2.0)
    settings = asked_by(fitted.command)
    assert resolve("default", settings) == fitted.request


def test_a_machine_that_stands_still_while_it_is_measured_took_one_step(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(0.0, 10.0)
    monkeypatch.setattr(speed, "time", SimpleNamespace(perf_counter=lambda: next(seconds)))
    request = resolve("default", {})
    assert speed.measured(request, split_of(request, "lines", text_of(request)), 0.1).step == 10.0


def test_what_is_given_is_kept() -> None:
    fitted = fit({"data": (str(FIXTURES / "chat.txt"),), "emb": 20, "lr": 0.02, "documents": "lines"}, 2.0)
    assert (fitted.request.settings.emb, fitted.request.settings.lr, fitted.request.documents) == (20, 0.02, "lines")
    assert fitted.request.settings.emb % fitted.request.settings.head == 0


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"emb": 50}, (1, "rotary")),
        *(
            pytest.param(*case, marks=pytest.mark.long)
            for case in (
                ({"emb": 60}, (3, "rotary")),
                ({"emb": 51}, (3, "learned")),
                ({"emb": 50, "head": 2}, (2, "learned")),
                ({"emb": 50, "position": "learned"}, (2, "learned")),
            )
        ),
    ],
    ids=str,
)
def test_what_was_not_asked_for_gives_way_to_the_sizes_that_were(given: dict[str, Any], found: tuple[int, str]) -> None:
    settings = fit({"data": (str(FIXTURES / "chat.txt"),), **given}, 2.0).request.settings
    assert (settings.head, settings.position) == found


def test_a_text_of_thousands_of_characters_is_learned_by_characters(tmp_path: Path) -> None:
    characters = np.random.default_rng(0).integers(0x4E00, 0x4E00 + 2000, 350_000)
    (tmp_path / "text.txt").write_text("".join(map(chr, characters)), encoding="utf-8")
    fitted = fit({"data": (str(tmp_path / "text.txt"),), "emb": 4, "layer": 1, "head": 1}, 8.0)
    assert fitted.request.tokens == "characters"


@pytest.mark.parametrize(("longest", "running"), [(40, False), (90, True)])
def test_lines_as_long_as_those_of_prose_are_running_text(tmp_path: Path, longest: int, running: bool) -> None:
    stream = np.random.default_rng(0)
    lines = ["".join(stream.choice(list("abcdef "), size)).strip() for size in stream.integers(20, longest, 400)]
    (tmp_path / "text.txt").write_text("\n".join(lines))
    assert (
        fit({"data": (str(tmp_path / "text.txt"),), "emb": 4, "layer": 1, "head": 1}, 3.0).split.is_running == running
    )


def test_running_text_comes_through_a_pipe_too(monkeypatch: pytest.MonkeyPatch) -> None:
    with (FIXTURES / "chat.txt").open("rb") as pipe:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(pipe))
        assert fit({"data": ("-",)}, 2.0).split.is_running


@pytest.mark.long
def test_how_often_a_small_text_is_read_is_tried_and_told() -> None:
    told: list[str] = []
    given = {"data": (LYRICS,), "emb": 8, "layer": 1, "out": ""}
    fitted = fit(given, 40.0, tell=told.append)
    assert "ends early" in fitted.told
    losses = [float(text.rpartition(" ")[2]) for text in told if text.startswith("tried ")]
    assert len(losses) > 1
    *_, end = train(fitted.request, split=fitted.split, deadline=fitted.deadline, most=fitted.most)
    assert isinstance(end, Finished)
    found = end.result.loss.holdout
    assert found is not None
    assert min(abs(found - loss) for loss in losses) < 6e-4  # what was tried, once more
    assert found < min(losses) + TELLING + 6e-4
    assert fitted.taken(fitted.request.settings).startswith("the same without a clock: microgpt --data")


def test_trials_that_left_no_time_leave_what_the_best_of_them_took(monkeypatch: pytest.MonkeyPatch) -> None:
    def search(first: TrialPlan, *rest: object) -> tuple[Trial, bool]:
        monkeypatch.setattr(budget._Time, "left", lambda self: 0.1)  # the machine stood still meanwhile
        return Trial(first, 2.0, 50.0), False

    monkeypatch.setattr(budget, "search", search)
    fitted = fit({"data": (LYRICS,), "emb": 8, "layer": 1}, 40.0)
    assert 40 < fitted.deadline - time.perf_counter() <= 50
    assert "a longer --for allows more" in fitted.told


def test_trials_end_when_they_are_stopped() -> None:
    told: list[str] = []
    fit({"data": (LYRICS,), "emb": 8, "out": ""}, 40.0, stop=lambda: True, tell=told.append)
    assert len(told) == 1  # that trials begin


def test_paragraphs_are_taken_as_running_text_and_short_lines_as_lines() -> None:
    kinds = [fit({"data": (data,)}, 2.0).split.corpus.kind for data in ("names", str(FIXTURES / "chat.txt"))]
    assert kinds == ["lines", "windows"]


@pytest.mark.parametrize(
    ("given", "seconds", "told"),
    [({}, 0.5, "2 seconds or more"), ({}, float("inf"), "2 seconds"), ({"steps": 10}, 60, "--steps")],
)
def test_what_can_not_be_is_refused(given: dict[str, Any], seconds: float, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        fit(given, seconds)


@pytest.mark.parametrize(("text", "seconds"), [("60s", 60), ("60", 60), ("10m", 600), ("1.5h", 5400), ("2 min", 120)])
def test_a_time_is_read(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "s", "10 parsecs", "1:30", "--"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="60s, 10m or 1h"):
        seconds_of(text)


@given(st.sampled_from(["windows", "lines"]), st.integers(0, 10**9), st.floats(0, 1e18))
def test_more_computing_never_makes_the_model_smaller(kind: Kind, tokens: int, flop: float) -> None:
    suited = ladder(kind, tokens)
    here, more = suited.rung(flop), suited.rung(10 * flop)
    assert more.emb**2 * more.layer >= here.emb**2 * here.layer
    assert here.emb % here.head == 0


def test_a_command_leaves_out_what_a_recipe_says() -> None:
    assert command(resolve()) == "microgpt"
    assert command(resolve("default", {"emb": 64})) == "microgpt --emb 64"
    assert command(resolve("default", {"emb": 64, "lr": 0.01})) == "microgpt --lr 0.01 --emb 64"
    assert command(resolve("default", {"norm_head": True, "norm_embeddings": False, "data": ("a b.txt", "c")})) == (
        "microgpt --data 'a b.txt' --data c --no-norm-embeddings --norm-head"
    )
