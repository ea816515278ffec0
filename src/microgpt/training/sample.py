"""Writing text with a model: token after token, each drawn from the probabilities that the ones before it give."""

import itertools
import random
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines.contract import Drawing, Prompts, Written
from microgpt.engines.drawing import one_by_one
from microgpt.errors import DataError, UsageError
from microgpt.model.settings import LARGEST_NUMBER, flag, plain, shown
from microgpt.model.state import SAMPLES_STREAM

TRIES: Final = 100  # for each sample that must be new, before giving up
MOST_SAMPLES: Final = 1_000_000  # of one call: who asks for texts, and is not only told them, keeps all
LONGEST_SAMPLE: Final = 1_000_000  # characters of one of them
BLANK: Final = 0.25  # share of samples without a character to see that is worth a word
AT_ONCE: Final = 4096  # samples that are drawn at once at most,
MOST_NUMBERS: Final = 1 << 22  # and numbers that they may need


@dataclass(frozen=True)
class Sampling:
    """How to write. At `temperature` 0 the likeliest token is taken, and None is what suits the text; `top_k` 0,
    `top_p` 1 and `min_p` 0 draw from all tokens (see `Drawing`); `length` is the most characters of running text
    (documents end by themselves), and a sample ends before the first text of `stop` that is written. Raises
    `UsageError`."""

    count: int = 5
    temperature: float | None = None
    top_k: int = 0
    prompt: str = ""
    length: int = 256
    top_p: float = 1.0
    min_p: float = 0.0
    stop: Sequence[str] = ()

    def __post_init__(self) -> None:
        kinds = {"count": int, "temperature": float, "top_k": int, "prompt": str, "length": int}
        for name, kind in (kinds | {"top_p": float, "min_p": float}).items():
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
        if type(self.top_p) is not float or not 0 < self.top_p <= 1:
            raise UsageError(f"--top-p must be a number above 0, up to 1, found {shown(self.top_p)}; 1 is all tokens.")
        if type(self.min_p) is not float or not 0 <= self.min_p <= 1:
            raise UsageError(f"--min-p must be a number from 0 to 1, found {shown(self.min_p)}; 0 is all tokens.")
        if type(self.prompt) is not str:
            raise UsageError(f"--prompt must be text, found {shown(self.prompt)}; an empty one begins anywhere.")
        stop = (self.stop,) if isinstance(self.stop, str) else self.stop
        if not isinstance(stop, list | tuple) or not all(isinstance(text, str) and text for text in stop):
            raise UsageError(f"--stop must be text of a character or more, found {shown(self.stop)}; leave it out.")
        object.__setattr__(self, "stop", tuple(map(str.__str__, stop)))


@dataclass(frozen=True)
class Samples:
    """Texts, where they are kept; how many were `written`, how many of them are `blank` and how many stand in the
    training text (None where that was not looked up); the tokens drawn for them, the copies that were rejected, and the
    seconds that drawing took."""

    texts: tuple[str, ...]
    tokens: int
    copied: int | None = None
    rejected: int = 0
    seconds: float = field(default=0.0, compare=False)
    written: int = 0
    blank: int = 0


class Predicting(Protocol):
    """What tells the probabilities of the next token: a runner, or one mixed with a table of counts."""

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        """Probabilities (vocabulary,) of the token after a prefix of 1 to ctx tokens."""
        ...

    def write(
        self, prompts: Prompts, uniforms: NDArray[np.float64], drawing: Drawing, sizes: NDArray[np.int64] | None = None
    ) -> Iterator[Written]:
        """Documents that go on from prompts, as `Runner.write` draws them."""
        ...


