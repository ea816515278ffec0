"""The table of counts: against the formula of the paper, written out; its probabilities; its marks on known texts."""

import math
from collections import Counter, defaultdict
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.data.corpus import Corpus
from microgpt.data.counts import CHOOSING, MOST, Table, best_table, mark, told
from microgpt.data.dataset import Dataset
from microgpt.data.kneser_ney import LONGEST, USUAL
from microgpt.data.markov import Chain
from microgpt.data.reading import Text, read, text_from
from microgpt.data.retokenize import retokenized
from microgpt.data.split import Split

Gram = tuple[int, ...]


def discounts(counts: Counter[Gram]) -> list[float]:
    """Chen & Goodman 1999, equation 26."""
    n = [sum(count == j for count in counts.values()) for j in range(5)]
    if not (n[1] and n[2] and n[3]):
        return list(USUAL)
    y = n[1] / (n[1] + 2 * n[2])
    found = [0.0, *(j - (j + 1) * y * n[j + 1] / n[j] for j in (1, 2, 3))]
    return found if min(found[1:]) > 0 else list(USUAL)


class Direct:
    """A table of grams of up to `order` characters from the paper: dictionaries, one probability at a time."""

    def __init__(self, text: Sequence[int], order: int, symbols: int, begin: int | None) -> None:
        self.order, self.symbols, self.begin = order, symbols, begin
        raw = [Counter[Gram]() for _ in range(order + 1)]
        for place in range(1, len(text)):
            context = self.context(text, place, order)
            for length in range(len(context) + 1):
                raw[length + 1][(*context[len(context) - length :], text[place])] += 1
        self.counts = [Counter[Gram](), *raw[1:]]
        for length in range(1, order):
            before: defaultdict[Gram, set[int]] = defaultdict(set)
            for gram in raw[length + 1]:
                before[gram[1:]].add(gram[0])
            self.counts[length] = Counter({gram: len(before[gram]) or raw[length][gram] for gram in raw[length]})
        self.discounts = [discounts(counts) for counts in self.counts]

    def context(self, text: Sequence[int], place: int, order: int) -> Gram:
        """The last characters before a place, as far back as the document begins, or the text."""
        context: Gram = ()
        while len(context) < order - 1 and place - len(context) >= 1:
            context = (text[place - len(context) - 1], *context)
            if context[0] == self.begin:
                break
        return context

    def probability(self, context: Gram, character: int) -> float:
        lower = self.probability(context[1:], character) if context else 1 / self.symbols
        counts, discount = self.counts[len(context) + 1], self.discounts[len(context) + 1]
        row = [counts[(*context, other)] for other in range(self.symbols)]
        if not sum(row):
            return lower
        spared = sum(discount[min(count, 3)] for count in row)
        own = counts[(*context, character)]
        return (own - discount[min(own, 3)] + spared * lower) / sum(row)

    def loss(self, text: Sequence[int], places: Sequence[int]) -> float:
        told = [self.probability(self.context(text, place, self.order), text[place]) for place in places]
        return -sum(map(math.log, told)) / len(told)


@st.composite
def texts(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int, int | None]:
    """A training and a held-out text, how many characters there are, and the mark between documents, if any."""
    symbols = draw(st.integers(2, 5))
    begin = draw(st.sampled_from([None, symbols - 1]))
    most = symbols - 1 if begin is None else symbols - 2
    both = []
    for size in (draw(st.integers(2, 120)), draw(st.integers(2, 30))):
        text = draw(
            st.lists(st.integers(0, symbols - 1 if draw(st.booleans()) else most), min_size=size, max_size=size)
        )
        both.append(np.array(text if begin is None else [begin, *text, begin], np.uint8))
    return both[0], both[1], symbols, begin


@given(texts())
@settings(max_examples=200, deadline=None)
def test_it_is_the_formula_of_the_paper(drawn: tuple[np.ndarray, np.ndarray, int, int | None]) -> None:
    training, held_out, symbols, begin = drawn
    found = best_table(training, held_out, np.arange(len(held_out)) > 0, symbols, begin)
    text, cut = training.tolist(), int(len(training) * (1 - CHOOSING))
    chosen, lowest = 0, math.inf
    for order in range(1, LONGEST + 1):
        loss = Direct(text[:cut], order, symbols, begin).loss(text, range(cut, len(text)))
        if loss >= lowest or math.isclose(loss, lowest, rel_tol=1e-12):
            break
        chosen, lowest = order, loss
    assert found.order == chosen or math.isclose(loss, lowest, rel_tol=1e-12)  # equal but for rounding
    told = Direct(text, found.order, symbols, begin)
    assert found.loss == pytest.approx(told.loss(held_out.tolist(), range(1, len(held_out))), rel=1e-9)


@given(texts())
@settings(max_examples=100, deadline=None)
def test_the_probabilities_of_all_next_characters_sum_to_one(
    drawn: tuple[np.ndarray, np.ndarray, int, int | None],
) -> None:
    training, context, symbols, begin = drawn
    context = context[:-1]
    measured = np.arange(len(context) + 1) == len(context)
    losses = [
        best_table(training, np.append(context, np.uint8(following)), measured, symbols, begin).loss
        for following in range(symbols)
    ]
    assert max(losses) < math.inf
    assert sum(math.exp(-loss) for loss in losses) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("kind", ["lines", "windows"])
