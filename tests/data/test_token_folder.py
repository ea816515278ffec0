"""Token files: what is written is what would have been read, and what is damaged is refused."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt import files
from microgpt.data import dataset as datasets
from microgpt.data.choices import Unit
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset, prepare
from microgpt.data.reading import Text, read, read_bytes
from microgpt.data.split import Split
from microgpt.data.token_folder import HEADER, TOKENS
from microgpt.data.token_writing import write_folder
from microgpt.errors import DataError, EnvironmentFault, UsageError
from tests.training.disk import Failing

PROSE = "Ein Löwe lag im Schatten.\nKam die Maus, die ihn nicht sah.\n\n" * 40


def folder_of(place: Path, text: str | bytes = PROSE, unit: Unit = "characters") -> Path:
    data = text if isinstance(text, bytes) else text.encode()
    (place / "text.txt").write_bytes(data)
    write_folder([str(place / "text.txt")], place / "tokens", tokens=unit)
    return place / "tokens"


def written(place: Path) -> tuple[Text, Text]:
    """A text as it is read, and as token files have it."""
    return read([str(place / "text.txt")]), read([str(place / "tokens")])


@settings(max_examples=25, deadline=None)
@given(st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=2).filter(lambda text: text.strip()))
def test_token_files_hold_the_text_that_reading_gives(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        (place / "text.txt").write_text(text, encoding="utf-8", newline="")
        if len(read([str(place / "text.txt")])) < 2:
            return
        write_folder([str(place / "text.txt")], place / "tokens")
        plain, prepared = written(place)
        assert str(prepared) == str(plain)
        assert (prepared.alphabet, prepared.normalize) == (plain.alphabet, plain.normalize)


def test_files_are_joined_as_reading_joins_them(tmp_path: Path) -> None:
    for name, text in (("a.txt", "one"), ("b.txt", "two\n"), ("c.txt", "three\n\n"), ("d.txt", "four")):
        (tmp_path / name).write_text(text)
    write_folder([str(tmp_path)], tmp_path / "characters")
    write_folder([str(tmp_path)], tmp_path / "bytes", tokens="bytes")
    joined = str(read([str(tmp_path)]))
    assert str(read([str(tmp_path / "characters")])) == joined == "one\n\ntwo\n\nthree\n\nfour"
    assert bytes(read([str(tmp_path / "bytes")]).symbols) == joined.encode()


@pytest.mark.parametrize(("characters", "bits"), [(200, 8), (256, 8), (257, 16), (66_000, 32)])
def test_ids_take_the_bits_that_the_vocabulary_needs(tmp_path: Path, characters: int, bits: int) -> None:
    """Also where the many characters come late, after numbers of fewer bits were kept."""
    text = "ab" * (1 << 19) + "".join(map(chr, [*range(0x4E00, 0x9FFF), *range(0x20000, 0x2F000)][: characters - 2]))
    header, _ = write_folder([_file(tmp_path, text)], tmp_path / "tokens")
    assert 8 * header.dtype.itemsize == bits
    plain, prepared = written(tmp_path)
    assert prepared.alphabet == plain.alphabet
    assert np.array_equal(prepared.symbols, plain.symbols)
    assert (header.counts == np.bincount(plain.symbols)).all()


def _file(place: Path, text: str) -> str:
    (place / "text.txt").write_text(text, encoding="utf-8")
    return str(place / "text.txt")


def test_bytes_stay_as_they_are(tmp_path: Path) -> None:
    data = bytes(range(256)) + b"\r\n\xef\xbb\xbf"
    folder = folder_of(tmp_path, data, "bytes")
    assert (folder / TOKENS).read_bytes() == data
    prepared, plain = read([str(folder)]), read_bytes([str(tmp_path / "text.txt")])
    assert prepared.sha256 == plain.sha256
    assert Corpus.of(prepared).tokenizer == Corpus.of(plain).tokenizer
    assert Corpus.of(prepared).tokenizer.vocabulary == 257


def test_tokens_are_mapped_and_can_not_be_written(tmp_path: Path) -> None:
    corpus = Corpus.of(read([str(folder_of(tmp_path))]))
    assert isinstance(corpus.tokens.base, np.memmap)
    with pytest.raises(ValueError, match="read-only"):
        corpus.tokens[0] = 1


@pytest.mark.parametrize("unit", ["characters", "bytes"])
@pytest.mark.parametrize("holdout", [0.0, 0.3])
def test_a_dataset_is_that_of_the_text_in_memory(tmp_path: Path, unit: Unit, holdout: float) -> None:
    folder = folder_of(tmp_path, PROSE + "Zuletzt: xyz.", unit)
    source = str(tmp_path / "text.txt")
    plain = read([source]) if unit == "characters" else read_bytes([source])
    one, other = (prepare(text, ctx=7, kind="windows", holdout=holdout) for text in (plain, read([str(folder)])))
    for mine, yours in zip(one.sequences(0, 50), other.sequences(0, 50), strict=True):
        assert np.array_equal(mine, yours)
    for mine, yours in zip(one.held_out(), other.held_out(), strict=True):
        assert np.array_equal(mine, yours)
    assert (one.split.training_counts == other.split.training_counts).all()
    assert (one.unigram, one.uniform) == (other.unigram, other.uniform)
    assert one.holdout_unseen_characters == other.holdout_unseen_characters == (5 if holdout else 0)
    assert one.tokens_in_epoch == other.tokens_in_epoch
    assert other.contains("Schatten.\nKam") == one.contains("Schatten.\nKam") is True


def changed(place: str, value: object) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        header = json.loads((folder / HEADER).read_text())
        (folder / HEADER).write_text(json.dumps(header | {place: value}))

    return change


def at_byte(place: int, value: bytes) -> Callable[[Path], object]:
    def change(folder: Path) -> None:
        data = bytearray((folder / TOKENS).read_bytes())
        data[place : place + 1] = value
        (folder / TOKENS).write_bytes(data)

    return change


@pytest.mark.parametrize(
    ("damage", "said"),
    {
        "an id beyond the vocabulary": (at_byte(100, b"\xff"), "token ids below 24, found 255"),
        "another id": (at_byte(100, b"\x01"), "tokens of SHA-256"),
        "a byte more": (at_byte(100, b"\x01\x01"), "found 2,4"),
        "no tokens": (lambda folder: (folder / TOKENS).unlink(), "No such file"),
        "tokens that are a folder": (
            lambda folder: ((folder / TOKENS).unlink(), (folder / TOKENS).mkdir()),
            "no regular file",
        ),
        "no JSON": (lambda folder: (folder / HEADER).write_text("{"), "expected JSON"),
        "a newer schema": (changed("schema", 3), "schema 1 or 2, found '3'"),
        "another unit": (changed("unit", "words"), "other values"),
        "counts that are too few": (changed("counts", [1]), "other values"),
        "counts of words": (changed("counts", ["a"] * 24), "other values"),
        "counts without end": (changed("counts", [1 << 80] * 24), "other values"),
        "unsorted characters": (changed("characters", "ba"), "other values"),
        "characters of another kind": (changed("characters", 7), "other values"),
        "another vocabulary": (changed("vocabulary", 3), "other values"),
        "other bits": (changed("bits", 16), "other values"),
        "bytes with characters": (changed("unit", "bytes"), "other values"),
        "one key more": (changed("more", 1), "other values"),
    }.values(),
)
def test_damaged_token_files_are_refused(tmp_path: Path, damage: Callable[[Path], object], said: str) -> None:
    folder = folder_of(tmp_path)
    damage(folder)
    with pytest.raises(DataError, match=said):
        read([str(folder)])


def test_what_prepared_text_can_not_be_asked_for_is_refused(tmp_path: Path) -> None:
    folder = str(folder_of(tmp_path))
    with pytest.raises(UsageError, match="alone, found 2 texts"):
        read([folder, "names"])
    with pytest.raises(UsageError, match="--encoding latin-1"):
        read([folder], encoding="latin-1")
    with pytest.raises(UsageError, match="--normalize none"):
        read([folder], normalize="none")
    with pytest.raises(UsageError, match="expected windows"):
        Corpus.of(read([folder]), "lines")
    with pytest.raises(UsageError, match="--documents: expected auto"):
        Corpus.of(read([folder]), "pages")


def test_nothing_is_left_of_a_preparation_that_fails(tmp_path: Path) -> None:
    for source, error in (("no.txt", DataError), ("blank.txt", DataError), ("one.txt", DataError)):
        (tmp_path / "blank.txt").write_text(" \n")
        (tmp_path / "one.txt").write_text("a")
        for unit in ("characters", "bytes"):
            if (source, unit) != ("blank.txt", "bytes"):  # blanks are bytes like others
                with pytest.raises(error):
                    write_folder([str(tmp_path / source)], tmp_path / "tokens", tokens=unit)  # type: ignore[arg-type]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["blank.txt", "one.txt"]


@pytest.mark.parametrize("kinds", [("create",), ("write",), ("sync",), ("replace",)])
def test_a_full_disk_leaves_nothing_behind(tmp_path: Path, kinds: tuple[str, ...]) -> None:
    (tmp_path / "text.txt").write_text(PROSE)
    with files.watched(Failing(errno.ENOSPC, kinds, at=1)), pytest.raises(EnvironmentFault, match="free some space"):
        write_folder([str(tmp_path / "text.txt")], tmp_path / "tokens")
    assert [path.name for path in tmp_path.iterdir()] == ["text.txt"]


def test_a_folder_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    folder = folder_of(tmp_path)
    before = (folder / TOKENS).read_bytes()
    with pytest.raises(UsageError, match="expected a new --out"):
        write_folder(["names"], folder)
    assert (folder / TOKENS).read_bytes() == before


def test_bytes_are_never_decoded(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--encoding latin-1"):
        write_folder(["names"], tmp_path / "tokens", tokens="bytes", encoding="latin-1")


def test_the_order_of_very_many_windows_visits_each_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(datasets, "DRAWN", 10)
    monkeypatch.setattr(datasets, "LISTED", 10)
    data = Dataset.of(Split.of(Corpus.of(read([str(folder_of(tmp_path))])), 0.3, 0), ctx=5, seed=3)
    starts, stops = data.spans(0, data.documents, 1)
    assert sorted((starts - starts.min()) // 5) == list(range(data.documents))
    assert (stops - starts == 6).all()
    assert not np.array_equal(starts, data.spans(data.documents, data.documents, 1)[0])  # another epoch, another order
    assert np.array_equal(starts[7:9], data.spans(7, 2, 1)[0])
    held_out = data.held_out()
    assert len(held_out) == data.holdout_documents
    assert sum(len(window) - 1 for window in held_out[2:]) == sum(len(window) - 1 for window in list(held_out)[2:])
