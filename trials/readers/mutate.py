"""Damage, deterministic by its stream: to bytes of any kind, and to JSON, TOML and CSV by what they are made of."""

import copy
import json
import random
import re
from collections.abc import Callable
from typing import Any, Final

Mutate = Callable[[bytes, random.Random], bytes]

TOKENS: Final = (
    b"", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"\r\n", b"\r", b"\n\n", b'"', b"'", b"\\", b"\\ud800", b"{",
    b"[",
    b"}", b"]", b"[" * 3000, b'{"a":' * 3000, b"NaN", b"nan", b"inf", b"-Infinity", b"1e999", b"-0.0", b"1e308",
    b"5e-324",
    b"-1", b"0", b"9" * 400, b"9" * 5000, b"0x" + b"f" * 5000, b"18446744073709551616", b"9223372036854775808", b"null",
    b"true", b"A" * 5000, b"../../x", b"<script>", b"\x1b[2J", b"\xed\xa0\x80", "é\u0301\u202e\U0001f600".encode(),
    b"\xcc\x81\xcc\x96" * 500, b"PK\x03\x04", b"\x80\x04\x95", b"\x93NUMPY", b"SQLite format 3\0", b"a." * 200,
)  # fmt: skip

EXTREMES: Final[tuple[Any, ...]] = (
    None, True, False, -1, 0, 1, 2, 255, 2**31, 2**32, 2**53, 2**63 - 1, 2**63, 10**18, 10**400, -(10**30), 0.5, -0.0,
    1e308, 5e-324, 1e-30, "", "x", "../../etc", "\0", "é" * 99, "\ud800", "\x1b[2J", "<b>", "9" * 300, "\n", "nan", [],
    [0], [[]], [None], ["x"], {}, {"a": 1}, [1e308] * 3,
)  # fmt: skip


def bytes_changed(data: bytes, stream: random.Random, head: int = 4000) -> bytes:
    """Up to eight times: bytes flipped, put in, taken out, doubled, overwritten or cut off, mostly in the head."""
    changed = bytearray(data)
    for _ in range(stream.randint(1, 8)):
        place = stream.randrange(min(len(changed), stream.choice([9, 600, head, len(changed)])) or 1)
        stop = place + stream.randrange(1, 40)
        match stream.randrange(8):
            case 0:
                changed[place : place + 1] = bytes([stream.randrange(256)])
            case 1 if place < len(changed):
                changed[place] ^= 1 << stream.randrange(8)
            case 2:
                changed[place:place] = stream.randbytes(stop - place)
            case 3:
                del changed[place:stop]
            case 4:
                changed[place:place] = changed[place:stop]
            case 5:
                changed[place:place] = stream.choice(TOKENS)
            case 6:
                token = stream.choice(TOKENS)
                changed[place : place + len(token)] = token
            case _:
                del changed[place if stream.random() < 0.2 else len(changed) :]
    return bytes(changed)


def spoil(value: Any, stream: random.Random) -> None:
    """Walk down to some value of a tree of lists and dictionaries; replace it, take it away or double it."""
    while value:
        key = stream.choice(list(value) if isinstance(value, dict) else range(len(value)))
        if isinstance(value[key], dict | list) and value[key] and stream.random() < 0.8:
            value = value[key]
            continue
        chance = stream.random()
        if chance < 0.1:
            del value[key]
        elif chance < 0.15:
            value.update(more=1) if isinstance(value, dict) else value.append(value[key])
        else:
            value[key] = copy.deepcopy(stream.choice(EXTREMES))
        return


def json_changed(data: bytes, stream: random.Random) -> bytes:
    """JSON with values replaced by extremes; now and then bytes changed instead."""
    if stream.random() < 0.25:
        return bytes_changed(data, stream)
    value = json.loads(data)
    for _ in range(stream.randint(1, 3)):
        spoil(value, stream)
    return json.dumps(value).encode()


_WORDS: Final = re.compile(rb"""("[^"\n]*"|'[^'\n]*'|[\w.+-]+|[^\s\w])""")
_LITERALS: Final = (
    b"0", b"-1", b"1", b"2.5", b"1e308", b"5e-324", b"inf", b"nan", b"true", b'""', b'"x"', b"[]", b"{}", b"[0]",
    b"[[]]",
    b"1979-05-27T00:32:00Z", b"0x" + b"f" * 4000, b"1_000", b"9" * 4400, b'"""\n"""', b"9223372036854775808",
    b'"\\u0000"',
    b'"\\ud800"', b"{from=1, to=1e300, count=3}", b"{from=1e-320, to=inf, count=1000}", b"'tuned'",
)  # fmt: skip


def words_changed(data: bytes, stream: random.Random) -> bytes:
    """A text of keys and values, as TOML is: words swapped, doubled, taken away, or replaced by values of any type."""
    if stream.random() < 0.2:
        return bytes_changed(data, stream)
    for _ in range(stream.randint(1, 4)):
        words = list(_WORDS.finditer(data))
        if not words:
            return data
        here, there = stream.choice(words), stream.choice(words)
        new = stream.choice([there[0], there[0], here[0] + b" " + here[0], b"", stream.choice(_LITERALS), *TOKENS[:2]])
        data = data[: here.start()] + new + data[here.end() :]
    return data


_CELLS: Final = (
    *TOKENS,
    b"1_000",
    b"1,5",
    b" 3 ",
    b"+1",
    b".5",
    b"1e-300",
    b'"1\n2"',
    b"\xd9\xa1",
    b"1;2",
    b"-3",
    b"2",
)


def cells_changed(data: bytes, stream: random.Random) -> bytes:
    """A table: cells replaced, rows doubled, swapped, cut or taken away."""
    if stream.random() < 0.2:
        return bytes_changed(data, stream)
    rows = [line.split(b",") for line in data.split(b"\n")]
    for _ in range(stream.randint(1, 4)):
        row = stream.choice(rows)
        match stream.randrange(5):
            case 0:
                rows.insert(stream.randrange(len(rows)), list(row))
            case 1 if len(rows) > 1:
                rows.remove(row)
            case 2:
                row.insert(stream.randrange(len(row) + 1), stream.choice(_CELLS))
            case _ if row:
                row[stream.randrange(len(row))] = stream.choice(_CELLS)
    return b"\n".join(b",".join(row) for row in rows)