@given(st.text("ab\n", min_size=60, max_size=300), st.text("ab", min_size=1, max_size=30))
@settings(max_examples=50, deadline=None)
def test_what_it_writes_with_is_what_it_is_told_by(kind: str, text: str, more: str) -> None:
    split = Split.of(Corpus.of(text_from(f"ab\nba\naa\n{text}"), kind), 0.0, 0)
    bos, tokenizer = split.corpus.tokenizer.bos, split.corpus.tokenizer
    begin = [] if kind == "windows" else [bos]
    tokens = np.array([*begin, *tokenizer.encode(f"a{more}"), *begin], np.uint8)
    found, table = told(split, [tokens], len(tokens)), Table(split)
    for place, probability in enumerate(found.probabilities, 1):
        written = table.next(tokens[:place].tolist())
        assert written.sum() == pytest.approx(1, rel=1e-12)
        assert written[tokens[place]] == pytest.approx(probability, rel=1e-12)
        assert kind == "lines" or written[bos] == 0


def marked(text: Text, kind: str, ctx: int, holdout: float = 0.1) -> tuple[Dataset, float, int]:
    dataset = Dataset.of(Split.of(Corpus.of(text, kind), holdout, 0), ctx=ctx)
    found = mark(dataset.split, dataset.held_out(), ctx)
    assert found
    return dataset, found.loss, found.characters


def test_on_names_it_beats_most_models() -> None:
    _, loss, characters = marked(read(["names"]), "auto", 16)
    assert loss == pytest.approx(1.9963, abs=1e-4)
    assert characters == 193_259


def test_of_a_chain_it_learns_nearly_all_that_can_be_known() -> None:
    chain = Chain(order=2, letters=5, evenness=0.5, seed=1)
    text = text_from(chain.text(200_000))
    dataset, loss, _ = marked(text, "windows", 16)
    floor = chain.best_loss(dataset.tokens[None, -20_000:].astype(int))
    assert floor - 0.001 < loss < floor + 0.005


def test_of_byte_pairs_it_is_told_per_character_of_what_is_held_out() -> None:
    words, letters = "the cat and the dog sat on the mat ", np.random.default_rng(0).choice(list("abcdefgh "), 800)
    split = retokenized(Split.of(Corpus.of(text_from(words * 200 + "".join(letters)), "windows"), 0.1, 0), "bpe:30")
    dataset = Dataset.of(split, ctx=16)
    found = told(split, dataset.held_out(), 16)
    tokenizer = split.corpus.tokenizer
    held_out = np.concatenate([tokens[1:] for tokens in dataset.held_out()])
    assert found.length == pytest.approx(len(tokenizer.decode(held_out)) / len(held_out))
    assert found.length < 0.7 * tokenizer.lengths[split.corpus.tokens].mean()  # noise has shorter tokens than words
    assert found.loss == pytest.approx(-np.log(found.probabilities).sum() / len(tokenizer.decode(held_out)))


@pytest.mark.parametrize("ctx", [4, 16])
def test_a_text_without_any_order_is_worth_its_frequencies(ctx: int) -> None:
    text = "".join(np.random.default_rng(0).choice(list("abcdefgh"), 40_000, p=[0.2, 0.2, *[0.1] * 6]))
    dataset, loss, _ = marked(text_from(text), "windows", ctx)
    assert loss == pytest.approx(dataset.unigram, abs=0.003)


def test_the_end_of_a_cropped_document_is_not_predicted() -> None:
    text = text_from("\n".join(f"ab{middle}{'c' * 9}" for middle in "ghijklmnopqrstuvwxyz" * 2))
    _, cropped, _ = marked(text, "lines", 2, 0.5)
    _, whole, _ = marked(text, "lines", 20, 0.5)
    assert cropped < 0.1  # ab, as always
    assert whole > cropped


def test_of_a_long_text_a_part_from_all_over_it_is_counted() -> None:
    text = np.random.default_rng(0).integers(0, 4, 3 * MOST // 2)
    text[: len(text) // 2] %= 2
    string = (text + ord("a")).astype(np.uint8).tobytes().decode()
    _, loss, characters = marked(text_from(string), "windows", 64, 0.01)
    assert characters <= MOST
    assert loss < 1.5  # by the frequencies of all 1.53, and of the first half, where two of four never occur, far more


def test_nothing_held_out_has_no_mark() -> None:
    dataset = Dataset.of(Split.of(Corpus.of(text_from("abc\nabd")), 0, 0), ctx=4)
    assert mark(dataset.split, dataset.held_out(), 4) is None


def test_an_alphabet_of_thousands_has_shorter_grams() -> None:
    stream = np.random.default_rng(0)
    text = stream.integers(0, 5000, 20_000)
    text[1::2] = (text[::2] * 7 + 1) % 5000  # each second character follows from the first
    found = best_table(
        text[:18_000].astype(np.uint16), text[18_000:].astype(np.uint16), np.arange(2000) > 0, 5000, None
    )
    assert 1 < found.order <= 64 // 13
    assert found.loss < math.log(5000)
