"""Runs whose tokens are bytes or byte pairs: trained, resumed, measured per character, swept, prepared, exported."""

import json
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from microgpt import load, train
from microgpt.data.choices import size_of
from microgpt.data.retokenize import vocabulary_of
from microgpt.data.token_folder import HEADER, open_folder
from microgpt.data.token_writing import LEARNED, write_folder
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import CheckpointError, DataError, UsageError
from microgpt.export import export
from microgpt.lab.laws.table import table
from microgpt.lab.statistics.series import series, setting_axis
from microgpt.lab.statistics.tables import runs_table
from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.plan import plan
from microgpt.lab.sweep.texts import Texts
from microgpt.model.ledger import tensors
from microgpt.recipes import beginning, resolve
from microgpt.training.checkpoint import read
from microgpt.training.description import from_json, to_json
from microgpt.training.loop import train as records_of
from microgpt.training.prepare import prepare
from microgpt.training.records import Finished, Result
from microgpt.training.request import Request
from tests.command import microgpt, refused, succeeded
from trials import few
from trials.small import finish, request, resumed, stopped_at

PROSE = "Ein Löwe lag im Schatten.\nKam die Maus, die ihn nicht sah.\n\nDer Löwe schlief.\n" * 30
KINDS = ("bytes", "bpe:40")


def asked(place: Path, tokens: str, **settings: Any) -> Request:
    """A tiny run on prose, without a held-out loss that is too good."""
    (place / "prose.txt").write_text(PROSE, encoding="utf-8")
    data = {"data": (str(place / "prose.txt"),), "documents": "windows"}
    return request(place, **data | {"tokens": tokens} | settings)


@pytest.mark.parametrize("tokens", KINDS)
@pytest.mark.parametrize("documents", ["lines", "windows"])
def test_a_resumed_run_ends_with_the_same_weights_and_its_file_tells_its_tokens(
    tmp_path: Path, tokens: str, documents: str
) -> None:
    whole = finish(asked(tmp_path, tokens, name="whole", documents=documents))
    stopped_at(asked(tmp_path, tokens, save_every=20, documents=documents), 20)
    again = resumed(tmp_path / "runs" / "run")
    assert again.checkpoint.state.weights.tobytes() == whole.checkpoint.state.weights.tobytes()
    assert np.array_equal(again.losses, whole.losses)
    kept = read(tmp_path / "runs" / "run" / "weights.safetensors")
    assert kept.tokenizer == whole.checkpoint.tokenizer
    assert kept.tokenizer.tokens == tokens
    schema = json.loads(to_json(kept.description))["schema"]
    assert schema == (3 if kept.tokenizer.merges else 2)


def test_a_file_of_merges_that_says_an_older_schema_or_has_damaged_ones_is_refused(tmp_path: Path) -> None:
    checkpoint = finish(asked(tmp_path, "bpe:40")).checkpoint
    told = json.loads(to_json(checkpoint.description))
    shapes = {name: matrix.shape for name, matrix in load(tmp_path / "runs" / "run").weights.items()}
    assert from_json(json.dumps(told), shapes).tokenizer == checkpoint.tokenizer
    with pytest.raises(CheckpointError, match="expected what schema 2 has, found 'bpe:40'"):
        from_json(json.dumps(told | {"schema": 2}), shapes)
    short = told["tokenizer"] | {"merges": told["tokenizer"]["merges"][:-1]}
    with pytest.raises(CheckpointError, match="vocabulary: expected 41 tokens, found '40'"):
        from_json(json.dumps(told | {"tokenizer": short}), shapes)


