"""What a person gives to the library, as the rest of the program takes it; what can't be is told with what is right."""

import random
import secrets
from collections.abc import Sequence
from os import PathLike, fspath
from typing import Any

from microgpt.data.memory import text_of, text_of_documents
from microgpt.data.reading import Text
from microgpt.errors import UsageError
from microgpt.model.settings import plain, shown

Source = str | PathLike[str]
Sources = Source | Sequence[Source]


def sources(data: object) -> tuple[str, ...]:
    """The names of texts. Raises `UsageError` for what is none."""
    named = data if isinstance(data, list | tuple) else (data,)
    if named and all(isinstance(source, str | PathLike) for source in named):
        found = [fspath(source) for source in named]
        if all(isinstance(source, str) and source for source in found):
            return tuple(found)
    raise UsageError(f"data takes a built-in text, a file, a folder or a list of them, {_found(data)}")


def in_memory(text: object, documents: object = None, normalize: Any = "nfc", kinds: Sequence[str] = ()) -> Text | None:
    """The text in memory, if there is one: a string, or a list of documents, which may also name one of `kinds`. Raises
    `UsageError` for what is neither or both, and `DataError` for a blank one."""
    if documents is None or (isinstance(documents, str) and documents in kinds):
        if text is None:
            return None
        if not isinstance(text, str):
            raise UsageError(f"text takes a string, {_found(text)}")
        return text_of(text, normalize)
    if text is not None:
        raise UsageError("text and documents are two ways to give one text; leave one of them out.")
    if not isinstance(documents, list | tuple) or not documents or not all(isinstance(one, str) for one in documents):
        named = f", or one of {', '.join(kinds)}" if kinds else ""
        raise UsageError(f"documents takes a list of strings{named}, {_found(documents)}")
    return text_of_documents(documents, normalize)


def stream(seed: object) -> random.Random:
    """The stream of a seed, or a fresh one. Raises `UsageError` for what is no whole number."""
    whole = secrets.randbits(64) if seed is None else plain(int, seed)
    if type(whole) is not int:
        raise UsageError(f"seed takes a whole number, found {shown(seed)}.")
    return random.Random(whole)


def _found(value: object) -> str:
    """What was found, and what to do with it."""
    if isinstance(value, bytes | bytearray):
        return "found bytes; text=data.decode() gives a text in memory."
    if hasattr(value, "read"):
        return "found an open file; text=file.read() gives what is in it."
    if isinstance(value, list | tuple):
        odd = next((one for one in value if not isinstance(one, str | PathLike) or not one), value)
        return f"found {shown(odd)} in a list of {len(value):,}."
    return f"found {shown(value)}; text= takes a text in memory."
