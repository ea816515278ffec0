"""`.html`: one page that writes with the trained model in any browser, offline, shows what comes next, and learns.

The page loads nothing and sends nothing: its policy allows the scripts and the style that stand in it, by their hashes,
WebAssembly, a thread of the page's own scripts, and no request at all. It holds kernel.c compiled for the model's
sizes, and once more for new models of up to MOST_TOKENS tokens; where no compiler makes them it writes in JavaScript,
and says so. A training in it has the split, order and first weights of `microgpt` on the same text, and the losses of
`fused` with vectors of 16 bytes.

Weights are base64 of little-endian float32: 4/3 x 4 bytes a parameter, and a line end every 76 characters, so 10
million parameters make a page of 54 MB. Texts from outside enter it as JSON without `<`, base64 and numbers alone.
"""

import base64
import hashlib
import json
import re
import warnings
import zlib
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np

from microgpt.data.choices import BUILTINS
from microgpt.engines.fused import build
from microgpt.engines.fused.engine import defines
from microgpt.errors import DivergedError, EnvironmentFault
from microgpt.model.ledger import ledger, params
from microgpt.model.settings import ARCHITECTURE, ModelConfig, Settings, usual_rate, variations
from microgpt.outputs import GENERATOR
from microgpt.training.checkpoint import Checkpoint, shared
from microgpt.training.description import Description, Provenance, Training, to_json
from microgpt.training.prepare import prepare
from microgpt.training.request import Request

_HERE: Final = Path(__file__).parent
THREAD: Final = ("model.js", "writing.js", "trouble.js", "kernel.js", "lessons.js", "learner.js")  # no document there
_SCRIPTS: Final = (*THREAD, "learn.js", "page.js")
MOST_TOKENS: Final = 256  # of a new model in the page
TRY: Final = Request(settings=Settings(steps=20_000))  # what a page without a run begins with; it takes half a second
_UNCOMPILED: Final = (
    "This page was made where no compiler for WebAssembly was at hand: it writes in plain JavaScript, and does not "
    "learn."
)
_BLANK: Final = re.compile(r"\{\{(\w+)\}\}")


class PageWarning(UserWarning):
    """The page is made without what it needs to learn."""


def page(checkpoint: Checkpoint) -> bytes:
    """One self-contained HTML page, the same bytes for the same weights, configuration, vocabulary and compiler.

    Raises `DivergedError` for weights beyond float32; warns where the page can't learn.
    """
    model = checkpoint.model
    try:
        kernels = _kernels(model)
    except EnvironmentFault as fault:
        warnings.warn(f"the page writes, but can't learn: {fault}", PageWarning, stacklevel=2)
        kernels = []
    return _page(shared(checkpoint), kernels, Settings(lr=usual_rate(model.emb), **_architecture(model)))


def page_to_try() -> bytes:
    """A page that needs no run: the built-in names, and a model of first weights that learns them when it is opened.
    Raises `EnvironmentFault` where the kernel can't be compiled."""
    checkpoint = prepare(TRY).checkpoint
    return _page(checkpoint, _kernels(checkpoint.model), TRY.settings, BUILTINS["names"].path.read_bytes())


def _kernels(model: ModelConfig) -> list[bytes]:
    """The kernel for this model, and the one for new models. Raises `EnvironmentFault` where they can't be compiled."""
    constants = defines(model, "32") | {"MOST_THREADS": 1, "FEWER": 0}
    return [build.web(constants), build.web(constants | {"VOCABULARY": MOST_TOKENS, "FEWER": 1})]


def _architecture(model: ModelConfig) -> dict[str, Any]:
    return {name: getattr(model, name) for name in ARCHITECTURE}


