"""Files of a stranger that are small, or look large: what reading them takes is bounded, and they are refused in a
line that says why."""

import json
import os
import struct
import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from microgpt import untrusted
from microgpt.data import token_folder
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, DataError, UsageError
from microgpt.lab.laws import sheet
from microgpt.lab.sweep.design_file import read_design
from microgpt.library import load
from microgpt.model.ledger import ledger
from microgpt.studio import runs
from microgpt.training import checkpoint as checkpoints
from microgpt.training import prepare, resume
from microgpt.training.description import Description, to_json
from microgpt.training.run_folder import RunFolder
from microgpt.training.tables import EVALUATIONS, LOSSES
from trials.measured import measured
from trials.readers.of_training import closed, opened
from trials.small import finish, request, resumed

GIGABYTE = 1 << 30
MEGABYTES = 200  # that a file may take beyond what the program itself has
holes = pytest.mark.skipif(not hasattr(os, "SEEK_HOLE"), reason="the system has no holes, and would write the zeros")
linux = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")


@contextmanager
def within(megabytes: float) -> Iterator[None]:
    """Fails where Python and NumPy took more at a time."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()
    assert peak < megabytes


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that can be gone on from."""
    folder = tmp_path_factory.mktemp("limits")
    finish(request(folder, "karpathy", steps=5))
    return folder / "runs" / "run"


def told(weights: Path, **settings: Any) -> None:
    """Change what a checkpoint says of its training; `step` is that of the checkpoint."""
    header, numbers = opened(weights.read_bytes())
    values = json.loads(header["__metadata__"]["microgpt"])
    values["step"] = settings.pop("step", values["step"])
    values["training"]["request"]["settings"].update(settings)
    header["__metadata__"]["microgpt"] = json.dumps(values)
    weights.write_bytes(closed(header, numbers))


def large(path: Path, run: Path, emb: int) -> None:
    """A checkpoint whose numbers are one hole."""
    like = checkpoints.read(run / "weights.safetensors")
    model, place = replace(like.model, emb=emb, head=1), 0
    description = to_json(Description(model, like.tokenizer, like.kind, 0, None))
    header: dict[str, Any] = {"__metadata__": {"microgpt": description}}
    for entry in ledger(model):
        header[entry.name] = {"dtype": "F32", "shape": [entry.rows, entry.columns]}
        header[entry.name]["data_offsets"] = [place, place := place + 4 * entry.size]
    head = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(head)) + head)
    os.truncate(path, 8 + len(head) + place)


@holes
def test_a_checkpoint_that_is_a_hole_is_refused(tmp_path: Path, run: Path) -> None:
    large(path := tmp_path / "it.safetensors", run, emb=8192)
    assert path.stat().st_size > 3 * GIGABYTE
    with within(5), pytest.raises(CheckpointError, match=r"a whole file of 3,\S+ bytes, found \S+ on the disk and hol"):
        checkpoints.read(path)


