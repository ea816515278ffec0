"""Files that were made to harm: every one is refused in a line, in less than a second, and none runs code."""

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt.training import checkpoint as checkpoints
from microgpt.training.find import listing
from microgpt.training.run_folder import RunFolder
from trials.readers.every import EVERY
from trials.readers.of_training import closed, opened
from trials.readers.reader import Bench
from trials.small import fingerprint, finish, request


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Reading the weights file of a golden run, with all that a checkpoint can hold."""
    return Bench(EVERY["checkpoint"], tmp_path_factory.mktemp("bench"))


def test_a_checkpoint_comes_back_bit_by_bit(tmp_path: Path, bench: Bench) -> None:
    path = tmp_path / "it.safetensors"
    path.write_bytes(bench.sound)
    checkpoint = checkpoints.read(path)
    assert checkpoints.to_bytes(checkpoint) == bench.sound
    assert fingerprint(checkpoint) == fingerprint(checkpoints.read(path))


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


def _header(header: bytes) -> bytes:
    """A file of a header alone, just below the limit of one."""
    return struct.pack("<Q", len(header)) + header


def _with_half(tokenizer: dict[str, Any]) -> str:
    return str(tokenizer["characters"][:-1]) + "\ud800"


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "short": lambda data: data[:7],
    "cut": lambda data: data[:-1],
    "longer": lambda data: data + b"\0",
    "a pickle": lambda data: pickle.dumps({"a": 1}),
    "header beyond the file": lambda data: struct.pack("<Q", 1 << 62) + data[8:],
    "deep header": lambda data: struct.pack("<Q", 200_000) + b"[" * 200_000,
    "a million empty objects": lambda data: _header(b"{" + b",".join(b'"%x":{}' % n for n in range(1_000_000)) + b"}"),
    "five million empty lists": lambda data: _header(b'{"a":[' + b"[]," * 5_000_000 + b"0]}"),
    "the same hidden in the description": lambda data: _header(
        b'{"__metadata__":{"microgpt":"' + rb"\u007b\u007d\u002c" * 900_000 + b'"}}'
    ),
    "a long word for a choice": changed(
        lambda header, told: told["training"]["request"]["settings"].update(decay="ab" * 4_000_000)
    ),
    "half a character": changed(lambda h, told: told["tokenizer"].update(characters=_with_half(told["tokenizer"]))),
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
    "unknown schema": changed(lambda header, told: told.update(schema=4)),
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
def test_hostile_files_are_refused(bench: Bench, name: str) -> None:
    assert bench.refuses(HOSTILE[name](bench.sound))


def test_a_report_that_someone_edited_does_no_harm(tmp_path: Path) -> None:
    finish(request(tmp_path))
    folder = RunFolder(tmp_path / "runs" / "run")
    for text in ("", "[]", '{"status": ["finished"]}', '{"status": "finished", "loss": 3, "ended": 7, "began": {}}'):
        (folder.path / "run.json").write_text(text)
        assert folder.status in ("finished", "unfinished")
        assert len(listing(tmp_path / "runs")) == 1
