"""What happens inside a run while it reads a text: chances, surprise and attention, by the engine `array` in float64,
and checked against the engine that the run was trained on.

Shapes: T positions, V tokens of the vocabulary, H heads.
"""

import math
import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt import untrusted
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines import EVERYWHERE, create
from microgpt.engines.array.engine import ArrayRunner
from microgpt.engines.contract import EngineConfig, Runner
from microgpt.errors import CheckpointError, DataError, DivergedError
from microgpt.model.ledger import params
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import own_engine
from microgpt.training.find import weights_of
from microgpt.training.run_folder import HISTORY
from microgpt.training.sample import Sampling, Writer, opening

MOST_POSITIONS: Final = 256  # positions that a page shows at once
LIKELIEST: Final = 3  # tokens named at each position
CHECKED: Final = 32  # positions at which the engines are compared, evenly spread
DOCUMENTS, WRITTEN = 6, 120  # documents, or characters of running text, of one sample
STEP_NAME: Final = re.compile(r"step-(\d{8,12})\.safetensors")

Trace = dict[str, NDArray[Any]]


@dataclass(frozen=True, eq=False)
class Reading:
    """A text as the model reads it. `trace` has every intermediate; `left_out` counts tokens beyond its reach."""

    tokens: tuple[int, ...]  # (T,)
    trace: Trace
    left_out: int


def steps(path: Path) -> list[int]:
    """The steps of a run whose weights were kept, the last one included. Raises `CheckpointError`."""
    last = checkpoints.describe(weights_of(path)).step
    kept = {int(found[1]) for file in _history(path) if (found := STEP_NAME.fullmatch(file.name))}
    return sorted({*(step for step in kept if step <= last), last})


def at_step(path: Path, step: int | None = None) -> Path:
    """The file with the weights of a step, or of the last one. Raises `CheckpointError` where it was not kept."""
    last = weights_of(path)
    if step is None:
        return last
    kept = untrusted.inside(path, HISTORY, f"step-{step:08d}.safetensors")
    if path.is_dir() and kept.is_file():
        return kept
    if checkpoints.describe(last).step == step:
        return last
    raise CheckpointError(f"step {step}: expected weights kept in history/, found none; train with --keep every:N.")


def _history(path: Path) -> list[Path]:
    try:
        return list(untrusted.inside(path, HISTORY).iterdir())
    except OSError:  # none was kept, or the run is a lone file
        return []


def open_array(checkpoint: Checkpoint) -> ArrayRunner:
    """The model on the engine that can be looked into, in float64."""
    runner = create(EVERYWHERE, EngineConfig("64")).open(checkpoint.state)
    assert isinstance(runner, ArrayRunner)
    return runner


def engine_of(checkpoint: Checkpoint) -> str:
    """The engine that the run was trained on, where this machine has it, or else `array`; with its precision."""
    name, config = own_engine(checkpoint)
    return f"{name} ({config.precision} bits)"


def read(checkpoint: Checkpoint, runner: ArrayRunner, prompt: str) -> Reading:
    """The model reads a prompt: all of it that it can look back on.

    Raises `DataError` for unknown characters, `DivergedError` where the weights give no finite numbers.
    """
    tokens, left_out = tokens_of(checkpoint, prompt)
    trace = runner.trace(np.array(tokens))
    if not np.isfinite(trace["probabilities"]).all():
        raise DivergedError("expected finite probabilities, found others: the weights are too large; train it anew.")
    return Reading(tuple(tokens), trace, left_out)


def tokens_of(checkpoint: Checkpoint, prompt: str) -> tuple[list[int], int]:
    """The tokens (T,) that the model reads for a prompt, and how many were left out.

    A document begins with BOS, and its first tokens count; of running text the last ones do.
    """
    if checkpoint.kind == "lines" and "\n" in prompt:
        raise DataError("expected a prompt of one line, since this run was trained on lines; take the line break out.")
    tokens: list[int] = checkpoint.tokenizer.encode(prompt).tolist()
    room = min(checkpoint.model.ctx, MOST_POSITIONS)
    if checkpoint.kind == "windows":
        return (tokens or [opening(checkpoint.tokenizer)])[-room:], max(0, len(tokens) - room)
    return [checkpoint.tokenizer.bos, *tokens][:room], max(0, len(tokens) + 1 - room)


def surprises(reading: Reading) -> list[float | None]:
    """-log p of each token in nats, given those before it, (T,); the first has none."""
    logits, tokens = reading.trace["logits"], np.array(reading.tokens)
    logs = logits - logits.max(axis=-1, keepdims=True)
    logs -= np.log(np.exp(logs).sum(axis=-1, keepdims=True))  # (T, V)
    told = -logs[np.arange(len(tokens) - 1), tokens[1:]]
    return [None, *told.tolist()]