@holes
def test_an_honest_file_may_have_holes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a copy has that leaves out zeros: at the first step two thirds of a checkpoint are."""
    monkeypatch.setattr(untrusted, "SMALL", 0)
    path = tmp_path / "it"
    path.write_bytes(part := b"x" * (1 << 20))
    os.truncate(path, 3 << 20)
    assert untrusted.read(path, GIGABYTE) == part + bytes(2 << 20)
    os.truncate(path, 5 << 20)
    if path.stat().st_blocks * 512 < 5 << 20:  # a file system may have no holes
        with pytest.raises(CheckpointError, match="found 1,048,576 on the disk"):
            untrusted.read(path, GIGABYTE)


def test_a_checkpoint_beyond_the_free_memory_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoints, "free_memory", lambda: 1000)
    with pytest.raises(CheckpointError, match=r"weights.safetensors: expected 1,000 bytes at most, .* has free"):
        checkpoints.read(run / "weights.safetensors")


def test_numbers_are_read_without_a_copy(tmp_path: Path) -> None:
    finish(request(tmp_path, steps=1, emb=128, layer=2))
    path = tmp_path / "runs" / "run" / "weights.safetensors"
    with within(1.7 * path.stat().st_size / 1e6):  # and in parts, of which this model needs one for a matrix
        checkpoints.read(path)


def test_values_beyond_all_need_are_refused_before_they_are_values() -> None:
    for value in (b"[],", b'"\\",",'):
        with within(3), pytest.raises(CheckpointError, match="more than 5,000 values"):
            untrusted.parse_json(b'{"a":[' + value * 200_000 + b"0]}", "it", most=5000)


def test_commas_within_texts_are_no_values() -> None:
    text = 'a,b,{"\\' * 50_000
    assert untrusted.parse_json(json.dumps({"a": text, "b": 1}), "it", most=10) == {"a": text, "b": 1}
    with pytest.raises(CheckpointError, match="Unterminated string"):  # in no time: nothing is looked at twice
        untrusted.parse_json('{"a":"' + ',\\"' * 500_000, "it", most=10)


@pytest.mark.parametrize(("samples", "kept"), [(["x" * 2_000_000], 0), (["x"] * 10_001, 0), (["x,"] * 9_999, 9_999)])
def test_samples_beyond_the_limit_of_a_report_stand_beside_it(tmp_path: Path, samples: list[str], kept: int) -> None:
    RunFolder(tmp_path).write_report({"status": "finished", "samples": samples})
    assert len(RunFolder(tmp_path).read_report()["samples"]) == kept


def test_rows_beyond_the_last_step_are_not_read(tmp_path: Path) -> None:
    rows = LOSSES.rows((step, 2.5, 0.01) for step in range(1, 10_001))
    (tmp_path / LOSSES.file).write_bytes(LOSSES.header + rows)
    with within(0.1):
        found, size = LOSSES.read(tmp_path, 5)
    np.testing.assert_array_equal(found[:, 0], range(1, 6))
    assert LOSSES.copied(tmp_path, 5) == rows[: size - len(LOSSES.header)]
    with within(0.5):  # 24 bytes a row, and what an array that grows has over
        assert LOSSES.read(tmp_path, 10_000)[0].shape == (10_000, 3)


def test_reading_ends_at_a_row_that_is_too_long(tmp_path: Path) -> None:
    (tmp_path / LOSSES.file).write_bytes(LOSSES.header + b"1,2,3\n2,2," + b"0" * 1_000_000 + b"1\n3,2,1\n")
    with within(0.1):
        assert LOSSES.read(tmp_path, 9)[0].tolist() == [[1, 2, 3]]
    assert LOSSES.read(tmp_path / "none", 9)[0].shape == (0, 3)
    assert LOSSES.copied(tmp_path / "none", 9) == b""


def test_a_batch_beyond_the_machine_is_refused_before_it_is_made(tmp_path: Path) -> None:
    finish(request(tmp_path, "karpathy", steps=5))
    weights = tmp_path / "runs" / "run" / "weights.safetensors"
    told(weights, batch=10**9, steps=10)
    with within(20), pytest.raises(UsageError, match=r"--batch 1000000000 need about \S+ GB of memory"):
        resumed(weights, {"steps": 11})


def test_evaluations_at_every_step_are_thinned_for_a_page_and_listed_once(tmp_path: Path) -> None:
    rows = EVALUATIONS.rows((step, 2.5, 0.01) for step in range(1, 20_002))
    (tmp_path / EVALUATIONS.file).write_bytes(EVALUATIONS.header + rows)
    found = EVALUATIONS.read(tmp_path, 20_001)[0]
    shown = runs._thin(found)
    assert (len(shown), shown[-1, 0]) == (953, 20_001)
    np.testing.assert_array_equal(runs._thin(found[:1000]), found[:1000])
    with within(4.5):
        past = resume._past(RunFolder(tmp_path), np.empty((0, 3)), 20_001, tmp_path)
    assert len(past.evaluations) == 20_001


def test_a_ctx_beyond_the_free_memory_is_not_evaluated(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Attention takes the square of the sequence, and a position but a row of weights."""
    checkpoint = checkpoints.read(run / "weights.safetensors")
    vast = SimpleNamespace(training=None, model=replace(checkpoint.model, ctx=300_000))
    monkeypatch.setattr(prepare, "free_memory", lambda: GIGABYTE)
    with pytest.raises(UsageError, match=r"100,000 tokens at once need \d\d\d\.\d GB, found 1\.1 free"):
        prepare.check_sequences(cast(Any, vast), [np.zeros(10), np.zeros(100_000)])
    assert load(run).evaluate(documents=["aa", "a"]).documents == 2
    monkeypatch.setattr(prepare, "free_memory", lambda: 1000)
    with pytest.raises(UsageError, match=r"4 tokens at once .* 0.0 free"):
        load(run).evaluate(documents=["aa", "a"])


def test_an_alphabet_is_looked_through_without_a_list_of_it() -> None:
    text = "\u0100" * 2_000_000
    with within(10), pytest.raises(CheckpointError, match="sorted, distinct"):
        Tokenizer.from_dict({"characters": text})


