"""The settings of a training as keywords for editors and type checkers; a test holds them to the flags."""

from os import PathLike
from typing import TypedDict

from microgpt.model.settings import Decay, Initial
from microgpt.training.request import Select


class Options(TypedDict, total=False):
    """The flags of `microgpt train` with underscores; `microgpt train --help` says what each does."""

    steps: int
    batch: int
    lr: float
    beta1: float
    beta2: float
    warmup: int
    decay: Decay
    seed: int
    emb: int
    head: int
    layer: int
    ctx: int
    ff: int
    norm_embeddings: bool
    norm_head: bool
    initial: Initial
    initial_scale: float
    encoding: str
    normalize: str
    holdout: float
    split_seed: int
    engine: str
    precision: str
    threads: int
    device: str
    name: str
    out: str | PathLike[str]
    save_every: int
    keep: str
    eval_every: int
    eval_documents: int
    select: Select
    patience: int
    samples: int
    temperature: float | None
