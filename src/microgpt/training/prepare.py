"""From a request to what a training begins with: text, documents, first weights, random stream."""

import os
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import IN_MEMORY, STANDARD_INPUT, Normalization, Unasked, is_built_in
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset, Order
from microgpt.data.reading import Text, read, sha256_of
from microgpt.data.retokenize import retokenized
from microgpt.data.slices import Tokens
from microgpt.data.split import Split
from microgpt.data.token_folder import is_token_folder
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines.ranks import ranks
from microgpt.errors import DataError, UsageError
from microgpt.machine import free_memory, main_memory
from microgpt.model.cost import activation_bytes, state_bytes
from microgpt.model.ledger import tensors
from microgpt.model.settings import ModelConfig
from microgpt.model.state import draw_weights, draw_weights_golden, fresh
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import settled
from microgpt.training.description import Provenance, Training
from microgpt.training.request import Request

SEQUENCE: Final = 200  # bytes of a sequence in a batch: where it stands in the text
_ELSEWHERE: Final = "if it was moved, --data NEWPLACE names it"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A training before its first step, or where it stopped: its text as sequences, and its checkpoint."""

    dataset: Dataset
    checkpoint: Checkpoint

    @property
    def training(self) -> Training:
        return self.checkpoint.trained

    @property
    def request(self) -> Request:
        return self.training.request

    def noting(self, **changes: Any) -> "Prepared":
        """The same with other facts of its training, named as the fields of `Training`."""
        return replace(self, checkpoint=self.checkpoint.noting(**changes))


def prepare(request: Request, split: Split | None = None, begin: Checkpoint | None = None) -> Prepared:
    """The text of a request, or a split of it that is at hand, and first weights, which are those of `begin` if given:
    of tokens that it lacks they are drawn.

    Raises `DataError` for the text; `UsageError` for settings that can't be on it, or sizes beyond the machine.
    """
    request = settled(request)
    split = split or split_of(request, request.documents, known=begin.tokenizer if begin else None)
    model = request.settings.model(split.corpus.tokenizer.vocabulary)
    check_memory(request, model)
    stream = random.Random(request.settings.seed) if request.golden else None
    dataset = dataset_on(request, split, stream)
    settings, corpus = request.settings, split.corpus
    if begin and not (
        replace(begin.model, vocabulary=model.vocabulary) == model
        and begin.tokenizer.grown(corpus.tokenizer.characters) == corpus.tokenizer
        and (corpus.counts is not None or request.tokens == begin.tokenizer.tokens)
    ):
        found = f"{_described(begin.model, begin.tokenizer)}, for {_described(model, corpus.tokenizer)}"
        raise UsageError(f"--from: expected a model of these sizes and this text's tokens, found {found}.")
    weights = draw_weights_golden(settings, model, stream) if stream else draw_weights(settings, model)
    if begin:
        weights = _taken_over(begin, model, corpus.tokenizer, weights)
    if not np.isfinite(weights).all():
        raise UsageError(
            f"--initial-scale {settings.initial_scale:g}: expected finite first weights, found others; 0.08 is usual."
        )
    begun_from = begin.training.provenance.name if begin and begin.training else None
    training = Training(request, _provenance(corpus), stream.getstate() if stream else None, begun_from, ranks())
    return Prepared(dataset, Checkpoint(fresh(model, weights), corpus.tokenizer, corpus.kind, training))


def _taken_over(
    begin: Checkpoint, model: ModelConfig, tokenizer: Tokenizer, drawn: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The weights of a model (params,), with drawn ones in the rows of tokens that it has not."""
    rows = begin.tokenizer.places_in(tokenizer.characters)
    known, weights = tensors(begin.model, begin.state.weights), tensors(model, drawn)
    for name, matrix in weights.items():
        if name in ("wte", "lm_head"):
            matrix[rows] = known[name]
        else:
            matrix[:] = known[name]
    return drawn


def _described(model: ModelConfig, tokenizer: Tokenizer) -> str:
    sizes = ", ".join(f"{name} {getattr(model, name)}" for name in ("emb", "head", "layer", "ctx", "ff"))
    return f"one of {sizes} and {tokenizer.bos:,} tokens ({tokenizer.tokens})"


def restore(checkpoint: Checkpoint, request: Request, split: Split | None = None) -> Prepared:
    """The text of a run that goes on. Raises `DataError` where it has changed, `UsageError` beyond the machine."""
    request = settled(request)
    check_memory(request, checkpoint.model)
    return Prepared(dataset_of(checkpoint, split), checkpoint.noting(request=request, ranks=ranks()))


def dataset_of(checkpoint: Checkpoint, split: Split | None = None) -> Dataset:
    """The sequences that a checkpoint was trained on, and those held out. Raises `DataError` where the text is not
    the same, `UsageError` for a checkpoint without a text."""
    training = checkpoint.training
    if training is None:
        raise UsageError("this file was made to be shared and names no text; give one with --data.")
    request, sources = training.request, training.provenance.sources
    if split is None:
        if sources == (IN_MEMORY,):
            raise DataError("this run was trained on a text in memory; give it again, as load(run, text=…) does.")
        if gone := [source for source in sources if is_gone(source, sources)]:
            raise DataError(f"{gone[0]}: expected the text of this run, found nothing there; {_ELSEWHERE}.")
        split = split_of(replace(request, data=sources), checkpoint.kind, known=checkpoint.tokenizer)
    if split.corpus.sha256 != training.provenance.sha256 or split.corpus.tokenizer != checkpoint.tokenizer:
        raise DataError(
            f"{', '.join(sources)}: expected the text of this run (SHA-256 {training.provenance.sha256[:12]}…), found "
            f"another ({split.corpus.sha256[:12]}…); {_ELSEWHERE}; else restore it, or begin a new run."
        )
    return dataset_on(request, split)


