"""Files that were made to harm: every one is refused in a line, in less than a second, and none runs code."""

import json
import pickle
import random
import struct
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from microgpt.errors import CheckpointError
from microgpt.training import checkpoint as checkpoints
from microgpt.training.find import listing
from microgpt.training.run_folder import RunFolder
from tests.training.small import fingerprint, finish, request

FORBIDDEN = ("exec", "compile", "import", "pickle.", "os.system", "subprocess.", "socket.", "marshal.", "ctypes.")
_events: list[str] | None = None


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if _events is not None and (event.startswith(FORBIDDEN) or writes):
        _events.append(event)


sys.addaudithook(_audit)  # it can't be taken off again, so it listens only inside `audited`


@contextmanager
def audited() -> Iterator[list[str]]:
    """What a piece of code did that reading a file never needs."""
    global _events
    _events = []
    try:
        yield _events
    finally:
        _events = None


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights file of a golden run, with all that a checkpoint can hold."""
    folder = tmp_path_factory.mktemp("sound")
    finish(request(folder, "karpathy", steps=5))
    return (folder / "runs" / "run" / "weights.safetensors").read_bytes()


def opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def closed(header: object, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def refused(path: Path, data: bytes) -> bool:
    """Whether reading refuses the file, as it must or, where a mutation did no harm, need not."""
    path.write_bytes(data)
    start = time.perf_counter()
    read, said = None, ""
    with audited() as events:
        try:
            read = checkpoints.read(path)
        except CheckpointError as error:
            said = str(error)
    assert "\n" not in said
    assert time.perf_counter() - start < 1.0
    assert events == []
    assert read is None or read.state.finite
    return read is None


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path: Path, sound: bytes) -> None:
    path = tmp_path / "it.safetensors"
    path.write_bytes(sound)
    checkpoint = checkpoints.read(path)
    assert checkpoints.to_bytes(checkpoint) == sound
    assert fingerprint(checkpoint) == fingerprint(checkpoints.read(path))


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32), changes=st.integers(1, 8))
def test_bytes_changed_at_random(tmp_path: Path, sound: bytes, seed: int, changes: int) -> None:
    refused(tmp_path / "it", mutated(sound, random.Random(seed), changes))


def mutated(data: bytes, stream: random.Random, changes: int) -> bytes:
    """Bytes flipped, put in, taken out, doubled or cut off, mostly in the header."""
    bytes_ = bytearray(data)
    for _ in range(changes):
        place = stream.randrange(min(len(bytes_), stream.choice([9, 600, 4000, len(bytes_)])) or 1)
        stop = place + stream.randrange(1, 40)
        match stream.randrange(5):
            case 0:
                bytes_[place : place + 1] = bytes([stream.randrange(256)])
            case 1:
                bytes_[place:place] = stream.randbytes(stop - place)
            case 2:
                del bytes_[place:stop]
            case 3:
                bytes_[place:place] = bytes_[place:stop]
            case _:
                del bytes_[place if stream.random() < 0.2 else len(bytes_) :]
    return bytes(bytes_)


EXTREMES: list[Any] = [
    None,
    True,
    -1,
    0,
    1,
    2**31,
    2**63,
    10**18,
    1e308,
    -0.0,
    "",
    "x",
    "../../etc",
    [],
    [0],
    [[]],
    {},
    {"a": 1},
    "\0",
    "é" * 99,
]


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1 << 32))
def test_values_replaced_by_extremes(tmp_path: Path, sound: bytes, seed: int) -> None:
    stream = random.Random(seed)
    header, numbers = opened(sound)
    told = json.loads(header["__metadata__"]["microgpt"])
    _spoil(told if stream.random() < 0.7 else header, stream)
    header.setdefault("__metadata__", {})
    if isinstance(header["__metadata__"], dict):
        header["__metadata__"]["microgpt"] = json.dumps(told)
    refused(tmp_path / "it", closed(header, numbers))


def _spoil(value: Any, stream: random.Random) -> None:
    """Walk down to some value and replace it, or take it away."""
    while True:
        keys = list(value) if isinstance(value, dict) else range(len(value))
        key = stream.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and stream.random() < 0.8:
            value = value[key]
            continue
        if stream.random() < 0.15:
            del value[key]
        else:
            value[key] = stream.choice(EXTREMES)
        return


def changed(change: Callable[[dict[str, Any], dict[str, Any]], object]) -> Callable[[bytes], bytes]:
    """A file whose header and description were changed."""

    def make(data: bytes) -> bytes:
        header, numbers = opened(data)
        told = json.loads(header["__metadata__"]["microgpt"])
        change(header, told)
        header["__metadata__"]["microgpt"] = json.dumps(told)
        return closed(header, numbers)

    return make


def _sizes(**sizes: int) -> Callable[[dict[str, Any], dict[str, Any]], None]:
    def change(header: dict[str, Any], told: dict[str, Any]) -> None:
        told["model"].update(sizes)
        told["training"]["request"]["settings"].update(sizes)

    return change


def _with_nan(data: bytes) -> bytes:
    header, numbers = opened(data)
    return closed(header, np.full(len(numbers) // 8, np.nan).tobytes())


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "short": lambda data: data[:7],
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "a pickle": lambda data: pickle.dumps({"a": 1}),
    "header beyond the file": lambda data: struct.pack("<Q", 1 << 62) + data[8:],
    "deep header": lambda data: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "NaN": _with_nan,
    "huge shape": changed(lambda header, told: header["wte"].update(shape=[1 << 40, 1 << 40])),
    "negative shape": changed(lambda header, told: header["wte"].update(shape=[-1, -76])),
    "shape of true": changed(lambda header, told: header["wte"].update(shape=[True, 76])),
    "overlap": changed(
        lambda header, told: header["layer0.attn_wk"].update(data_offsets=header["layer0.attn_wq"]["data_offsets"])
    ),
    "half precision": changed(lambda header, told: header["wte"].update(dtype="F16")),
    "a tensor more": changed(
        lambda header, told: header.update(extra={"dtype": "F64", "shape": [0, 1], "data_offsets": [0, 0]})
    ),
    "no metadata": changed(lambda header, told: told.clear()),
    "unknown schema": changed(lambda header, told: told.update(schema=3)),
    "schema of another type": changed(lambda header, told: told.update(schema=[1])),
    "a thousand million layers": changed(_sizes(layer=10**9)),
    "emb of 10^15": changed(_sizes(emb=10**15, head=7)),
    "head of 0": changed(_sizes(head=0)),
    "head of 3": changed(_sizes(head=3)),
    "settings of another model": changed(
        lambda h, told: told["training"]["request"]["settings"].update(emb=10**15, head=7)
    ),
    "steps of 10^400": changed(lambda h, told: told["training"]["request"]["settings"].update(steps=10**400)),
    "step beyond the end": changed(lambda header, told: told.update(step=6)),
    "unsorted characters": changed(lambda header, told: told["tokenizer"].update(characters="ba")),
    "random state too short": changed(lambda header, told: told["training"].update(random_state=[3, [1, 2], None])),
    "random place too far": changed(lambda h, told: told["training"]["random_state"][1].__setitem__(624, 625)),
    "no sources": changed(lambda header, told: told["training"]["provenance"].update(sources=[])),
    "another setting": changed(lambda h, told: told["training"]["request"].update({"exec": "import os"})),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files_are_refused(tmp_path: Path, sound: bytes, name: str) -> None:
    assert refused(tmp_path / "it", HOSTILE[name](sound))


def test_a_report_that_someone_edited_does_no_harm(tmp_path: Path) -> None:
    finish(request(tmp_path))
    folder = RunFolder(tmp_path / "runs" / "run")
    for text in ("", "[]", '{"status": ["finished"]}', '{"status": "finished", "loss": 3, "ended": 7, "began": {}}'):
        (folder.path / "run.json").write_text(text)
        assert folder.status in ("finished", "unfinished")
        assert len(listing(tmp_path / "runs")) == 1


@pytest.mark.long
def test_many_bytes_changed_at_random(tmp_path: Path, sound: bytes) -> None:
    for seed in range(5_000):
        refused(tmp_path / "it", mutated(sound, random.Random(seed), 1 + seed % 8))
