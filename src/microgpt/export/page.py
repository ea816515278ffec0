"""`.html`: one page that writes with the trained model in any browser, offline, and shows what comes next.

The page loads nothing and sends nothing: its policy allows the scripts and the style that stand in it, by their hashes,
and no request at all. Weights are base64 of little-endian float32: 4/3 x 4 bytes a parameter, and a line end every 76
characters, so 10 million parameters make a page of 54 MB. Texts from outside enter it as JSON without `<`, base64 and
numbers alone.
"""

import base64
import hashlib
import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Final

import numpy as np

from microgpt.errors import DivergedError
from microgpt.model.ledger import ledger, params
from microgpt.model.settings import ModelConfig, variations
from microgpt.outputs import GENERATOR
from microgpt.training.checkpoint import Checkpoint

_HERE: Final = Path(__file__).parent
_SCRIPTS: Final = {"model": "model.js", "writing": "writing.js", "trouble": "trouble.js", "behaviour": "page.js"}
_BLANK: Final = re.compile(r"\{\{(\w+)\}\}")


def page(checkpoint: Checkpoint) -> bytes:
    """One self-contained HTML page, the same bytes for the same weights, configuration and vocabulary.

    Raises `DivergedError` for weights beyond float32.
    """
    template = _read("page.html")
    unit = "token" if checkpoint.tokenizer.merges else "character"
    scripts = {name: "\n" + _read(file) for name, file in _SCRIPTS.items()}
    parts = scripts | {
        "generator": GENERATOR,
        "policy": _policy(list(scripts.values()), _style(template)),
        "params": f"{params(checkpoint.model):,}",
        "unit": unit,
        "sizes": _sizes(checkpoint.model, unit),
        "about": _about(checkpoint),
        "weights": _weights(checkpoint),
    }
    return _BLANK.sub(lambda blank: parts[blank[1]], template).encode()


def _read(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


def _style(template: str) -> str:
    return template.partition("<style>")[2].partition("</style>")[0]


def _policy(scripts: list[str], style: str) -> str:
    """The Content-Security-Policy (CSP Level 3, section 6.7): nothing but these scripts and this style."""
    allowed = " ".join(map(_hash, scripts))
    return (
        f"default-src 'none'; script-src {allowed}; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _sizes(model: ModelConfig, unit: str) -> str:
    """The footer's line: sizes by the names of their flags."""
    sizes = ", ".join(f"{name} {getattr(model, name):,}" for name in ("emb", "head", "layer", "ctx", "ff"))
    sizes += "".join(f", {name if value is True else f'{name} {value}'}" for name, value in variations(model).items())
    return f"{params(model):,} parameters: {sizes}; {model.vocabulary - 1:,} {unit}s and the mark of begin and end."


def _about(checkpoint: Checkpoint) -> str:
    """Configuration, shapes and vocabulary as JSON in ASCII, in which no `<` can open or close an element."""
    about = {
        "config": asdict(checkpoint.model),
        "matrices": [(entry.name, entry.rows, entry.columns) for entry in ledger(checkpoint.model)],
        "kind": checkpoint.kind,
        "normalize": checkpoint.tokenizer.normalize,
        "characters": checkpoint.tokenizer.characters,
        "merges": checkpoint.tokenizer.merges,
    }
    return json.dumps(about).replace("<", "\\u003c")


def _weights(checkpoint: Checkpoint) -> str:
    """Base64 in lines of 76 characters. Raises `DivergedError` for a weight that is not finite in float32."""
    with np.errstate(over="ignore"):
        numbers = checkpoint.state.weights.astype("<f4")
    if not np.isfinite(numbers).all():
        raise DivergedError("expected weights that float32 can hold, found larger ones; train the model anew.")
    return base64.encodebytes(numbers.tobytes()).decode()
