"""A model to share: weights, configuration and vocabulary alone, and nothing about the machine or the person."""

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

from microgpt import outputs
from microgpt.errors import UsageError
from microgpt.export.huggingface import write_folder
from microgpt.export.onnx import graph
from microgpt.export.page import page
from microgpt.export.program import program
from microgpt.model.settings import flag, variations
from microgpt.training.checkpoint import Checkpoint, shared, to_bytes
from microgpt.training.records import Result

COMPUTED: Final = ("position", "activation")  # the settings, beyond those of symmetry.py, that formats compute
NO_GGUF: Final = (  # as src/models/gpt2.cpp of llama.cpp has it
    "expected another format, since llama.cpp computes GPT-2 with LayerNorm, GELU and biases alone, and this model has "
    "RMSNorm, ReLU and none; choose .onnx, .py, .html, .safetensors, or a folder for transformers."
)
WARNING: Final = "a model can repeat its training text: share it only where that may be read."


def export(
    checkpoint: Checkpoint,
    target: str | Path,
    *,
    reads: Iterable[str | Path] = (),
    force: bool = False,
    result: Result | None = None,
) -> None:
    """Write a model to share: a file by its ending, or a folder for Hugging Face's transformers where the target has no
    ending, has a slash at its end, or is a folder. `reads` is where the model is from, and `force` replaces a file that
    this program did not write. A folder's card tells the losses of a `result`.

    Raises `UsageError` for another ending, a file that must not be replaced, a folder that is not empty, a model of
    bytes in what writes characters, or one that varies what the format does not compute; `EnvironmentFault` where it
    can't be written or a package is missing.
    """
    path = Path(target)
    if path.suffix.lower() == ".gguf":
        raise UsageError(f"{target}: {NO_GGUF}")
    if checkpoint.tokenizer.unit == "bytes" and path.suffix != ".safetensors":
        raise UsageError(
            f"{target}: expected a file that ends in .safetensors, since this model's tokens are bytes and the other "
            "formats write characters; export it so, or train on --tokens characters."
        )
    others = {name: value for name, value in variations(checkpoint.model).items() if name not in COMPUTED}
    if path.suffix != ".safetensors" and others:
        told = ", ".join(f"{flag(name)} {value}" for name, value in others.items())
        raise UsageError(f"{target}: this format does not compute {told}; export the weights, as .safetensors.")
    if not path.suffix or str(target).endswith(("/", os.sep)) or path.is_dir():
        write_folder(checkpoint, path, result)
        return
    place = outputs.destination(target, tuple(WRITERS), reads=reads, force=force)
    outputs.write(place, WRITERS[place.suffix.lower()](checkpoint))


def _tensors(checkpoint: Checkpoint) -> bytes:
    return to_bytes(shared(checkpoint))


WRITERS: Final[dict[str, Callable[[Checkpoint], bytes]]] = {
    ".safetensors": _tensors,
    ".py": program,
    ".html": page,
    ".onnx": graph,
}
