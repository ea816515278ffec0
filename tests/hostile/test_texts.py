"""Texts that can't be trained on end a command with exit code 3; foreign marks and breaks change nothing."""

import re
from pathlib import Path

import pytest

from tests.command import microgpt, refused
from trials.small import NAMES, fingerprint, finish, request

TEXT = "\n".join([*NAMES, "zoë", "añil"]) + "\n"
COMMANDS = (("train", "--steps", "1", "--quiet", "--data"), ("prepare",))


@pytest.mark.parametrize("data", [b"", b"\n\n \t\r\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n"], ids=repr)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_text_without_ink_is_refused_by_name(cwd: Path, command: tuple[str, ...], data: bytes) -> None:
    (cwd / "it.txt").write_bytes(data)
    out = ("--out", "tokens") if command[0] == "prepare" else ()
    assert "it.txt: expected text" in refused(microgpt(*command, "it.txt", *out, cwd=cwd), 3)
    assert [path.name for path in cwd.iterdir()] == ["it.txt"]


@pytest.mark.parametrize("data", [b"anna\n", b"anna\nanna\nanna\n"], ids=repr)
def test_fewer_documents_than_the_split_needs_are_refused_by_name(cwd: Path, data: bytes) -> None:
    (cwd / "it.txt").write_bytes(data)
    assert "it.txt: expected at least 2 different lines" in refused(microgpt(*COMMANDS[0], "it.txt", cwd=cwd), 3)


DAMAGED = {
    "invalid UTF-8": lambda place: (TEXT.encode()[:place] + b"\xff" + TEXT.encode()[place:], place),
    "NUL": lambda place: (TEXT.encode()[:place] + b"\0" + TEXT.encode()[place:], place),
    "UTF-16": lambda place: (TEXT.encode("utf-16"), 0),
    "UTF-16 without mark": lambda place: ("\n".join(NAMES).encode("utf-16-le"), 1),
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("name", DAMAGED)
def test_what_is_no_utf_8_is_refused_with_its_byte(cwd: Path, command: tuple[str, ...], name: str) -> None:
    out = ("--out", "tokens") if command[0] == "prepare" else ()
    for place in (0, 1, 17, 60):
        data, found = DAMAGED[name](place)
        (cwd / "it.txt").write_bytes(data)
        said = refused(microgpt(*command, "it.txt", *out, cwd=cwd), 3)
        assert re.search(rf"it\.txt: .* at byte {found};", said), said


def _trained(folder: Path, data: bytes) -> tuple[str, list[float], str]:
    """Vocabulary, losses and a fingerprint of the weights of a training on these bytes."""
    folder.mkdir()
    path = folder / "it.txt"
    path.write_bytes(data)
    end = finish(request(folder, data=(str(path),)))
    return end.checkpoint.tokenizer.characters, list(end.losses), fingerprint(end.checkpoint)


def test_a_byte_order_mark_and_foreign_line_breaks_train_to_the_same_weights(tmp_path: Path) -> None:
    clean = TEXT.encode()
    forms = {
        "mark": b"\xef\xbb\xbf" + clean,
        "crlf": clean.replace(b"\n", b"\r\n"),
        "cr": clean.replace(b"\n", b"\r"),
        "both": b"\xef\xbb\xbf" + clean.replace(b"\n", b"\r\n"),
        "mixed": clean.replace(b"\n", b"\r\n", 5),
    }
    expected = _trained(tmp_path / "clean", clean)
    for name, data in forms.items():
        assert _trained(tmp_path / name, data) == expected, name
