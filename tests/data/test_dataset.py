"""The dataset: which sequences a step trains on, which are held out, and what is counted."""

import math
import random
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset, prepare
from microgpt.data.reading import read, text_from
from microgpt.data.slices import Tokens
from microgpt.data.split import Split
from microgpt.errors import UsageError

NAMES = ["anna", "bob", "carl", "dora", "emil", "fritz", "gus", "hans", "ida", "jan"]


def of_names(names: list[str] = NAMES, ctx: int = 8, holdout: float = 0, **settings: object) -> Dataset:
    return prepare(text_from("\n".join(names)), kind="lines", ctx=ctx, holdout=holdout, **settings)  # type: ignore[arg-type]


def of_prose(size: int, ctx: int, holdout: float = 0, **settings: object) -> Dataset:
    """Running text in which no character occurs twice, so that a token is its place."""
    string = "".join(map(chr, range(0x4E00, 0x4E00 + size)))
    return prepare(text_from(string), kind="windows", ctx=ctx, holdout=holdout, **settings)  # type: ignore[arg-type]


def decoded(dataset: Dataset, sequences: list[Tokens]) -> list[str]:
    return [dataset.split.corpus.tokenizer.decode(sequence) for sequence in sequences]


def same(left: list[Tokens], right: list[Tokens]) -> bool:
    return len(left) == len(right) and all(map(np.array_equal, left, right))


@given(st.integers(0, 40), st.integers(1, 12), st.integers(1, 25), st.booleans())
def test_steps_are_the_same_alone_and_in_one_call(first: int, steps: int, batch: int, running: bool) -> None:
    dataset = of_prose(50, 4) if running else of_names()
    together = dataset.sequences_of(first, steps, batch)
    assert len(together) == steps
    for step in range(steps):
        assert same(together[step], dataset.sequences(first + step, batch))
    predicted = sum(min(len(sequence) - 1, dataset.ctx) for sequences in together for sequence in sequences)
    assert dataset.predictions(first, steps, batch) == predicted


@given(st.integers(1, 25), st.integers(0, 20))
def test_the_endless_order_does_not_depend_on_the_batch(batch: int, step: int) -> None:
    dataset = of_names()
    one_by_one = [dataset.sequences(place, 1)[0] for place in range(step * batch, (step + 1) * batch)]
    assert same(dataset.sequences(step, batch), one_by_one)


def test_a_dataset_made_anew_goes_on_where_another_stopped() -> None:
    text = read(["names"])
    first, again = (prepare(text, ctx=16, seed=5) for _ in range(2))
    first.sequences_of(0, 100, 8)
    assert same(first.sequences(30_000, 8), again.sequences(30_000, 8))
    assert not same(first.sequences(0, 8), prepare(text, ctx=16, seed=6).sequences(0, 8))


@given(st.integers(0, 2**64), st.integers(0, 3))
def test_every_epoch_has_each_training_document_once_in_an_order_of_its_own(seed: int, epoch: int) -> None:
    dataset = of_names(seed=seed)
    order = decoded(dataset, dataset.sequences(epoch, len(NAMES)))
    assert sorted(order) == NAMES
    assert order != decoded(dataset, dataset.sequences(epoch + 1, len(NAMES))) or len(NAMES) < 5


def test_a_document_stands_between_two_bos() -> None:
    dataset = of_names()
    for sequence in dataset.sequences(0, 10):
        assert sequence[0] == sequence[-1] == dataset.split.corpus.tokenizer.bos
        assert (sequence == dataset.split.corpus.tokenizer.bos).sum() == 2


def test_fixed_order_goes_round_the_file() -> None:
    dataset = of_names(order="fixed")
    assert decoded(dataset, [dataset.sequences(step, 1)[0] for step in range(25)]) == (NAMES * 3)[:25]


def test_a_given_permutation_orders_the_documents_and_skips_those_held_out() -> None:
    shuffled = NAMES.copy()
    random.Random(42).shuffle(shuffled)
    order = list(range(len(NAMES)))
    random.Random(42).shuffle(order)
    dataset = of_names(order=order)
    assert decoded(dataset, dataset.sequences(0, 10)) == shuffled
    dataset = of_names(order=np.array(order), holdout=0.3)
    held_out = decoded(dataset, dataset.held_out())
    assert decoded(dataset, dataset.sequences(0, 7)) == [name for name in shuffled if name not in held_out]


@pytest.mark.parametrize("settings", [{"ctx": 0}, {"seed": -1}, {"order": [0, 1]}, {"order": "random"}])
def test_impossible_settings_are_usage_errors(settings: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        of_names(**settings)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="windows have none"):
        of_prose(20, 4, order=[0])


@given(st.integers(2, 80), st.integers(1, 20), st.integers(0, 5))
def test_windows_of_an_epoch_share_no_prediction_and_miss_little(size: int, ctx: int, epoch: int) -> None:
    dataset = of_prose(size, ctx)
    windows = dataset.sequences(epoch, dataset.documents)
    assert all(np.array_equal(np.diff(window.astype(int)), np.ones(len(window) - 1)) for window in windows)
    assert all(len(window) == min(ctx + 1, size) for window in windows)
    predicted = [token for window in windows for token in window[1:].tolist()]
    assert len(predicted) == len(set(predicted)) == dataset.tokens_in_epoch
    assert len(predicted) > size - 1 - 2 * ctx


