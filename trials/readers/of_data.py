"""Readers of texts, of token files and of prompts."""

import codecs
import zlib
from pathlib import Path
from typing import Final

from microgpt.cli.sample import read_prompt
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.encodings import LIKELY, likely
from microgpt.data.reading import read, read_bytes
from microgpt.data.split import Split
from microgpt.data.token_writing import write_folder
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import DataError, UsageError
from trials.readers.mutate import bytes_changed, json_changed
from trials.readers.reader import Reader
from trials.small import text

PROSE: Final = "".join(f"Ein Löwe lag {n} Tage im Schatten.\nKam eine Maus, die ihn nicht sah.\n\n" for n in range(9))


def _write(place: Path) -> None:
    (place / "text.txt").write_text(PROSE, encoding="utf-8")


def _prepared(place: Path) -> None:
    _write(place)
    if not (place / "tokens").exists():
        write_folder([str(place / "text.txt")], place / "tokens")


def _in_pairs(place: Path) -> None:
    _write(place)
    if not (place / "pairs").exists():
        write_folder([str(place / "text.txt")], place / "pairs", tokens="bpe:45")


def read_text(place: Path) -> None:
    """A text of every kind, split, with its dataset, as a training takes it."""
    _used(Corpus.of(read([str(place / "text.txt")])))
    _used(Corpus.of(read_bytes([str(place / "text.txt")])))


def read_tokens(place: Path) -> None:
    """Token files, split, with their dataset."""
    _used(Corpus.of(read([str(place / "tokens")])))


def read_pairs(place: Path) -> None:
    """The same of byte pairs."""
    _used(Corpus.of(read([str(place / "pairs")])))


def _used(corpus: Corpus) -> None:
    dataset = Dataset.of(Split.of(corpus, 0.1, 0), ctx=8)
    assert dataset.unigram >= 0
    assert len(dataset.held_out()) == dataset.holdout_documents
    for document in range(min(3, corpus.documents)):
        corpus.document(document)[:1000].encode()


ENCODINGS: Final = (
    "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "latin-1", "cp1252", "shift_jis",
    "euc_jp", "gb18030", "big5", "iso2022_jp", "hz", "koi8_r",
)  # fmt: skip


for _name in (*ENCODINGS, *LIKELY):
    codecs.lookup(_name)  # imported before a trial is watched
for _word in ("Löwe".encode("cp1252"), "Löwe\n".encode("utf-16-le") * 9, "獅子".encode("gbk") * 9):
    likely(_word, _word)  # and so is what the detector imports


def read_encoded(place: Path) -> None:
    """A text in an encoding which its own bytes choose, so that one file always means the same."""
    data = (place / "text.txt").read_bytes()
    encoding = ENCODINGS[zlib.crc32(data) % len(ENCODINGS)]
    str(read([str(place / "text.txt")], encoding=encoding)).encode()


def prompted(place: Path) -> None:
    """A prompt from a file, in the tokens of a model."""
    prompt = read_prompt(str(place / "few.txt"))
    Tokenizer("\nabcdeé", "nfc").encode(prompt)


READERS: Final = (
    Reader("text", "text.txt", _write, read_text, (DataError,), bytes_changed, trials=10_000),
    Reader("encodings", "text.txt", _write, read_encoded, (DataError,), bytes_changed, trials=10_000),
    Reader("token-header", "tokens/tokens.json", _prepared, read_tokens, (DataError,), json_changed),
    Reader("token-merges", "pairs/tokens.json", _in_pairs, read_pairs, (DataError, UsageError), json_changed),
    Reader("token-array", "tokens/tokens.bin", _prepared, read_tokens, (DataError,), bytes_changed),
    Reader("prompt", "few.txt", lambda place: text(place, ["abcde"] * 3), prompted, (DataError,), bytes_changed),
)
