"""Samples: the same with and without a cache, as wild as asked, stopping where they should, new where asked."""

import math
import random
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines import create
from microgpt.engines.contract import Drawing, EngineConfig
from microgpt.engines.drawing import weights
from microgpt.errors import DataError, DivergedError, UsageError
from microgpt.model.settings import Settings
from microgpt.model.state import State, draw_weights, fresh
from microgpt.training.sample import TRIES, Samples, Sampling, Writer, before, blank, samples_stream, uniforms

TOKENIZER = Tokenizer.of("abcdefgh ")
SETTINGS = Settings(emb=8, head=2, layer=2, ctx=6, initial_scale=0.2)


def tempered(probabilities: Sequence[float], temperature: float, top_k: int = 0) -> list[float]:
    with np.errstate(divide="ignore"):
        logs = np.log([probabilities])
    return weights(logs, Drawing(temperature, top_k))[0].tolist()


def state() -> State:
    model = SETTINGS.model(TOKENIZER.vocabulary)
    return fresh(model, draw_weights(SETTINGS, model))


def writer(kind: Kind = "lines", engine: str = "array") -> Writer:
    return Writer(create(engine, EngineConfig()).open(state()), TOKENIZER, kind, SETTINGS.ctx)


class Forgetful:
    """A runner without a cache: each prefix is computed from nothing."""

    def __init__(self, engine: str) -> None:
        self._engine = create(engine, EngineConfig())

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        return self._engine.open(state()).next(prefix)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)


@pytest.mark.parametrize("engine", ["array", "atomic"])
@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_the_cache_changes_nothing(kind: Kind, engine: str) -> None:
    sampling = Sampling(count=4, temperature=1.0, prompt="ab", length=20)
    written = writer(kind, engine).write(sampling, random.Random(1)).texts
    forgetful: Any = Forgetful(engine)
    plain = Writer(forgetful, TOKENIZER, kind, SETTINGS.ctx).samples(sampling, random.Random(1))
    assert written == tuple("".join(next(plain)) for _ in range(4))


def test_the_same_seed_writes_the_same() -> None:
    sampling = Sampling(count=8, temperature=1.0)
    texts = [writer().write(sampling, random.Random(seed)).texts for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]


def test_documents_begin_with_the_prompt_and_end_with_ctx() -> None:
    texts = writer().write(Sampling(count=50, temperature=2.0, prompt="ab"), random.Random(0)).texts
    assert all(text.startswith("ab") and len(text) <= SETTINGS.ctx for text in texts)
    assert max(map(len, texts)) == SETTINGS.ctx
    assert min(map(len, texts)) < SETTINGS.ctx  # BOS ended it


def test_running_text_has_the_length_asked_for_and_slides_beyond_ctx() -> None:
    samples = writer("windows").write(Sampling(count=2, length=40, temperature=1.0), random.Random(0))
    assert [len(text) for text in samples.texts] == [40, 40]
    assert samples.tokens == 80


def test_a_prompt_longer_than_ctx_is_no_hindrance_to_running_text() -> None:
    (text,) = writer("windows").write(Sampling(count=1, prompt="abcdefgh" * 3, length=30), random.Random(0)).texts
    assert text.startswith("abcdefgh" * 3)
    assert len(text) == 30


@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_the_pieces_of_samples_join_to_their_texts(kind: Kind) -> None:
    sampling = Sampling(count=6, temperature=1.0, prompt="ab", length=20)
    written = writer(kind).write(sampling, random.Random(4))
    samples = [list(pieces) for pieces in islice(writer(kind).samples(sampling, random.Random(4)), 6)]
    assert tuple("".join(pieces) for pieces in samples) == written.texts
    assert all(pieces[0] == "ab" and max(map(len, pieces[1:])) == 1 for pieces in samples)
    assert sum(len(pieces) - 1 for pieces in samples) == written.tokens


def test_pieces_come_one_by_one_as_they_are_drawn() -> None:
    asked: list[int] = []

    class Counting(Forgetful):
        def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
            asked.append(len(prefix))
            return super().next(prefix)

    counting: Any = Counting("array")
    pieces = next(
        Writer(counting, TOKENIZER, "windows", SETTINGS.ctx).samples(Sampling(prompt="abc"), random.Random(0))
    )
    assert (next(pieces), asked) == ("abc", [])
    next(pieces)
    next(pieces)
    assert asked == [3, 4]


def test_what_a_prompt_can_not_be_is_said_before_the_first_piece() -> None:
    for prompt, error in (("Z", DataError), ("a\nb", DataError), ("abcdef", UsageError)):
        with pytest.raises(error):
            writer().samples(Sampling(prompt=prompt), random.Random(0))


def test_a_prompt_is_told_where_it_is_longer_than_the_model_or_the_sample() -> None:
    def remarks(size: int, kind: Kind = "windows") -> str:
        return "; ".join(writer(kind).remarks(Sampling(prompt="a" * size, length=8)))

    assert remarks(0) == remarks(6) == remarks(5, "lines") == ""
    assert remarks(7) == "the prompt has 7 characters; the model sees the last 6 of them (its ctx)"
    assert "sees the last 6" in remarks(8)
    assert "fills --length 8" in remarks(8)


