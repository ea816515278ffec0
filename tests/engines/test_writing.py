"""Writing many documents at once, on every engine: each as its own numbers draw it, whatever it is written with."""

import math
import signal
from collections import Counter
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from microgpt.engines import REGISTRY, available, create
from microgpt.engines.contract import Drawing, EngineConfig, Runner, Written
from microgpt.engines.drawing import weights
from microgpt.errors import DivergedError, UsageError
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import fresh

MODEL = ModelConfig(9, 8, 2, 2, 5, 2, norm_head=True)
VARIED = replace(MODEL, position="rotary", activation="swiglu")
LONG = replace(MODEL, emb=20, layer=1, ctx=40, vocabulary=37)  # the kernel's other ways: heads of 10 are no lanes
USABLE = [one.name for one in available() if one.usable]
KINDS: list[tuple[str, Precision]] = [(name, precision) for name in USABLE for precision in REGISTRY[name].precisions]
TOLERANCES = {"64": 1e-11, "32": 1e-5, "bf16": 4e-2}
every_kind = pytest.mark.parametrize(("name", "precision"), KINDS)
fused = pytest.mark.skipif("fused" not in USABLE, reason="it needs a compiler")
DRAWINGS = {
    "as it is": Drawing(),
    "cold": Drawing(temperature=0.6),
    "likeliest": Drawing(temperature=0.0),
    "k": Drawing(temperature=1.5, top_k=3),
    "p": Drawing(top_p=0.7),
    "least": Drawing(min_p=0.4),
    "all": Drawing(temperature=1.2, top_k=6, top_p=0.8, min_p=0.1),
}


def opened(name: str, precision: Precision = "64", model: ModelConfig = MODEL, threads: int = 1) -> Runner:
    numbers = np.random.default_rng(0).normal(0, 0.4, params(model))
    return create(name, EngineConfig(precision, threads)).open(fresh(model, numbers))


def wrote(runner: Runner, *asked: Any) -> Written:
    """All that a call of `write` gives, as one."""
    parts = list(runner.write(*asked))
    if len(parts) == 1:
        return parts[0]
    tokens, counts = np.zeros(asked[1].shape, np.int32), np.array([int(part.counts[0]) for part in parts], np.int64)
    for row, part in zip(tokens, parts, strict=True):
        row[: part.counts[0]] = part.tokens[0]
    return Written(tokens, counts)


def prompts(model: ModelConfig, count: int) -> list[list[int]]:
    """Of every length from 1 to ctx."""
    stream = np.random.default_rng(2)
    return [[8, *stream.integers(0, 8, size % model.ctx).tolist()] for size in range(count)]