def prepared(folder: Path, **values: Any) -> Path:
    """A folder of tokens whose header has other values."""
    folder.mkdir()
    header = token_folder.Header("it", "characters", "abc", "none", "0" * 64, np.array([1, 1, 1]))
    (folder / "tokens.json").write_text(json.dumps(json.loads(header.to_json()) | values), encoding="utf-8")
    (folder / "tokens.bin").write_bytes(b"\0\1\2")
    return folder


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"characters": "a" * 2_000_000}, "found other values"),
        ({"characters": "ac\U0010ffffb"}, "found other values"),
        ({"counts": [0] * 20_000}, "more than 10,011 values"),
    ],
)
def test_a_header_of_tokens_is_refused_without_its_memory(
    tmp_path: Path, values: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(token_folder, "MOST_CHARACTERS", 10_000)
    folder = prepared(tmp_path / "it", **values)
    with within(25), pytest.raises(DataError, match=said):
        token_folder.open_folder(folder)


def test_values_within_values_are_no_header_of_tokens(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "it", counts=[{"a": {}}] * 100_000)
    with within(10), pytest.raises(DataError, match="found other values"):
        token_folder.open_folder(folder)


@holes
def test_tokens_that_are_a_hole_are_refused(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "it", counts=[6 * GIGABYTE, 0, 0], tokens=6 * GIGABYTE)
    os.truncate(folder / "tokens.bin", 6 * GIGABYTE)
    with within(5), pytest.raises(DataError, match="found 4,096 on the disk and holes"):
        token_folder.open_folder(folder)


@pytest.mark.long
def test_a_header_of_every_character_is_read(tmp_path: Path) -> None:
    everything = "".join(map(chr, [*range(0xD800), *range(0xE000, 0x110000)]))
    counts = np.full(len(everything), (token_folder.TOKENS_LIMIT - 1) // len(everything))
    header = token_folder.Header("it", "characters", everything, "none", "0" * 64, counts)
    assert len(data := header.to_json()) < token_folder.HEADER_LIMIT
    assert token_folder.header_of(data, "it").characters == everything


@pytest.mark.parametrize("rows", [b"a,b,c\n" + b"," * 200, b"a,b,c\n" + b"\r" * 200, b"a,b,c\n" + b",;\t|" * 50])
def test_fields_of_a_csv_are_counted_before_they_are_made(
    tmp_path: Path, rows: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sheet, "MOST_FIELDS", 199)
    (path := tmp_path / "it.csv").write_bytes(rows)
    with pytest.raises(DataError, match="expected at most 199 fields, found 20"):
        sheet.read_sheet(path, ())


@pytest.mark.parametrize("rows", [".a" * 199 + "=1\n", "a=1\n" * 200])
def test_dots_of_a_design_are_counted_before_they_are_keys(tmp_path: Path, rows: str) -> None:
    text = "[a" + ".a" * 199 + "]\n" + "".join(f"k{place}{rows}" for place in range(100))
    (path := tmp_path / "it.toml").write_text(text)
    with within(2), pytest.raises(DataError, match="dots in a line, or very many in all"):
        read_design(path)


def test_line_breaks_of_every_kind_end_a_row(tmp_path: Path) -> None:
    (path := tmp_path / "it.csv").write_bytes('a,b\r\n1,"2\n\r3"\r4,5\u2028\n6,7'.encode())
    rows = [row.fields for row in sheet.read_sheet(path, ()).rows]
    assert rows == [("1", "2\n\r3"), ("4", "5"), ("6", "7")]


def test_what_is_remembered_of_models_is_bounded() -> None:
    assert (ledger.cache_info().maxsize or 1000) <= 16


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory, run: Path) -> Path:
    """The same in the sizes that cost gigabytes once; a folder `runs` with two runs."""
    place = tmp_path_factory.mktemp("files")
    large(place / "hole.safetensors", run, emb=8192)
    (place / "small.csv").write_text("params,tokens,loss\n1,2,3\n")
    (place / "rows.csv").write_bytes(b"params,tokens,loss\n" + b"1,2,3\n" * 11_000_000)
    (place / "fields.csv").write_bytes(b"params,tokens,loss" + b"," * 15_000_000 + b"\n1,2,3\n")
    finish(request(place, "karpathy", steps=5))
    finish(request(place, "karpathy", steps=5, name="other"))
    (place / "runs" / "other" / "run.json").write_bytes(b'{"a":[' + b"[]," * 20_000_000 + b"0]}")
    (place / "runs" / "run" / "losses.csv").write_bytes(
        LOSSES.header + b"".join(b"%d,2,1\n" % step for step in range(1, 10_000_001))
    )
    prepared(place / "hole", counts=[6 * GIGABYTE, 0, 0], tokens=6 * GIGABYTE)
    os.truncate(place / "hole" / "tokens.bin", 6 * GIGABYTE)
    prepared(place / "values")
    (place / "values" / "tokens.json").write_bytes(b'{"a":[' + b"[]," * 44_000_000 + b"0]}")
    return place


@pytest.mark.long
@linux
@pytest.mark.parametrize(
    ("arguments", "like", "said"),
    [
        ("sample hole.safetensors", "sample runs/run", "on the disk and holes"),
        ("runs", "runs --out none", "expected at most 8,388,608 bytes"),
        ("train --data values --steps 1", "train --steps 1", "expected at most 29,360,128 bytes"),
        ("train --data hole --steps 1", "train --steps 1", "on the disk and holes"),
        ("train --resume runs/run --steps 8", "train --steps 1", "step 8"),
        ("laws --csv rows.csv", "laws --csv small.csv", "expected at most 16,777,216 bytes"),
        ("laws --csv fields.csv", "laws --csv small.csv", "expected at most 1,000,000 fields"),
    ],
)
def test_what_cost_gigabytes_takes_little(files: Path, arguments: str, like: str, said: str) -> None:
    """Beyond what the verb takes by itself."""
    costly, usual = (measured(files, *words.split()) for words in (arguments, like))
    assert said in costly.out + costly.err
    assert "Traceback" not in costly.err
    assert costly.peak < usual.peak + MEGABYTES