def test_unknown_characters_of_a_prompt_are_named_with_the_nearest_known_ones() -> None:
    with pytest.raises(DataError, match=r"'H' \(nearest known: 'h'\), 'Z'; leave them out"):
        writer().write(Sampling(prompt="aZH"), random.Random(0))


def test_a_document_of_kind_lines_has_no_line_break_in_its_prompt() -> None:
    with pytest.raises(DataError, match="one line, since this run was trained on lines"):
        writer("lines").write(Sampling(prompt="a\n"), random.Random(0))
    with pytest.raises(DataError, match=r"doesn't know '\\n' \(nearest known: ' '\)"):
        writer("paragraphs").write(Sampling(prompt="a\n"), random.Random(0))


def test_a_prompt_that_leaves_no_room_is_refused() -> None:
    with pytest.raises(UsageError, match="at most 5 characters for a model of ctx 6, found 6"):
        writer().write(Sampling(prompt="abcdef"), random.Random(0))


@pytest.mark.parametrize("temperature", [-1.0, math.inf, math.nan, True, "hot"])
def test_a_temperature_is_no_less_than_zero(temperature: float) -> None:
    with pytest.raises(UsageError, match="--temperature must be a number of 0 or more"):
        Sampling(temperature=temperature)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("temperature", [0.0, 5e-324, 1e-320])
@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_at_temperature_zero_and_near_it_the_likeliest_token_is_taken(kind: Kind, temperature: float) -> None:
    likeliest = writer(kind).write(Sampling(3, top_k=1, length=20), random.Random(1))
    assert writer(kind).write(Sampling(3, temperature, length=20), random.Random(2)) == likeliest
    assert tempered([0.0, 0.25, 0.75], temperature) == [0.0, 0.0, 1.0]


@pytest.mark.parametrize(("kind", "usual"), [("lines", 0.5), ("paragraphs", 0.5), ("windows", 0.8)])
def test_what_is_not_asked_for_follows_the_kind_of_text(kind: Kind, usual: float) -> None:
    written = [writer(kind).write(Sampling(9, t, length=20), random.Random(1)) for t in (None, usual, 1.3)]
    assert written[0] == written[1] != written[2]


def test_blank_samples_are_told_of_where_there_are_many() -> None:
    assert next(blank(Samples((), 3, written=3, blank=2))).startswith("2 of 3 samples are blank: a higher --temp")
    assert not list(blank(Samples((), 4, written=4, blank=1))) + list(blank(Samples((), 0)))


@pytest.mark.parametrize("wrong", [{"count": -1}, {"count": 10**6 + 1}, {"top_k": -1}, {"top_k": 1.5}, {"length": 0}])
def test_other_settings_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="must be a whole number"):
        Sampling(**wrong)


def test_of_one_token_there_is_no_choice() -> None:
    texts = {writer().write(Sampling(count=1, temperature=5.0, top_k=1), random.Random(s)).texts for s in range(5)}
    assert len(texts) == 1


def test_copies_are_counted_or_drawn_again() -> None:
    sampling = Sampling(count=20, temperature=1.0)
    every = writer().write(sampling, random.Random(3), stands_in_text=lambda text: "a" in text)
    assert every.copied == sum("a" in text for text in every.texts) > 0
    new = writer().write(sampling, random.Random(3), stands_in_text=lambda text: "a" in text, new=True)
    assert len(new.texts) == 20
    assert new.rejected > 0
    assert not any("a" in text for text in new.texts)


def test_a_model_that_only_copies_is_given_up() -> None:
    samples = writer().write(Sampling(count=2), random.Random(0), stands_in_text=lambda text: True, new=True)
    assert samples.texts == ()
    assert samples.rejected == 2 * TRIES


@given(
    st.lists(st.floats(0, 1), min_size=2, max_size=9).filter(lambda values: sum(values) > 0.01),
    st.floats(1e-6, 1e6),
    st.integers(0, 9),
)
def test_tempered_probabilities_stay_finite_and_keep_the_order(
    values: list[float], temperature: float, top_k: int
) -> None:
    probabilities = np.array(values) / sum(values)
    found = tempered(probabilities.tolist(), temperature, top_k)
    assert all(0 <= weight <= 1 for weight in found)
    assert found[int(probabilities.argmax())] == 1
    if top_k:
        assert sum(weight > 0 for weight in found) <= top_k
    kept = [place for place, weight in enumerate(found) if weight]
    assert sorted(kept, key=lambda place: probabilities[place]) == sorted(
        kept, key=lambda place: (found[place], probabilities[place])
    )


def test_at_temperature_one_nothing_changes() -> None:
    found = np.array(tempered([0.5, 0.3, 0.2], 1.0))
    assert found / found.sum() == pytest.approx([0.5, 0.3, 0.2])


