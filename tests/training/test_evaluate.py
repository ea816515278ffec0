"""Held-out loss: what it sums, its standard error, bits per character, and other texts."""

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.data.reading import read, text_from
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import DataError, UsageError
from microgpt.library import Run, load
from microgpt.training.evaluate import CLUSTERS, contiguous, sequences_of, standard_error, summarize
from microgpt.training.prepare import dataset_of
from trials.small import finish, request

TOKENIZER = Tokenizer.of("abc")
BOS = TOKENIZER.bos


def test_the_loss_is_summed_loss_over_summed_predictions() -> None:
    sequences = [np.array([BOS, 0, BOS]), np.array([BOS, 0, 1, 2, 0, 1, BOS])]
    held_out = summarize(np.array([3.0, 8.0]), np.array([2, 4]), sequences, TOKENIZER, "lines", ctx=4)
    assert held_out.loss == 11 / 6
    assert held_out.tokens == 6
    assert held_out.documents == 2
    # Predicted are a, BOS and a, b, c, a: five characters, and one BOS whose cost they share.
    assert held_out.bits_per_character == pytest.approx(11 / math.log(2) / 5)


def test_the_standard_error_is_that_of_the_ratio_over_repeated_draws() -> None:
    stream = np.random.default_rng(0)

    def draw() -> tuple[np.ndarray, np.ndarray]:
        counts = stream.integers(2, 12, 400)
        hardness = stream.normal(2.0, 0.5, 400)  # shared by the tokens of a document
        return counts * hardness + stream.normal(0, 1, 400) * np.sqrt(counts), counts

    draws = [draw() for _ in range(1000)]
    spread = np.std([sums.sum() / counts.sum() for sums, counts in draws])
    told = np.mean([standard_error(sums, counts) for sums, counts in draws])
    assert told == pytest.approx(spread, rel=0.07)


def test_one_cluster_has_no_standard_error() -> None:
    assert standard_error(np.array([3.0]), np.array([2])) is None


def test_windows_are_clustered_in_contiguous_stretches() -> None:
    sums = contiguous(np.arange(1000.0))
    assert len(sums) == CLUSTERS
    assert sums.sum() == 999 * 500
    assert (np.diff(sums) > 0).all()
    assert contiguous(np.ones(5)).tolist() == [1] * 5


def test_windows_that_resemble_their_neighbours_have_the_larger_error() -> None:
    stream = np.random.default_rng(0)
    scenes = np.repeat(stream.normal(2, 0.5, 40), 25)
    counts = np.full(1000, 10)
    clustered = standard_error(contiguous(scenes * 10), contiguous(counts))
    naive = standard_error(scenes * 10, counts)
    assert clustered is not None
    assert naive is not None
    assert clustered > 3 * naive
    sequences = [np.zeros(11, np.uint8)] * 1000
    assert summarize(scenes * 10, counts, sequences, TOKENIZER, "windows", ctx=10).se == clustered
    assert summarize(scenes * 10, counts, sequences, TOKENIZER, "lines", ctx=10).se == naive


def test_a_run_tells_the_loss_that_its_model_has_on_what_it_held_out(tmp_path: Path) -> None:
    end = finish(request(tmp_path))
    held_out = load(tmp_path / "runs" / "run").evaluate()
    assert held_out.loss == end.result.loss.holdout
    assert held_out.se == end.result.loss.holdout_se
    assert held_out.documents == end.result.loss.holdout_documents == 3


def prose(folder: Path, **settings: Any) -> Run:
    """A small model of running text."""
    path = folder / "prose.txt"
    path.write_text("It was a bright cold day in April, and the clocks were striking. " * 20)
    return load(finish(replace(request(folder, documents="windows", **settings), data=(str(path),))).result.run)


@pytest.mark.parametrize("stride", [1, 3, 7, 8])
def test_with_a_stride_each_prediction_sees_so_many_tokens_or_more(tmp_path: Path, stride: int) -> None:
    run = prose(tmp_path)
    found, text, ctx = run.evaluate(stride=stride), "", run.model.ctx
    for window in dataset_of(run.checkpoint).held_out():
        text += run.checkpoint.tokenizer.decode(window[:-1] if len(window) > ctx else window)
    ids, losses = run.checkpoint.tokenizer.encode(text).tolist(), []
    for place in range(1, len(ids)):
        late = max(0, -(-(place - ctx) // stride))  # windows after the first
        prefix = ids[late * stride : place]
        assert len(prefix) >= min(place, ctx - stride)
        losses.append(-math.log(run.runner.next(prefix)[ids[place]]))
    assert found.tokens == len(losses)
    assert found.loss == pytest.approx(sum(losses) / len(losses), rel=1e-6)
    assert found.stride == stride
    assert found.bits_per_character == pytest.approx(found.loss / math.log(2))


def test_a_stride_of_a_whole_window_changes_nothing_and_a_longer_one_is_refused(tmp_path: Path) -> None:
    run = prose(tmp_path)
    assert run.evaluate(stride=run.model.ctx).loss == pytest.approx(run.evaluate().loss, rel=1e-9)
    for stride in (0, -1, run.model.ctx + 1):
        with pytest.raises(UsageError, match=f"--stride takes 1 to 8.* found {stride}"):
            run.evaluate(stride=stride)


def test_documents_are_the_same_with_any_stride(tmp_path: Path) -> None:
    run = load(finish(request(tmp_path)).result.run)
    assert run.evaluate(stride=3) == run.evaluate()


def test_an_evaluation_finds_the_mark_that_the_training_told(tmp_path: Path) -> None:
    run = prose(tmp_path)
    found = run.evaluate(counts=True)
    assert found.mark
    assert found.mark.loss == run.counts == found.to_dict()["counts"]
    assert run.evaluate().mark is None
    other = run.evaluate(text="It was April. ", counts=True)
    assert other.mark
    assert other.mark.loss > found.mark.loss
    (tmp_path / "prose.txt").unlink()
    assert run.evaluate(text="It was April. ", counts=True).mark is None


def test_another_text_is_told_in_the_tokens_of_the_model() -> None:
    sequences = sequences_of(text_from("ab\n\ncab\n"), Tokenizer.of("abcdef"), "lines", 8)
    assert [sequence.tolist() for sequence in sequences] == [[6, 0, 1, 6], [6, 2, 0, 1, 6]]


def test_another_running_text_is_predicted_but_for_its_first_character() -> None:
    sequences = sequences_of(text_from("abcabcabca"), Tokenizer.of("abc"), "windows", 4)
    assert [sequence.tolist() for sequence in sequences] == [[0, 1, 2, 0, 1], [1, 2, 0, 1, 2], [2, 0]]


def test_a_text_with_unknown_characters_is_refused_with_their_list(tmp_path: Path) -> None:
    path = tmp_path / "other.txt"
    path.write_text("ab\nxy\n")
    with pytest.raises(DataError, match=r"'x'.*'y'"):
        sequences_of(read([str(path)]), TOKENIZER, "lines", 8)
