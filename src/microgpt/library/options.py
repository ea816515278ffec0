"""The settings of a training as keywords for editors and type checkers. `make docs` writes this file."""

from os import PathLike
from typing import Literal, TypedDict


class Options(TypedDict, total=False):
    """The flags of `microgpt train` with underscores; `microgpt train --help` says what each does."""

    steps: int
    batch: int
    lr: float
    beta1: float
    beta2: float
    warmup: int
    decay: Literal["linear", "cosine", "constant", "cooldown"]
    weight_decay: float
    seed: int
    initial: Literal["uniform", "gauss"]
    initial_scale: float
    emb: int
    head: int
    layer: int
    ctx: int
    ff: int
    norm_embeddings: bool
    norm_head: bool
    position: Literal["learned", "rotary"]
    activation: Literal["relu", "swiglu"]
    encoding: str
    normalize: str
    tokens: str
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
    select: Literal["last", "best"]
    patience: int
    mix: float
    samples: int
    temperature: float | None
