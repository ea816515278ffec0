"""What a run costs and sees, known before it is run: parameters, tokens, epochs, floating-point operations."""

import numpy as np
from numpy.typing import NDArray

import microgpt
from microgpt.data.dataset import Dataset
from microgpt.lab.store.record import RunRecord
from microgpt.lab.sweep.origin import commit, machine
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Shared
from microgpt.model.cost import ADAM_OPERATIONS, forward_flop
from microgpt.model.ledger import ledger
from microgpt.model.settings import ModelConfig, Settings

STRETCH = 1 << 20  # documents whose lengths are in memory at once


def skeleton(spec: Spec, shared: Shared, dataset: Dataset) -> RunRecord:
    """The record of a run on its dataset, with all but what it measures."""
    model = spec.settings.model(shared.split.corpus.tokenizer.vocabulary)
    lengths = seen(dataset, spec.settings)
    tokens = int(lengths @ np.arange(len(lengths)))
    embedding, head, body = params_by_part(model)
    return RunRecord(
        identity=spec.identity,
        sweeps=(),
        role="study",
        status="done",
        settings=spec.scientific,
        data=shared.split.corpus.name,
        data_sha256=spec.data_sha256,
        kind=shared.split.corpus.kind,
        engine=spec.asked.engine,
        precision=spec.asked.precision,
        params=embedding + head + body,
        params_embedding=embedding,
        params_head=head,
        params_body=body,
        tokens=tokens,
        unique_tokens=shared.unique_tokens,
        epochs=tokens / shared.unique_tokens,
        flop=float(training_flop(model, lengths, spec.settings.steps)),
        loss=None,
        loss_se=None,
        training_loss=None,
        unigram=shared.unigram,
        uniform=shared.uniform,
        holdout_documents=len(shared.held_out),
        version=microgpt.__version__,
        commit=commit(),
        machine=machine(),
    )


def params_by_part(model: ModelConfig) -> tuple[int, int, int]:
    """How many numbers the embeddings, the head (where they are tied, the matrix of both) and the body learn."""
    sizes = {entry.name: entry.size for entry in ledger(model)}
    embedding, wte = sizes.pop("wpe", 0), sizes.pop("wte")
    head = wte if model.tied else sizes.pop("lm_head")
    embedding += 0 if model.tied else wte
    return embedding, head, sum(sizes.values())


def seen(dataset: Dataset, settings: Settings) -> NDArray[np.int64]:
    """How many of the documents of a training have 0, 1, … ctx predictions, shape (ctx + 1,)."""
    stretch = max(1, STRETCH // settings.batch)
    counts = np.zeros(settings.ctx + 1, np.int64)
    for first in range(0, settings.steps, stretch):
        starts, stops = dataset.spans(first, min(stretch, settings.steps - first), settings.batch)
        counts += np.bincount(np.minimum(stops - starts - 1, settings.ctx), minlength=len(counts))
    return counts


def training_flop(model: ModelConfig, lengths: NDArray[np.int64], steps: int) -> int:
    """Useful work of a training by model/cost.py: forward, twice that backward, and Adam's updates."""
    forward = sum(int(count) * forward_flop(model, n) for n, count in enumerate(lengths.tolist()) if count)
    return 3 * forward + steps * ADAM_OPERATIONS * sum(params_by_part(model))
