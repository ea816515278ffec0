"""Models that nobody trained, whose weights tell every character from every other."""

from typing import Any, Final

import numpy as np

from microgpt.data.byte_pairs import cut, learn
from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines.parity import other_values
from microgpt.export import COMPUTED
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh
from microgpt.training.checkpoint import Checkpoint

LETTERS: Final = Tokenizer.of("abcdefgh é\n")
MERGED: Final = Tokenizer(  # the same letters in byte pairs
    LETTERS.characters, merges=learn(cut(["bad bad cab\nhé bad cab hé"]), LETTERS.characters, LETTERS.bos + 6)
)

VARIATIONS: Final[list[dict[str, Any]]] = [  # of a model, each that exports compute, and all of them at once
    *({name: value} for name in COMPUTED for value in other_values()[name]),
    {name: other_values()[name][-1] for name in COMPUTED},
]


def varies(changes: dict[str, Any]) -> str:
    """The name of a test's case."""
    return " ".join(f"{name} {value}" for name, value in changes.items()) or "plain"


def model_of(tokenizer: Tokenizer = LETTERS, kind: Kind = "lines", seed: int = 1, **sizes: Any) -> Checkpoint:
    """A model of some sizes; its weights are exact in float32 and large enough for every part of it to matter."""
    model = ModelConfig(tokenizer.vocabulary, **sizes)
    weights = np.random.default_rng(seed).normal(0, 0.4, params(model)).astype("f4").astype("f8")
    return Checkpoint(fresh(model, weights), tokenizer, kind, None, has_moments=False)
