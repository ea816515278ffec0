"""Held-out loss: what a model pays, in nats, for text that it was not trained on."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import Kind
from microgpt.data.corpus import Corpus
from microgpt.data.counts import Mark
from microgpt.data.dataset import Dataset
from microgpt.data.nearest import refusal
from microgpt.data.reading import Text
from microgpt.data.retokenize import encoded
from microgpt.data.slices import Tokens, Views, fitting
from microgpt.data.split import Part, Split
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines.contract import Runner
from microgpt.errors import DataError, DivergedError, UsageError

CLUSTERS: Final = 32  # of windows: so many that their spread is known to an eighth, so few that each is long
AT_ONCE: Final = 64  # sequences in a call, between two looks at the clock


@dataclass(frozen=True)
class HeldOut:
    """Loss in nats per token and per character, each with its standard error (None for a single cluster).

    Of characters the two are one. Per character models of different tokens compare, so that is what a person is told;
    the end of a document counts as a character. `documents` counts sequences. `sums` and `counts`, both (documents,),
    are the summed loss and the predictions of each, in the order of the text. `stride` is how many predictions a window
    of running text brings, where that was asked for. `mark` is what the best table of counts scores, and `mixed` what
    model and table together do, where those were.
    """

    loss: float
    se: float | None
    per_character: float
    per_character_se: float | None
    documents: int
    tokens: int
    characters: int
    bits_per_character: float
    stride: int | None = None
    mark: Mark | None = None
    mixed: "HeldOut | None" = None
    sums: NDArray[np.float64] = field(default_factory=lambda: np.empty(0), compare=False, repr=False)
    counts: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64), compare=False, repr=False)

    @property
    def losses(self) -> NDArray[np.float64]:
        """The loss of each document in nats per token, (documents,)."""
        return self.sums / self.counts

    def to_dict(self) -> dict[str, float | int | None]:
        """The JSON of `eval`."""
        names = ("loss", "se", "documents", "tokens", "characters", "stride")
        told = {name: getattr(self, name) for name in names}
        told |= {"holdout_per_character": self.per_character, "holdout_per_character_se": self.per_character_se}
        mixed = (self.mixed.per_character, self.mixed.per_character_se) if self.mixed else (None, None)
        return told | {"counts": self.mark.loss if self.mark else None, "mixed": mixed[0], "mixed_se": mixed[1]}


def held_out_loss(runner: Runner, sequences: Sequence[Tokens], tokenizer: Tokenizer, kind: Kind, ctx: int) -> HeldOut:
    """The held-out loss of a model on sequences; there must be one at least."""
    return summarized(losses_of(runner, sequences), sequences, tokenizer, kind, ctx)


def losses_of(runner: Runner, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
    """The loss of each prediction, (predictions,), a few sequences at a time."""
    firsts = range(0, len(sequences), AT_ONCE)
    return np.concatenate([np.empty(0), *(runner.losses(sequences[first : first + AT_ONCE]) for first in firsts)])


def strided_losses(runner: Runner, windows: Sequence[Tokens], ctx: int, stride: int) -> NDArray[np.float64]:
    """The loss of each prediction of running text, which is cut into `windows`, (predictions,), by windows that begin
    `stride` tokens after one another: each but the first tells its last `stride` predictions alone, which have
    ctx - stride tokens before them or more. The stride is 1 … ctx."""
    text = np.concatenate([*(tokens[:-1] for tokens in windows), windows[-1][-1:]])
    starts = np.arange(0, max(1, len(text) - 1 - (ctx - stride)), stride)
    found = [np.empty(0)]
    for first in range(0, len(starts), AT_ONCE):
        few = starts[first : first + AT_ONCE]
        views = Views(text, few, np.minimum(few + ctx + 1, len(text)))
        ends = np.cumsum([len(view) - 1 for view in views])[:-1]
        each = np.split(runner.losses(views), ends)
        found += [losses[ctx - stride if start else 0 :] for start, losses in zip(few, each, strict=True)]
    return np.concatenate(found)


def summarized(
    losses: NDArray[np.float64], sequences: Sequence[Tokens], tokenizer: Tokenizer, kind: Kind, ctx: int
) -> HeldOut:
    """The held-out loss of predictions, (predictions,), whose sequences these are. Raises as `summarize`."""
    counts = np.array([min(len(tokens) - 1, ctx) for tokens in sequences], np.int64)
    with np.errstate(all="ignore"):
        sums = np.add.reduceat(losses, np.cumsum(counts) - counts)
    return summarize(sums, counts, sequences, tokenizer, kind, ctx)


def evaluations(
    runner: Runner, sequences: Sequence[Tokens], at_once: int = AT_ONCE
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.int64]]]:
    """Summed losses and numbers of predictions, a few sequences at a time, so that a caller can stop in between."""
    for first in range(0, len(sequences), at_once):
        yield runner.evaluate(sequences[first : first + at_once])


def summarize(
    sums: NDArray[np.float64],  # (documents,)
    counts: NDArray[np.int64],  # (documents,)
    sequences: Sequence[Tokens],
    tokenizer: Tokenizer,
    kind: Kind,
    ctx: int,
) -> HeldOut:
    """Summed loss over summed predictions, and over the characters predicted, with standard errors; and in bits.

    Bits per character are all the nats, those for the BOS that ends a document too, over ln 2 times the characters
    predicted. BOS is no character: what it costs to say that a document ends is shared by its characters.
    Raises `DivergedError` where a loss is not finite.
    """
    ends = 0 if kind == "windows" else sum(int((tokens[1 : 1 + ctx] == tokenizer.bos).sum()) for tokens in sequences)
    told = characters_of(sequences, tokenizer, ctx)
    loss, se = mean_loss(sums, counts, kind)
    per_character, per_character_se = mean_loss(sums, told, kind)
    return HeldOut(
        loss=loss,
        se=se,
        per_character=per_character,
        per_character_se=per_character_se,
        documents=len(sums),
        tokens=int(counts.sum()),
        characters=int(told.sum()),
        bits_per_character=float(sums.sum() / math.log(2) / max(int(told.sum()) - ends, 1)),
        sums=sums,
        counts=counts,
    )


def characters_of(sequences: Sequence[Tokens], tokenizer: Tokenizer, ctx: int) -> NDArray[np.int64]:
    """How many characters each sequence predicts, cropped to ctx predictions, (documents,); BOS counts as one."""
    if tokenizer.tokens == "characters":
        return np.array([min(len(tokens) - 1, ctx) for tokens in sequences], np.int64)
    return np.array([tokenizer.lengths[tokens[1 : 1 + ctx]].sum() for tokens in sequences], np.int64)


def mean_loss(
    sums: NDArray[np.float64], counts: NDArray[np.int64], kind: Kind, remedy: str = "train it anew"
) -> tuple[float, float | None]:
    """Summed loss over summed predictions or characters, both (documents,), and its standard error. Raises
    `DivergedError` where a loss is not finite."""
    if not np.isfinite(sums).all():
        raise DivergedError(f"expected a finite held-out loss, found another: the weights are too large; {remedy}.")
    return float(sums.sum() / max(int(counts.sum()), 1)), standard_error(*clusters(kind, sums, counts))


@dataclass(frozen=True)
class Comparison:
    """`difference` is one model's loss less another's on the same documents, in nats per token: below zero the first is
    better. It lies in `low` … `high` with the chance of `level`, as far as other documents of this text go; that other
    seeds would train other models is not in it."""

    difference: float
    se: float
    low: float
    high: float
    level: float
    documents: int


def compare(first: HeldOut, second: HeldOut, kind: Kind, level: float) -> Comparison:
    """The paired difference of two losses on the same predictions, with a t-interval over clusters of documents.

    Raises `UsageError` where the predictions differ, or are of a single cluster.
    """
    if not np.array_equal(first.counts, second.counts):
        raise UsageError(
            f"expected the same predictions of both runs, found {first.tokens:,} and {second.tokens:,}: they see "
            "documents of different length (ctx); compare runs of one ctx."
        )
    differences = clusters(kind, first.sums - second.sums, first.counts)
    se = standard_error(*differences)
    if se is None:
        raise UsageError("expected two held-out documents or more to compare on, found one; hold more out.")
    middle, half = first.loss - second.loss, t_quantile((1 + level) / 2, len(differences[0]) - 1) * se
    return Comparison(middle, se, middle - half, middle + half, level, first.documents)


def t_quantile(probability: float, freedom: int) -> float:
    """Student's t with `freedom` of 1 or more, that so much probability (from one half) lies below.

    Exact for 1 and 2, then the expansion of Abramowitz & Stegun 1964, 26.7.5, to within a thousandth up to 0.975.
    """
    if freedom == 1:
        return math.tan(math.pi * (probability - 0.5))
    if freedom == 2:
        return (2 * probability - 1) * math.sqrt(0.5 / (probability * (1 - probability)))
    from statistics import NormalDist

    z = NormalDist().inv_cdf(probability)
    terms = (
        z,
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return math.fsum(term / freedom**power for power, term in enumerate(terms))


def clusters(
    kind: Kind, sums: NDArray[np.float64], counts: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Summed losses and predictions of what is independent: documents or, of running text, stretches of windows."""
    return (contiguous(sums), contiguous(counts)) if kind == "windows" else (sums, counts)


