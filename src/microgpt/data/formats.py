"""Files that hold no plain text, known by their first bytes."""

import re
from typing import Final

BYTES_READ: Final = 4096  # bytes that are looked at
CONTROLS: Final = bytes({*range(32), 127} - {*b"\t\n\f\r"})  # no text has them; all of the formats, but for these:
PRINTED: Final = (b"%PDF-", rb"{\rtf", b"version https://git-lfs")
_SAVE, _UNPACK, _OTHER = "save it as plain text first", "unpack it first", "give a text instead"

# Zip files come with what they hold before what they are.
_FORMATS: Final = (
    (rb"%PDF-", "a PDF", _SAVE),
    (rb"\{\\rtf", "an RTF document", _SAVE),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old Office document", _SAVE),
    (rb"PK\x03\x04.*application/epub", "an EPUB book", _SAVE),
    (rb"PK\x03\x04.*opendocument", "an OpenDocument file", _SAVE),
    (rb"PK\x03\x04.*word/", "a Word document", _SAVE),
    (rb"PK\x03\x04.*(xl/|ppt/|\[Content_Types\])", "an Office document", _SAVE),
    (rb"PK\x03\x04.*/data\.pkl", "a file of PyTorch", _OTHER),
    (rb"PK(\x03\x04|\x05\x06)", "a zip archive", _UNPACK),
    (rb"\x1f\x8b\x08", "a gzip file", _UNPACK),
    (rb"BZh[1-9]1AY&SY", "a bzip2 file", _UNPACK),
    (rb"\xfd7zXZ\x00", "an xz file", _UNPACK),
    (rb"\x28\xb5\x2f\xfd", "a zstd file", _UNPACK),
    (rb"7z\xbc\xaf\x27\x1c", "a 7z archive", _UNPACK),
    (rb"Rar!\x1a\x07", "a RAR archive", _UNPACK),
    (rb".{257}ustar", "a tar archive", _UNPACK),
    (rb"\x89PNG\r\n|\xff\xd8\xff|GIF8[79]a|II\*\x00|MM\x00\*|RIFF.{4}WEBP", "a picture", _OTHER),
    (rb"ID3[\x02-\x04]|OggS|fLaC|RIFF.{4}(WAVE|AVI )|.{4}ftyp", "sound or video", _OTHER),
    (rb"SQLite format 3\x00", "a database of SQLite", _OTHER),
    (rb".{4}\x00{4}\{", "a safetensors file of weights", _OTHER),
    (rb"GGUF|\x89HDF\r\n|\x93NUMPY|PAR1|ARROW1", "a file of numbers", _OTHER),
    (rb"\x7fELF|MZ.\x00|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|\x00asm", "a program", _OTHER),
    (rb"version https://git-lfs", "a pointer of Git LFS", "git lfs pull fetches the text"),
)


def no_text(head: bytes) -> str | None:
    """What a file is that begins so, and what to do with it; None for what may be text."""
    if head.translate(None, CONTROLS) == head and not head.startswith(PRINTED):
        return None  # as nearly always, and at once
    found = (f"{what}; {way_out}" for mark, what, way_out in _FORMATS if re.match(mark, head[:BYTES_READ], re.DOTALL))
    return next(found, None)
