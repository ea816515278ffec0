"""A folder that Hugging Face's transformers loads: weights, configuration, vocabulary, and the model as code of theirs.

`remote_code/` has that code; it is written as it stands. Writing needs neither torch nor transformers.
"""

import dataclasses
import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import safetensors.numpy

from microgpt import files
from microgpt.errors import EnvironmentFault, UsageError
from microgpt.model.ledger import params, tensors
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.records import Result
from microgpt.training.sample import Sampling, opening, usual_temperature

CODE: Final = Path(__file__).with_name("remote_code")
PAIRS: Final = "pairs_microgpt"
MODULES: Final = ("configuration_microgpt", "modeling_microgpt", "tokenization_microgpt", PAIRS)

_DOCUMENTS: Final = "A document ends itself, or where `ctx` is full."
_RUNNING: Final = """Running text never ends: `max_new_tokens` says how
much. Where `ctx` is full, it goes on from the latter half of it."""


def write_folder(checkpoint: Checkpoint, path: Path, result: Result | None = None) -> None:
    """Write a model as a new folder or into an empty one: whole, or not at all. Raises `UsageError` where something is
    there already, `EnvironmentFault` where it can't be written."""
    path = path.resolve()
    _check_room(path)
    made = contents(checkpoint, result)
    if path.is_dir():
        files.fill_folder(path, made)
        return

    def fill(folder: Path) -> None:
        for name, data in made.items():
            files.replace(folder / name, data)

    files.make_folder(path, fill)


def _check_room(path: Path) -> None:
    try:
        found = "a file" if path.exists() and not path.is_dir() else None
        files.tidy_dead(path)  # of exports that died
        if path.is_dir() and any(path.iterdir()):
            found = "one that is not empty"
    except OSError as error:
        raise EnvironmentFault(f"{path}: expected a folder, found: {error.strerror}; choose another.") from None
    if found:
        raise UsageError(f"{path}: expected a new or an empty folder, found {found}; choose another name.")


def contents(checkpoint: Checkpoint, result: Result | None = None) -> dict[str, bytes]:
    """The files of the folder by name."""
    return {
        "README.md": _card(checkpoint, result).encode(),
        **{f"{module}.py": (CODE / f"{module}.py").read_bytes() for module in MODULES},
        "model.safetensors": _weights(checkpoint),
        "generation_config.json": _json(_generation(checkpoint)),
        "tokenizer_config.json": _json(_tokenizer(checkpoint)),
        "config.json": _json(_config(checkpoint)),
    }


def _weights(checkpoint: Checkpoint) -> bytes:
    """The ledger's matrices in the precision of the training, under the names of modeling_microgpt.py."""
    flat = checkpoint.state.weights
    named = {_parameter(name): np.ascontiguousarray(matrix) for name, matrix in tensors(checkpoint.model, flat).items()}
    return safetensors.numpy.save(named, metadata={"format": "pt"})


def _parameter(name: str) -> str:
    """`layer0.attn_wq` is `layers.0.attn_wq.weight`, `wte` is `wte.weight`."""
    layer, _, part = name.rpartition(".")
    return f"layers.{layer.removeprefix('layer')}.{part}.weight" if layer else f"{name}.weight"


def _config(checkpoint: Checkpoint) -> dict[str, Any]:
    settings = dataclasses.asdict(checkpoint.model)
    return {
        "model_type": "microgpt",
        "architectures": ["MicrogptForCausalLM"],
        "auto_map": {
            "AutoConfig": "configuration_microgpt.MicrogptConfig",
            "AutoModelForCausalLM": "modeling_microgpt.MicrogptForCausalLM",
            "AutoTokenizer": ["tokenization_microgpt.MicrogptTokenizer", None],
        },
        "vocab_size": settings.pop("vocabulary"),
        **settings,
        "kind": checkpoint.kind,
        "dtype": "float32",
        "tie_word_embeddings": False,
    }


