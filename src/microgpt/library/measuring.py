"""What a run is measured on: what it held out, or another text; and whether two runs held out the same."""

from collections.abc import Sequence

import numpy as np

from microgpt.data.dataset import Dataset
from microgpt.data.reading import Text, read, read_bytes
from microgpt.data.slices import Tokens
from microgpt.data.split import Split
from microgpt.errors import UsageError
from microgpt.library.given import Sources, sources
from microgpt.training import evaluate
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.prepare import check_sequences, dataset_of, is_own, moved


def to_measure(
    checkpoint: Checkpoint, split: Split | None, data: Sources | None, given: Text | None, encoding: str
) -> tuple[Sequence[Tokens], Dataset | None]:
    """The sequences to measure on, with the run's own text where that is what was named, or nothing was.

    Raises `UsageError` where two texts are named or nothing was held out, `DataError` as reading a text does.
    """
    tokenizer, kind = checkpoint.tokenizer, checkpoint.kind
    if given and data is not None:
        raise UsageError("data names a text, and text or documents give one, found both; leave one out.")
    names = () if data is None else sources(data)
    own: Dataset | None = None
    if not (given or names):
        own = dataset_of(checkpoint, split)
    elif names and is_own(checkpoint, names):
        own = dataset_of(moved(checkpoint, names))
    sequences: Sequence[Tokens] = own.held_out() if own else ()
    if names and not sequences:
        in_bytes, normalize = tokenizer.unit == "bytes" and kind == "windows", tokenizer.normalize
        given = read_bytes(names) if in_bytes else read(names, encoding=encoding, normalize=normalize)
    if given:
        sequences = evaluate.sequences_of(given, tokenizer, kind, checkpoint.model.ctx)
    if not sequences:
        raise UsageError("this run held nothing out; give a text with --data.")
    check_sequences(checkpoint, sequences)
    return sequences, own


def check_alike(one: tuple[Checkpoint, Split | None], other: tuple[Checkpoint, Split | None]) -> None:
    """Raises `UsageError` for runs that did not hold out the same documents, of one vocabulary."""
    parts = [dataset_of(*run) for run in (one, other)]
    if one[0].tokenizer != other[0].tokenizer:
        raise UsageError("expected runs of one vocabulary, found two; their losses per token can't be compared.")
    mine, theirs = (part.held_out() for part in parts)
    if not (mine and len(mine) == len(theirs) and all(map(np.array_equal, mine, theirs))):
        raise UsageError(
            f"expected the same held-out documents, found {len(mine):,} and {len(theirs):,} that are not the same; "
            "compare runs of one text, --split-seed, --holdout and, of running text, --ctx."
        )