def _page(checkpoint: Checkpoint, kernels: list[bytes], settings: Settings, text: bytes = b"") -> bytes:
    """The page of a model, whose trainings have these settings; it begins with one on `text`, the built-in names."""
    template = _read("page.html")
    section = _read("learning.html")
    unit = "token" if checkpoint.tokenizer.merges else "character"
    scripts = {name.removesuffix(".js"): "\n" + _read(name) for name in _SCRIPTS}
    parts = scripts | {
        "generator": GENERATOR,
        "policy": _policy(list(scripts.values()), _style(template)),
        "first": section if text else "",  # what happens when the page is opened
        "last": "" if text else section,
        "params": f"{params(checkpoint.model):,}",
        "unit": unit,
        "sizes": _sizes(checkpoint.model, unit),
        "about": _json(_about(checkpoint) | {"unit": unit}),
        "learning": _json(_learning(checkpoint, kernels, settings, bool(text)) if kernels else {"why": _UNCOMPILED}),
        "brought": _packed(text) if text else "",
        "weights": "" if text else _weights(checkpoint),  # the page draws first weights itself
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
        f"default-src 'none'; script-src {allowed} 'wasm-unsafe-eval'; worker-src blob:; style-src {_hash(style)}; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _sizes(model: ModelConfig, unit: str) -> str:
    """The footer's line: sizes by the names of their flags."""
    sizes = ", ".join(f"{name} {getattr(model, name):,}" for name in ("emb", "head", "layer", "ctx", "ff"))
    sizes += "".join(f", {name if value is True else f'{name} {value}'}" for name, value in variations(model).items())
    return f"{params(model):,} parameters: {sizes}; {model.vocabulary - 1:,} {unit}s and the mark of begin and end."


def _json(values: dict[str, Any]) -> str:
    """JSON in ASCII, in which no `<` can open or close an element."""
    return json.dumps(values).replace("<", "\\u003c")


def _packed(data: bytes) -> str:
    """Bytes in zlib's format, in base64."""
    return base64.b64encode(zlib.compress(data, 9)).decode()


def _learning(checkpoint: Checkpoint, kernels: list[bytes], settings: Settings, brought: bool) -> dict[str, Any]:
    """The compiled kernels, the settings of a training in the page, and the description of its checkpoints, in which
    the page puts its text, its steps and, for a new model, its vocabulary."""
    model, tokens = checkpoint.model, checkpoint.tokenizer.tokens
    request = Request(settings=settings, tokens=tokens, normalize=checkpoint.tokenizer.normalize)
    training = Training(request, Provenance("text", ("text",), "0" * 64), random_state=None, origin=None)
    described = to_json(Description(model, checkpoint.tokenizer, checkpoint.kind, 0, training))
    return {
        "kernels": _packed(b"".join(kernels)),  # together, for they are alike
        "own": len(kernels[0]),
        "most": MOST_TOKENS,
        "params": params(model),
        "settings": asdict(settings) | {"holdout": request.holdout, "split_seed": request.split_seed},
        "description": json.loads(described),
        "hint": "Left empty, it learns the names that came with this page." if brought else "",
        "brought": {"name": "names", "source": "names", "kind": BUILTINS["names"].kind},
    }


def _about(checkpoint: Checkpoint) -> dict[str, Any]:
    """Configuration, shapes and vocabulary."""
    return {
        "config": asdict(checkpoint.model),
        "matrices": [(entry.name, entry.rows, entry.columns) for entry in ledger(checkpoint.model)],
        "kind": checkpoint.kind,
        "normalize": checkpoint.tokenizer.normalize,
        "characters": checkpoint.tokenizer.characters,
        "merges": checkpoint.tokenizer.merges,
    }


def _weights(checkpoint: Checkpoint) -> str:
    """Base64 in lines of 76 characters. Raises `DivergedError` for a weight that is not finite in float32."""
    with np.errstate(over="ignore"):
        numbers = checkpoint.state.weights.astype("<f4")
    if not np.isfinite(numbers).all():
        raise DivergedError("expected weights that float32 can hold, found larger ones; train the model anew.")
    return base64.encodebytes(numbers.tobytes()).decode()
