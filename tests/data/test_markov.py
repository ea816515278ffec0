"""The Markov source: its text follows its probabilities, and its entropy rate is the truth."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.data.markov import ALPHABET, Chain
from microgpt.errors import DataError

CHAINS = st.builds(
    Chain, order=st.integers(1, 3), letters=st.integers(2, 6), evenness=st.floats(0.1, 3), seed=st.integers(0, 9)
)


@settings(max_examples=30, deadline=None)
@given(CHAINS)
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
