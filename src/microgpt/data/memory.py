"""Texts that are in memory already: a string, or a list of documents. They are cleaned as files are."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate

import numpy as np

from microgpt.data.choices import IN_MEMORY, Normalization
from microgpt.data.decoding import check, clean
from microgpt.data.reading import Text, remarks, text_from
from microgpt.data.slices import position_type
from microgpt.errors import DataError


def text_of(string: str, normalize: Normalization = "nfc") -> Text:
    """A string as a text; its `sha256` is that of a file with the string in UTF-8. Raises `DataError` where it is blank
    or no text."""
    changes: Counter[str] = Counter()
    text = text_from(_clean(string, normalize, changes), IN_MEMORY)
    sha256 = hashlib.sha256(string.encode()).hexdigest()
    return replace(text, sha256=sha256, normalize=normalize, notes=tuple(remarks(changes)))


def text_of_documents(documents: Sequence[str], normalize: Normalization = "nfc") -> Text:
    """Documents as a text that knows where each begins: lines where none has a line break, else paragraphs. Blank ones
    are left out, with a note. Raises `DataError` where all are, or one is no text."""
    changes: Counter[str] = Counter()
    kept = [cleaned for one in documents if (cleaned := _clean(one, normalize, changes)) and not cleaned.isspace()]
    joined = "\n".join(kept)
    stops = np.array(list(accumulate(len(one) + 1 for one in kept)), position_type(len(joined) + 1)) - 1
    starts = stops - np.array([len(one) for one in kept], stops.dtype)
    blank = len(documents) - len(kept)
    return replace(
        text_from(joined, IN_MEMORY),
        sha256=hashlib.sha256("\0".join(documents).encode()).hexdigest(),
        declared_kind="paragraphs" if any("\n" in one for one in kept) else "lines",
        normalize=normalize,
        notes=(*remarks(changes), *([f"{blank:,} blank documents were left out"] if blank else [])),
        cuts=(starts, stops),
    )


def _clean(string: str, normalize: Normalization, changes: Counter[str]) -> str:
    check("utf-8", normalize)
    try:
        data = string.encode()
    except UnicodeEncodeError as error:
        found = f"half a character (a lone surrogate) at place {error.start:,}"
        raise DataError(f"{IN_MEMORY}: expected text, found {found}; read it with its own encoding") from None
    return "".join(clean([data], name=IN_MEMORY, encoding="utf-8", normalize=normalize, changes=changes))
