"""Graphs to look at: of an expression, and of the loss of a short text under a model."""

import math
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import DivergedError, UsageError
from microgpt.model.ledger import ledger
from microgpt.model.settings import ModelConfig, Settings
from microgpt.model.state import draw_weights, fresh
from microgpt.studio import recording as recordings
from microgpt.studio.expressions import compute, parse, variables
from microgpt.studio.graph import Graph, Numbers, freeze
from microgpt.studio.recording import MOST_ATOMS, Recording
from microgpt.symmetry import Matrix
from microgpt.training.checkpoint import Checkpoint
from microgpt.variations import Varied

ALPHABET: Final = "abcdefghijklmnopqrstuvwxyz"


def of_expression(text: str, given: Mapping[str, float], moved: Numbers | None = None) -> Graph:
    """The graph of an expression, its variables as given or moved to other values (variables,).

    Raises `UsageError` for anything else, and for numbers that aren't finite.
    """
    recording = Recording()
    if moved is not None:
        given = dict(zip(variables(parse(text)), moved.tolist(), strict=True))
    computed = compute(text, given, recording)
    return freeze(recording, computed.result, [(atom, 0) for atom in computed.variables.values()], computed.texts)


def of_loss(checkpoint: Checkpoint, text: str, moved: Numbers | None = None) -> Graph:
    """The graph of the loss of a short text; the first atoms are the weights, in the order of the ledger, as the
    checkpoint has them or moved to other values (weights,).

    Raises `DataError` for unknown characters, `UsageError` for a text or a model that is too long or too large,
    `DivergedError` where the loss is no finite number.
    """
    model, tokens = checkpoint.model, document(checkpoint, text)
    entries = ledger(model)
    if entries[-1].offset + entries[-1].size > MOST_ATOMS:
        raise UsageError(f"expected a model of at most {MOST_ATOMS:,} weights to see its atoms, found a larger one.")
    recording = Recording()
    atoms = [recording.Atom(weight) for weight in (checkpoint.state.weights if moved is None else moved).tolist()]
    weights: dict[str, Matrix] = {}
    groups: list[int] = []
    labels: dict[int, str] = {}
    for entry in entries:
        starts = range(entry.offset, entry.offset + entry.size, entry.columns)
        weights[entry.name] = [atoms[start : start + entry.columns] for start in starts]
        for row, start in enumerate(starts):
            groups += [recording.group("weights", entry.name, row_name(checkpoint, entry.name, row))] * entry.columns
            labels |= {id(atoms[start + i]): f"{entry.name}[{row}][{i}]" for i in range(entry.columns)}
    try:
        result = recordings.loss(recording, _config(model), weights, tokens)
        finite = math.isfinite(result.data)
    except (ArithmeticError, ValueError):  # how Python's math refuses what NumPy would call inf or nan
        finite = False
    if not finite:
        raise DivergedError("expected a finite loss, found another: the weights are too large; train anew.")
    return freeze(recording, result, list(zip(atoms, groups, strict=True)), labels)


def document(checkpoint: Checkpoint, text: str) -> list[int]:
    """The tokens of a text as a document of the training: BOS on both sides, except of running text."""
    tokens: list[int] = checkpoint.tokenizer.encode(text).tolist()
    bos, found = checkpoint.tokenizer.bos, len(tokens)
    tokens = tokens if checkpoint.kind == "windows" else [bos, *tokens, bos]
    if not 2 <= len(tokens) <= checkpoint.model.ctx + 1:
        least = 2 if checkpoint.kind == "windows" else 0
        unit = "characters" if checkpoint.tokenizer.tokens == "characters" else "tokens"
        most = checkpoint.model.ctx + 1 - (2 - least)
        raise UsageError(f"expected a text of {least} to {most} {unit} for this model, found {found:,}.")
    return tokens


def row_name(checkpoint: Checkpoint, matrix: str, row: int) -> str:
    """What a row of a matrix stands for."""
    if matrix == "wpe":
        return f"position {row}"
    if matrix in ("wte", "lm_head"):
        return f"token {checkpoint.tokenizer.texts[row]!r}" if row < checkpoint.tokenizer.bos else "token BOS"
    return f"row {row}"


def untrained() -> Checkpoint:
    """A model of the default sizes before its first step, which knows the letters a to z."""
    settings, tokenizer = Settings(), Tokenizer(ALPHABET)
    model = settings.model(tokenizer.vocabulary)
    return Checkpoint(fresh(model, draw_weights(settings, model)), tokenizer, "lines", None, has_moments=False)


def _config(model: ModelConfig) -> Varied:
    return Varied(**{f.name: getattr(model, f.name) for f in fields(ModelConfig) if f.name != "vocabulary"})
