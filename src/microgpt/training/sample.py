"""Writing text with a model: token after token, each drawn from the probabilities that the ones before it give."""

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import DataError, DivergedError, UsageError
from microgpt.model.settings import LARGEST_NUMBER, flag, plain, shown
from microgpt.model.state import SAMPLES_STREAM

TRIES: Final = 100  # for each sample that must be new, before giving up
MOST_SAMPLES: Final = 100_000  # of one call: they are kept until the last is written
LONGEST_SAMPLE: Final = 1_000_000  # characters of one of them
BLANK: Final = 0.25  # share of samples without a character to see that is worth a word


@dataclass(frozen=True)
class Sampling:
    """How to write. At `temperature` 0 the likeliest token is taken, and None is what suits the text; `top_k` 0 draws
    from all tokens; `length` is the most characters of running text (documents end by themselves). Raises
    `UsageError`."""

    count: int = 5
    temperature: float | None = None
    top_k: int = 0
    prompt: str = ""
    length: int = 256

    def __post_init__(self) -> None:
        for name, kind in (("count", int), ("temperature", float), ("top_k", int), ("prompt", str), ("length", int)):
            object.__setattr__(self, name, plain(kind, getattr(self, name)))
        asked = self.temperature
        if asked is not None and (type(asked) is not float or not 0 <= asked < float("inf")):
            raise UsageError(f"--temperature must be a number of 0 or more, found {shown(asked)}; 0.5 is usual.")
        for name, low, high in (
            ("count", 0, MOST_SAMPLES),
            ("top_k", 0, LARGEST_NUMBER),
            ("length", 1, LONGEST_SAMPLE),
        ):
            value = getattr(self, name)
            if type(value) is not int or not low <= value <= high:
                raise UsageError(f"{flag(name)} must be a whole number from {low} to {high:,}, found {shown(value)}.")
        if type(self.prompt) is not str:
            raise UsageError(f"--prompt must be text, found {shown(self.prompt)}; an empty one begins anywhere.")


@dataclass(frozen=True)
class Samples:
    """Texts, the tokens drawn for them, how many stand in the training text (None where that was not looked up), how
    many copies were rejected, and the seconds that drawing took."""

    texts: tuple[str, ...]
    tokens: int
    copied: int | None = None
    rejected: int = 0
    seconds: float = field(default=0.0, compare=False)


class Predicting(Protocol):
    """What tells the probabilities of the next token: a runner, or one mixed with a table of counts."""

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        """Probabilities (vocabulary,) of the token after a prefix of 1 to ctx tokens."""
        ...


