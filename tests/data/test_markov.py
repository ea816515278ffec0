"""The Markov source: its text follows its probabilities, and its entropy rate is the truth."""

import hashlib
import itertools
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import microgpt
from microgpt.data.choices import MARKOV_LENGTH, made_length
from microgpt.data.markov import ALPHABET, ENDLESS, Chain
from microgpt.data.reading import read
from microgpt.errors import DataError
from microgpt.lab.sweep.design_file import read_design
from microgpt.lab.sweep.plan import plan
from microgpt.lab.sweep.texts import Texts

CHAINS = st.builds(
    Chain, order=st.integers(1, 3), letters=st.integers(2, 6), evenness=st.floats(0.1, 3), seed=st.integers(0, 9)
)


@settings(max_examples=30, deadline=None)
@given(CHAINS)
@example(Chain(order=3, letters=2, evenness=0.9921875, seed=7))  # which goes round in a circle of three
def test_a_step_leaves_the_stationary_distribution_as_it_is(chain) -> None:  # noqa: ANN001
    assert chain.stationary.sum() == pytest.approx(1, abs=1e-12)
    assert np.abs(chain.after(chain.stationary) - chain.stationary).max() < 1e-13


@settings(max_examples=30, deadline=None)
@given(CHAINS)
def test_knowing_more_letters_never_costs_and_the_whole_context_reaches_the_entropy_rate(chain) -> None:  # noqa: ANN001
    known = [chain.entropy_knowing(letters) for letters in range(chain.order + 1)]
    assert all(less >= more - 1e-12 for less, more in itertools.pairwise(known))
    assert known[-1] == pytest.approx(chain.entropy_rate, abs=1e-12)
    assert 0 < chain.entropy_rate < np.log(chain.letters)
    floors = [chain.floor(ctx) for ctx in (1, 4, 64, 4096)]
    assert all(shorter >= longer - 1e-12 for shorter, longer in itertools.pairwise(floors))
    assert floors[0] == pytest.approx(known[1], abs=1e-12)
    assert chain.entropy_rate - 1e-12 <= floors[-1] < chain.entropy_rate + 0.01


def test_the_entropy_rate_of_two_letters_is_that_of_the_formula() -> None:
    chain = Chain(order=1, letters=2, seed=3)
    leave, back = chain.probabilities[0, 1], chain.probabilities[1, 0]
    entropy = [-(p * np.log(p) + (1 - p) * np.log(1 - p)) for p in (leave, back)]
    by_hand = (back * entropy[0] + leave * entropy[1]) / (leave + back)
    assert chain.entropy_rate == pytest.approx(by_hand, abs=1e-13)


def test_a_long_text_costs_the_entropy_rate_by_its_own_chain() -> None:
    chain, count = Chain(), 200_000
    digits = np.array([ALPHABET.index(letter) for letter in chain.text(count)])
    contexts = (digits[:-3] * chain.letters + digits[1:-2]) * chain.letters + digits[2:-1]
    costs = -np.log(chain.probabilities[contexts, digits[3:]])
    assert costs.mean() == pytest.approx(chain.entropy_rate, abs=5 * costs.std() / np.sqrt(count))


def test_who_knows_the_chain_pays_the_floor_for_windows_of_its_text() -> None:
    chain, ctx = Chain(order=2, letters=5, seed=2), 4
    letters = np.array([ALPHABET.index(letter) for letter in chain.text(100_001)])
    windows = letters[np.arange(0, 100_000, ctx)[:, None] + np.arange(ctx + 1)]
    assert chain.best_loss(windows) == pytest.approx(chain.floor(ctx), abs=0.01)
    assert chain.best_loss(windows[:, :3]) == pytest.approx(chain.floor(2), abs=0.01)
    shuffled = np.random.default_rng(0).permuted(windows, axis=1)
    assert chain.best_loss(shuffled) > chain.floor(ctx) + 0.1


def test_a_text_comes_again_and_a_longer_one_begins_with_it() -> None:
    chain = Chain(seed=5)
    assert chain.text(70_000)[:1000] == chain.text(1000)
    assert chain.text(500, seed=1) != chain.text(500, seed=2)
    assert set(chain.text(5000)) <= set(ALPHABET[: chain.letters])


@pytest.mark.parametrize(
    "wrong", [{"letters": 1}, {"letters": 27}, {"order": 0}, {"order": 6, "letters": 20}, {"evenness": 0}]
)
def test_what_can_not_be_is_refused(wrong) -> None:  # noqa: ANN001
    with pytest.raises(DataError, match="chain"):
        Chain(**wrong)
    with pytest.raises(DataError, match="character"):
        Chain().text(0)


def test_the_text_of_markov_is_a_function_of_its_name() -> None:
    text = read(["markov:70000"])
    made = ENDLESS.text(70_000)
    assert str(text) == made
    assert text.sha256 == hashlib.sha256(made.encode()).hexdigest()
    assert text.sha256.startswith("e98638d6")  # a text that changes makes every store and every run on it worthless
    assert (text.name, text.declared_kind) == ("markov:70000", "windows")
    assert str(read(["markov:7e4"])) == made


def test_a_note_tells_the_floor_of_every_ctx() -> None:
    (note,) = read(["markov:1000"]).notes
    rate, first, at = (float(found) for found in re.findall(r"\d\.\d+", note)[1:])
    assert rate == pytest.approx(ENDLESS.entropy_rate, abs=1e-4)
    for ctx in (3, 16, 64):
        assert rate + first / ctx == pytest.approx(ENDLESS.floor(ctx), abs=2e-4)
    assert at == pytest.approx(ENDLESS.floor(16), abs=1e-4)


@pytest.mark.parametrize(
    ("source", "length"),
    [
        ("markov", MARKOV_LENGTH),
        ("markov:1e7", 10_000_000),
        ("markov:1_000", 1000),
        ("names", None),
        ("./markov", None),
    ],
)
def test_the_name_tells_the_length(source: str, length: int | None) -> None:
    assert made_length(source) == length


@pytest.mark.parametrize(
    "wrong", ["markov:", "markov:x", "markov:0", "markov:-5", "markov:1.5", "markov:nan", "markov:1e99"]
)
def test_a_length_that_can_not_be_is_refused_with_one_that_can(wrong: str) -> None:
    with pytest.raises(DataError, match="markov:1e7"):
        read([wrong])


def test_a_mistyped_name_is_told_the_right_one() -> None:
    with pytest.raises(DataError, match=r"did you mean markov\?"):
        read(["markow"])


def test_a_run_on_it_is_resumed_and_evaluated_from_any_folder(cwd: Path) -> None:
    asked = {"data": "markov:20000", "emb": 4, "head": 2, "ctx": 8, "engine": "array", "samples": 0}
    microgpt.train(steps=20, out=str(cwd / "runs"), name="run", **asked)
    found = microgpt.load("runs/run").evaluate()
    assert found.loss > ENDLESS.floor(8)
    longer = microgpt.resume("runs/run", steps=40)
    assert longer.result is not None
    assert longer.result.loss.holdout < found.loss


def test_a_sweep_s_file_may_name_it(tmp_path: Path) -> None:
    path = tmp_path / "few.toml"
    path.write_text('[base]\ndata = "markov:20000"\n[axes]\nsteps = [10, 20]\n')
    level = plan(read_design(path), Texts()).levels[0]
    assert (level.asked.data, level.asked.documents) == (("markov:20000",), "windows")
    assert level.data_sha256 == hashlib.sha256(ENDLESS.text(20_000).encode()).hexdigest()
