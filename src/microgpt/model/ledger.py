"""The ledger: which number of the flat weight vector stands where. The one source of shapes and parameter counts.

Matrices follow one another in the order in which they are drawn; each is out x in, row by row, unpadded.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from microgpt.model.settings import ModelConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Entry:
    """One matrix: its name, its shape (rows, columns), and where it begins in the flat vector."""

    name: str
    rows: int
    columns: int
    offset: int

    @property
    def size(self) -> int:
        return self.rows * self.columns

    @property
    def span(self) -> slice:
        return slice(self.offset, self.offset + self.size)


@lru_cache(maxsize=16)  # a list of runs may have thousands of models, each of as many layers as fit into a header
def ledger(model: ModelConfig) -> tuple[Entry, ...]:
    """Every matrix of the model, in order."""
    emb, wide = model.emb, model.wide
    shapes = [("wte", model.vocabulary, emb)]
    shapes += [("wpe", model.ctx, emb)] if model.position == "learned" else []
    shapes += [] if model.tied else [("lm_head", model.vocabulary, emb)]
    for layer in range(model.layer):
        shapes += [(f"layer{layer}.attn_{part}", emb, emb) for part in ("wq", "wk", "wv", "wo")]
        shapes += [(f"layer{layer}.mlp_fc1", wide, emb), (f"layer{layer}.mlp_fc2", emb, wide)]
    entries, offset = [], 0
    for name, rows, columns in shapes:
        entries.append(Entry(name, rows, columns, offset))
        offset += rows * columns
    return tuple(entries)


def params(model: ModelConfig) -> int:
    """How many numbers the model learns."""
    last = ledger(model)[-1]
    return last.offset + last.size


def tensors(model: ModelConfig, flat: "NDArray[Any]") -> dict[str, "NDArray[Any]"]:
    """Views of a flat vector (params,) as matrices by name, each (rows, columns). Writing to one writes to `flat`."""
    return {entry.name: flat[entry.span].reshape(entry.rows, entry.columns) for entry in ledger(model)}
