"""Sizes for a number of parameters: how wide and how deep.

Kaplan et al. 2020 (figure 5) find the loss to depend little on the shape at a given size, for widths of about 10 to 300
times the depth. Models of a hundred million to a hundred billion parameters have 60 to 130; here it is 80.
"""

import math
from collections.abc import Iterator
from typing import Final

from microgpt.errors import UsageError
from microgpt.model.settings import ModelConfig

WIDTH_FOR_DEPTH: Final = 80
MOST_LAYERS: Final = 400
HEAD_SIZES: Final = ((64, 8), (256, 16), (2048, 64), (math.inf, 128))  # emb below which a head sees so many numbers
MISS: Final = 0.1  # share of the parameters that a shape may be off
_EXACT: Final = 20  # how much more a miss in parameters counts than one in shape, both as logarithms


def shape_for(
    wanted: float, *, vocabulary: int, ctx: int, ff: int = 4, emb: int | None = None, layer: int | None = None
) -> ModelConfig:
    """A model of about so many parameters; `emb` or `layer` may be given. Raises `UsageError` where there is none."""
    found = [_model(*sizes, vocabulary, ctx, ff) for sizes in _candidates(wanted, vocabulary, ctx, ff, emb, layer)]
    best = min(found, key=lambda model: _distance(model, wanted), default=None)
    if best is None or abs(_size(best) / wanted - 1) > MISS:
        smallest = _size(_model(8, 1, vocabulary, ctx, ff))
        near = f"the nearest has {_size(best):,}" if best else f"the smallest has {smallest:,}"
        raise UsageError(
            f"--params {wanted:g}: expected a number that sizes can give with --vocabulary {vocabulary} --ctx {ctx}, "
            f"found none; {near}: change them, or give --emb, --head and --layer."
        )
    return best


def _candidates(
    wanted: float, vocabulary: int, ctx: int, ff: int, emb: int | None, layer: int | None
) -> Iterator[tuple[int, int]]:
    """Pairs of emb and layer near the wanted size."""
    ends = 2 * vocabulary + ctx  # parameters for each number of emb, besides those of the layers
    for layers in range(1, MOST_LAYERS + 1) if layer is None else (layer,):
        square = layers * (4 + 2 * ff)
        width = (math.sqrt(ends * ends + 4 * square * wanted) - ends) / (2 * square)
        if emb is not None:
            yield emb, layers
            continue
        unit = _head_size(width)
        yield from ((multiple, layers) for multiple in {_floor(width, unit), _floor(width, unit) + unit} if multiple)


def heads(emb: int) -> int:
    """How many heads suit a width: each sees 64 or 128 numbers as in large models, fewer in small ones."""
    return emb // math.gcd(emb, _head_size(emb))


def _head_size(emb: float) -> int:
    return next(size for below, size in HEAD_SIZES if emb < below)


def _floor(width: float, unit: int) -> int:
    return unit * math.floor(width / unit)


def _model(emb: int, layer: int, vocabulary: int, ctx: int, ff: int) -> ModelConfig:
    return ModelConfig(vocabulary, emb=emb, head=heads(emb), layer=layer, ctx=ctx, ff=ff)


def _size(model: ModelConfig) -> int:
    """Parameters, without the ledger of each of thousands of candidates."""
    return model.emb * (2 * model.vocabulary + model.ctx + model.layer * (4 + 2 * model.ff) * model.emb)


def _distance(model: ModelConfig, wanted: float) -> float:
    shape = math.log(model.emb / (WIDTH_FOR_DEPTH * model.layer))
    return _EXACT * abs(math.log(_size(model) / wanted)) + abs(shape)
