"""The texts to train on: the built-in ones, and those that a person hands to the page, kept in a private folder.

A text is known by its id: a built-in name, or the beginning of its hash and its name. An id is looked up among the
texts there are; it never becomes a path.
"""

import hashlib
import os
import re
import threading
from pathlib import Path
from typing import Any, Final

from microgpt import files, untrusted
from microgpt.data.choices import BUILTINS
from microgpt.data.corpus import Corpus
from microgpt.data.decoding import check, decoded
from microgpt.data.reading import read
from microgpt.data.split import Split
from microgpt.errors import DataError, EnvironmentFault, MicrogptError
from microgpt.studio.answers import MissingError
from microgpt.studio.kept import Kept
from microgpt.training.prepare import split_of
from microgpt.training.request import Request

FOLDER: Final = ".texts"  # beside the runs, which know their text by its path; the dot keeps it out of their list
DIGITS: Final = 16  # of a hash
REMEMBERED: Final = 3  # splits
SHOWN: Final = 8  # documents of a preview
LETTERS: Final = 120  # of each


class StudioTexts:
    """The texts of one folder of runs."""

    def __init__(self, out: Path) -> None:
        self.folder = out / FOLDER
        self._splits: Kept[Split] = Kept(REMEMBERED)
        self._adding = threading.Lock()

    def ids(self) -> list[str]:
        """Built-in texts, then those that were handed over."""
        return [*BUILTINS, *(f"{path.parent.name}/{path.name}" for path in self._own())]

    def source(self, text_id: object) -> str:
        """What `--data` would be given. Raises `MissingError` for a text that is not there."""
        if isinstance(text_id, str) and text_id in BUILTINS:
            return text_id
        for path in self._own():
            if f"{path.parent.name}/{path.name}" == text_id:
                return str(path.resolve())
        raise MissingError(f"{str(text_id)[:100]}: expected a text that is here, found none; choose or paste one.")

    def known(self, sources: tuple[str, ...]) -> str | None:
        """The id of the text of a run, where it is one of these."""
        return next((text for text in self.ids() if (self.source(text),) == sources), None)

    def add(self, name: str, data: bytes, encoding: str = "utf-8") -> str:
        """Keep a text, as UTF-8; its id. Raises `DataError` for one that can't be read: empty, blank, binary, or in
        another encoding; `UsageError` for an encoding that there is not."""
        if encoding != "utf-8":
            check(encoding, "nfc")
            data = "".join(decoded([data], name[:80] or "the text", encoding)).encode()
        stem = re.sub(r"[^\w .-]+", "-", Path(name).stem, flags=re.ASCII).strip(" .-")[:60] or "text"
        folder = self.folder / hashlib.sha256(data).hexdigest()[:DIGITS]
        path = folder / f"{stem}.txt"
        with self._adding:  # else the same text, handed over twice and refused, would go from under the other's feet
            self._make(folder)
            files.replace(path, data, mode=0o600)
            try:
                read([str(path)])
            except MicrogptError as error:
                path.unlink(missing_ok=True)
                raise DataError(str(error).replace(str(path), name[:80] or "the text")) from None
        return f"{folder.name}/{path.name}"

    def split(self, request: Request) -> Split:
        """The text of a request in its two parts, from memory where it was just asked for. Raises `DataError`."""
        key = (*request.data, request.documents, request.encoding, request.normalize, request.holdout)
        key = (*key, request.split_seed, request.tokens)
        return self._splits.get(key, lambda: split_of(request, request.documents))

    def preview(self, text_id: object, tokens: str = "characters") -> dict[str, Any]:
        """What a text is: its size, its characters, its first documents; in byte pairs these token by token. Raises
        `DataError`, or `UsageError` for tokens that are none."""
        text = read([self.source(text_id)])
        corpus = Corpus.of(text)
        if corpus.kind == "windows":
            shown = [corpus.tokenizer.decode(corpus.tokens[: SHOWN * LETTERS // 2])]
        else:
            shown = [corpus.document(place)[:LETTERS] for place in range(min(SHOWN, corpus.documents))]
        told = corpus.tokenizer
        if tokens != "characters":
            told = self.split(Request(data=(self.source(text_id),), tokens=tokens)).corpus.tokenizer
        pieces = [[*told.pieces(told.encode(text).tolist())] for text in shown]
        return {
            "id": text_id,
            "characters": len(text),
            "kind": corpus.kind,
            "reason": corpus.reason,
            "documents": corpus.documents,
            "vocabulary": told.vocabulary,
            "alphabet": corpus.tokenizer.characters[:400],
            "shown": shown,
            "pieces": pieces if told.merges else None,
            "notes": list(corpus.notes),
        }

    def _own(self) -> list[Path]:
        """Regular files, newest first; what a link leads to is none of ours."""
        try:
            found = (self.folder.parent.resolve() / FOLDER).glob("*/*.txt")
            own = [path for path in found if os.path.realpath(path) == str(path) and path.is_file()]
            return sorted(own, key=lambda path: -path.stat().st_mtime)
        except OSError:
            return []

    def _make(self, folder: Path) -> None:
        untrusted.inside(self.folder.parent, FOLDER, folder.name)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for private in (self.folder, folder):
                os.chmod(private, 0o700)  # noqa: PTH101 - a folder made by another umask is made private too
        except OSError as error:
            raise EnvironmentFault(f"{folder}: expected to keep the text here, found: {error.strerror}.") from None
