"""The page trains what `microgpt` trains: the same split, order and first weights, and the same losses."""

import base64
import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.data.byte_pairs import cut, learn
from microgpt.data.memory import text_of
from microgpt.data.tokenizer import Tokenizer
from microgpt.engines.contract import Drawing, EngineConfig
from microgpt.engines.fused import build
from microgpt.engines.fused.build import find_compiler, load, reason_unavailable
from microgpt.engines.fused.engine import FusedRunner, declared, defines
from microgpt.engines.fused.toolchain import bundled_compiler
from microgpt.errors import DataError, EnvironmentFault
from microgpt.model.ledger import params
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import ModelConfig, Settings
from microgpt.model.state import draw_weights, fresh
from microgpt.training.evaluate import held_out_loss
from microgpt.training.prepare import dataset_on, split_of
from microgpt.training.request import Request
from tests.command import microgpt, refused, succeeded
from tests.conftest import SOURCE
from tests.javascript import computed


def without_a_compiler() -> str:
    try:
        bundled_compiler()
    except EnvironmentFault as fault:
        return str(fault)
    return ""


compiled = pytest.mark.skipif(bool(without_a_compiler()), reason=without_a_compiler())
SHAKESPEARE = (SOURCE / "data" / "builtin" / "shakespeare.txt").read_text("utf-8")
NAMES = (SOURCE / "data" / "builtin" / "names.txt").read_text("utf-8")
VERSES = "\n\n".join(
    f"{'la ' * (i % 3 + 9)}\nof verse {i % 7} and its end\n  {'é' if i % 2 else 'e'}nd" for i in range(40)
)
TEXTS = {
    "names": NAMES[:9_000],
    "copies and blanks": "\ufeffanna\r\nbob\r\n\x1c \n" + "anna\rcarla\n\u3000dora \n" * 3 + "e\u0301mile\n😀 zoé",
    "verses": VERSES,
    "plays": SHAKESPEARE[:30_000],
    "wrapped": "\n".join("so the line goes on until it is wrapped at its edge"[: 51 - i % 7] for i in range(60)),
    "short": "ab\nc",
    "list": "\n\n".join(f"name {i}\nnumber {i}" for i in range(30)),
    "astral": "😀😁😂 a 😃b" * 30 + "\n" + "x" * 300,
}

SEQUENCES = """
const found = ({ text, kind, characters, merges, settings, steps }) => {
  const corpus = corpusOf(cleaned(text, "nfc"), kind);
  const tokenizer = new Tokenizer(characters ?? corpus.characters.join(""), "nfc", merges);
  const lessons = new Lessons(corpus, tokenizer, settings);
  const list = ({ tokens, starts }) =>
    Array.from(starts.subarray(1), (end, k) => Array.from(tokens.subarray(starts[k], end)));
  const { kind: chosen, characters: own } = corpus;
  const heldOut = list(lessons.joined(lessons.heldOut));
  return [chosen, own.join(""), heldOut, ...steps.map((step) => list(lessons.sequences(step, 1)))];
};
return values.map((asked) => {
  try {
    return found(asked);
  } catch (error) {
    return error instanceof Trouble ? null : String(error.stack);
  }
});
"""
STEPS = [0, 1, 50, 4000]


def expected(text: str, kind: str, settings: Settings, known: Tokenizer | None = None) -> list[Any] | None:
    """What the scripts should find, or None where the text is refused."""
    request = Request(settings=settings, tokens=known.tokens if known else "characters")
    try:
        split = split_of(request, kind, text_of(text), known)
    except DataError:
        return None
    dataset, corpus = dataset_on(request, split), (split.characters or split).corpus
    steps = [dataset.sequences(step, settings.batch) for step in STEPS]
    told = [[tokens.tolist() for tokens in sequences] for sequences in (dataset.held_out(), *steps)]
    return [corpus.kind, corpus.tokenizer.characters, *told]