def entropies(reading: Reading) -> list[float]:
    """How undecided the model is about what comes next at each position, in nats, (T,)."""
    chances = reading.trace["probabilities"]  # (T, V)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(chances > 0.0, chances * np.log(chances), 0.0)
    undecided: list[float] = (-terms.sum(axis=-1)).tolist()
    return undecided


def likeliest(reading: Reading) -> list[list[list[float]]]:
    """At each position the LIKELIEST tokens with their chances, (T, LIKELIEST, 2); of equals the lower id first."""
    chances = reading.trace["probabilities"]
    best = np.argsort(-chances, axis=-1, kind="stable")[:, :LIKELIEST]
    return [[[token, chances[at, token]] for token in row] for at, row in enumerate(best.tolist())]


def summary(checkpoint: Checkpoint, reading: Reading) -> dict[str, Any]:
    """A reading without its large parts: tokens, surprise, how undecided the model is, and what it expects."""
    return {
        "tokens": list(reading.tokens),
        "texts": texts(checkpoint.tokenizer, reading.tokens),
        "surprise": surprises(reading),
        "entropy": entropies(reading),
        "likeliest": likeliest(reading),
        "left_out": reading.left_out,
        "note": note(checkpoint, reading),
        "uniform": math.log(checkpoint.model.vocabulary),
    }


def note(checkpoint: Checkpoint, reading: Reading) -> str:
    """A sentence on a prompt that is longer than what is shown, or nothing."""
    if not reading.left_out:
        return ""
    ctx, some = checkpoint.model.ctx, "first" if checkpoint.kind == "windows" else "last"
    reach = (
        f"The model looks back on {ctx} positions (its ctx)"
        if ctx <= MOST_POSITIONS
        else f"The page shows {MOST_POSITIONS} positions"
    )
    unit = "characters" if checkpoint.tokenizer.tokens == "characters" else "tokens"
    return f"{reach}: the {some} {reading.left_out:,} {unit} of the prompt are left out."


def chances(reading: Reading, position: int) -> list[float]:
    """The chance of each token (V,) to come after a position, in full precision."""
    at = min(max(position, 0), len(reading.tokens) - 1)
    row: list[float] = reading.trace["probabilities"][at].tolist()
    return row


def attention(reading: Reading, layer: int) -> list[list[list[float]]]:
    """Attention weights of each position on those up to itself, in every head: (H, T, 1 … T), rows sum to 1."""
    weights = reading.trace.get(f"layer{layer}.attention", np.empty((0, 0, 0)))  # (H, T, T)
    return [[row[: at + 1].round(7).tolist() for at, row in enumerate(head)] for head in weights]


def check(checkpoint: Checkpoint, own: Runner, reading: Reading) -> dict[str, Any]:
    """The largest difference between the chances shown and those of the run's own engine."""
    count = len(reading.tokens)
    places = sorted({round(i) for i in np.linspace(0, count - 1, min(count, CHECKED))})
    shown = reading.trace["probabilities"]
    apart = [float(np.abs(own.next(reading.tokens[: at + 1]) - shown[at]).max()) for at in places]
    return {"engine": engine_of(checkpoint), "difference": max(apart), "positions": len(places)}


def texts(tokenizer: Tokenizer, tokens: Sequence[int]) -> list[str]:
    """The text of each token; BOS has none."""
    return [tokenizer.texts[token] if token < tokenizer.bos else "" for token in tokens]


def suggestion(checkpoint: Checkpoint, runner: Runner) -> str:
    """A short text of the model's own, to begin with."""
    writer = Writer(runner, checkpoint.tokenizer, checkpoint.kind, checkpoint.model.ctx)
    try:
        return "".join(next(writer.samples(Sampling(1, 0.5, length=24), random.Random(0))))
    except DivergedError:
        return ""


def samples(checkpoint: Checkpoint, runner: Runner, prompt: str) -> list[str]:
    """What the model writes: a few documents, or running text that goes on from a prompt; from the same random numbers
    at every call, so that two models can be compared."""
    writer = Writer(runner, checkpoint.tokenizer, checkpoint.kind, checkpoint.model.ctx)
    running = checkpoint.kind == "windows"
    sampling = Sampling(1, prompt=prompt, length=WRITTEN) if running else Sampling(DOCUMENTS)
    return list(writer.write(sampling, random.Random(0)).texts)


def about(path: Path, checkpoint: Checkpoint, runner: Runner) -> dict[str, Any]:
    """What a page needs to know of a run before anything is typed."""
    model = checkpoint.model
    return {
        "params": params(model),
        "sizes": {name: getattr(model, name) for name in ("emb", "head", "layer", "ctx", "ff", "wide", "vocabulary")},
        "texts": list(checkpoint.tokenizer.texts),
        "kind": checkpoint.kind,
        "step": checkpoint.state.step,
        "steps": steps(path),
        "engine": engine_of(checkpoint),
        "suggestion": suggestion(checkpoint, runner),
    }