@pytest.mark.parametrize("tokens", KINDS)
@pytest.mark.parametrize("documents", ["lines", "windows"])
def test_losses_are_told_per_character(tmp_path: Path, tokens: str, documents: str) -> None:
    done = finish(asked(tmp_path, tokens, documents=documents, eval_every=25))
    run = load(tmp_path / "runs" / "run")
    found, loss = run.evaluate(), done.result.loss
    assert found.characters != found.tokens
    assert found.per_character == pytest.approx(found.sums.sum() / found.characters)
    assert found.loss == pytest.approx(found.sums.sum() / found.counts.sum())
    assert (loss.holdout, loss.holdout_per_character) == (found.loss, found.per_character)
    assert loss.uniform == run.uniform
    assert loss.uniform_per_character == pytest.approx(run.uniform * found.tokens / found.characters)
    assert loss.first == pytest.approx(done.losses[0] * loss.characters_per_token)
    rows = (tmp_path / "runs" / "run" / "evaluations.csv").read_text().splitlines()
    assert float(rows[-1].split(",")[1]) == pytest.approx(found.per_character)
    assert (
        json.loads(succeeded(microgpt("eval", "run", "--json", cwd=tmp_path)).stdout)
        == run.evaluate(counts=True).to_dict()
    )
    assert f"{found.per_character:.4f}" in succeeded(microgpt("eval", "run", cwd=tmp_path)).stdout


@pytest.mark.parametrize("documents", ["lines", "windows"])
def test_the_characters_that_are_held_out_are_the_same_for_all_tokens(tmp_path: Path, documents: str) -> None:
    sizes = {"ctx": 64, "steps": 2, "documents": documents}  # no line is longer
    found = [
        finish(asked(tmp_path, tokens, name=tokens.replace(":", "-"), **sizes)) for tokens in ("characters", *KINDS)
    ]
    told = [load(tmp_path / "runs" / str(end.result.run).rpartition("/")[2]).evaluate().characters for end in found]
    if documents == "lines":
        assert len({*told}) == 1
    else:  # the first token is not predicted
        assert max(told) - min(told) < 12


def test_a_run_json_of_a_version_that_knew_characters_alone_is_read(tmp_path: Path) -> None:
    told = finish(request(tmp_path)).result.to_dict()
    new = ("per_character", "per_character_se", "per_token")
    loss = {name: value for name, value in told["loss"].items() if not name.endswith(new) or "bits" in name}
    result = Result.from_dict(told | {"loss": loss})
    assert result is not None
    assert result == Result.from_dict(told)
    assert result.loss.holdout_per_character == result.loss.holdout


@pytest.mark.parametrize("documents", ["lines", "windows"])
def test_samples_go_on_from_any_prompt_and_are_as_long_as_asked(tmp_path: Path, documents: str) -> None:
    finish(asked(tmp_path, "bpe:40", documents=documents, steps=200, ctx=12))
    run = load(tmp_path / "runs" / "run")
    for prompt in ("", "L", "Löw", "Der Löwe sch"):
        texts = run.sample(prompt, 3, seed=1, length=31)
        assert all(text.startswith(prompt) for text in texts)
        assert "".join(run.stream(prompt, seed=1, length=31)) == texts[0]
        if documents == "windows":
            assert {len(text) for text in texts} == {31}
    assert max(map(len, run.next("Der "))) > 1
    assert sum(run.next("Der ").values()) == pytest.approx(1.0)
    with pytest.raises(DataError, match="doesn't know 'Q'"):
        run.sample("Q")


def test_training_from_a_model_of_byte_pairs_keeps_its_tokens(tmp_path: Path) -> None:
    finish(asked(tmp_path, "bpe:40"))
    other = "".join(sorted(set(PROSE) - {"\n"})) + "\nDie Maus lag da.\nMaus im Schatten.\nKam sah.\n"
    (tmp_path / "other.txt").write_text(other * 5, encoding="utf-8")
    flags = ("--steps", "3", "--name", "next", "--documents", "windows")
    succeeded(microgpt("train", "--from", "run", "--data", "other.txt", *flags, cwd=tmp_path))
    one, two = (load(tmp_path / "runs" / name).checkpoint.tokenizer for name in ("run", "next"))
    assert one == two
    succeeded(microgpt("train", "--resume", "next", "--steps", "5", "--name", "last", cwd=tmp_path))