def _tokenizer(checkpoint: Checkpoint) -> dict[str, Any]:
    """Characters one by one: in one string, two of them could be read back as one."""
    tokenizer = checkpoint.tokenizer
    return {
        "tokenizer_class": "MicrogptTokenizer",
        "auto_map": {"AutoTokenizer": ["tokenization_microgpt.MicrogptTokenizer", None]},
        "characters": list(tokenizer.characters),
        **({"merges": [list(pair) for pair in tokenizer.merges]} if tokenizer.merges else {}),
        "kind": checkpoint.kind,
        "normalize": tokenizer.normalize,
        "model_max_length": checkpoint.model.ctx,
        "padding_side": "left",
        "truncation_side": "left",
        "clean_up_tokenization_spaces": False,
    }


def _generation(checkpoint: Checkpoint) -> dict[str, Any]:
    """Writing as `microgpt sample` does: its temperature, from all tokens, from BOS or a line break, to BOS or not."""
    usual, bos = Sampling(), checkpoint.tokenizer.bos
    drawing = {
        "do_sample": True,
        "temperature": usual_temperature(checkpoint.kind),
        "top_k": usual.top_k,
    }
    if checkpoint.kind == "windows":
        ends: dict[str, Any] = {
            "bos_token_id": opening(checkpoint.tokenizer),
            "suppress_tokens": [bos],
            "max_new_tokens": usual.length,
        }
    else:
        ends = {"bos_token_id": bos, "eos_token_id": bos, "max_new_tokens": checkpoint.model.ctx}
    return {**drawing, **ends, "pad_token_id": bos}


def _card(checkpoint: Checkpoint, result: Result | None) -> str:
    """README.md: what the model is, how to load it, and what to know before sharing it."""
    model, running = checkpoint.model, checkpoint.kind == "windows"
    said = {name: "yes" if getattr(model, name) else "no" for name in ("norm_embeddings", "norm_head")}
    parts = ["RMSNorm", "ReLU" if model.activation == "relu" else "SwiGLU (`activation swiglu`)"]
    parts += ["rotary positions (`position rotary`)"] if model.position == "rotary" else []
    return (
        (CODE / "README.md")
        .read_text(encoding="utf-8")
        .format(
            **{**dataclasses.asdict(model), **said},
            parts=", ".join(parts),
            text="running text" if running else "short documents",
            params=params(model),
            characters=len(checkpoint.tokenizer.characters),
            unit="token" if checkpoint.tokenizer.merges else "character",
            merged=f", {len(checkpoint.tokenizer.merges):,} merges of them" if checkpoint.tokenizer.merges else "",
            step=checkpoint.state.step,
            ending=_RUNNING if running else _DOCUMENTS,
            measured=_measured(result) if result else "Nothing is known of its losses: they stand beside its run.",
        )
    )


def _measured(result: Result) -> str:
    """What it learned from, without the names of files, and how well."""
    loss, told = result.loss, f"It was trained on {result.documents:,} documents of one text."
    if loss.holdout_per_character is None:
        return f"{told} Nothing was held out, so how well it does on another text is not known."
    error = f" ± {loss.holdout_per_character_se:.3f} (standard error)" if loss.holdout_per_character_se else ""
    rows = [
        ("this model", f"{loss.holdout_per_character:.3f}{error}"),
        *([("the best table of counts of the same text", f"{loss.counts:.3f}")] if loss.counts is not None else []),
        ("letter frequencies alone", f"{loss.unigram_per_character:.3f}"),
        ("knowing nothing", f"{loss.uniform_per_character:.3f}"),
    ]
    head = f"| nats per character, on {loss.holdout_documents:,} documents held out | |\n|---|---:|\n"
    return f"{told}\n\n{head}" + "\n".join(f"| {name} | {value} |" for name, value in rows)


def _json(values: dict[str, Any]) -> bytes:
    return (json.dumps(values, indent=2) + "\n").encode()