def standard_error(sums: NDArray[np.float64], counts: NDArray[Any]) -> float | None:
    """Standard error of R = Σ yᵢ / Σ nᵢ, for k clusters of summed loss yᵢ and nᵢ predictions, or characters.

    se² = k / (k − 1) · Σ (yᵢ − R nᵢ)² / (Σ nᵢ)²: the linearised variance of a ratio (Cochran 1977, Sampling
    Techniques, chapter 6), which for clusters is that of Miller 2024, Adding Error Bars to Evals, section 2.2.
    Tokens of a document are not independent of each other, so the document, not the token, is the unit.
    """
    if len(sums) < 2 or not counts.any():
        return None
    residuals = sums - sums.sum() / counts.sum() * counts
    return float(math.sqrt(len(sums) / (len(sums) - 1) * (residuals @ residuals)) / counts.sum())


def contiguous(values: NDArray[Any]) -> NDArray[Any]:
    """Sums over at most CLUSTERS stretches of neighbouring windows, which share a scene and are not independent."""
    edges = np.linspace(0, len(values), min(CLUSTERS, len(values)) + 1).astype(int)
    return np.add.reduceat(values, edges[:-1])


def sequences_of(text: Text, tokenizer: Tokenizer, kind: Kind, ctx: int) -> Sequence[Tokens]:
    """Another text as sequences for the model of this tokenizer; those of running text are made as they are asked for.

    Raises `DataError` for unknown characters, or a text that was prepared in other tokens than the model's.
    """
    corpus, table = Corpus.of(text, kind), None
    if text.counts is None and text.unit == "characters" and tokenizer.tokens != "characters":
        if unknown := tokenizer.unknown(corpus.tokenizer.characters):
            raise DataError(refusal(unknown, tokenizer.characters))
        corpus = encoded(corpus, tokenizer)
    found, same = corpus.tokenizer, corpus.tokenizer.characters == tokenizer.characters
    if (found.unit, found.merges) != (tokenizer.unit, tokenizer.merges) or (found.merges and not same):
        raise DataError(
            f"{text.name}: expected {tokenizer.tokens}, as this model has, found other tokens ({found.tokens}); give "
            "the text itself."
        )
    if not same:
        table = np.append(tokenizer.encode(found.characters), tokenizer.bos).astype(fitting(tokenizer.bos))
    if kind == "windows":
        starts = np.arange(0, len(corpus.tokens) - 1, ctx)
        return Views(corpus.tokens, starts, np.minimum(starts + ctx + 1, len(corpus.tokens)), table)
    tokens = corpus.tokens if table is None else table[corpus.tokens]
    corpus = replace(corpus, tokenizer=tokenizer, tokens=tokens)
    whole, nothing = Part(corpus.edges[:-1], corpus.edges[1:] + 1), corpus.edges[:0]
    split = Split(corpus, 0.0, 0, nothing, Part(nothing, nothing), whole)
    return Dataset.of(split, ctx=ctx, order="fixed").held_out()