@pytest.mark.parametrize("batch", [1, 3])
def test_sequences_are_those_of_the_command(batch: int) -> None:
    settings = Settings(batch=batch, ctx=7)
    asked = {"settings": {"ctx": 7, "batch": batch, "seed": 42, "holdout": 0.1, "split_seed": 0}, "steps": STEPS}
    cases = [(text, kind) for text in TEXTS.values() for kind in ("auto", "lines", "paragraphs", "windows")]
    found = computed(SEQUENCES, [{"text": text, "kind": kind} | asked for text, kind in cases])
    for (text, kind), one in zip(cases, found, strict=True):
        assert one == expected(text, kind, settings), (text[:20], kind)


@pytest.mark.parametrize("kind", ["lines", "paragraphs", "windows"])
def test_byte_pairs_are_those_of_the_command(kind: str) -> None:
    text = TEXTS["plays"]
    characters = Tokenizer.of(text).characters
    known = Tokenizer(characters, "nfc", merges=learn(cut([text]), characters, len(characters) + 30))
    settings = {"ctx": 7, "batch": 2, "seed": 42, "holdout": 0.1, "split_seed": 0}
    asked = {"text": text, "kind": kind, "characters": characters, "merges": known.merges, "settings": settings}
    (found,) = computed(SEQUENCES, [asked | {"steps": STEPS}])
    assert found[0] == kind
    assert found[2:] == (expected(text, kind, Settings(batch=2, ctx=7), known) or [])[2:]


@given(st.binary(max_size=300))
@settings(max_examples=5)
def test_the_hash_is_that_of_the_library(data: bytes) -> None:
    sizes = [*range(len(data) % 7, 200, 7), 4096, 100_000]
    asked = [list((data * 100_000)[:size] or bytes(size)) for size in sizes]
    found = computed("return values.map((bytes) => sha256(Uint8Array.from(bytes)));", asked)
    assert found == [hashlib.sha256(bytes(each)).hexdigest() for each in asked]


@pytest.mark.parametrize("initial", ["gauss", "uniform"])
def test_first_weights_are_those_of_the_command(initial: str) -> None:
    asked_for = Settings(initial=initial, initial_scale=0.3, emb=64, head=4, layer=2)  # type: ignore[arg-type]
    model = asked_for.model(60)
    asked = {"settings": {"seed": 42, "initial": initial, "initial_scale": 0.3}, "params": params(model)}
    found = computed("return Array.from(firstWeights(values.settings, values.params));", asked)
    np.testing.assert_array_equal(np.array(found, "f4"), draw_weights(asked_for, model).astype("f4"))


@compiled
def test_a_page_to_try_is_written_without_a_run(tmp_path: Path) -> None:
    succeeded(microgpt("export", "--try", "try.html", cwd=tmp_path))
    assert (tmp_path / "try.html").stat().st_size <= 250_000
    assert "ends in .html" in refused(microgpt("export", "--try", "try.py", cwd=tmp_path), 2)
    assert "takes a file alone" in refused(microgpt("export", "--try", "run", "try.html", cwd=tmp_path), 2)


TRAINED = """
const { kernel, config, params, settings, text, kind } = values;
const corpus = corpusOf(cleaned(text, "nfc"), kind);
const lessons = new Lessons(corpus, new Tokenizer(corpus.characters.join(""), "nfc"), settings);
const bytes = Uint8Array.from(atob(kernel), (character) => character.charCodeAt(0));
const model = await Kernel.started(await WebAssembly.compile(bytes), config, params);
model.load({ weights: firstWeights(settings, params) });
const losses = [];
await learned(model, lessons, settings, (told) => losses.push(...(told.losses ?? [])));
const heldOut = await measured(model, lessons);
const logits = [];
for (const prefix of [[0], [0, 1], [0, 1, 2], [0, 1], [3, 1]]) logits.push(Array.from(await model.logits(prefix)));
const { uniforms, end } = values;
const drawn = { uniforms: Float64Array.from(uniforms.flat()), count: uniforms.length, temperature: 0.8, end };
const written = model.write({ prompt: [end, 1], ...drawn });
const rows = Array.from(written.counts, (count, row) => {
  const start = row * uniforms[0].length;
  return Array.from(written.tokens.subarray(start, start + count));
});
return { rows, losses, heldOut, logits, weights: Array.from(model.save().weights), step: model.save().step };
"""
MODELS: list[dict[str, Any]] = [
    {},
    {"emb": 24, "head": 3, "layer": 2, "ctx": 40, "batch": 8, "norm_head": True, "norm_embeddings": False, "ff": 3},
    {"emb": 8, "head": 2, "position": "rotary", "activation": "swiglu", "batch": 20, "weight_decay": 0.1},
]


