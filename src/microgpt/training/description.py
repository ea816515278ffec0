"""What a checkpoint says beside its numbers, as JSON: schema, model, step, tokenizer, text, settings, random state.

Nothing of a file is believed: every key and type is checked, and the sizes of the model are compared with the shapes
in the file before anything of that size is made.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, cast

from microgpt import untrusted
from microgpt.data.choices import KINDS, Kind, Unasked
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, UsageError
from microgpt.model.settings import ModelConfig, stated
from microgpt.training.request import Request, revive

SCHEMAS: Final = (1, 2, 3)  # a file has the lowest that can tell it: 1 characters alone, 2 bytes, 3 merges
_MOST_CTX: Final = 1 << 20  # where no tensor says how many positions there are
_WORDS: Final = 624  # of the state of Python's generator, the Mersenne twister

Shapes = Mapping[str, tuple[int, ...]]
RandomState = tuple[Any, ...]  # what random.Random.getstate gives


@dataclass(frozen=True)
class Provenance:
    """Which text a run was trained on and where it was found: `sources` are absolute, but for built-in texts."""

    name: str
    sources: tuple[str, ...]
    sha256: str


@dataclass(frozen=True)
class Training:
    """What only a training needs; a file to share has none of it. `random_state` is that of a golden run's stream,
    `origin` the run that this one extends, `ranks` how many processes computed what was done last."""

    request: Request
    provenance: Provenance
    random_state: RandomState | None
    origin: str | None
    ranks: int = 1


@dataclass(frozen=True)
class Description:
    """A model, its vocabulary and the steps it has taken; with its training, unless it was made to be shared."""

    model: ModelConfig
    tokenizer: Tokenizer
    kind: Kind
    step: int
    training: Training | None


def to_json(description: Description) -> str:
    """The inverse of `from_json`."""
    training = description.training
    values = {
        "schema": _schema(description.tokenizer),
        "model": stated(ModelConfig, asdict(description.model)),
        "tokenizer": description.tokenizer.to_dict(),
        "kind": description.kind,
        "step": description.step,
        "training": training and _training_values(training),
    }
    return json.dumps(values, allow_nan=False)


def _schema(tokenizer: Tokenizer) -> int:
    return 3 if tokenizer.merges else 2 if tokenizer.unit == "bytes" else 1


def _training_values(training: Training) -> dict[str, Any]:
    """Of several ranks alone it says how many: other files are what they were before there were ranks."""
    return {
        "request": training.request.stated(),
        "provenance": asdict(training.provenance),
        "random_state": training.random_state,
        "origin": training.origin,
    } | ({"ranks": training.ranks} if training.ranks > 1 else {})


def from_json(text: str, shapes: Shapes) -> Description:
    """A description from untrusted text, of a file whose weights have these shapes. Raises `CheckpointError`."""
    values = untrusted.parse_json(text, "metadata")
    if values.get("schema") not in SCHEMAS:
        raise CheckpointError(
            f"expected a checkpoint of schema {' or '.join(map(str, SCHEMAS))}, found "
            f"{str(values.get('schema'))[:40]!r}; a newer version of microgpt may read it."
        )
    _expect_keys(values, "schema model tokenizer kind step training", "metadata")
    if values["kind"] not in KINDS:
        raise _odd("kind", f"one of {', '.join(KINDS)}", values["kind"])
    tokenizer = Tokenizer.from_dict(_section(values["tokenizer"], "tokenizer"))
    if _schema(tokenizer) > values["schema"]:
        raise _odd("tokenizer", f"what schema {values['schema']} has", tokenizer.tokens)
    model = _model(_section(values["model"], "model"), shapes)
    if tokenizer.vocabulary != model.vocabulary:
        raise _odd("vocabulary", f"{model.vocabulary} tokens", tokenizer.vocabulary)
    step = _whole(values["step"], "step")
    training = None if values["training"] is None else _training(_section(values["training"], "training"), model)
    if training and step > training.request.settings.steps:
        raise _odd("step", f"at most {training.request.settings.steps}", step)
    return Description(model, tokenizer, cast(Kind, values["kind"]), step, training)


def _model(values: dict[str, Any], shapes: Shapes) -> ModelConfig:
    """The sizes, held against the shapes first: a size that fits no file must cost neither time nor memory."""
    sizes = {name: _whole(values.get(name), name) for name in ("vocabulary", "emb", "head", "layer", "ctx", "ff")}
    vocabulary, emb = shapes.get("wte", (0, 0))
    ctx = shapes["wpe"][0] if "wpe" in shapes else min(sizes["ctx"], _MOST_CTX)
    layers = sum(name.endswith(".mlp_fc1") for name in shapes)
    found = {"vocabulary": vocabulary, "emb": emb, "ctx": ctx, "layer": layers}
    if found != {name: sizes[name] for name in found} or not sizes["head"] or not emb or emb % sizes["head"]:
        raise _odd("model", "the sizes of the tensors", str(sizes))
    try:
        model: ModelConfig = revive(ModelConfig, values)
    except UsageError as error:
        raise _odd("model", "valid sizes", error) from None
    if (model.wide, emb) != shapes.get("layer0.mlp_fc1"):
        raise _odd("model", "the sizes of the tensors", str(sizes))
    return model


def _training(values: dict[str, Any], model: ModelConfig) -> Training:
    values = {"ranks": 1} | values
    _expect_keys(values, "request provenance random_state origin ranks", "training")
    request = Request.from_dict(_section(values["request"], "request"))
    if request.settings.model(model.vocabulary) != model:
        raise _odd("settings", "those of the model", request.settings)
    provenance = _section(values["provenance"], "provenance")
    _expect_keys(provenance, "name sources sha256", "provenance")
    sources = provenance["sources"]
    if not isinstance(sources, list) or not sources:
        raise _odd("sources", "a list of paths", sources)
    return Training(
        request=request,
        provenance=Provenance(
            _text(provenance["name"], "name"),
            Unasked(_text(source, "sources") for source in sources),
            _text(provenance["sha256"], "sha256"),
        ),
        random_state=None if values["random_state"] is None else _random_state(values["random_state"]),
        origin=None if values["origin"] is None else _text(values["origin"], "origin"),
        ranks=_whole(values["ranks"], "ranks", least=1),
    )


def _random_state(value: object) -> RandomState:
    version, words, normal = value if isinstance(value, list) and len(value) == 3 else (None, None, None)
    sound = isinstance(words, list) and len(words) == _WORDS + 1 and all(type(word) is int for word in words)
    if version != 3 or not sound or not (normal is None or isinstance(normal, float)):
        raise _odd("random_state", "the state of Python's generator", value)
    state = tuple(words or ())
    if not (all(0 <= word < 1 << 32 for word in state) and state[-1] <= _WORDS):
        raise _odd("random_state", f"{_WORDS} words of 32 bits and a place among them", state)
    return version, state, normal


def _section(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise _odd(name, "a JSON object", value)
    return value


def _expect_keys(values: dict[str, Any], keys: str, where: str) -> None:
    if values.keys() != set(keys.split()):
        raise _odd(where, f"the keys {keys}", " ".join(values))


def _whole(value: object, name: str, least: int = 0) -> int:
    if type(value) is not int or not least <= value < 1 << 63:
        raise _odd(name, "a whole number", value)
    return value


def _text(value: object, name: str) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _odd(name, "text", value)
    return value


def _odd(name: str, expected: str, found: object) -> CheckpointError:
    return CheckpointError(f"{name}: expected {expected}, found {str(found)[:100]!r}; the file is damaged.")