OTHER = "Ein Quiz: Yak & Xylophon? Die Maus lag da.\n" * 30


@pytest.mark.parametrize("tokens", ["characters", *KINDS])
def test_a_training_from_a_model_gives_new_characters_rows_of_their_own(tmp_path: Path, tokens: str) -> None:
    finish(asked(tmp_path, tokens))
    (tmp_path / "other.txt").write_text(OTHER, encoding="utf-8")
    told = "--from", "run", "--data", "other.txt", "--name", "next", "--documents", "windows", "--steps", "3", "--json"
    result = json.loads(succeeded(microgpt("train", *told, cwd=tmp_path)).stdout)
    one, two = (load(tmp_path / "runs" / name) for name in ("run", "next"))
    first, grown = one.checkpoint.tokenizer, two.checkpoint.tokenizer
    assert set(grown.texts) == {*first.texts, *("" if tokens == "bytes" else OTHER)}
    ids = first.encode("Die Maus lag.")
    assert [first.texts[token] for token in ids] == [grown.texts[token] for token in grown.encode("Die Maus lag.")]
    assert two.sample("Ein Quiz", 1, length=20)[0].startswith("Ein Quiz")
    assert two.evaluate().loss == pytest.approx(result["loss"]["holdout"])
    assert json.loads((tmp_path / "runs" / "next" / "run.json").read_text())["origin"] == "prose.txt"
    succeeded(microgpt("train", "--resume", "next", "--steps", "5", "--name", "more", cwd=tmp_path))
    assert load(tmp_path / "runs" / "more").checkpoint.tokenizer == grown


def test_of_a_model_that_comes_first_no_row_is_drawn_again(tmp_path: Path) -> None:
    finish(asked(tmp_path, "bpe:40"))
    (tmp_path / "other.txt").write_text(OTHER, encoding="utf-8")
    first = load(tmp_path / "runs" / "run")
    asking = beginning(first.checkpoint, {"data": (str(tmp_path / "other.txt"),), "documents": "windows"})
    prepared = prepare(resolve("default", asking), begin=first.checkpoint).checkpoint
    found, known, grown = tensors(prepared.model, prepared.state.weights), first.weights, prepared.tokenizer.texts
    for name in ("wte", "lm_head"):
        for token, text in enumerate(first.checkpoint.tokenizer.texts):
            assert (found[name][grown.index(text)] == known[name][token]).all()
        assert (found[name][-1] == known[name][-1]).all()  # of BOS
        assert np.isfinite(found[name]).all()
    assert (found["layer0.mlp_fc1"] == known["layer0.mlp_fc1"]).all()


def test_a_time_is_filled_from_a_model_too(tmp_path: Path) -> None:
    finish(asked(tmp_path, "bpe:40"))
    (tmp_path / "other.txt").write_text(OTHER, encoding="utf-8")
    told = "--from", "run", "--data", "other.txt", "--name", "next", "--for", "3s", "--documents", "windows"
    done = succeeded(microgpt("train", *told, cwd=tmp_path))
    assert "--from run" in done.stderr
    one, two = (load(tmp_path / "runs" / name) for name in ("run", "next"))
    assert (one.model.emb, one.model.layer, one.model.ctx) == (two.model.emb, two.model.layer, two.model.ctx)


def test_another_text_is_measured_in_the_tokens_of_the_model(tmp_path: Path) -> None:
    for tokens in KINDS:
        done = finish(asked(tmp_path, tokens, name=tokens[:3], documents="lines"))
        run = load(str(done.result.run))
        lines = ["Der Löwe lag.", "Die Maus sah ihn."]
        found = run.evaluate(documents=lines)
        assert found.characters == sum(min(len(line) + 1, 99) for line in lines) or found.tokens == 16
        assert np.isfinite(found.per_character)
        assert run.evaluate(tmp_path / "prose.txt").loss == run.evaluate().loss
    with pytest.raises(DataError, match="doesn't know 'Q'"):
        run.evaluate(text="Q")


