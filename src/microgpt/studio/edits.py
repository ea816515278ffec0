"""Changes to a model that show what each part does: heads and units switched off, weights of another value.

All are changes of weights: a head is off where nothing reads it (its columns of `attn_wo` are zero), a unit of the MLP
where its column of `mlp_fc2` is. So every engine can be asked about the changed model.
"""

import math
import re
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.errors import UsageError
from microgpt.model.ledger import tensors
from microgpt.model.settings import ModelConfig
from microgpt.training.checkpoint import Checkpoint

MOST: Final = 200  # changes at once
LARGEST: Final = 1e6  # a weight in size
SWITCH: Final = re.compile(r"layer(\d{1,6})\.(head|unit)(\d{1,9})")
WEIGHT: Final = re.compile(r"([a-z_0-9]+(?:\.[a-z_0-9]+)?)\.(\d{1,9})\.(\d{1,9})=(.{1,40})")


def edited(checkpoint: Checkpoint, edits: str) -> Checkpoint:
    """The checkpoint with changes such as `layer0.head2,layer1.unit13,wte.5.3=0.25`, whatever their order.

    Raises `UsageError` for what its model does not have.
    """
    model, changed = checkpoint.model, checkpoint.state.weights.astype(np.float64)
    wanted = list(filter(None, edits.split(",")))
    if len(wanted) > MOST:
        raise UsageError(f"expected at most {MOST} changes of the model at once, found {len(wanted):,}; put some back.")
    for edit in sorted(wanted, key=lambda edit: "=" not in edit):  # what is off stays off
        _apply(model, tensors(model, changed), edit)
    return replace(checkpoint, state=replace(checkpoint.state, weights=changed))


def _apply(model: ModelConfig, matrices: dict[str, NDArray[Any]], edit: str) -> None:
    if found := SWITCH.fullmatch(edit):
        layer, number = int(found[1]), int(found[3])
        part, size, count = (
            ("attn_wo", model.head_size, model.head) if found[2] == "head" else ("mlp_fc2", 1, model.wide)
        )
        if layer < model.layer and number < count:
            matrices[f"layer{layer}.{part}"][:, number * size : (number + 1) * size] = 0.0
            return
    elif found := WEIGHT.fullmatch(edit):
        matrix, row, column, value = matrices.get(found[1]), int(found[2]), int(found[3]), _number(found[4])
        if matrix is not None and row < len(matrix) and column < matrix.shape[1]:
            matrix[row, column] = value
            return
    raise UsageError(f"{edit[:60]}: expected a head, a unit or a weight of this model; put the change back.")


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= LARGEST:
        raise UsageError(f"expected a weight from {-LARGEST:,.0f} to {LARGEST:,.0f}, found {text[:20]!r}; correct it.")
    return value
