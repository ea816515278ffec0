"""A text whose truth is known: letters of a random Markov chain, with the exact entropy rate of their source.

The chain of order k draws each character given the k before it. No model can lose less than the entropy rate per
character, in the long run, and a perfect one loses just that: it is the E that a scaling law should find.

The same chain and seed give the same text; a longer text begins with the shorter one. `--data markov` is the text of
`ENDLESS`.
"""

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.errors import DataError

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"
MOST_CONTEXTS: Final = 1 << 16  # of which each has a row of probabilities
CHUNK: Final = 1 << 16  # random numbers that are drawn at once
TOLERANCE: Final = 1e-14  # of the stationary distribution, as the sum of what a step changes
ROUNDS: Final = 100_000
FEW_CONTEXTS: Final = 512  # for which equations are solved
LEAST: Final = 1e-4  # so that every letter can follow every context


@dataclass(frozen=True)
class Chain:
    """A source of characters: its order, its letters, how uneven its probabilities are, and the seed that drew them.

    The probabilities of a context are drawn from a Dirichlet distribution about those of the context without its oldest
    letter, as in natural text: each letter further back adds something. The lower the `evenness`, the more it adds.
    Raises `DataError` for what can't be.
    """

    order: int = 3
    letters: int = 12
    evenness: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if not 2 <= self.letters <= len(ALPHABET):
            raise DataError(f"A chain has 2 to {len(ALPHABET)} letters, found {self.letters}.")
        if self.order < 1 or self.letters**self.order > MOST_CONTEXTS:
            raise DataError(
                f"A chain has an order of 1 or more and at most {MOST_CONTEXTS:,} contexts, found order {self.order} "
                f"over {self.letters} letters; take a lower order or fewer letters."
            )
        if not 0.01 <= self.evenness <= 100:
            raise DataError(f"A chain's evenness is 0.01 to 100, found {self.evenness}.")

    @property
    def contexts(self) -> int:
        """How many different strings of `order` letters there are."""
        count: int = self.letters**self.order
        return count

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """P(letter | context), (contexts, letters), none zero. The last letter of a context is its lowest digit."""
        stream = np.random.default_rng([self.seed, 0])
        rows = np.full((1, self.letters), 1 / self.letters)
        for _ in range(self.order + 1):  # from no context to the whole one, a letter at a time
            drawn = stream.gamma(self.evenness * self.letters * rows) + LEAST
            rows = np.tile(drawn / drawn.sum(axis=1, keepdims=True), (self.letters, 1))
        return rows[: self.contexts]

    @cached_property
    def stationary(self) -> NDArray[np.float64]:
        """How often each context occurs in the long run (contexts,): the distribution that a step leaves as it is.

        Every letter can follow every context, so there is one such distribution, and steps from anywhere lead to it.
        """
        if self.contexts <= FEW_CONTEXTS:
            return self._solved()
        now = np.full(self.contexts, 1 / self.contexts)
        for _ in range(ROUNDS):
            after = (now + self.after(now)) / 2  # half a step: whole ones may go round in a circle
            after /= after.sum()  # which rounding would let drift
            if np.abs(after - now).sum() < TOLERANCE:
                return after
            now = after
        return now

    def _solved(self) -> NDArray[np.float64]:
        """The stationary distribution as the solution of linear equations: quick where there are few contexts, and
        right where steps would take for ever, as between two contexts that hardly ever lead to each other."""
        steps = np.stack([self.after(one) for one in np.eye(self.contexts)], axis=1)  # (contexts, contexts)
        equations = steps - np.eye(self.contexts)
        equations[-1] = 1.0  # the last equation follows from the others; instead, all sum to one
        return np.asarray(np.linalg.solve(equations, np.eye(self.contexts)[-1]))

    def after(self, contexts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The distribution of contexts one letter later. (contexts,)"""
        joint = contexts[:, None] * self.probabilities  # (contexts, letters)
        # The oldest letter falls out, and the new one comes in as the lowest digit.
        return np.asarray(joint.reshape(self.letters, -1, self.letters).sum(axis=0).reshape(-1))

    @cached_property
    def entropy_rate(self) -> float:
        """Nats per character that nobody can do without: the mean entropy of the next letter, each context counted as
        often as it occurs (Shannon 1948, theorem 5)."""
        each = -(self.probabilities * np.log(self.probabilities)).sum(axis=1)
        return float(self.stationary @ each)

    def entropy_knowing(self, letters: int) -> float:
        """Nats per character for a reader who sees only the last so many letters, at most `order`: what a model of
        shorter memory can reach, and with 0 letters the entropy of their frequencies. Falls to the entropy rate."""
        joint = self._joint(letters)
        return float(-(joint * np.log(joint / joint.sum(axis=1, keepdims=True))).sum())

    def _joint(self, letters: int) -> NDArray[np.float64]:
        """How often so many letters are followed by each one. (contexts of so many letters, letters)"""
        joint = (self.stationary[:, None] * self.probabilities).reshape(-1, self.letters**letters, self.letters)
        return np.asarray(joint.sum(axis=0))

    def floor(self, ctx: int) -> float:
        """Nats per character at the least for windows of so many predictions, the first of which sees one letter: the
        mean over positions of what can be known there. The E of a model that is scored so; above the entropy rate."""
        first = sum(self.entropy_knowing(seen) for seen in range(1, min(ctx, self.order) + 1))
        return (first + max(0, ctx - self.order) * self.entropy_rate) / ctx

    def best_loss(self, windows: NDArray[np.integer[Any]]) -> float:
        """Nats per prediction of a reader who knows the chain, for these windows of letters as numbers (windows, ctx +
        1), each seen from its first letter on: what `floor` is on average."""
        total, contexts = 0.0, windows[:, 0].astype(np.intp)
        for place in range(1, windows.shape[1]):
            joint = self._joint(min(place, self.order))
            known = joint / joint.sum(axis=1, keepdims=True)
            total -= float(np.log(known[contexts, windows[:, place]]).sum())
            contexts = (contexts * self.letters + windows[:, place]) % int(self.letters ** min(place + 1, self.order))
        return float(total / windows[:, 1:].size)

    @property
    def told(self) -> str:
        """What to know of a loss on this source. Beyond the order, the floor of a ctx falls as 1 / ctx."""
        ctx = max(16, self.order)
        first = (self.floor(ctx) - self.entropy_rate) * ctx
        return (
            f"its entropy rate is {self.entropy_rate:.4f} nats per character; on average over a long text no model has "
            f"a loss below {self.entropy_rate:.4f} + {first:.4f} / ctx, which is {self.floor(ctx):.4f} at ctx {ctx}"
        )

    def text(self, characters: int, seed: int = 0) -> str:
        """A text of so many characters that begins in the long run. Raises `DataError` for fewer than one."""
        if characters < 1:
            raise DataError(f"A text has 1 character or more, found {characters}.")
        return "".join(self.parts(characters, seed))

    def parts(self, characters: int, seed: int = 0) -> Iterator[str]:
        """The same in parts of at most CHUNK characters, so that a long text need not be held."""
        stream = np.random.default_rng([self.seed, 1, seed])
        context = int(np.searchsorted(np.cumsum(self.stationary), stream.random(), side="right"))
        context = min(context, self.contexts - 1)
        borders = np.cumsum(self.probabilities, axis=1)[:, :-1].tolist()  # where one letter ends and the next begins
        for done in range(0, characters, CHUNK):
            draws = stream.random(CHUNK).tolist()[: characters - done]
            part, context = self._part(context, draws, borders)
            yield part

    def _part(self, context: int, draws: list[float], borders: list[list[float]]) -> tuple[str, int]:
        """A letter for each draw, and the context after the last."""
        letters, contexts, out = self.letters, self.contexts, []
        for draw in draws:
            letter = bisect_right(borders[context], draw)
            out.append(ALPHABET[letter])
            context = (context * letters + letter) % contexts
        return "".join(out), context


ENDLESS: Final = Chain()
