"""What to try for a text that is not in the encoding that was asked for: the likely ones by name, best first."""

import codecs
from typing import Final

_OLD: Final = ("mac_roman", "cp437", "cp850", "cp852")
# Each reads its smaller kin too (gb18030 gbk, cp932 shift_jis, cp949 euc_kr). Of those that fit as well, the first.
LIKELY: Final = (
    "utf_16_le", "utf_16_be", "cp1252", "cp1251", "gb18030", "cp932", "cp949", "cp950", "euc_jp", "big5hkscs", "cp1250",
    "cp1254", "cp1253", "koi8_r", "cp866", "cp1255", "cp1256", "cp1257", "cp1258", "iso8859_5", "tis_620",
    *_OLD,
)  # fmt: skip
# Windows is what most have, and it gives a little more chaos than its kin; the oldest often fit by chance.
_FAVOUR: Final = {"cp1252": 0.07} | dict.fromkeys(_OLD, -0.15)
_SAMPLE: Final = 1 << 16  # bytes that are judged
_SHORTEST: Final = 40  # bytes: fewer may look like UTF-16 by chance
_NAMED: Final = 3
_SHOWN: Final = 16  # characters


def advice(head: bytes, data: bytes, place: int, encoding: str) -> str:
    """What to do where a text begins with `head` and the byte at `place` of its part `data` is not in `encoding`."""
    if name := _by_mark(head) or _by_zeros(head):
        return f"try --encoding {name}"
    is_utf_8 = codecs.lookup(encoding).name == "utf-8"
    if not is_utf_8 and decoded_part(data, "utf-8"):
        return "try --encoding utf-8"
    around = data[max(0, place - _SAMPLE // 2) & ~3 :][:_SAMPLE]
    read = around.decode("utf-8", "replace")
    foreign, bad = sum(not character.isascii() for character in read), read.count("\ufffd")
    if is_utf_8 and foreign > 2 * bad:
        return (
            f"the {foreign - bad:,} other characters beyond ASCII near it are utf-8: correct that line (or --encoding "
            "latin-1, which reads any byte and would garble them)"
        )
    names = likely(around, data)
    if not names or not names[0].startswith("utf_16"):  # which alone has no lines that could be taken apart
        names = likely(_beyond_ascii(data), data)
    readings = _readings([decoded_part(data, name) or "" for name in names[:_NAMED]])
    told = [f'{name.replace("_", "-")} ("{text}")' for name, text in zip(names, readings, strict=False)]
    return f"try --encoding {' or '.join(told)}" if told else "give a text file, or name its --encoding"


def advice_on_nul(head: bytes) -> str:
    """The same for a text that begins so and in which a NUL was found."""
    name = _by_mark(head) or _by_zeros(head) or next(iter(likely(head[:_SAMPLE], head, LIKELY[:2])), None)
    return f"try --encoding {name.replace('_', '-')}" if name else "give a text file, or remove the NUL"


def likely(sample: bytes, data: bytes, among: tuple[str, ...] = LIKELY) -> list[str]:
    """The encodings in which a sample looks like a language, and that read all of `data`, best first."""
    from charset_normalizer import from_bytes  # 50 ms, and no text that is read needs it

    if len(data) % 2 or len(data) < _SHORTEST:
        among = tuple(name for name in among if not name.startswith("utf_16"))
    ranked = []
    for match in from_bytes(sample, cp_isolation=list(among)) if among else ():
        name = next((name for name in among if name in match.could_be_from_charset), None)
        if name is None:  # its last resort
            continue
        score = 1.4 * match.chaos - match.coherence  # weighed on texts of a dozen languages
        ranked.append((score - _FAVOUR.get(name, 0.0), among.index(name)))
    return [among[number] for _, number in sorted(ranked) if decoded_part(data, among[number]) is not None]


def _by_mark(head: bytes) -> str | None:
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32"
    return "utf-16" if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else None


def _by_zeros(head: bytes) -> str | None:
    """UTF-16 of letters that ASCII has: every other byte is zero."""
    sample = head[:4096]
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    if max(even, odd) <= max(4 * min(even, odd), len(sample) // 5):
        return None
    return f"utf-16-{'le' if odd > even else 'be'}"


def _beyond_ascii(data: bytes) -> bytes:
    """The lines that tell: the detector looks at a few stretches alone, which in other lines would show nothing."""
    return b"\n".join(line for line in data.split(b"\n") if not line.isascii())[:_SAMPLE]


def decoded_part(data: bytes, encoding: str) -> str | None:
    """A part of a text, which may end within a character; None where it is not in this encoding."""
    try:
        return codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeError:
        return None


def _readings(texts: list[str]) -> list[str]:
    """A few characters of each reading of the same bytes, from where most of them differ; of a single one, from where
    it leaves ASCII."""
    columns = [len(set(letters)) - letters[0].isascii() for letters in zip(*texts, strict=False)]
    place = max(0, columns.index(max(columns)) - _SHOWN // 2) if columns else 0
    shown = (text[place : place + _SHOWN] for text in texts)
    return ["".join(c if c.isprintable() else " " for c in text).strip() for text in shown]
