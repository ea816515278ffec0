"""A permutation that is computed place by place, for as many windows as no array should hold.

A Feistel network of hashed halves (Luby & Rackoff 1988, How to construct pseudorandom permutations) permutes a power of
four; places that it sends beyond the size go through it again until they are within (Black & Rogaway 2002, Ciphers with
arbitrary finite domains, section 3: cycle walking). Less than four passes are to be expected.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

ROUNDS: Final = 6
_MIXERS: Final = (np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB))  # of splitmix64 (Steele et al. 2014)


def scattered(places: NDArray[np.integer], size: int, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Where a permutation of 0 … size - 1 sends these places, same shape. `keys`, (ROUNDS,), choose the permutation."""
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    found = places.astype(np.uint64)
    beyond = np.arange(len(found))
    while len(beyond):
        found[beyond] = _network(found[beyond], half, keys)
        beyond = beyond[found[beyond] >= size]
    return found.astype(np.int64)


def _network(numbers: NDArray[np.uint64], half: np.uint64, keys: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """One pass over numbers of twice `half` bits: each round turns (left, right) into (right, left xor hash(right))."""
    mask = np.uint64((1 << int(half)) - 1)
    left, right = numbers >> half, numbers & mask
    for key in keys:
        left, right = right, left ^ (_hash(right ^ key) & mask)
    return (left << half) | right


def _hash(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64; products wrap around."""
    first, second = _MIXERS
    numbers = (numbers ^ (numbers >> np.uint64(30))) * first
    numbers = (numbers ^ (numbers >> np.uint64(27))) * second
    return numbers ^ (numbers >> np.uint64(31))