def test_the_fewest_tokens_of_a_share_and_those_near_the_likeliest_are_kept() -> None:
    logs = np.log([[0.1, 0.4, 0.2, 0.3]])
    kept = [(weights(logs, Drawing(top_p=share)) > 0)[0].tolist() for share in (0.4, 0.41, 0.7, 0.71, 1.0)]
    assert [sum(row) for row in kept] == [1, 2, 2, 3, 4]
    assert kept[2] == [False, True, False, True]
    near = [(weights(logs, Drawing(min_p=share)) > 0)[0].sum() for share in (0.0, 0.24, 0.26, 0.74, 1.0)]
    assert near == [4, 4, 3, 2, 1]
    assert (weights(logs, Drawing(top_k=3, top_p=0.5)) > 0)[0].tolist() == [False, True, False, True]


def test_probabilities_that_are_not_finite_are_refused() -> None:
    with pytest.raises(DivergedError, match="finite probabilities"):
        tempered([0.5, math.nan], 1.0)


def test_the_stream_of_samples_is_not_that_of_another_seed_or_use() -> None:
    draws = {samples_stream(seed).random() for seed in (1, 2, 3)} | {random.Random(1).random()}
    assert len(draws) == 4


def test_numbers_are_those_of_pythons_stream() -> None:
    stream, twin = random.Random(7), random.Random(7)
    stream.random()
    assert uniforms(stream).random((3, 500)).reshape(-1).tolist() == [twin.random() for _ in range(1501)][1:]


@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_a_sample_is_the_same_however_many_are_written_before_and_after_it(kind: Kind) -> None:
    few, many = (writer(kind).write(Sampling(count, 1.0, length=9), random.Random(5)).texts for count in (3, 200))
    assert many[:3] == few
    other = writer(kind).write(Sampling(3, 1.0, top_k=2, length=9), random.Random(5)).texts
    assert len(set(map(len, many))) > 1 or kind == "windows"
    assert other != few


def test_gapless_a_sample_takes_the_numbers_that_it_needs() -> None:
    stream, twin = random.Random(3), random.Random(3)
    samples = writer().write(Sampling(20, 1.0), stream, gapless=True)
    for _ in range(samples.tokens):
        twin.random()
    assert stream.getstate() == twin.getstate()


def test_a_sample_is_told_with_others_in_order_and_need_not_be_kept() -> None:
    told: list[Sequence[str]] = []
    samples = writer().write(Sampling(count=100, temperature=1.0), random.Random(2), tell=told.append, keep=False)
    kept = writer().write(Sampling(count=100, temperature=1.0), random.Random(2))
    assert (samples.texts, samples.written) == ((), 100)
    assert [text for texts in told for text in texts] == list(kept.texts)
    assert len(told[0]) == 1 < len(told) < 20
    assert samples.blank == sum(not text.strip() for text in kept.texts)


@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_a_sample_ends_before_a_stop_that_is_written(kind: Kind) -> None:
    plain = Sampling(count=60, temperature=1.0, prompt="ab", length=30)
    stopped = replace(plain, stop=("ba", "c"))
    texts = writer(kind).write(plain, random.Random(2)).texts
    expected = ["ab" + text[2:].partition("ba")[0].partition("c")[0] for text in texts]
    assert list(writer(kind).write(stopped, random.Random(2)).texts) == expected != list(texts)
    streamed = writer(kind).samples(stopped, random.Random(2))
    assert ["".join(next(streamed)) for _ in range(60)] == expected


def test_a_stop_that_is_never_met_changes_nothing_and_what_may_begin_one_waits() -> None:
    assert list(before(["xyz"], ["a", "xy", "b", "x"])) == ["", "a", "x", "y", "bx"]
    assert "".join(before(["xyz"], ["a", "xy", "b", "x"])) == "axybx"
    assert "".join(before(["xyz"], ["a", "xy", "b", "x", "y", "z", "!"])) == "axyb"
    assert "".join(before(["yz", "xyz"], ["a", "x", "yz"])) == "a"
    assert list(before([], ["a", "", "b"])) == ["a", "", "b"]


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"top_p": 0.0}, "--top-p"),
        ({"top_p": 1.1}, "--top-p"),
        ({"min_p": -0.1}, "--min-p"),
        ({"stop": ("",)}, "--stop"),
    ],
)
def test_what_tokens_are_drawn_from_is_checked(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=f"{said} must be"):
        Sampling(**wrong)


def test_an_interrupted_call_tells_what_is_finished() -> None:
    told: list[str] = []

    class Interrupted(Forgetful):
        left = 30

        def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt
            return super().next(prefix)

    atomic = create("atomic", EngineConfig()).open(state())
    atomic.next = Interrupted("atomic").next  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        Writer(atomic, TOKENIZER, "lines", SETTINGS.ctx).write(Sampling(99), random.Random(1), tell=told.extend)
    assert 2 < len(told) < 30
    assert tuple(told) == writer(engine="atomic").write(Sampling(len(told)), random.Random(1)).texts
