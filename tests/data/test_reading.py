"""Reading: what a source may be, what is cleaned, and what is refused with which words."""

import bz2
import contextlib
import gzip
import hashlib
import io
import lzma
import os
import re
import sys
import tracemalloc
import unicodedata
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from microgpt.data import decoding, sources
from microgpt.data.choices import BUILTINS
from microgpt.data.corpus import Corpus
from microgpt.data.reading import read, read_bytes, text_from
from microgpt.data.split import Split
from microgpt.errors import DataError, EnvironmentFault, MicrogptError, UsageError


def write(path: Path, data: bytes | str) -> str:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return str(path)


@pytest.mark.parametrize("name", BUILTINS)
def test_built_in_texts_have_the_hash_that_code_and_readme_state(name: str) -> None:
    text = read([name])
    assert text.sha256 == BUILTINS[name].sha256 == hashlib.sha256(BUILTINS[name].path.read_bytes()).hexdigest()
    assert text.sha256 in (BUILTINS[name].path.with_name("README.md")).read_text()
    assert text.declared_kind == BUILTINS[name].kind
    assert str(text) == BUILTINS[name].path.read_text()
    assert text.notes == ()


def test_a_path_means_a_file_even_where_it_has_the_name_of_a_built_in_text(cwd: Path) -> None:
    write(cwd / "names", "my own\n")
    assert str(read(["./names"])) == "my own\n"
    assert len(read(["names"])) > 200_000


def test_a_folder_gives_its_text_files_sorted_and_names_what_it_skips(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name, data in {"b.txt": "b\n", "a.txt": "a", "deep/c.TXT": "c\n", "x.png": "", ".h.txt": "h"}.items():
        write(tmp_path / name, data)
    text = read([str(tmp_path)])
    assert str(text) == "a\n\nb\n\nc\n"
    assert ".h.txt" in text.notes[0]
    assert "x.png" in text.notes[0]


def test_a_blank_file_of_a_folder_is_noted_and_a_named_one_refused(tmp_path: Path) -> None:
    blank = write(tmp_path / "a.txt", " \n\n")
    full = write(tmp_path / "b.txt", "b")
    assert any("a.txt is empty or blank" in note for note in read([str(tmp_path)]).notes)
    with pytest.raises(DataError, match=r"a\.txt: expected text"):
        read([full, blank])


@pytest.mark.parametrize("kind", ["lines", "paragraphs"])
def test_documents_never_reach_across_two_files(tmp_path: Path, kind: str) -> None:
    paths = [write(tmp_path / f"{name}.txt", name) for name in ("one", "two", "three")]
    corpus = Corpus.of(read(paths), kind)
    assert [corpus.document(index) for index in range(corpus.documents)] == ["one", "two", "three"]


@pytest.mark.parametrize("end", ["", "\n", "\n\n"])
def test_one_blank_line_stands_between_two_files_however_the_first_ends(tmp_path: Path, end: str) -> None:
    text = read([write(tmp_path / "a", f"a{end}"), write(tmp_path / "b", "b")])
    assert str(text) == "a\n\nb"


def test_standard_input_is_read_as_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO("é\r\n".encode())))
    text = read(["-"])
    assert str(text) == "é\n"
    assert text.name == "standard input"


def test_a_byte_order_mark_and_foreign_line_breaks_change_nothing_but_the_notes(tmp_path: Path) -> None:
    clean = read([write(tmp_path / "clean.txt", "anna\nbob\n\ncarl\n")])
    for name, data in {
        "mark": b"\xef\xbb\xbfanna\nbob\n\ncarl\n",
        "crlf": b"anna\r\nbob\r\n\r\ncarl\r\n",
        "cr": b"anna\rbob\r\rcarl\r",
    }.items():
        text = read([write(tmp_path / name, data)])
        assert (str(text), text.alphabet) == (str(clean), clean.alphabet)
        assert len(text.notes) == 1


@given(st.text(alphabet="ab\r\n\ufeff", min_size=1), st.integers(1, 7))
def test_line_breaks_do_not_depend_on_where_chunks_end(text: str, size: int) -> None:
    data = text.encode()
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert joined(data, size) == expected


