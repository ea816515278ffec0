"""A permutation without an array: every place once, in an order that is well mixed."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.data.scattering import ROUNDS, scattered


def keys(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(1 << 64, size=ROUNDS, dtype=np.uint64)


@settings(deadline=None)
@given(st.integers(1, 5000), st.integers(0, 100))
def test_every_place_is_met_once(size: int, seed: int) -> None:
    assert np.array_equal(np.sort(scattered(np.arange(size), size, keys(seed))), np.arange(size))


@settings(deadline=None)
@given(st.integers(1, 1 << 45), st.integers(0, 100))
def test_a_place_is_sent_to_where_it_is_sent_among_others(size: int, seed: int) -> None:
    places = np.unique(np.linspace(0, size - 1, 7).astype(np.int64))
    together = scattered(places, size, keys(seed))
    assert (together >= 0).all()
    assert (together < size).all()
    assert [int(scattered(places[i : i + 1], size, keys(seed))[0]) for i in range(len(places))] == together.tolist()


def test_neighbours_are_parted_as_chance_would_part_them() -> None:
    size = 100_000
    order = scattered(np.arange(size), size, keys(1))
    assert abs(np.corrcoef(np.arange(size), order)[0, 1]) < 0.02  # 6 standard errors
    assert abs(np.corrcoef(order[1:], order[:-1])[0, 1]) < 0.02
    assert abs(np.abs(np.diff(order)).mean() / size - 1 / 3) < 0.01
    assert (scattered(np.arange(size), size, keys(2)) == order).sum() < 20  # one place in common is to be expected
