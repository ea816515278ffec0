"""Runs that never were: drawn from a planted law with noise of known size.

Benches and tests hold the analyses against them, because here the truth is known.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from itertools import product
from typing import Any, Final

from microgpt.engines import automatic
from microgpt.lab.store.record import Role, RunRecord
from microgpt.model.ledger import ledger, params
from microgpt.model.settings import Settings

VOCABULARY: Final = 27
TOKENS_A_STEP: Final = 7.1  # of one name, with its end
UNIQUE_TOKENS: Final = 191_000
SIZES: Final = ((16, 4, 1), (24, 4, 1), (32, 4, 2), (64, 8, 4))  # emb, head, layer
STEPS: Final = (1000, 2000, 3000, 5000, 8000, 9000, 13000, 21000)
RATES: Final = (0.0025, 0.005, 0.01, 0.02, 0.04)  # that tuning tries
TEXT: Final = {  # settings of the text, which a store has columns for
    "documents": "lines",
    "encoding": "utf-8",
    "normalize": "nfc",
    "tokens": "characters",
    "holdout": 0.1,
    "split_seed": 0,
    "order": "shuffled",
    "golden": False,
}
SAMPLES: Final = ("mari", "kaden", "anela", "jorin")


@dataclass(frozen=True)
class Law:
    """L(N, D) = E + A/N^alpha + B/D^beta, nats per token for N parameters and D tokens (Hoffmann et al. 2022)."""

    E: float = 1.95
    A: float = 50.0
    B: float = 200.0
    alpha: float = 0.35
    beta: float = 0.40

    def loss(self, params: float, tokens: float) -> float:
        return float(self.E + self.A / params**self.alpha + self.B / tokens**self.beta)


@dataclass(frozen=True)
class Noise:
    """Standard deviations in nats per token: of each run alone, of a seed at all levels, of the held-out set."""

    run: float = 0.005
    seed: float = 0.003
    held_out: float = 0.01
    growth: float = 0.0  # how much noisier a run of 1,000 steps is than an endless one: 1 is twice


@dataclass(frozen=True)
class Design:
    """What is crossed with what. Sizes are (emb, head, layer); `tuned` adds the runs that chose a learning rate."""

    sizes: Sequence[tuple[int, int, int]] = SIZES[:1]
    steps: Sequence[int] = STEPS
    seeds: int = 3
    sweep: str = "steps"
    tuned: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    own_seeds: bool = False  # every level has other seeds, so that nothing can be paired


def simulate(law: Law, design: Design, noise: Noise, seed: int) -> list[RunRecord]:
    """The records of a simulated sweep; the same arguments give the same records."""
    stream = random.Random(seed)
    shift = stream.gauss(0, noise.held_out)
    of_seed: dict[int, float] = {}
    records = []
    for place, (size, steps) in enumerate(product(design.sizes, design.steps)):
        for replicate in range(design.seeds):
            own = replicate + (design.seeds * place if design.own_seeds else 0)
            of_seed.setdefault(own, stream.gauss(0, noise.seed))
            record = _record(design, size, {"steps": steps, "seed": own})
            wide = noise.run * (1 + noise.growth * 1000 / steps)
            loss = law.loss(record.params, record.tokens) + shift + of_seed[own] + stream.gauss(0, wide)
            records.append(replace(record, loss=loss, loss_se=noise.held_out, training_loss=loss - 0.02))
    return records + (_tuning(law, design, noise, stream, shift) if design.tuned else [])


def _tuning(law: Law, design: Design, noise: Noise, stream: random.Random, shift: float) -> list[RunRecord]:
    """Runs on seeds of their own over a grid of learning rates, best at its middle."""
    records = []
    for size, lr, seed in product(design.sizes, RATES, (1000, 1001)):
        record = _record(design, size, {"steps": min(design.steps), "seed": seed, "lr": lr}, "tuning")
        worse = 0.02 * math.log2(lr / RATES[2]) ** 2
        loss = law.loss(record.params, record.tokens) + shift + worse + stream.gauss(0, noise.run)
        records.append(replace(record, loss=loss, loss_se=noise.held_out))
    return records


def _record(design: Design, size: tuple[int, int, int], chosen: Mapping[str, Any], role: Role = "study") -> RunRecord:
    emb, head, layer = size
    settings = Settings(**{"emb": emb, "head": head, "layer": layer, **design.settings, **chosen})
    model = settings.model(VOCABULARY)
    of_name = {entry.name: entry.size for entry in ledger(model)}
    embedding, last, total = of_name["wte"] + of_name["wpe"], of_name["lm_head"], params(model)
    tokens = round(settings.steps * TOKENS_A_STEP)
    values = {**vars(settings), **TEXT}
    return RunRecord(
        identity=sha256(repr(sorted(values.items())).encode()).hexdigest(),
        sweeps=(design.sweep,),
        role=role,
        status="done",
        settings=values,
        data="names",
        data_sha256=sha256(b"names").hexdigest(),
        kind="lines",
        engine=automatic()[0],
        precision="32",
        params=total,
        params_embedding=embedding,
        params_head=last,
        params_body=total - embedding - last,
        tokens=tokens,
        unique_tokens=UNIQUE_TOKENS,
        epochs=tokens / UNIQUE_TOKENS,
        flop=6.0 * total * tokens,
        loss=None,
        loss_se=None,
        training_loss=None,
        unigram=2.82,
        uniform=math.log(VOCABULARY),
        holdout_documents=3203,
        samples=SAMPLES,
        seconds={"total": 0.1, "train": 0.08},
        version="0.1.0",
        commit="0" * 40,
        machine="simulated",
        finished=f"2026-01-01T00:00:{settings.seed % 60:02d}",
    )