def joined(data: bytes, size: int, encoding: str = "utf-8") -> str:
    pieces = (data[first : first + size] for first in range(0, len(data), size))
    changes = Counter[str]()
    return "".join(decoding.clean(pieces, name="data", encoding=encoding, normalize="nfc", changes=changes))


@given(st.text(alphabet="aeo\u0301\u0308\u0323é한\u1112\u1161\u11ab中か\u3099 \n"), st.integers(1, 9))
def test_nfc_does_not_depend_on_where_chunks_end(text: str, size: int) -> None:
    expected = unicodedata.normalize("NFC", text)
    assert joined(text.encode(), size) == expected
    assert joined(text.encode("utf-16-le"), size, "utf-16-le") == expected


def test_every_character_said_to_stand_alone_never_joins_the_one_before() -> None:
    for code in (*range(1, 0x300), *range(0x3400, 0xA000)):
        character = chr(code)
        assert decoding._stands_alone(character)
        assert unicodedata.combining(character) == 0
        for before in "eo\u1100\u3046\u0928":
            assert unicodedata.normalize("NFC", before + character)[0] == unicodedata.normalize("NFC", before)


def test_composed_and_decomposed_text_read_the_same_with_a_note_unless_refused(tmp_path: Path) -> None:
    composed = read([write(tmp_path / "a", "é\n")])
    path = write(tmp_path / "b", "e\u0301\n")
    decomposed = read([path])
    assert str(decomposed) == str(composed)
    assert decomposed.notes == ("normalised to NFC: 2 characters replaced; --normalize none keeps them",)
    assert str(read([path], normalize="none")) == "e\u0301\n"


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-16-be", "utf-32", "shift_jis", "cp1252"])
def test_other_encodings_read_as_the_same_text(tmp_path: Path, encoding: str) -> None:
    string = "山田\nかな\n" if encoding == "shift_jis" else "née\nnaïve\n"
    path = write(tmp_path / "text", string.encode(encoding))
    assert str(read([path], encoding=encoding)) == string


@pytest.mark.parametrize(
    ("data", "place", "advice"),
    [
        (b"abc\xe9d", 3, '--encoding cp1252 ("abcéd")'),
        (b"ab\n" * 500_000 + b"\xff", 1_500_000, "--encoding cp1252"),
        (b"x" * 1_048_575 + b"\xc3(", 1_048_575, "--encoding cp1252"),
        (b"abc\xe2\x82", 3, "--encoding cp1252"),
        ("hé".encode("utf-16"), 0, "--encoding utf-16"),
        ("hé".encode("utf-32"), 0, "--encoding utf-32"),
        ("hello".encode("utf-16-le"), 1, "--encoding utf-16-le"),
        ("hello".encode("utf-16-be"), 0, "--encoding utf-16-be"),
        ("é".encode() + b"ab\0", 4, "remove the NUL"),
        (b"\0" * 100, 0, "remove the NUL"),
    ],
)
def test_what_is_no_utf_8_is_refused_with_its_byte_offset(tmp_path: Path, data: bytes, place: int, advice: str) -> None:
    with pytest.raises(DataError) as error:
        read([write(tmp_path / "bad.txt", data)])
    assert f"at byte {place}; " in str(error.value)
    assert advice in str(error.value)
    assert "bad.txt" in str(error.value)


@pytest.mark.parametrize(
    ("data", "encoding", "place"),
    [
        ("ab\0".encode("utf-16-le"), "utf-16-le", 4),
        ("ab\0".encode("utf-16-be"), "utf-16-be", 4),
        (b"ab\x81", "shift_jis", 2),
        ("a".encode("utf-16-le") + b"\x00\xd8a\0", "utf-16-le", 2),
    ],
)
def test_offsets_are_bytes_in_other_encodings_too(tmp_path: Path, data: bytes, encoding: str, place: int) -> None:
    with pytest.raises(DataError, match=f"at byte {place};"):
        read([write(tmp_path / "bad", data)], encoding=encoding)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_offsets_do_not_depend_on_where_chunks_end(size: int) -> None:
    for data, encoding in ((b"ab\xc3\xa9\xe2\x82(x", "utf-8"), ("aé\0b".encode("utf-16-le"), "utf-16-le")):
        with pytest.raises(DataError, match="at byte 4;"):
            joined(data, size, encoding)


