"""A folder for transformers computes and writes what the run does, its tokenizer keeps every character, and none of
what was there before is lost."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from microgpt import files
from microgpt.data.byte_pairs import cut, learn
from microgpt.data.choices import Kind
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines import create
from microgpt.engines.array.forward import forward, softmax
from microgpt.engines.array.matrices import matrices
from microgpt.engines.contract import EngineConfig
from microgpt.errors import EnvironmentFault, UsageError
from microgpt.export import export
from microgpt.export.huggingface import contents
from microgpt.library import Run, train
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh
from microgpt.training.checkpoint import Checkpoint
from tests.models import VARIATIONS, varies

PLAIN = "abcdefghij <>osé"  # `<bos>` can be spelled with it
HOSTILE = "\t\n\r \"'\\{}<>/bos,.é\u0301\u0308ßſİ\u00a0\u200b\u200d\u202e\u2028\ufeff日本🙂🧑\U0010ffff"
HALVES = "\udbff\udc00a"  # of a pair, neighbours: JSON would read them as one character

Case = tuple[ModelConfig, Kind, str]
CASES: dict[str, Case] = {
    "lines": (ModelConfig(1, emb=8, head=2, ctx=9), "lines", PLAIN),
    "windows": (ModelConfig(1, emb=12, head=3, layer=2, ctx=7, ff=2, norm_head=True), "windows", PLAIN + "\n"),
    "hostile": (ModelConfig(1, emb=8, head=1, layer=2, ctx=60, norm_embeddings=False), "paragraphs", HOSTILE),
    "merged": (ModelConfig(1, emb=8, head=2, ctx=9), "lines", PLAIN),
    **{
        varies(changes): (ModelConfig(1, emb=12, head=3, layer=2, ctx=7, **changes), "windows", PLAIN)
        for changes in VARIATIONS
    },
    "halves": (ModelConfig(1, emb=1, head=1, ctx=1, ff=1, norm_embeddings=False), "windows", HALVES),
}

LENGTH = 64  # characters of a text that does not end itself
READER = Path(__file__).with_name("in_transformers.py")

needs_transformers = pytest.mark.skipif(
    find_spec("torch") is None or find_spec("transformers") is None, reason="torch or transformers is not installed"
)


def checkpoint_of(name: str) -> Checkpoint:
    """A model whose weights are large enough for every part of it to matter."""
    sizes, kind, text = CASES[name]
    tokenizer = Tokenizer("".join(sorted(set(text))), "nfc" if text is PLAIN else "none")
    if name == "merged":
        pieces = cut(["<bos> <bos> good bed good bed"])  # a word that is the name of BOS
        tokenizer = replace(tokenizer, merges=learn(pieces, tokenizer.characters, tokenizer.bos + 10))
    model = ModelConfig(**{**vars(sizes), "vocabulary": tokenizer.vocabulary})
    weights = np.random.default_rng(1).normal(0, 0.4, params(model))
    return Checkpoint(fresh(model, weights), tokenizer, kind, None)


def tokens_of(checkpoint: Checkpoint) -> list[list[int]]:
    """Two documents (2, ctx)."""
    draw = np.random.default_rng(2).integers(checkpoint.model.vocabulary, size=(2, checkpoint.model.ctx))
    drawn: list[list[int]] = draw.tolist()
    return drawn


def prompts_of(name: str) -> list[str]:
    known = {
        "lines": ["a", "bed", "good"],
        "windows": ["a", "abcdefg"],
        "merged": ["bed", "<bos>"],
        "hostile": ["🧑\u200d"],
        "halves": [],
    }
    return ["", *known.get(name, ["abcdefg"])]


def texts_of(name: str) -> list[str]:
    """Every character alone, all of them backwards, and what a tokenizer might take for something else."""
    known = checkpoint_of(name).tokenizer.characters
    odd = {
        "lines": ["<bos>", " <bos> so", "  a  ", "e\u0301"],
        "merged": ["<bos> good", "  bed <bos>good "],
        "hostile": [" , . </s>", "é\u0301 \n\r\n\t "],
    }
    return [*known, known[::-1], *odd.get(name, [])]


def offline(folder: Path) -> dict[str, str]:
    return {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "home"), "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What transformers says of each case, from a process of its own."""
    folder = tmp_path_factory.mktemp("models")
    asked = {}
    for name in CASES:
        export(checkpoint_of(name), f"{folder / name}/")
        asked[name] = {
            "folder": str(folder / name),
            "tokens": tokens_of(checkpoint_of(name)),
            "prompts": prompts_of(name),
            "texts": texts_of(name),
            "length": LENGTH,
        }
    done = subprocess.run(
        [sys.executable, str(READER)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        check=False,
        env=offline(folder),
    )
    assert done.returncode == 0, done.stderr
    told: dict[str, Any] = json.loads(done.stdout)
    return told


class TestInTransformers:
    """The folders as transformers loads them."""

    pytestmark = [pytest.mark.long, needs_transformers, pytest.mark.parametrize("name", CASES)]  # noqa: RUF012

    def test_probabilities_are_those_of_the_arrays(self, name: str, answers: dict[str, Any]) -> None:
        checkpoint = checkpoint_of(name)
        model, tokens = checkpoint.model, np.array(tokens_of(checkpoint))
        logits = forward(model, matrices(model, checkpoint.state.weights), tokens).logits
        expected = softmax(logits).reshape(*tokens.shape, -1)
        np.testing.assert_allclose(answers[name]["single"], expected, rtol=0, atol=1e-5)
        np.testing.assert_allclose(answers[name]["double"], expected, rtol=0, atol=1e-13)
        assert (answers[name]["dtype"], answers[name]["class"]) == ("torch.float32", "MicrogptForCausalLM")

    def test_the_loss_is_that_of_the_engines(self, name: str, answers: dict[str, Any]) -> None:
        checkpoint = checkpoint_of(name)
        if checkpoint.model.ctx < 2:
            pytest.skip("nothing to predict within one position")
        sequences = [np.array(tokens) for tokens in tokens_of(checkpoint)]
        sums, counts = create("array", EngineConfig()).open(checkpoint.state).evaluate(sequences)
        assert answers[name]["loss"] == pytest.approx(sums.sum() / counts.sum(), rel=1e-12)

    def test_padding_changes_nothing(self, name: str, answers: dict[str, Any]) -> None:
        assert answers[name]["padded"] < 1e-12

    def test_the_most_probable_text_is_the_runs(self, name: str, answers: dict[str, Any]) -> None:
        run = Run(checkpoint_of(name))
        expected = [run.sample(prompt, 1, top_k=1, length=LENGTH)[0] for prompt in prompts_of(name)]
        assert ["".join(text) for text in answers[name]["greedy"]] == expected

    def test_a_cache_changes_no_text(self, name: str, answers: dict[str, Any]) -> None:
        cached, uncached = ({**answers[name][way], "read": None} for way in ("cached", "uncached"))
        assert cached == uncached

    def test_a_cache_is_gone_on_from(self, name: str, answers: dict[str, Any]) -> None:
        apart, on, anew, ahead = answers[name]["continued"]
        assert apart < 1e-12
        assert on == anew
        if checkpoint_of(name).model.ctx > 1:
            assert "expected all tokens of the text, those in the cache and at least one more" in ahead

    def test_with_a_cache_a_token_is_read_once_until_ctx_is_full(self, name: str, answers: dict[str, Any]) -> None:
        ctx, windows = checkpoint_of(name).model.ctx, checkpoint_of(name).kind == "windows"
        anew = ctx // 2 + 1
        slides = [windows and n > ctx and (n - ctx - 1) % (ctx - ctx // 2) == 0 for n in range(1, 13)]
        expected = [anew if slid else 1 for slid in slides]
        read = answers[name]["cached"]["read"]
        assert read == expected[: len(read)]

    def test_texts_are_drawn_of_known_characters_alone(self, name: str, answers: dict[str, Any]) -> None:
        checkpoint, told = checkpoint_of(name), answers[name]
        assert {character for text in told["texts"] for character in text} <= set(checkpoint.tokenizer.characters)
        assert len({tuple(text) for text in told["texts"]}) > 1
        if checkpoint.kind == "windows":
            assert all(len(text) == 1 + LENGTH for text in told["texts"])  # with the line break that it begins from
        else:
            assert all(tokens[0] == checkpoint.tokenizer.bos for tokens in told["drawn"])
            assert max(map(len, told["texts"])) <= checkpoint.model.ctx or name == "merged"

    def test_more_tokens_than_ctx_are_refused_in_words(self, name: str, answers: dict[str, Any]) -> None:
        ctx = checkpoint_of(name).model.ctx
        assert f"expected at most {ctx} tokens" in answers[name]["beyond"]

    def test_the_tokenizer_keeps_every_text(self, name: str, answers: dict[str, Any]) -> None:
        tokenizer, texts, told = checkpoint_of(name).tokenizer, texts_of(name), answers[name]
        assert told["ids"] == [tokenizer.encode(text).tolist() for text in texts]
        begin = [] if checkpoint_of(name).kind == "windows" else [tokenizer.bos]
        assert told["with_bos"] == [begin + tokenizer.encode(text).tolist() for text in texts]
        assert told["decoded"] == [text.replace("e\u0301", "é") if name == "lines" else text for text in texts]
        assert told["vocabulary"] == tokenizer.vocabulary

    def test_unknown_characters_are_named(self, name: str, answers: dict[str, Any]) -> None:
        assert "found others: ['æ']" in answers[name]["unknown"]

    def test_what_transformers_saves_it_loads_again(self, name: str, answers: dict[str, Any]) -> None:
        if name == "halves":
            pytest.skip("transformers writes UTF-8, which has no halves of pairs")
        assert answers[name]["resaved"] == [0.0, True]


@pytest.mark.long
@needs_transformers
@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_the_lines_of_the_card_write_texts(kind: Kind, tmp_path: Path) -> None:
    run = train(steps=100, documents=kind, holdout=0)
    export(run.checkpoint, tmp_path / "a model-2")
    (block,) = re.findall(r"```python\n(.*?)```", (tmp_path / "a model-2" / "README.md").read_text(), re.DOTALL)
    command, place = [sys.executable, "-c", block], tmp_path / "a model-2"
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=False, env=offline(tmp_path))
    assert done.returncode == 0, done.stderr
    assert set(done.stdout) <= set(run.checkpoint.tokenizer.characters + "\n")
    assert len(done.stdout.split("\n")) >= 6


@pytest.mark.parametrize("name", ["windows", varies(VARIATIONS[-1])])
def test_a_folder_holds_the_weights_of_the_ledger_in_their_own_precision(name: str, tmp_path: Path) -> None:
    checkpoint = checkpoint_of(name)
    export(checkpoint, tmp_path / "model")
    weights = safetensors.numpy.load_file(tmp_path / "model" / "model.safetensors")
    assert np.array_equal(
        np.sort(np.concatenate([w.ravel() for w in weights.values()])), np.sort(checkpoint.state.weights)
    )
    assert weights["layers.1.mlp_fc1.weight"].shape == (checkpoint.model.wide, 12)
    assert {array.dtype for array in weights.values()} == {np.dtype("f8")}


def test_a_folder_has_what_transformers_looks_for(tmp_path: Path) -> None:
    export(checkpoint_of("hostile"), tmp_path / "model")
    folder = tmp_path / "model"
    config = json.loads((folder / "config.json").read_text())
    for entry in config["auto_map"].values():
        module, name = (entry[0] if isinstance(entry, list) else entry).split(".")
        assert f"class {name}(" in (folder / f"{module}.py").read_text()
    assert json.loads((folder / "tokenizer_config.json").read_text())["characters"] == sorted(set(HOSTILE))
    assert "repeat its training text" in (folder / "README.md").read_text()
    assert "with RMSNorm, ReLU and no biases" in (folder / "README.md").read_text()


def test_the_card_and_the_config_tell_what_the_model_varies() -> None:
    made = contents(checkpoint_of(varies(VARIATIONS[-1])))
    told = "SwiGLU (`activation swiglu`), rotary positions (`position rotary`)"
    assert f"with RMSNorm, {told} and no biases" in made["README.md"].decode()
    config = json.loads(made["config.json"])
    assert (config["position"], config["activation"]) == ("rotary", "swiglu")


def test_writing_a_folder_needs_neither_torch_nor_transformers(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'transformers', 'onnx', 'huggingface_hub'])\n"
        "from microgpt.library import train; from microgpt.export import export\n"
        f"export(train(steps=2, engine='array').checkpoint, {str(tmp_path / 'model')!r})"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (tmp_path / "model" / "config.json").is_file()


@pytest.mark.parametrize("name", ["v1.2/", "v1", "deep/er/v1"])
def test_a_name_without_an_ending_or_with_a_slash_is_a_folder(name: str, tmp_path: Path) -> None:
    export(checkpoint_of("lines"), f"{tmp_path}/{name}")
    assert (tmp_path / name / "config.json").is_file()


def test_an_empty_folder_is_filled(cwd: Path) -> None:
    export(checkpoint_of("lines"), ".")
    assert {path.name for path in cwd.iterdir()} == set(contents(checkpoint_of("lines")))


def make_full(path: Path) -> None:
    path.mkdir()
    (path / "mine.txt").write_text("kept")


def make_file(path: Path) -> None:
    path.write_text("kept")


@pytest.mark.parametrize(("make", "found"), [(make_full, "one that is not empty"), (make_file, "a file")])
def test_what_is_there_is_not_written_over(make: Callable[[Path], None], found: str, tmp_path: Path) -> None:
    make(tmp_path / "model")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UsageError, match=f"expected a new or an empty folder, found {found}"):
        export(checkpoint_of("lines"), tmp_path / "model")
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("empty", [False, True])
def test_a_folder_that_cant_be_finished_is_not_left(empty: bool, tmp_path: Path) -> None:
    def fail(moment: str, operation: files.Operation) -> None:
        if operation.path.name == "config.json":
            raise OSError(28, "No space left on device")

    folder = tmp_path / "model"
    if empty:
        folder.mkdir()
        (folder / ".model.0123abcd.part").mkdir()  # of an export that was killed
    with files.watched(fail), pytest.raises(EnvironmentFault, match="free some space"):
        export(checkpoint_of("lines"), folder)
    assert list(tmp_path.rglob("*")) == ([folder] if empty else [])
