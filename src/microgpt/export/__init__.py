"""A model to share: weights, configuration and vocabulary alone, and nothing about the machine or the person."""

from collections.abc import Callable
from pathlib import Path
from typing import Final

from microgpt import files
from microgpt.errors import UsageError
from microgpt.export.program import program
from microgpt.training.checkpoint import Checkpoint, shared, to_bytes

WARNING: Final = "a model can repeat its training text: share it only where that may be read."


def export(checkpoint: Checkpoint, file: Path) -> None:
    """Write a model to share as `.safetensors` or `.py`, by the file's ending. Raises `UsageError` for another ending,
    `EnvironmentFault` where it can't be written."""
    if file.suffix not in WRITERS:
        raise UsageError(f"{file}: expected a file that ends in {' or '.join(WRITERS)}, found {file.suffix or 'none'}.")
    files.replace(file, WRITERS[file.suffix](checkpoint))


def _tensors(checkpoint: Checkpoint) -> bytes:
    return to_bytes(shared(checkpoint))


WRITERS: Final[dict[str, Callable[[Checkpoint], bytes]]] = {".safetensors": _tensors, ".py": program}