def test_utf_16_without_its_mark_is_refused(tmp_path: Path) -> None:
    for data, advice in (("hello".encode("utf-16-le"), "utf-16-le"), (b"hello", "utf-8")):
        with pytest.raises(DataError, match=f"try --encoding {advice}$"):
            read([write(tmp_path / "bad", data)], encoding="utf-16")


@pytest.mark.parametrize("encoding", ["utf-9", "base64", "", "a\0b", "undefined"])
def test_an_unknown_encoding_is_a_usage_error(encoding: str) -> None:
    with pytest.raises(UsageError, match="--encoding"):
        read(["names"], encoding=encoding)


def test_what_is_no_text_is_named_and_never_read(tmp_path: Path) -> None:
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("mimetype", "application/epub+zip")
    word = io.BytesIO()
    with zipfile.ZipFile(word, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<x/>")
        archive.writestr("word/document.xml", "<x/>")
    plain = io.BytesIO()
    with zipfile.ZipFile(plain, "w") as archive:
        archive.writestr("a.txt", "a")
    files = {
        "a PDF; save it as plain text first": b"%PDF-1.7\n1 0 obj\n",
        "a gzip file; unpack it first": gzip.compress(b"text"),
        "a bzip2 file; unpack": bz2.compress(b"text"),
        "an xz file; unpack": lzma.compress(b"text"),
        "a zip archive; unpack": plain.getvalue(),
        "a Word document; save": word.getvalue(),
        "an EPUB book; save": book.getvalue(),
        "a picture; give": b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
        "a picture; ": b"\xff\xd8\xff\xe0\0\x10JFIF",
        "a database of SQLite; give": b"SQLite format 3\0",
        "a safetensors file of weights": b'\x10\0\0\0\0\0\0\0{"a":{}}',
        "a program; give": Path(sys.executable).read_bytes()[:100],
    }
    (tmp_path / "deep").mkdir()
    write(tmp_path / "deep" / "good.txt", "good\n")
    for number, (what, data) in enumerate(files.items()):
        path = write(tmp_path / "deep" / f"{number}.txt", data)
        for reader in (read, partial(read, encoding="latin-1"), read_bytes):
            with pytest.raises(DataError, match=f"{number}.txt: expected text, found {what}"):
                reader([path])
        text = read([str(tmp_path)], encoding="latin-1")
        assert str(text) == "good\n"
        assert f"{number}.txt ({what}" in text.notes[0]
        Path(path).unlink()


def test_only_regular_files_of_a_folder_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    write(folder / "a.txt", "a\n")
    (folder / "b.txt").symlink_to("a.txt")
    os.mkfifo(folder / "pipe.txt")
    (folder / "away.txt").symlink_to(write(tmp_path / "secret", "secret"))
    (folder / "gone.txt").symlink_to("nowhere.txt")
    (folder / "below").symlink_to(tmp_path)
    text = read([str(folder)])
    assert str(text) == "a\n\na\n"
    assert "below" in text.notes[0]
    for told in ("away.txt (a link that leads out", "gone.txt (a link to nothing)", "pipe.txt (no regular file)"):
        assert told in text.notes[1]
    with pytest.raises(DataError, match=r"gone\.txt: .* a link to nowhere\.txt, where nothing is"):
        read([str(folder / "gone.txt")])
    (folder / "a.txt").unlink()
    with pytest.raises(DataError, match=r"expected a folder with \.txt files, found away\.txt \(a link"):
        read([str(folder)])


def test_a_file_of_a_folder_that_becomes_a_pipe_or_a_link_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    path = Path(write(tmp_path / "folder" / "a.txt", "a\n"))
    for act, says in ((os.mkfifo, "no regular file"), (lambda path: path.symlink_to("/etc/hostname"), "symbolic link")):
        (source,) = sources.located([str(tmp_path / "folder")])[0]
        path.unlink()
        act(path)
        with pytest.raises(DataError, match=f"a.txt: .*{says}"):
            list(sources.chunks(source))
        path.unlink()
        write(path, "a\n")


def test_where_a_file_has_the_name_of_a_built_in_text_a_note_says_which_was_taken(cwd: Path) -> None:
    (cwd / "shakespeare").mkdir()
    write(cwd / "markov:50", "mine")
    for name in ("shakespeare", "markov:50"):
        assert read([name]).notes[0].startswith(f"{name}: took the built-in text; ./{name} means")
    assert str(read(["./markov:50"])) == "mine"


@pytest.mark.parametrize(
    ("data", "encoding", "note"),
    [
        ("née\n".encode(), "cp1252", "looks like utf-8"),
        ("“née”\n".encode("cp1252"), "latin-1", "2 control characters such as U\\+0093"),
        ("n\ufffde\n".encode(), "utf-8", "what was lost when it was decoded before"),
    ],
)
def test_text_that_was_decoded_wrongly_is_remarked(tmp_path: Path, data: bytes, encoding: str, note: str) -> None:
    (told,) = read([write(tmp_path / "text", data)], encoding=encoding).notes
    assert re.search(note, told)


def test_what_can_not_be_read_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="did you mean shakespeare"):
        read(["shakespere"])
    (tmp_path / "poems.txt").touch()
    with pytest.raises(DataError, match=r"did you mean .*poems\.txt"):
        read([str(tmp_path / "poem.txt")])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="found it empty"):
        read([str(tmp_path / "empty")])
    with pytest.raises(DataError, match="expected a file"):
        read(["a\0b"])
    with pytest.raises(UsageError, match="at least one source"):
        read([])