@dataclass(frozen=True)
class Writer:
    """A model that writes documents or running text.

    A sample has its own numbers of the stream: as many as it can draw tokens, in a row. So it is the same text
    whatever is drawn with it, and however early those before it end.
    """

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
        tell: Callable[[Sequence[str]], None] = lambda texts: None,
        keep: bool = True,
        gapless: bool = False,
    ) -> Samples:
        """So many samples, told in their order as they come, some at once; without `keep` they are only told. Copies of
        the training text are counted or, with `new`, drawn again.

        After TRIES copies for each sample asked for there are fewer samples. Where it is `gapless`, a sample takes only
        the numbers that it needs, as the golden runs do, and so comes alone. Raises what `samples` raises.
        """
        texts: list[str] = []
        written = blanks = copied = drawn = rejected = 0
        seconds, limit = 0.0, TRIES * sampling.count
        blocks = self._one_by_one(sampling, stream) if gapless else self._blocks(sampling, stream)
        next(blocks)
        while (wanted := sampling.count - written) > 0 and rejected < limit:
            start = time.perf_counter()
            block = blocks.send(wanted)
            seconds += time.perf_counter() - start
            told: list[str] = []
            for text, tokens in block:
                if len(told) == wanted or rejected == limit:
                    break
                drawn += tokens
                copy = stands_in_text is not None and stands_in_text(text)
                if copy and new:
                    rejected += 1
                    continue
                copied += copy
                blanks += not text.strip()
                told.append(text)
            written += len(told)
            texts += told if keep else []
            if told:
                tell(told)
        counted = None if stands_in_text is None else copied
        return Samples(tuple(texts), drawn, counted, rejected, seconds, written, blanks)

    def samples(self, sampling: Sampling, stream: random.Random) -> Iterator[Iterator[str]]:
        """The samples of `write` without end, each piece by piece as it is drawn: the prompt, then the text of one
        token after another, which for the BOS that ends a document is empty.

        Take every piece of a sample before the next. Raises `DataError` at once for a prompt with characters that are
        unknown or that no document of this kind has, `UsageError` for one that leaves a document no room.
        """
        prompt, numbers = self._prompt(sampling.prompt), uniforms(stream)
        room = self._room(prompt, sampling)
        return (self._pieces(prompt, sampling, numbers.random(room).tolist()) for _ in itertools.count())

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

    def _blocks(self, sampling: Sampling, stream: random.Random) -> Generator[list[tuple[str, int]], int, None]:
        """Samples and how many tokens each took, some at once: ever more, so that the first come soon, and no more than
        it is sent that are wanted."""
        prompt, numbers, size = self._prompt(sampling.prompt), uniforms(stream), 1
        room, seen, drawing = self._room(prompt, sampling), self._seen(prompt), self._drawing(sampling)
        wanted = yield []
        while True:
            count = max(1, min(size, wanted, AT_ONCE, MOST_NUMBERS // max(1, room)))
            for part in self.runner.write([seen] * count, numbers.random((count, room)), drawing, self._sizes):
                texts = self.tokenizer.decode_rows(part.tokens, part.counts)
                wanted = yield [*zip(self._whole(prompt, sampling, texts), part.counts.tolist(), strict=True)]
            size *= 2

    def _one_by_one(self, sampling: Sampling, stream: random.Random) -> Generator[list[tuple[str, int]], int, None]:
        """Samples as `_blocks` gives them, each from the numbers that come next in the stream."""
        prompt, _ = self._prompt(sampling.prompt), (yield [])
        while True:
            tokens = [*self._tokens(prompt, sampling, iter(stream.random, None))]
            yield [(text, len(tokens)) for text in self._whole(prompt, sampling, [self.tokenizer.decode(tokens)])]

    def _whole(self, prompt: Sequence[int], sampling: Sampling, texts: Sequence[str]) -> list[str]:
        """Samples of what was written after a prompt: it stands before them, and what is too much is cut off."""
        begun = self.tokenizer.decode(prompt)
        room = max(0, sampling.length - len(begun)) if self.kind == "windows" else None
        for stop in sampling.stop:
            texts = [text.partition(stop)[0] for text in texts]
        return [begun + text[:room] for text in texts]  # the last token may reach beyond the length

    def _pieces(self, prompt: Sequence[int], sampling: Sampling, numbers: Sequence[float]) -> Iterator[str]:
        text = self.tokenizer.decode(prompt)
        yield text
        room = max(0, sampling.length - len(text)) if self.kind == "windows" else LONGEST_SAMPLE
        for piece in before(sampling.stop, self.tokenizer.pieces(self._tokens(prompt, sampling, numbers))):
            yield piece[:room]
            room -= len(piece[:room])

    def _tokens(self, prompt: Sequence[int], sampling: Sampling, numbers: Iterable[float]) -> Iterator[int]:
        seen, room, drawing = self._seen(prompt), self._room(prompt, sampling), self._drawing(sampling)
        return one_by_one(self.runner.next, self.ctx, seen, numbers, drawing, self._sizes, room)

    def _seen(self, prompt: Sequence[int]) -> list[int]:
        """What the model sees before its first draw: BOS and the prompt, or the last ctx tokens of running text."""
        if self.kind != "windows":
            return [self.tokenizer.bos, *prompt]
        return (list(prompt) or [opening(self.tokenizer)])[-self.ctx :]

    def _room(self, prompt: Sequence[int], sampling: Sampling) -> int:
        """How many tokens may follow: in documents until ctx is full, as in training, in running text as long as
        `length` says, each counted by its characters."""
        if self.kind != "windows":
            return self.ctx - len(prompt)
        return max(0, sampling.length - self._characters(prompt))

    @property
    def _sizes(self) -> NDArray[np.int64]:
        """What each token takes of that room, (vocabulary,): a byte that goes on with a character counts as one too."""
        return (
            np.maximum(1, self.tokenizer.lengths)
            if self.kind == "windows"
            else np.ones(self.tokenizer.vocabulary, np.int64)
        )

    def _drawing(self, sampling: Sampling) -> Drawing:
        asked, running = sampling.temperature, self.kind == "windows"
        return Drawing(
            usual_temperature(self.kind) if asked is None else asked,
            sampling.top_k,
            sampling.top_p,
            sampling.min_p,
            end=None if running else self.tokenizer.bos,
            barred=(self.tokenizer.bos,) if running else (),
        )

    @property
    def _units(self) -> str:
        return "characters" if self.tokenizer.tokens == "characters" else "tokens"

    def _characters(self, tokens: Sequence[int]) -> int:
        """About how many characters these are: a byte counts as one."""
        return sum(max(1, int(self.tokenizer.lengths[token])) for token in tokens)


def opening(tokenizer: Tokenizer) -> int:
    """What stands before running text without a prompt: a line break, else a space, else the first character."""
    known = tokenizer.characters
    return next((known.index(mark) for mark in "\n " if mark in known), 0)


def usual_temperature(kind: Kind) -> float:
    """What samples are drawn at: 0.5, but 0.8 for running text, of which indented ones are blank at 0.5."""
    return 0.8 if kind == "windows" else 0.5


def blank(samples: Samples) -> Iterator[str]:
    """What is to be said of many samples in which there is nothing to see."""
    if samples.blank > BLANK * samples.written:
        told = f"{samples.blank} of {samples.written} samples are blank"
        yield f"{told}: a higher --temperature, or a longer training, writes more"


def before(stops: Sequence[str], pieces: Iterable[str]) -> Iterator[str]:
    """Pieces up to the first of some texts that they spell; what may begin one waits until it is known."""
    most, held = max(map(len, stops), default=1) - 1, ""
    for piece in pieces:
        held += piece
        ends = [place for stop in stops if (place := held.find(stop)) >= 0]
        if ends:
            yield held[: min(ends)]
            return
        free = len(held) - most
        yield held[: max(0, free)]
        held = held[max(0, free) :]
    if held:
        yield held


def uniforms(stream: random.Random) -> np.random.Generator:
    """A generator that goes on with the numbers of a stream: both are the Mersenne Twister (Matsumoto & Nishimura 1998)
    and make a number in [0, 1) of the same 53 bits."""
    _, (*key, place), _ = stream.getstate()
    twister = np.random.MT19937()
    twister.state = {"bit_generator": "MT19937", "state": {"key": np.array(key, np.uint32), "pos": place}}
    return np.random.Generator(twister)


def samples_stream(seed: int) -> random.Random:
    """The stream that a seed gives to samples, apart from those of weights and order."""
    words = np.random.SeedSequence([seed, SAMPLES_STREAM]).generate_state(4)
    return random.Random(int.from_bytes(words.tobytes(), "little"))


def random_stream(state: tuple[Any, ...]) -> random.Random:
    """A golden run's stream, where it stood when the state was taken."""
    stream = random.Random()
    stream.setstate(state)
    return stream