@pytest.mark.parametrize("value", ["bpe", "bpe:", "bpe:1", "bpe:070", "bpe:65537", "bpe:1e3", "words", "bpe:-3", ""])
def test_tokens_that_are_none_are_refused_with_what_would_do(value: str) -> None:
    with pytest.raises(UsageError, match=r"--tokens takes characters, bytes, or bpe:N .* bpe:512 would do"):
        size_of(value)


def test_the_library_takes_tokens_and_texts_in_memory() -> None:
    run = train(text=PROSE, tokens="bpe:45", steps=5, emb=8, documents="windows")
    assert run.model.vocabulary == 46
    assert run.result is not None
    assert run.result.loss.characters_per_token > 1
    plain = train(text=PROSE, steps=5, emb=8, documents="windows")
    with pytest.raises(UsageError, match="expected runs of one vocabulary"):
        run.compare(plain)


def test_a_sweep_over_tokens_compares_losses_per_character(tmp_path: Path) -> None:
    kinds = ("characters", "bytes", "bpe:24")
    planned = plan(few.design(tmp_path, axes={"tokens": kinds}, base={"steps": 10}, seeds=(0, 1)), Texts())
    few.carry_out(planned, tmp_path / "lab.db")
    with Store.open(tmp_path / "lab.db") as store:
        records = store.records()
    assert sorted(record.settings["tokens"] for record in records) == sorted(kinds * 2)
    by_name = {str(record.settings["tokens"]): record for record in records if record.seed == 0}
    for tokens in kinds:
        spec = next(member.spec for member in planned.outlook if member.spec.asked.tokens == tokens)
        *_, end = records_of(spec.request())
        assert isinstance(end, Finished)
        own: RunRecord = by_name[tokens]
        assert (own.loss, own.loss_se) == (
            end.result.loss.holdout_per_character,
            end.result.loss.holdout_per_character_se,
        )
        assert own.training_loss == float(np.mean(end.losses[-100:]))
        assert own.unigram == end.result.loss.unigram_per_character
    (line,) = series(records, setting_axis("tokens"))
    assert [line.axis.key(level.first) for level in line.levels] == sorted(kinds)
    rows = json.loads(json.dumps([row.to_dict() for row in runs_table(records).rows]))
    assert {row["setting_tokens"] for row in rows} == {*kinds}
    assert all(isinstance(row["tokens"], int) for row in rows)
    with pytest.raises(DataError, match="Expected runs of one kind of tokens, found 3"):
        table(records)


def test_the_size_of_a_vocabulary_is_known_before_any_merge_is_learned() -> None:
    characters = Tokenizer("abc")
    assert [vocabulary_of(tokens, characters) for tokens in ("characters", "bytes", "bpe:90")] == [4, 257, 91]


def test_prepared_byte_pairs_are_learned_from_the_beginning_and_trained_on(tmp_path: Path) -> None:
    end = "Xylophon Xylophon Xylophon\n" * 20
    (tmp_path / "prose.txt").write_text(PROSE + end, encoding="utf-8")
    header, _ = write_folder([str(tmp_path / "prose.txt")], tmp_path / "tokens", tokens="bpe:45")
    tokenizer = Tokenizer(header.characters, header.normalize, merges=header.merges)
    assert not any("yl" in text for text in tokenizer.texts)
    again, tokens = open_folder(tmp_path / "tokens")
    assert (again.merges, again.learned_from) == (header.merges, header.learned_from)
    assert tokenizer.decode(tokens) == PROSE + end
    assert len(tokenizer.decode(tokens[: header.learned_from])) == int(LEARNED * len(PROSE + end))
    done = finish(request(tmp_path, data=(str(tmp_path / "tokens"),), holdout=0.1))
    assert done.checkpoint.tokenizer == tokenizer
    run = load(str(done.result.run))
    assert run.evaluate().per_character == done.result.loss.holdout_per_character
    assert run.evaluate(text="Kam die Maus.\n").characters > 5
    with pytest.raises(UsageError, match=r"--holdout 0.5: .* were learned from the first .* hold out at most 0.2"):
        finish(request(tmp_path, data=(str(tmp_path / "tokens"),), holdout=0.5))
    with pytest.raises(UsageError, match="has the tokens that it was prepared with"):
        finish(request(tmp_path, data=(str(tmp_path / "tokens"),), tokens="bpe:45"))
    told = json.loads((tmp_path / "tokens" / HEADER).read_text())
    for change in ({"merges": told["merges"][::-1]}, {"learned_from": -1}, {"schema": 1}, {"vocabulary": 47}):
        (tmp_path / "tokens" / HEADER).write_text(json.dumps(told | change))
        with pytest.raises(DataError, match=r"prepare the text again|newer"):
            open_folder(tmp_path / "tokens")


