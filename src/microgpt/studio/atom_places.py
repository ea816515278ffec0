"""Where a number of the forward pass stands among the atoms of a graph."""

import math
from typing import Final

import numpy as np

from microgpt.errors import UsageError
from microgpt.model.settings import ModelConfig
from microgpt.studio.graph import Graph
from microgpt.studio.recording import PARTS
from microgpt.studio.stages import Source, value_of
from microgpt.studio.xray import Reading
from microgpt.training.checkpoint import Checkpoint

LINEAR: Final = {"query": "attn_wq", "key": "attn_wk", "value": "attn_wv"}
NORMS: Final = {"norm_attention": "norm before attention", "norm_mlp": "norm before MLP"}
SUMS: Final = {"residual_attention": "sum after attention", "residual_mlp": "sum after MLP", "hidden": "ReLU"}
OTHER_TOKENS: Final = "This text is read in other tokens on the page Atoms; choose a text of plain characters."


def text(checkpoint: Checkpoint, reading: Reading, at: int) -> str:
    """The text whose loss has the numbers of a position among its atoms: up to the token that comes after it."""
    tokens = list(reading.tokens[: at + 2])
    if len(tokens) == at + 1 and checkpoint.kind == "windows":
        tokens.append(int(reading.trace["probabilities"][at].argmax()))
    return checkpoint.tokenizer.decode([token for token in tokens if token != checkpoint.tokenizer.bos])


def place(graph: Graph, checkpoint: Checkpoint, reading: Reading, source: Source) -> int:
    """The atom of a number; of a chance, that of its logarithm. Raises `UsageError` where the graph has none."""
    value = value_of(reading, source)
    path, member, count = _path(checkpoint.model, source)
    group = 0
    for name in path:
        group = _below(graph, group, name)
    atom = _members(graph, group)[-count:][member]
    found = math.exp(graph.value[atom]) if source[0] == "probabilities" else graph.value[atom]
    if not math.isclose(found, value, rel_tol=1e-6, abs_tol=1e-9):
        raise UsageError(OTHER_TOKENS)
    return atom


def _path(model: ModelConfig, source: Source) -> tuple[list[str], int, int]:
    """The groups around a number, and which of the last atoms in them it is, of so many."""
    stage, at, index = source
    layer, _, part = stage.rpartition(".")
    around, here = layer.replace("layer", "layer "), f"position {at}"
    head, within = divmod(index, model.head_size)
    match part:
        case "embedding":
            return ["embeddings", "sum", here], index, model.emb
        case "norm_embeddings":
            return ["embeddings", "norm", here], index, model.emb
        case "norm_head":
            return ["logits", "norm", here], index, model.emb
        case "logits":
            return ["logits", "lm_head", here, f"number {index}"], 0, 1
        case "probabilities":
            return ["loss", here], index, model.vocabulary
        case "scores" | "attention":
            head, within = divmod(index, at + 1)
            inner = "scores" if part == "scores" else "softmax"
            return [around, f"head {head}", here, inner], within, at + 1
        case "attention_output":
            return [around, f"head {head}", here, "answer", f"number {within}"], 0, 1
        case "expanded":
            gates = model.wide if model.activation == "swiglu" else 0
            matrix, row = ("mlp_gate", index) if index < gates else ("mlp_fc1", index - gates)
            return [around, PARTS[matrix], here, f"number {row}"], 0, 1
        case "hidden" if model.activation == "swiglu":  # five operations for each
            return [around, SUMS[part], here], 5 * index + 4, 5 * model.wide
        case "query" | "key" if model.position == "rotary":  # three for each; keys come first
            block = 3 * model.emb * (part == "query")
            return [around, "rotation", here], block + 3 * index + 2, 6 * model.emb
    if part in NORMS:
        return [around, NORMS[part], here], index, model.emb
    if part in SUMS:
        return [around, SUMS[part], here], index, model.wide if part == "hidden" else model.emb
    return [around, PARTS[LINEAR[part]], here, f"number {index}"], 0, 1


def _below(graph: Graph, group: int, name: str) -> int:
    """The group of a name directly below another, or in one of the parts that it is cut into."""
    below = [child for child, parent in enumerate(graph.parents) if parent == group]
    parts = [child for child in below if graph.names[child].startswith("groups ")]
    below += [child for child, parent in enumerate(graph.parents) if parent in parts]
    found = next((child for child in below if graph.names[child] == name), None)
    if found is None:
        raise UsageError(OTHER_TOKENS)
    return found


def _members(graph: Graph, group: int) -> list[int]:
    """The operations of a group itself, not of those below it, in order."""
    parts = [
        child
        for child, parent in enumerate(graph.parents)
        if parent == group and graph.names[child].startswith("atoms ")
    ]
    inside = np.isin(graph.place, [group, *parts]) & (graph.a >= 0)
    members: list[int] = np.flatnonzero(inside).tolist()
    return members
