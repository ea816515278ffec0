"""Runs on token files: the same as on the text, resumed, measured, sampled and exported; bytes as well."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt import load
from microgpt.data.choices import Unit
from microgpt.data.token_folder import TOKENS
from microgpt.data.token_writing import write_folder
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, DataError, UsageError
from microgpt.export import export
from microgpt.training.description import from_json, to_json
from microgpt.training.records import Finished
from microgpt.training.request import Request
from microgpt.training.resume import resume
from trials.small import finish, last, request, resumed, stopped_at

PROSE = "Ein Löwe lag im Schatten.\nKam die Maus, die ihn nicht sah.\n\n" * 40


def asked(place: Path, unit: Unit = "characters", **settings: Any) -> Request:
    """A tiny run on token files."""
    (place / "prose.txt").write_text(PROSE, encoding="utf-8")
    if not (place / "tokens").exists():
        write_folder([str(place / "prose.txt")], place / "tokens", tokens=unit)
    return request(place, **({"data": (str(place / "tokens"),)} | settings))


def weights(finished: Finished) -> bytes:
    return finished.checkpoint.state.weights.tobytes()


def test_a_run_on_token_files_is_the_run_on_the_text(tmp_path: Path) -> None:
    prepared = finish(asked(tmp_path))
    plain = finish(asked(tmp_path, name="plain", data=(str(tmp_path / "prose.txt"),), documents="windows"))
    assert weights(prepared) == weights(plain)
    assert prepared.result.loss == plain.result.loss
    assert prepared.result.samples == plain.result.samples


@pytest.mark.parametrize("unit", ["characters", "bytes"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path: Path, unit: Unit) -> None:
    whole = finish(asked(tmp_path, unit, name="whole"))
    stopped_at(asked(tmp_path, unit, save_every=20), 20)
    assert weights(resumed(tmp_path / "runs" / "run")) == weights(whole)


def test_a_run_does_not_go_on_with_tokens_that_have_changed(tmp_path: Path) -> None:
    stopped_at(asked(tmp_path, save_every=20), 20)
    path = tmp_path / "tokens" / TOKENS
    path.write_bytes(path.read_bytes()[::-1])
    with pytest.raises(DataError, match="has changed since"):
        last(resume(tmp_path / "runs" / "run"))
    for file in (tmp_path / "tokens").iterdir():
        file.unlink()
    (tmp_path / "tokens").rmdir()
    write_folder(["names"], tmp_path / "tokens")
    with pytest.raises(DataError, match="expected the text of this run"):
        last(resume(tmp_path / "runs" / "run"))


def test_a_model_of_bytes_writes_reads_and_is_measured(tmp_path: Path) -> None:
    finished = finish(asked(tmp_path, "bytes"))
    assert finished.result.vocabulary == 257
    run = load(tmp_path / "runs" / "run")
    text = run.sample("Löwe €", count=1, seed=1, length=40)[0]
    assert text.startswith("Löwe €")
    assert "".join(run.stream("Löwe €", seed=1, length=40)) == text
    own = run.evaluate()
    assert own.documents == finished.result.loss.holdout_documents
    (tmp_path / "other.txt").write_bytes("日本語\r\n\xff".encode("utf-16"))  # any bytes at all
    assert run.evaluate(tmp_path / "other.txt").tokens == (tmp_path / "other.txt").stat().st_size - 1
    (tmp_path / "tokens").rename(tmp_path / "moved")
    assert run.evaluate(tmp_path / "moved") == own


def test_a_model_of_characters_is_measured_on_token_files_of_other_characters(tmp_path: Path) -> None:
    finish(asked(tmp_path))
    run = load(tmp_path / "runs" / "run")
    (tmp_path / "few.txt").write_text("im Schatten lag die Maus\n" * 3, encoding="utf-8")
    write_folder([str(tmp_path / "few.txt")], tmp_path / "few")
    assert run.evaluate(tmp_path / "few").loss == run.evaluate(tmp_path / "few.txt").loss
    write_folder([str(tmp_path / "few.txt")], tmp_path / "few-bytes", tokens="bytes")
    with pytest.raises(DataError, match=r"expected characters, as this model has, found other tokens \(bytes\)"):
        run.evaluate(tmp_path / "few-bytes")


def test_a_checkpoint_has_the_lowest_schema_that_can_tell_it(tmp_path: Path) -> None:
    for unit, schema in (("characters", 1), ("bytes", 2)):
        (tmp_path / unit).mkdir()
        checkpoint = finish(asked(tmp_path / unit, unit)).checkpoint  # type: ignore[arg-type]
        told = json.loads(to_json(checkpoint.description))
        assert told["schema"] == schema
        shapes = {"wte": (checkpoint.model.vocabulary, 4), "wpe": (8, 4), "layer0.mlp_fc1": (16, 4)}
        shapes |= {f"layer0.other{number}": (1, 1) for number in range(5)}
        found = from_json(json.dumps(told), shapes)
        assert (found.model, found.tokenizer) == (checkpoint.model, checkpoint.tokenizer)
    with pytest.raises(CheckpointError, match="schema 1"):
        from_json(json.dumps(told | {"schema": 1}), shapes)


@pytest.mark.parametrize("target", ["model.py", "page.html", "model.onnx", "folder/"])
def test_formats_that_write_characters_refuse_a_model_of_bytes(tmp_path: Path, target: str) -> None:
    checkpoint = finish(asked(tmp_path, "bytes")).checkpoint
    with pytest.raises(UsageError, match=r"tokens are bytes.*\.safetensors|\.safetensors.*tokens are bytes"):
        export(checkpoint, str(tmp_path / target))
    export(checkpoint, tmp_path / "model.safetensors")
    assert load(tmp_path / "model.safetensors").checkpoint.tokenizer == checkpoint.tokenizer


def test_bytes_that_are_no_text_become_replacements_and_pieces_join_to_the_whole() -> None:
    tokenizer = Tokenizer(Tokenizer.from_dict({"unit": "bytes"}).characters, unit="bytes")
    ids = [*b"a\xff", *"€".encode(), tokenizer.bos, *"€".encode()[:2]]
    assert tokenizer.decode(ids) == "a�€�"
    assert "".join(tokenizer.pieces(ids)) == "a�€�"
    assert tokenizer.decode(tokenizer.encode("日本語 é")) == "日本語 é"
    assert tokenizer.unknown("日本語") == ""
    assert Tokenizer.from_dict(tokenizer.to_dict()) == tokenizer
    assert tokenizer.encode("\n").dtype == np.uint16  # room for BOS, which is 256