def moved(checkpoint: Checkpoint, data: Sequence[str]) -> Checkpoint:
    """The checkpoint with another place of its text; `dataset_of` will see whether it is there. Raises `UsageError`
    for a checkpoint without a text."""
    if checkpoint.training is None:
        raise UsageError("--data: this file was made to be shared and knows no text of its own; leave it out.")
    return checkpoint.noting(provenance=replace(checkpoint.training.provenance, sources=absolute(data)))


def is_own(checkpoint: Checkpoint, data: Sequence[str]) -> bool:
    """Whether a text is the one that a checkpoint was trained on, wherever it is; standard input is taken for another.
    Raises `DataError` where it can't be read."""
    if checkpoint.training is None or STANDARD_INPUT in data:
        return False
    if checkpoint.tokenizer.unit == "bytes":  # token files and the text that they were made of may have one hash
        prepared = checkpoint.training.request.tokens == "characters"  # one that was asked for bytes read a text
        if prepared != is_token_folder(data[0]):
            return False
    return sha256_of(data) == checkpoint.training.provenance.sha256


def is_gone(source: str, sources: tuple[str, ...]) -> bool:
    """Whether one of the sources is not on this machine; of `Unasked` ones no server and no person is asked for it."""
    elsewhere = source == STANDARD_INPUT or source.replace("\\", "/").startswith("//")
    unasked = elsewhere and isinstance(sources, Unasked)
    return unasked or not (source == STANDARD_INPUT or is_built_in(source) or os.path.lexists(source))


def dataset_on(request: Request, split: Split, stream: random.Random | None = None) -> Dataset:
    """The sequences of a request on a split, without weights that may not fit into memory. A golden run's are shuffled
    by its one `stream`, made here where nothing else is to be drawn from it."""
    order: Order = request.order
    if request.golden and request.order == "shuffled":
        if split.is_running:
            raise UsageError(f"--recipe {request.recipe} shuffles documents; use --documents lines or paragraphs.")
        order = list(range(split.corpus.documents))
        (stream or random.Random(request.settings.seed)).shuffle(order)
    return Dataset.of(split, ctx=request.settings.ctx, seed=request.settings.seed, order=order)


def check_memory(request: Request, model: ModelConfig) -> None:
    """Raise `UsageError` for sizes whose weights, moments and activations can't fit into this machine's main memory.
    A card has memory of its own for activations, and the engine looks at it."""
    batch, (one, two) = request.settings.batch, (state_bytes(replace(model, layer=layer), 8) for layer in (1, 2))
    needed = one + (model.layer - 1) * (two - one) + batch * SEQUENCE
    if not request.device.startswith("cuda"):
        needed += activation_bytes(model, 8, batch)
    if needed > (memory := main_memory()):
        raise UsageError(
            f"--emb {model.emb} --layer {model.layer} --ctx {model.ctx} --ff {model.ff} --batch {batch} "
            f"need about {needed / 1e9:,.1f} GB of memory, and this machine has {memory / 1e9:,.1f} of main memory; "
            "choose smaller ones."
        )


def check_sequences(checkpoint: Checkpoint, sequences: Sequence[Tokens]) -> None:
    """Raise `UsageError` where the activations of the longest can't fit into the main memory that is free."""
    training, model = checkpoint.training, checkpoint.model
    longest = min(model.ctx, max(map(len, sequences)))
    needed, free = activation_bytes(replace(model, ctx=longest), 8), free_memory()
    if needed > free and not (training and settled(training.request).device.startswith("cuda")):
        raise UsageError(
            f"{longest:,} tokens at once need {needed / 1e9:,.1f} GB, found {free / 1e9:,.1f} free; take a smaller ctx."
        )


def text_of(request: Request) -> Text:
    """The text of a request. Standard input can be read but once. Raises `DataError`."""
    normalize: Normalization = request.normalize  # type: ignore[assignment]  # validated by Request
    return read(request.data, encoding=request.encoding, normalize=normalize)


def split_of(request: Request, kind: str, text: Text | None = None, known: Tokenizer | None = None) -> Split:
    """The text of a request, cut into documents of a kind, a share of them held out, in the tokens it asks for: those
    of the tokenizer that is `known`, or learned. Raises `DataError`."""
    text = text or text_of(request)
    split = Split.of(Corpus.of(text, kind), request.holdout, request.split_seed)
    return retokenized(split, request.tokens, known)


def absolute(sources: Sequence[str]) -> tuple[str, ...]:
    """Sources that mean the same from any folder."""
    return tuple(
        source if is_built_in(source) or source in (STANDARD_INPUT, IN_MEMORY) else str(Path(source).absolute())
        for source in sources
    )


def _provenance(corpus: Corpus) -> Provenance:
    return Provenance(corpus.name, absolute(corpus.sources), corpus.sha256)
