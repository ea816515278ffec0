"""Drawing tokens in Python, for the engines that do it here, by the rules of `contract.Drawing`.

Shapes: N documents at once, V vocabulary.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.contract import Drawing, Prompts, Tokens, Written, checked_writing, refuse_logits
from microgpt.model.settings import ModelConfig

AT_ONCE = 1 << 14  # predictions of the longest documents that are written at once
WORTH_DROPPING = 0.75  # rows of documents that have ended are dropped where no more than such a share goes on

Floats = NDArray[np.float64]


def weights(logs: NDArray[Any], drawing: Drawing) -> Floats:
    """Logits, or logarithms of probabilities (N, V), to weights (N, V): the likeliest one's is 1, and 0 is not drawn.

    In logarithms, so that no temperature is too small. Raises `DivergedError` where a logit is not finite.
    """
    logs = np.array(logs, np.float64)
    if np.isnan(logs).any() or (logs == np.inf).any():
        raise refuse_logits()
    logs[:, list(drawing.barred)] = -np.inf
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        below = logs - logs.max(axis=1, keepdims=True)  # (N, V)
        if drawing.temperature == 0:
            return np.array(np.arange(logs.shape[1]) == below.argmax(axis=1)[:, None], np.float64)
        found: Floats = np.exp(np.where(below == 0, 0.0, below / drawing.temperature))  # (N, V)
    narrowed = 0 < drawing.top_k < logs.shape[1]
    if narrowed or drawing.top_p < 1:
        order = np.argsort(-logs, axis=1, kind="stable")  # (N, V) the likeliest first, of equals the lower id
        ranked = np.take_along_axis(found, order, 1)
        if narrowed:
            ranked[:, drawing.top_k :] = 0.0
        before = ranked.cumsum(axis=1) - ranked
        ranked[before >= drawing.top_p * ranked.sum(axis=1, keepdims=True)] = 0.0
        np.put_along_axis(found, order, ranked, 1)
    found[found < drawing.min_p] = 0.0
    return found


def drawn(logs: NDArray[Any], uniforms: Floats, drawing: Drawing) -> NDArray[np.int64]:
    """The token of each row that its uniform number in [0, 1) draws, (N,), as `random.choices` draws it."""
    sums = weights(logs, drawing).cumsum(axis=1)  # (N, V)
    tokens: NDArray[np.int64] = (sums <= (uniforms * sums[:, -1])[:, None]).sum(axis=1)
    return tokens


def one_by_one(
    following: Callable[[Sequence[int]], Floats],
    ctx: int,
    prompt: Sequence[int] | Tokens,
    uniforms: Iterable[float],
    drawing: Drawing,
    sizes: NDArray[np.int64],
    room: int,
) -> Iterator[int]:
    """The tokens of one document as they are drawn; `following` gives the probabilities after a prefix, as
    `Runner.next` does. A number is taken as it is needed."""
    tokens, numbers = [int(token) for token in prompt], iter(uniforms)
    while room > 0:
        with np.errstate(divide="ignore"):
            logs = np.log(following(tokens))
        token = int(drawn(logs[None], np.array([next(numbers)]), drawing)[0])
        yield token
        room -= max(1, int(sizes[token]))
        if token == drawing.end:
            return
        if len(tokens) == ctx:
            if drawing.end is not None:
                return
            tokens = tokens[ctx - ctx // 2 :]
        tokens.append(token)


class Steps(Protocol):
    """A key/value cache of several documents, all of the same length."""

    def begin(self, tokens: NDArray[np.int64]) -> NDArray[Any]:
        """The logits (N, V) after the first tokens (N, T) of documents."""
        ...

    def step(self, tokens: NDArray[np.int64]) -> NDArray[Any]:
        """The logits (N, V) after one more token of each (N,)."""
        ...

    def keep(self, rows: NDArray[np.int64]) -> None:
        """Go on with these of the documents alone."""
        ...


def in_step(
    model: ModelConfig,
    steps: Steps,
    prompts: Prompts,
    uniforms: Floats,
    drawing: Drawing,
    sizes: NDArray[np.int64] | None,
) -> tuple[Written, BaseException | None]:
    """Write as `Runner.write` does, documents with prompts of one length together, a token of each at a time; and what
    interrupted it."""
    each, uniforms = checked_writing(model, prompts, uniforms, drawing, sizes)
    written, counts = np.zeros(uniforms.shape, np.int32), np.full(len(prompts), -1, np.int64)
    lengths = np.fromiter(map(len, prompts), np.int64, len(prompts))
    most = max(1, AT_ONCE // model.ctx)
    try:
        for length in np.unique(lengths):
            alike = np.flatnonzero(lengths == length)
            for rows in (alike[i : i + most] for i in range(0, len(alike), most)):
                first = np.array([prompts[row] for row in rows], np.int64)  # (N, T)
                _together(model, steps, rows, first, uniforms, drawing, each, written, counts)
    except BaseException as fault:
        return finished(written, counts), fault
    return finished(written, counts), None


def told(written: Written, fault: BaseException | None) -> Iterator[Written]:
    """What was written, then what interrupted it."""
    yield written
    if fault:
        raise fault


def finished(written: NDArray[np.int32], counts: NDArray[np.int64]) -> Written:
    """The first documents, up to one whose count is below 0: it is not finished."""
    end = int((counts < 0).argmax()) if (counts < 0).any() else len(counts)
    return Written(written[:end], counts[:end])


def _together(
    model: ModelConfig,
    steps: Steps,
    rows: NDArray[np.int64],
    window: NDArray[np.int64],
    uniforms: Floats,
    drawing: Drawing,
    sizes: NDArray[np.int64],
    written: NDArray[np.int32],
    counts: NDArray[np.int64],
) -> None:
    """Documents of some rows, with a window (N, T) of tokens that the model sees; each writes into its row."""
    room = uniforms.shape[1]
    used, going = np.zeros(len(rows), np.int64), np.ones(len(rows), bool)
    if not room:
        counts[rows] = 0
        return
    logits = steps.begin(window)
    for count in range(room):
        tokens = drawn(logits, uniforms[rows, count], drawing)  # (N,)
        written[rows, count] = tokens
        used += sizes[tokens]
        full = window.shape[1] == model.ctx
        ends = (used >= room) | (tokens == (-1 if drawing.end is None else drawing.end))
        ends |= full and drawing.end is not None
        counts[rows[ends & going]] = count + 1
        going &= ~ends
        if not going.any():
            return
        if going.mean() <= WORTH_DROPPING:
            kept = np.flatnonzero(going)
            rows, used, window, tokens, going = (part[kept] for part in (rows, used, window, tokens, going))
            steps.keep(kept)
        before = window[:, model.ctx - model.ctx // 2 :] if full else window
        window = np.concatenate([before, tokens[:, None]], axis=1)
        logits = steps.begin(window) if full else steps.step(tokens)