@dataclass(frozen=True)
class Writer:
    """A model that writes documents or running text."""

    runner: Predicting
    tokenizer: Tokenizer
    kind: Kind
    ctx: int

    def write(
        self,
        sampling: Sampling,
        stream: random.Random,
        *,
        stands_in_text: Callable[[str], bool] | None = None,
        new: bool = False,
        tell: Callable[[str], None] = lambda text: None,
    ) -> Samples:
        """So many samples, each told as soon as it is there; copies of the training text are counted or, with `new`,
        drawn again.

        After TRIES copies for each sample asked for there are fewer samples. Raises what `samples` raises.
        """
        samples = self.samples(sampling, stream)
        texts: list[str] = []
        copied = drawn = rejected = 0
        seconds = 0.0
        while len(texts) < sampling.count and rejected < TRIES * sampling.count:
            start = time.perf_counter()
            prompt, *pieces = next(samples)
            seconds += time.perf_counter() - start
            drawn += len(pieces)
            text = "".join([prompt, *pieces])
            copy = stands_in_text is not None and stands_in_text(text)
            if copy and new:
                rejected += 1
                continue
            copied += copy
            texts.append(text)
            tell(text)
        return Samples(tuple(texts), drawn, None if stands_in_text is None else copied, rejected, seconds)

    def samples(self, sampling: Sampling, stream: random.Random) -> Iterator[Iterator[str]]:
        """Samples without end, each piece by piece as it is drawn: the prompt, then the text of one token after
        another, which for the BOS that ends a document is empty.

        All draw from one stream, so take every piece of a sample before the next. Raises `DataError` at once for a
        prompt with characters that are unknown or that no document of this kind has, `UsageError` for one that leaves
        a document no room.
        """
        prompt = self._prompt(sampling.prompt)
        return (self._pieces(prompt, sampling, stream) for _ in itertools.count())

    def remarks(self, sampling: Sampling) -> Iterator[str]:
        """What is to be said of a prompt that is longer than the model or the sample. Raises as `samples` does."""
        prompt = self._prompt(sampling.prompt)
        size = len(prompt)
        if self.kind != "windows":
            return
        if size > self.ctx:
            yield f"the prompt has {size:,} {self._units}; the model sees the last {self.ctx:,} of them (its ctx)"
        if self._characters(prompt) >= sampling.length:
            yield f"the prompt fills --length {sampling.length}, so nothing follows it; a larger --length goes on"

    def next(self, text: str) -> dict[str, float]:
        """The probability of each token to come next after a text, by its own text, the likeliest first; "" is the end
        of a document, which running text has none of. Of bytes, each is the character of its number. Raises as
        `samples`."""
        tokens, running = self._prompt(text), self.kind == "windows"
        tokens = (tokens or [opening(self.tokenizer)])[-self.ctx :] if running else [self.tokenizer.bos, *tokens]
        probabilities = self.runner.next(tokens).copy()
        if running:
            probabilities[self.tokenizer.bos] = 0.0
            probabilities /= probabilities.sum()
        names = [*self.tokenizer.texts, *([] if running else [""])]
        pairs = zip(names, probabilities.tolist(), strict=False)
        return dict(sorted(pairs, key=lambda pair: -pair[1]))

    def _prompt(self, text: str) -> list[int]:
        """The tokens of a prompt that can be gone on from. Raises as `samples` does."""
        if self.kind == "lines" and "\n" in text:
            raise DataError(
                "expected a prompt of one line, since this run was trained on lines, found a line break; "
                "leave it out, or train with --documents paragraphs or windows."
            )
        tokens: list[int] = self.tokenizer.encode(text).tolist()
        if self.kind != "windows" and len(tokens) >= self.ctx:
            raise UsageError(
                f"--prompt must leave room to write: at most {self.ctx - 1} {self._units} for a model of ctx "
                f"{self.ctx}, found {len(tokens)}; shorten it."
            )
        return tokens

    def _pieces(self, prompt: Sequence[int], sampling: Sampling, stream: random.Random) -> Iterator[str]:
        text = self.tokenizer.decode(prompt)
        yield text
        room = max(0, sampling.length - len(text)) if self.kind == "windows" else LONGEST_SAMPLE
        for piece in self.tokenizer.pieces(self._continuation(prompt, sampling, stream)):
            yield piece[:room]  # the last token may reach beyond the length
            room -= len(piece[:room])

    def _continuation(self, prompt: Sequence[int], sampling: Sampling, stream: random.Random) -> Iterator[int]:
        draw = self._document if self.kind != "windows" else self._running
        return draw(prompt, sampling, stream)

    def _document(self, prompt: Sequence[int], sampling: Sampling, stream: random.Random) -> Iterator[int]:
        """Tokens until BOS ends the document or ctx is full, as in training."""
        tokens = [self.tokenizer.bos, *prompt]
        while len(tokens) <= self.ctx:
            weights = self._weights(self.runner.next(tokens), sampling)
            token = stream.choices(range(len(weights)), weights)[0]
            yield token
            if token == self.tokenizer.bos:
                return
            tokens.append(token)

    def _running(self, prompt: Sequence[int], sampling: Sampling, stream: random.Random) -> Iterator[int]:
        """Tokens of running text, in which BOS never occurs.

        When ctx is full, the model goes on from the latter half of it: moving by one token would move every position,
        and the key/value cache would serve none.
        """
        tokens = list(prompt) or [opening(self.tokenizer)]
        tokens = tokens[-self.ctx :]
        left = sampling.length - self._characters(prompt)
        while left > 0:
            probabilities = self.runner.next(tokens).copy()
            probabilities[self.tokenizer.bos] = 0.0
            weights = self._weights(probabilities, sampling)
            token = stream.choices(range(len(weights)), weights)[0]
            yield token
            left -= max(1, int(self.tokenizer.lengths[token]))
            if len(tokens) == self.ctx:
                tokens = tokens[-(self.ctx // 2) :] if self.ctx > 1 else []
            tokens.append(token)

    @property
    def _units(self) -> str:
        return "characters" if self.tokenizer.tokens == "characters" else "tokens"

    def _characters(self, tokens: Sequence[int]) -> int:
        """About how many characters these are: a byte counts as one."""
        return sum(max(1, int(self.tokenizer.lengths[token])) for token in tokens)

    def _weights(self, probabilities: NDArray[np.float64], sampling: Sampling) -> list[float]:
        asked = sampling.temperature
        return tempered(probabilities, usual_temperature(self.kind) if asked is None else asked, sampling.top_k)


def opening(tokenizer: Tokenizer) -> int:
    """What stands before running text without a prompt: a line break, else a space, else the first character."""
    known = tokenizer.characters
    return next((known.index(mark) for mark in "\n " if mark in known), 0)


def usual_temperature(kind: Kind) -> float:
    """What samples are drawn at: 0.5, but 0.8 for running text, of which indented ones are blank at 0.5."""
    return 0.8 if kind == "windows" else 0.5


def blank(texts: Sequence[str]) -> Iterator[str]:
    """What is to be said of many samples in which there is nothing to see."""
    if (count := sum(not text.strip() for text in texts)) > BLANK * len(texts):
        yield f"{count} of {len(texts)} samples are blank: a higher --temperature, or a longer training, writes more"


def tempered(probabilities: NDArray[np.float64], temperature: float, top_k: int = 0) -> list[float]:
    """Probabilities p to p^(1/temperature), the most probable at 1, of all tokens or of the `top_k` most probable;
    at temperature 0 of the most probable alone.

    Of equals the lower token id is kept. In logarithms, so that no temperature is too small. Raises `DivergedError`
    where a probability is not finite.
    """
    if not np.isfinite(probabilities).all():
        raise DivergedError("expected finite probabilities, found others: the weights are too large; train it anew.")
    if temperature == 0:
        top_k = 1
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        logs = np.log(probabilities)
        below = logs - logs.max()
        weights = np.exp(np.where(below == 0, 0.0, below / temperature))
    if 0 < top_k < len(weights):
        weights[np.argsort(-probabilities, kind="stable")[top_k:]] = 0.0
    chosen: list[float] = weights.tolist()
    return chosen


def samples_stream(seed: int) -> random.Random:
    """The stream that a seed gives to samples, apart from those of weights and order."""
    words = np.random.SeedSequence([seed, SAMPLES_STREAM]).generate_state(4)
    return random.Random(int.from_bytes(words.tobytes(), "little"))


def random_stream(state: tuple[Any, ...]) -> random.Random:
    """A golden run's stream, where it stood when the state was taken."""
    stream = random.Random()
    stream.setstate(state)
    return stream
