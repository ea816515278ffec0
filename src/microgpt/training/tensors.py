"""The safetensors format, read from untrusted bytes: a header of names, types, shapes and places, then plain numbers.

The header is checked in full before a number is read: sizes within limits, known types, places that follow one
another without gap or overlap to the end of the file. Writing is left to the library.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from microgpt import untrusted
from microgpt.errors import CheckpointError

FILE_LIMIT: Final = 16 << 30  # bytes
HEADER_LIMIT: Final = 16 << 20
PART: Final = 1 << 20  # numbers that are read at once
TYPES: Final[dict[str, np.dtype[Any]]] = {"F32": np.dtype("<f4"), "F64": np.dtype("<f8")}


@dataclass(frozen=True)
class Tensor:
    """One tensor of a header; `start` counts from the end of the header."""

    name: str
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    start: int

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def stop(self) -> int:
        return self.start + self.size * self.dtype.itemsize


@dataclass(frozen=True)
class Header:
    """What a file says that it holds, checked against the file's size; `end` is where the numbers begin."""

    metadata: dict[str, str]
    tensors: dict[str, Tensor]
    end: int


def encode(tensors: Mapping[str, NDArray[Any]], metadata: str) -> bytes:
    """A safetensors file of these tensors, with one entry of metadata: `microgpt`."""
    whole = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return safetensors.numpy.save(whole, metadata={"microgpt": metadata})


def read_header(file: BinaryIO, size: int, path: Path) -> Header:
    """The header of a file of `size` bytes. Raises `CheckpointError`."""
    length = int.from_bytes(file.read(8), "little")
    if size < 8 or not 0 < length <= min(size - 8, HEADER_LIMIT):
        raise _damaged(path, f"a safetensors header of 1 to {HEADER_LIMIT:,} bytes", f"{length:,} in {size:,} bytes")
    values = untrusted.parse_json(file.read(length), str(path))
    metadata = values.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise _damaged(path, "metadata of text", "something else")
    tensors = {name: _tensor(name, entry, path) for name, entry in values.items()}
    place = 0
    for tensor in sorted(tensors.values(), key=lambda tensor: (tensor.start, tensor.stop)):
        if tensor.start != place:
            raise _damaged(path, f"a tensor at byte {place:,}", f"{tensor.name[:80]!r} at {tensor.start:,}")
        place = tensor.stop
    if place != size - 8 - length:
        raise _damaged(path, f"{place:,} bytes of numbers", f"{size - 8 - length:,}")
    return Header(metadata, tensors, 8 + length)


def read_tensor(file: BinaryIO, header: Header, tensor: Tensor, path: Path, into: NDArray[Any]) -> None:
    """Read the numbers of a tensor into a vector (size,). Raises `CheckpointError` where one is not finite."""
    file.seek(header.end + tensor.start)
    for start in range(0, tensor.size, PART):
        part = into[start : start + PART]
        numbers = np.frombuffer(file.read(part.nbytes), dtype=tensor.dtype)
        if len(numbers) != len(part) or not np.isfinite(numbers).all():
            raise _damaged(path, f"finite numbers in {tensor.name}", "some that are not, or too few")
        part[:] = numbers


def _tensor(name: str, entry: object, path: Path) -> Tensor:
    if not isinstance(entry, dict) or entry.keys() != {"dtype", "shape", "data_offsets"}:
        raise _damaged(path, f"dtype, shape and data_offsets of {name[:80]!r}", "other fields")
    if not isinstance(entry["dtype"], str) or entry["dtype"] not in TYPES:
        raise _damaged(path, f"{name[:80]!r} in F32 or F64", repr(entry["dtype"])[:80])
    shape, places = entry["shape"], entry["data_offsets"]
    if not _whole(shape, 1, 2) or not _whole(places, 2, 2):
        raise _damaged(path, f"a shape and a place of {name[:80]!r} in whole numbers", f"{shape!r}, {places!r}"[:120])
    tensor = Tensor(name, TYPES[entry["dtype"]], tuple(shape), places[0])
    if tensor.stop != places[1]:
        raise _damaged(path, f"{name[:80]!r} to end at byte {tensor.stop}", str(places[1])[:80])
    return tensor


def _whole(values: object, fewest: int, most: int) -> bool:
    """Whether these are so many whole numbers, none of which can overflow."""
    return (
        isinstance(values, list)
        and fewest <= len(values) <= most
        and all(type(value) is int and 0 <= value <= FILE_LIMIT for value in values)
    )


def _damaged(path: Path, expected: str, found: str) -> CheckpointError:
    return CheckpointError(f"{path}: expected {expected}, found {found}; the file is damaged or no checkpoint.")
