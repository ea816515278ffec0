"""A checkpoint: weights, Adam moments, and all that a training needs to go on, in one safetensors file.

There is no pickle, so no file can make code run; tensors.py and description.py check what is read before it is used.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from microgpt import untrusted
from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, DivergedError
from microgpt.machine import free_memory
from microgpt.model.ledger import ledger, params
from microgpt.model.ledger import tensors as named
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State
from microgpt.training.description import Description, Training, from_json, to_json
from microgpt.training.tensors import FILE_LIMIT, Header, encode, read_header, read_tensor

MOMENTS: Final = ("adam_m.", "adam_v.")


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A model with its vocabulary; with its training, unless it was made to be shared.

    `has_moments` says whether the file holds Adam's moments; without them `state` has zeros, and can't be resumed.
    """

    state: State
    tokenizer: Tokenizer
    kind: Kind
    training: Training | None
    has_moments: bool = True

    @property
    def model(self) -> ModelConfig:
        return self.state.model

    @property
    def description(self) -> Description:
        return Description(self.model, self.tokenizer, self.kind, self.state.step, self.training)

    @property
    def trained(self) -> Training:
        """The training of a checkpoint that has one."""
        assert self.training is not None
        return self.training

    def noting(self, **changes: Any) -> "Checkpoint":
        """The same with other facts of its training, named as the fields of `Training`."""
        return replace(self, training=replace(self.trained, **changes))


def to_bytes(checkpoint: Checkpoint) -> bytes:
    """The whole checkpoint as a file. Raises `DivergedError` where a number is not finite: `read` would refuse it."""
    if not checkpoint.state.finite:
        raise DivergedError(
            f"step {checkpoint.state.step}: expected finite numbers to save, found others; what was saved before stays."
        )
    state, parts = checkpoint.state, [("", checkpoint.state.weights)]
    if checkpoint.has_moments:
        parts += zip(MOMENTS, (state.adam_m, state.adam_v), strict=True)
    arrays = {prefix + name: array for prefix, flat in parts for name, array in named(state.model, flat).items()}
    return encode(arrays, to_json(checkpoint.description))


def weights_alone(checkpoint: Checkpoint) -> Checkpoint:
    """The same without moments: what `history/` keeps."""
    return replace(checkpoint, has_moments=False)


def shared(checkpoint: Checkpoint) -> Checkpoint:
    """Weights, configuration and vocabulary alone: nothing about the text's place, the run or the machine."""
    return replace(checkpoint, training=None, has_moments=False)


def read(path: Path, *, moments: bool = True) -> Checkpoint:
    """A checkpoint from an untrusted file, its moments only where they are wanted. Raises `CheckpointError`, or
    `EnvironmentFault` without permission."""
    try:
        with untrusted.opened(path, FILE_LIMIT) as (file, size):
            header = read_header(file, size, path)
            description = _describe(header)
            prefixes = ("", *MOMENTS) if len(header.tensors) > len(ledger(description.model)) else ("",)
            _check(header, description.model, prefixes)
            if (needed := size - header.end) > (free := free_memory()):
                told = f"{free:,} bytes at most, which this machine has free, found {needed:,}"
                raise CheckpointError(f"expected {told}; close other programs, or take a larger machine.")
            wanted = prefixes if moments else ("",)
            vectors = [_flat(file, header, description.model, prefix, path) for prefix in wanted]
    except CheckpointError as error:
        raise error if str(error).startswith(str(path)) else CheckpointError(f"{path}: {error}") from None
    if not (has_moments := len(vectors) > 1):
        vectors += [np.zeros(len(vectors[0]), vectors[0].dtype) for _ in MOMENTS]  # no memory until it is written to
    weights, adam_m, adam_v = vectors
    state = State(description.model, weights, adam_m, adam_v, description.step)
    return Checkpoint(state, description.tokenizer, description.kind, description.training, has_moments)


def describe(path: Path) -> Description:
    """What a file says of itself, without reading its numbers. Raises as `read` does."""
    with untrusted.opened(path, FILE_LIMIT) as (file, size):
        return _describe(read_header(file, size, path))


def _describe(header: Header) -> Description:
    shapes = {name: tensor.shape for name, tensor in header.tensors.items() if not name.startswith(MOMENTS)}
    if "microgpt" not in header.metadata:
        raise CheckpointError("expected a checkpoint of microgpt, found other metadata; choose a file that it wrote.")
    if any(len(shape) != 2 for shape in shapes.values()):
        raise CheckpointError("expected matrices, found a tensor of other dimensions; the file is no checkpoint.")
    return from_json(header.metadata["microgpt"], shapes)


def _check(header: Header, model: ModelConfig, prefixes: tuple[str, ...]) -> None:
    """Raise `CheckpointError` unless the tensors are exactly those of the ledger, all of one type."""
    expected = {prefix + entry.name: (entry.rows, entry.columns) for prefix in prefixes for entry in ledger(model)}
    found = {name: tensor.shape for name, tensor in header.tensors.items()}
    if expected != found:
        odd = sorted({name for name, _ in expected.items() ^ found.items()})
        raise CheckpointError(
            f"expected the tensors of this model, found others at {odd[0][:80]!r}; the file is damaged."
        )
    if len({tensor.dtype for tensor in header.tensors.values()}) > 1:
        raise CheckpointError("expected tensors of one type, found F32 and F64; the file is damaged.")


def _flat(file: BinaryIO, header: Header, model: ModelConfig, prefix: str, path: Path) -> NDArray[Any]:
    """One vector (params,) from the tensors of the ledger."""
    flat = np.empty(params(model), header.tensors["wte"].dtype.newbyteorder("="))
    for entry in ledger(model):
        read_tensor(file, header, header.tensors[prefix + entry.name], path, flat[entry.span])
    return flat