@compiled
@pytest.mark.skipif(reason_unavailable() is not None, reason=str(reason_unavailable()))
@pytest.mark.parametrize("fewer", [False, True], ids=["own", "fewer tokens"])
@pytest.mark.parametrize("changes", MODELS, ids=["default", "separate heads", "rotary and gates"])
def test_losses_are_those_of_fused_without_wide_vectors(changes: dict[str, Any], fewer: bool) -> None:
    settings = Settings(**{"steps": 200, **changes})
    text = TEXTS["names"] if not changes else TEXTS["plays"]
    kind = "lines" if not changes else "windows"
    request = Request(settings=settings)
    split = split_of(request, kind, text_of(text))
    model = settings.model(split.corpus.tokenizer.vocabulary)
    dataset = dataset_on(request, split)
    config = EngineConfig("32", beta1=settings.beta1, beta2=settings.beta2, weight_decay=settings.weight_decay)
    runner = FusedRunner(config, fresh(model, draw_weights(settings, model)), narrow(model))
    losses = runner.advance(dataset.sequences_of(0, 200, settings.batch), learning_rates(settings, 0, 200))
    expected = held_out_loss(runner, dataset.held_out(), split.corpus.tokenizer, split.corpus.kind, model.ctx).loss

    constants = defines(model, "32") | {"MOST_THREADS": 1, "FEWER": int(fewer)} | ({"VOCABULARY": 131} if fewer else {})
    names = ("steps", "batch", "lr", "beta1", "beta2", "weight_decay", "seed", "initial", "initial_scale", "ctx")
    asked = {
        "kernel": base64.b64encode(build.web(constants)).decode(),
        "config": {"vocabulary": model.vocabulary, "ctx": model.ctx},
        "params": params(model),
        "settings": {name: getattr(settings, name) for name in names} | {"holdout": 0.1, "split_seed": 0},
        "text": text,
        "kind": kind,
        "uniforms": (uniforms := np.random.default_rng(1).random((300, model.ctx - 1))).tolist(),
        "end": (end := model.vocabulary - 1),
    }
    found = computed(TRAINED, asked)
    (written,) = runner.write([[end, 1]] * 300, uniforms, Drawing(temperature=0.8, end=end))
    told = [row[:count].tolist() for row, count in zip(written.tokens, written.counts, strict=True)]
    assert sum(map(list.__eq__, found["rows"], told)) >= 299  # a number may fall between two roundings
    np.testing.assert_allclose(found["losses"], losses, rtol=0, atol=1e-5)
    assert found["heldOut"] == pytest.approx(expected, abs=1e-5)
    assert found["step"] == 200
    np.testing.assert_allclose(found["weights"], runner.state().weights, rtol=0, atol=1e-4)
    for logits, prefix in zip(found["logits"], [[0], [0, 1], [0, 1, 2], [0, 1], [3, 1]], strict=True):
        powers = np.exp(np.array(logits) - max(logits))
        np.testing.assert_allclose(powers / powers.sum(), runner.next(prefix), rtol=0, atol=1e-4)


def narrow(model: ModelConfig) -> Any:
    """The kernel of this machine with vectors of 16 bytes, as a page's are."""
    target = "x86-64" if find_compiler().architecture == "x86_64" else "native"
    return declared(load(defines(model, "32"), target=target))
