"""An exported graph computes what the engines do, for any batch and length, and tells nothing of the machine."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from microgpt.data.tokenizer import Tokenizer
from microgpt.engines import create
from microgpt.engines.contract import EngineConfig
from microgpt.errors import EnvironmentFault, MicrogptError
from microgpt.export import export
from microgpt.export.onnx import _verify, graph
from microgpt.model.settings import ModelConfig
from microgpt.training.checkpoint import Checkpoint
from tests.models import MERGED, VARIATIONS, model_of

CHARACTERS = "\n \"'\\abcé\u0301\u2028…日\ud83d\ude00🙂"  # two halves of a pair among them, which JSON would join

MODELS = [
    ModelConfig(6, emb=8, head=2, ctx=5),
    ModelConfig(6, emb=12, head=3, layer=2, ctx=7, ff=2, norm_embeddings=False, norm_head=True),
    ModelConfig(2, emb=1, head=1, ctx=1, ff=1, norm_embeddings=False),
    *(ModelConfig(6, emb=12, head=3, layer=2, ctx=7, **changes) for changes in VARIATIONS),
]


def random_model(model: ModelConfig, characters: str = "abcdefghijklmnopqrstuvwxyz", seed: int = 0) -> Checkpoint:
    sizes = {name: value for name, value in vars(model).items() if name != "vocabulary"}
    return model_of(Tokenizer(characters[: model.vocabulary - 1]), seed=seed, **sizes)


def answer(data: bytes, tokens: list[list[int]]) -> NDArray[Any]:
    """What onnxruntime computes, (batch, length, vocabulary)."""
    session = pytest.importorskip("onnxruntime").InferenceSession(data, providers=["CPUExecutionProvider"])
    (probabilities,) = session.run(None, {"tokens": np.array(tokens, np.int64)})
    assert probabilities.dtype == np.float32
    return np.asarray(probabilities)


def written(checkpoint: Checkpoint) -> bytes:
    pytest.importorskip("onnx")
    return graph(checkpoint)


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_a_graph_computes_what_the_atoms_do(model: ModelConfig) -> None:
    checkpoint = random_model(model)
    tokens = [index % model.vocabulary for index in range(3, 3 + model.ctx)]
    found = answer(written(checkpoint), [tokens])
    atoms = create("atomic", EngineConfig()).open(checkpoint.state)
    for place in range(model.ctx):
        np.testing.assert_allclose(found[0, place], atoms.next(tokens[: place + 1]), atol=1e-6)


@settings(max_examples=12, deadline=None)
@given(
    st.builds(
        lambda vocabulary, size, head, varied, **others: ModelConfig(
            vocabulary, emb=(size + size % 2 if "position" in varied else size) * head, head=head, **varied, **others
        ),
        vocabulary=st.integers(2, 27),
        size=st.integers(1, 4),
        head=st.integers(1, 3),
        layer=st.integers(1, 3),
        ctx=st.integers(1, 9),
        ff=st.integers(1, 3),
        norm_embeddings=st.booleans(),
        norm_head=st.booleans(),
        varied=st.sampled_from([{}, *VARIATIONS]),
    ),
    st.data(),
)
def test_a_graph_of_any_sizes_computes_what_the_arrays_do(model: ModelConfig, data: st.DataObject) -> None:
    checkpoint = random_model(model)
    length = data.draw(st.integers(1, model.ctx))
    ids = st.integers(0, model.vocabulary - 1)
    tokens = data.draw(st.lists(st.lists(ids, min_size=length, max_size=length), min_size=1, max_size=3))
    found = answer(written(checkpoint), tokens)
    assert found.shape == (len(tokens), length, model.vocabulary)
    arrays = create("array", EngineConfig()).open(checkpoint.state)
    for document, probabilities in zip(tokens, found, strict=True):
        np.testing.assert_allclose(probabilities[-1], arrays.next(document), atol=1e-5)


def test_a_graph_refuses_more_tokens_than_ctx() -> None:
    for model in MODELS:
        data = written(random_model(model))
        with pytest.raises(Exception, match="out of data bounds"):
            answer(data, [[0] * (model.ctx + 1)])


def test_a_graph_names_its_characters_and_its_kind() -> None:
    onnx = pytest.importorskip("onnx")
    known = "".join(sorted(CHARACTERS))
    checkpoint = random_model(ModelConfig(len(known) + 1, emb=4, head=1, ctx=3), known)
    told = {entry.key: entry.value for entry in onnx.load_from_string(written(checkpoint)).metadata_props}
    assert json.loads(told.pop("characters")) == list(known)
    assert told == {"ctx": "3", "bos": str(len(known)), "kind": "lines", "normalize": "none"}


def test_a_graph_of_other_weights_is_found_out() -> None:
    pytest.importorskip("onnxruntime")
    with pytest.raises(MicrogptError, match="found a difference of"):
        _verify(written(random_model(MODELS[0])), random_model(MODELS[0], seed=1))


def test_a_missing_package_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(EnvironmentFault, match=r"pip install 'microgpt-symmetry\[onnx\]'") as fault:
        export(random_model(MODELS[0]), tmp_path / "model.onnx")
    assert fault.value.exit_code == 5
    assert not list(tmp_path.iterdir())


def test_a_graph_is_written_where_no_runtime_can_check_it(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = written(random_model(MODELS[0]))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert written(random_model(MODELS[0])) == expected


def test_a_graph_of_byte_pairs_names_its_merges() -> None:
    onnx = pytest.importorskip("onnx")
    told = {entry.key: entry.value for entry in onnx.load_from_string(written(model_of(MERGED))).metadata_props}
    merges = tuple(tuple(pair) for pair in json.loads(told["merges"]))
    assert Tokenizer("".join(json.loads(told["characters"])), merges=merges) == MERGED
    assert int(told["bos"]) == MERGED.bos