def test_every_epoch_of_windows_draws_its_phase() -> None:
    dataset = of_prose(1000, 10)
    phases = {int(dataset.sequences(epoch, dataset.documents)[0][0]) % 10 for epoch in range(100)}
    assert phases == set(range(10))
    fixed = of_prose(1000, 10, order="fixed")
    assert [int(window[0]) for window in fixed.sequences(3, fixed.documents)] == list(range(0, 990, 10))


@given(st.integers(4, 80), st.integers(1, 20), st.floats(0.01, 0.99))
def test_held_out_windows_predict_every_token_but_the_first_once(size: int, ctx: int, holdout: float) -> None:
    dataset = of_prose(size, ctx, holdout)
    predicted = [token for window in dataset.held_out() for token in window[1:].tolist()]
    assert all(len(window) >= 2 for window in dataset.held_out())
    border = int(dataset.split.held_out.starts[0])
    assert predicted == list(range(border + 1, size))
    assert all(int(before[-1]) == int(after[0]) for before, after in pairwise(dataset.held_out()))
    trained = {token for window in dataset.sequences_of(0, 20, 3) for part in window for token in part.tolist()}
    assert max(trained) < border
    assert dataset.holdout_documents == len(dataset.held_out())


def test_held_out_documents_are_whole_and_what_ctx_crops_is_counted() -> None:
    dataset = of_names(["abcdef", "ab", "abc", "abcdef"], ctx=4)
    assert (dataset.cropped_documents, dataset.cropped_tokens) == (2, 6)
    assert dataset.tokens_in_epoch == 4 + 3 + 4 + 4
    dataset = of_names(["abcdef", "bcdefg"], ctx=4, holdout=0.5)
    assert dataset.cropped_tokens == 3
    assert [len(sequence) for sequence in dataset.held_out()] == [8]
    windows = of_prose(40, 4, 0.5)
    assert (windows.cropped_documents, windows.cropped_tokens) == (0, 0)


def test_nothing_is_held_out_unless_asked() -> None:
    for dataset in (of_names(), of_prose(20, 4)):
        assert dataset.held_out() == []
        assert (dataset.holdout_documents, dataset.holdout_unseen_characters) == (0, 0)
        assert dataset.held_out_in_training == 0


def test_unigram_is_the_loss_of_the_training_frequencies() -> None:
    dataset = of_names(["aab", "aaab"], order="fixed")
    counts = {"a": 5, "b": 2, "bos": 2}
    assert dataset.unigram == pytest.approx(-sum(n * math.log(n / 9) for n in counts.values()) / 9)
    windows = prepare(text_from("aabb" + "bc"), kind="windows", ctx=2, holdout=0.3)
    # Trained on a, b, b; c and BOS count once; of the held-out "bc" only c is predicted.
    assert windows.unigram == pytest.approx(math.log(5))
    assert windows.uniform == pytest.approx(math.log(4))


def test_unigram_looks_at_no_more_of_a_held_out_document_than_ctx() -> None:
    # Either document begins with the character that the other has once among five predictions.
    split = Split.of(Corpus.of(text_from("aaab\nbbba"), "lines"), 0.5, 0)
    assert Dataset.of(split, ctx=1).unigram == pytest.approx(math.log(5))
    assert Dataset.of(split, ctx=2).unigram == pytest.approx(math.log(5))
    assert Dataset.of(split, ctx=4).unigram < math.log(5)


@given(st.integers(1, 5), st.integers(1, 5))
def test_the_smallest_texts_train(copies: int, ctx: int) -> None:
    dataset = of_names(["a"] * copies, ctx=ctx)
    assert (dataset.documents, dataset.vocabulary) == (copies, 2)
    assert [sequence.tolist() for sequence in dataset.sequences(3, 2)] == [[1, 0, 1]] * 2
    assert math.isfinite(dataset.unigram)


def test_a_text_shorter_than_ctx_is_one_window() -> None:
    dataset = of_prose(5, 16)
    assert dataset.documents == 1
    assert dataset.sequences(7, 1)[0].tolist() == [0, 1, 2, 3, 4]


def test_a_long_run_of_steps_is_made_at_once() -> None:
    dataset = prepare(read(["names"]), ctx=16)
    starts, stops = dataset.spans(0, 5000, 4)
    assert len(starts) == len(stops) == 20_000
    assert dataset.predictions(0, 5000, 4) == int((stops - starts - 1).sum())


def test_counts_of_the_built_in_names() -> None:
    dataset = prepare(read(["names"]), ctx=16)
    assert (dataset.documents, dataset.holdout_documents, dataset.vocabulary) == (26_919, 2_991, 27)
    assert (dataset.cropped_documents, dataset.holdout_unseen_characters) == (0, 0)
    assert 2.7 < dataset.unigram < 2.9
    assert dataset.contains("emma") != ("emma" in decoded(dataset, dataset.held_out()))