def test_a_file_without_permission_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path / "closed.txt", "text")
    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(DataError, match="nothing of that name"):
        read([path + "x"])
    monkeypatch.setattr(Path, "is_dir", refuse)
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(EnvironmentFault, match="Permission denied; check its path and permissions"):
        read([path])


@given(st.binary(max_size=60), st.sampled_from(["utf-8", "latin-1", "utf-16", "utf-7", "shift_jis", "gb18030"]))
def test_arbitrary_bytes_are_read_or_refused(data: bytes, encoding: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
        with contextlib.suppress(MicrogptError):
            Split.of(Corpus.of(read(["-"], encoding=encoding)), 0.5, 0)


@pytest.mark.parametrize("encoding", ["punycode", "PUNYCODE", "idna"])
def test_encodings_that_take_the_square_of_the_length_are_refused(encoding: str) -> None:
    with pytest.raises(UsageError, match="expected a text encoding that Python knows"):
        decoding.check(encoding, "none")


def test_a_nul_in_a_long_shift_is_found_soon(tmp_path: Path) -> None:
    """Minutes, where each byte is decoded by itself."""
    with pytest.raises(DataError, match="found a NUL at byte 2"):
        read([write(tmp_path / "bad", b"ab+" + b"A" * 1_000_000 + b"-")], encoding="utf-7")


def test_lone_surrogates_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="lone surrogates"):
        read([write(tmp_path / "bad", b"a+2AA-b")], encoding="utf-7")


@given(st.text(min_size=1))
def test_a_string_is_kept_character_for_character(string: str) -> None:
    if string.isspace():
        with pytest.raises(DataError):
            text_from(string)
    else:
        assert str(text_from(string)) == string


def test_an_alphabet_of_any_size_takes_as_few_bytes_as_fit_it_and_bos(tmp_path: Path) -> None:
    for size, width in ((255, 1), (256, 2), (40_000, 2), (65_535, 2), (65_536, 4)):
        string = "".join(map(chr, range(0x10000, 0x10000 + size)))
        text = text_from(string)
        assert text.symbols.itemsize == width
        assert str(text) == string


def test_memory_grows_with_the_symbols_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "CHUNK", 1 << 16)
    path = write(tmp_path / "big.txt", "the quick brown fox\n" * 500_000)
    tracemalloc.start()
    text = read([path])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text) == 10_000_000
    assert peak < 20_000_000


def test_a_letter_with_very_many_marks_is_refused_and_not_sorted_for_ever(tmp_path: Path) -> None:
    many = write(tmp_path / "it.txt", "a" + "\u0301\u0316" * 500_000 + "b")
    with pytest.raises(DataError, match=r"it\.txt: .* combining marks"):
        read([many])
    assert len(read([many], normalize="none")) == 1_000_002
    assert len(read([write(tmp_path / "few.txt", ("a" + "\u0301\u0316" * 100) * 20)])) > 20