def test_more_byte_pairs_than_a_text_has_are_refused_by_every_verb(tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("ab ab ab\n")
    for verb in (("train", "--data", "few.txt", "--holdout", "0"), ("prepare", "few.txt", "--out", "tokens")):
        told = refused(microgpt(*verb, "--tokens", "bpe:500", cwd=tmp_path), 3)
        assert "--tokens bpe:500: this text gives 5 tokens at most; take bpe:5." in told
    assert not (tmp_path / "tokens").exists()


@pytest.mark.parametrize("documents", ["lines", "windows"])
def test_a_program_of_byte_pairs_writes_what_the_run_writes(tmp_path: Path, documents: str) -> None:
    finish(asked(tmp_path, "bpe:45", documents=documents, steps=100))
    run = load(tmp_path / "runs" / "run")
    export(run.checkpoint, tmp_path / "model.py")
    for prompt in ("", "Der Löwe", "Kam d"):
        flags = ["--prompt", prompt, "--seed", "3", "--count", "2", "--length", "47", "--temperature", "0.8"]
        done = subprocess.run(
            [sys.executable, "-I", str(tmp_path / "model.py"), *flags], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        expected = run.sample(prompt, 2, seed=3, length=47, temperature=0.8)
        assert done.stdout == "\n\n".join(expected) + "\n" if documents == "windows" else "\n".join(expected) + "\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
def test_the_page_encodes_what_the_tokenizer_does(tmp_path: Path) -> None:
    """Its script alone, as any JavaScript reads it."""
    finish(asked(tmp_path, "bpe:48"))
    tokenizer = load(tmp_path / "runs" / "run").checkpoint.tokenizer
    script = (Path(export.__code__.co_filename).parent / "writing.js").read_text("utf-8")
    stream = random.Random(0)
    texts = ["".join(stream.choices(tokenizer.characters + "    \n\n", k=60)) for _ in range(200)]
    given = json.dumps([tokenizer.characters, tokenizer.normalize, tokenizer.merges, texts])
    program = f"{script}\nconst [characters, normalize, merges, texts] = {given};\n"
    program += "const tokenizer = new Tokenizer(characters, normalize, merges);\n"
    program += "console.log(JSON.stringify([tokenizer.texts, texts.map((text) => tokenizer.encode(text))]));\n"
    done = subprocess.run(["node", "-e", program], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [[*tokenizer.texts], [tokenizer.encode(text).tolist() for text in texts]]


def test_exported_weights_of_byte_pairs_write_as_the_run(tmp_path: Path) -> None:
    done = finish(asked(tmp_path, "bpe:45"))
    export(done.checkpoint, tmp_path / "model.safetensors")
    own, shared = load(str(done.result.run)), load(tmp_path / "model.safetensors")
    assert shared.sample(count=2, seed=1) == own.sample(count=2, seed=1)
    assert shared.checkpoint.tokenizer == own.checkpoint.tokenizer