@pytest.mark.parametrize("running", [False, True], ids=["documents", "running text"])
@pytest.mark.parametrize(
    ("name", "precision", "drawing"),
    [
        pytest.param(name, precision, drawing, id=f"{name}-{precision}-{title}")
        for name, precision in KINDS
        for title, drawing in DRAWINGS.items()
        if name != "torch" or title == "as it is" or (title == "all" and precision == "64")  # it draws as array does
    ],
)
def test_each_token_is_the_one_that_its_number_draws(
    name: str, precision: Precision, drawing: Drawing, running: bool
) -> None:
    """Whose share of the sum, by the probabilities that `next` gives, holds the number."""
    for model in (MODEL, VARIED) if name == "atomic" or drawing != Drawing() else (MODEL, VARIED, LONG):
        runner, given, off = opened(name, precision, model), prompts(model, 7)[::2], TOLERANCES[precision]
        drawing = replace(drawing, end=None if running else 8, barred=(8,) if running else ())
        uniforms = np.random.default_rng(1).random((len(given), 2 * model.ctx + 3 if running else model.ctx))
        tokens, counts = wrote(runner, given, uniforms, drawing)
        for row, prompt in enumerate(given):
            seen = prompt
            for token, number in zip(tokens[row, : counts[row]].tolist(), uniforms[row], strict=False):
                shares = weights(np.log(runner.next(seen))[None], drawing)[0]
                sums = np.cumsum(shares) / shares.sum()
                least, goal = sums[token] - shares[token] / shares.sum(), number if drawing.temperature else 0.0
                assert least - off <= goal <= sums[token] + off
                assert shares[token] > 0 or precision != "64"
                assert not running or token != 8
                seen = [*(seen[model.ctx - model.ctx // 2 :] if len(seen) == model.ctx else seen), token]
            last = tokens[row, counts[row] - 1]
            assert running or last == 8 or counts[row] == model.ctx - len(prompt) + 1
            assert not running or counts[row] == uniforms.shape[1]


@every_kind
def test_sizes_of_tokens_fill_the_room(name: str, precision: Precision) -> None:
    sizes, uniforms = np.arange(1, 10), np.random.default_rng(3).random((5, 30))
    tokens, counts = wrote(opened(name, precision), [[1]] * 5, uniforms, Drawing(barred=(8,)), sizes)
    for row, count in zip(tokens, counts, strict=True):
        assert sizes[row[: count - 1]].sum() < 30 <= sizes[row[:count]].sum()


@fused
@pytest.mark.parametrize("model", [MODEL, VARIED, LONG, replace(LONG, head=1, emb=32)], ids=repr)
@pytest.mark.parametrize("end", [8, None])
def test_a_document_is_the_same_whatever_it_is_written_with(model: ModelConfig, end: int | None) -> None:
    given = prompts(model, 300)
    uniforms = np.random.default_rng(1).random((300, model.ctx + 9))
    drawing = Drawing(end=end, top_k=30)
    tokens, counts = wrote(opened("fused", "32", model), given, uniforms, drawing)
    for threads, at_once in ((3, 300), (1, 7), (2, 40)):
        runner = opened("fused", "32", model, threads)
        for first in range(0, 300, at_once):
            some = slice(first, first + at_once)
            again = wrote(runner, given[some], uniforms[some], drawing)
            assert again.counts.tolist() == counts[some].tolist()
            for row, count in enumerate(again.counts, first):
                assert again.tokens[row - first, :count].tolist() == tokens[row, :count].tolist()


@every_kind
def test_ends_of_numbers_draw_tokens_that_can_be(name: str, precision: Precision) -> None:
    numbers = [0.0, 1 - 2.0**-53, 0.5]
    uniforms = np.repeat(np.array(numbers)[:, None], 9, 1)
    for barred in ((0, 8), (7, 8), tuple(range(1, 9))):
        tokens, counts = wrote(opened(name, precision), [[8]] * 3, uniforms, Drawing(barred=barred))
        assert counts.tolist() == [9] * 3
        assert not set(tokens.reshape(-1).tolist()) & set(barred)


@every_kind
def test_no_documents_and_no_room(name: str, precision: Precision) -> None:
    assert len(wrote(opened(name, precision), [], np.empty((0, 4)), Drawing()).counts) == 0
    assert wrote(opened(name, precision), [[1], [2]], np.empty((2, 0)), Drawing()).counts.tolist() == [0, 0]


@every_kind
@pytest.mark.parametrize("prompt", [[], [9], [-1], [0] * 6])
def test_prompts_that_can_not_be(name: str, precision: Precision, prompt: list[int]) -> None:
    with pytest.raises(UsageError, match="found"):
        wrote(opened(name, precision), [[8], prompt], np.zeros((2, 1)), Drawing())


@every_kind
@pytest.mark.parametrize("poison", [math.nan, math.inf])
def test_weights_that_are_not_finite_write_nothing(name: str, precision: Precision, poison: float) -> None:
    numbers = np.random.default_rng(0).normal(0, 0.3, params(MODEL))
    tensors(MODEL, numbers)["layer1.mlp_fc2"][:] = poison
    with pytest.raises(DivergedError, match="finite probabilities"):
        wrote(create(name, EngineConfig(precision)).open(fresh(MODEL, numbers)), [[8]], np.zeros((1, 2)), Drawing())


@fused
def test_told_to_stop_it_gives_whole_documents() -> None:
    runner = opened("fused", "32")
    runner.stop.value = 1  # type: ignore[attr-defined]
    parts = runner.write([[8]] * 9, np.zeros((9, 5)), Drawing(end=8))
    assert len(next(parts).counts) == 0
    with pytest.raises(KeyboardInterrupt):
        next(parts)


@fused
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no alarm that would send the signal")
def test_a_signal_is_heard_within_a_long_call() -> None:
    """A text that would take many seconds; afterwards the runner writes as before."""
    runner, numbers = opened("fused", "64"), np.random.default_rng(0).random((1, 30_000_000))

    def interrupt(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.2)
        parts = runner.write([[8]], numbers, Drawing(barred=(8,)))
        assert len(next(parts).counts) == 0
        with pytest.raises(KeyboardInterrupt):
            next(parts)
    finally:
        signal.signal(signal.SIGALRM, before)
    short = numbers[:, :99]
    assert np.array_equal(
        wrote(runner, [[8]], short, Drawing(barred=(8,))).tokens,
        wrote(opened("fused", "64"), [[8]], short, Drawing(barred=(8,))).tokens,
    )


@fused
def test_a_million_tokens_are_distributed_as_their_probabilities() -> None:
    """Pearson's chi-square over what follows each prefix of up to 3 tokens, at 5 standard deviations of its own."""
    runner, drawing = opened("fused", "32"), Drawing(temperature=0.9, end=8)
    count = 300_000
    tokens, counts = wrote(runner, [[8]] * count, np.random.default_rng(5).random((count, 5)), drawing)
    assert counts.sum() > 1_000_000
    chi, freedom = 0.0, 0
    for length in range(3):
        rows = tokens[counts > length, : length + 1]
        found = Counter(map(tuple, rows.tolist()))
        for prefix in {key[:-1] for key in found}:
            shares = weights(np.log(runner.next([8, *prefix]))[None], drawing)[0]
            observed = np.array([found[(*prefix, token)] for token in range(9)])
            expected = observed.sum() * shares / shares.sum()
            if expected.min() >= 5:
                chi, freedom = chi + float(((observed - expected) ** 2 / expected).sum()), freedom + 8
    assert freedom > 400
    assert abs(chi - freedom) < 5 * math.sqrt(2 * freedom)
