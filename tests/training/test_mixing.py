"""A model mixed with a table of counts: its loss, what it writes, and what is said of both."""

import json
from pathlib import Path

import numpy as np
import pytest

from microgpt import Run, load, train
from microgpt.data.counts import Table
from microgpt.errors import DataError, MicrogptError, UsageError
from microgpt.training.prepare import dataset_of
from tests.command import microgpt, refused, succeeded

TEXT = "the cat sat on the mat. the dog sat on the log. a cat and a dog met on the road. " * 40


@pytest.fixture(scope="module", params=["characters", "bpe:40"])
def mixing(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("mixing")
    (folder / "text.txt").write_text(TEXT + "".join(sorted(TEXT[:400])))
    return train(
        data=str(folder / "text.txt"), documents="windows", tokens=request.param, steps=60, mix=0.5, out=folder
    )


def test_its_loss_is_that_of_the_sum_of_both_probabilities(mixing: Run) -> None:
    dataset = dataset_of(mixing.checkpoint)
    table, sequences = Table(dataset.split), dataset.held_out()
    runner, total, text = mixing.runner, 0.0, list[int]()
    for tokens in (sequence.tolist() for sequence in sequences):
        text = [*text[:-1], *tokens]
        for place in range(1, len(tokens)):
            before = len(text) - len(tokens) + place  # counts see what stands before the window too
            both = 0.5 * runner.next(tokens[:place]) + 0.5 * table.next(text[:before])
            total -= np.log(both[tokens[place]])
    found = mixing.evaluate(counts=True)
    assert found.mixed
    assert found.mixed.per_character == pytest.approx(total / found.characters, rel=1e-5)
    assert mixing.result
    assert mixing.result.loss.mixed == pytest.approx(found.mixed.per_character, rel=1e-12)


def test_it_writes_with_both_and_alone_when_asked(mixing: Run) -> None:
    tokens = mixing.checkpoint.tokenizer.encode("the c").tolist()
    alone, together = mixing.runner.next(tokens), mixing.writer.runner.next(tokens)
    table = Table(dataset_of(mixing.checkpoint).split).next(tokens)
    assert together == pytest.approx((alone + table) / 2)
    mixing.mix = 0.0
    assert mixing.writer.runner.next(tokens) == pytest.approx(alone)
    mixing.mix = 0.5
    assert mixing.sample("the ", 3, seed=1) == mixing.sample("the ", 3, seed=1)


def test_it_keeps_its_share_in_its_folder(mixing: Run) -> None:
    assert mixing.path
    again = load(mixing.path)
    assert again.mix == 0.5
    assert again.sample(count=2, seed=3) == mixing.sample(count=2, seed=3)


@pytest.mark.parametrize("share", [-0.1, 1.5, "half", None])
def test_what_is_no_share_is_refused(mixing: Run, share: float) -> None:
    with pytest.raises(UsageError, match="0 to 1"):
        mixing.mix = share
    with pytest.raises(MicrogptError, match="mix"):
        train(steps=1, mix=share, out="")


def test_without_its_text_it_says_so_and_the_model_still_writes(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text(TEXT)
    arguments = ("--data", "text.txt", "--steps", "20", "--mix", "0.5", "--json", "--quiet")
    told = json.loads(succeeded(microgpt("train", *arguments, cwd=tmp_path)).stdout)
    assert told["loss"]["mixed"] < told["loss"]["holdout_per_character"]
    (tmp_path / "text.txt").unlink()
    said = refused(microgpt("sample", cwd=tmp_path), DataError.exit_code)
    assert "expected the text of this run" in said
    assert "--mix 0" in said
    assert succeeded(microgpt("sample", "--mix", "0", "--count", "1", cwd=tmp_path)).stdout
