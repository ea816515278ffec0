"""The X-ray shows the engines' own numbers, and says a sentence where it can't."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.data.choices import Kind
from microgpt.engines import create
from microgpt.engines.contract import EngineConfig
from microgpt.errors import CheckpointError, DataError, DivergedError, MicrogptError
from microgpt.model.ledger import ledger, tensors
from microgpt.studio import kept as kept_values
from microgpt.studio import pictures, xray
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import whole
from microgpt.studio.xray import Reading
from microgpt.studio.xray_routes import OF_READINGS, OF_WEIGHTS
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import open_own
from tests import models
from trials.small import finish, request


def model_of(*arguments: Any, **sizes: Any) -> Checkpoint:
    """A small one."""
    return models.model_of(*arguments, **{"emb": 8, "head": 2, "ctx": 8} | sizes)


def reading_of(checkpoint: Checkpoint, prompt: str) -> Reading:
    return xray.read(checkpoint, xray.open_array(checkpoint), prompt)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained run with its history."""
    result = finish(request(tmp_path_factory.mktemp("xray"), steps=40, keep="every:10")).result
    assert result.run
    return Path(result.run)


@pytest.mark.parametrize("engine", ["atomic", "array"])
@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_chances_are_those_of_the_engines_to_a_millionth(engine: str, kind: Kind) -> None:
    checkpoint = model_of(kind=kind, layer=2)
    reading = reading_of(checkpoint, "bad face"[:7])
    own = create(engine, EngineConfig("64")).open(checkpoint.state)
    for at in range(len(reading.tokens)):
        np.testing.assert_allclose(xray.chances(reading, at), own.next(reading.tokens[: at + 1]), rtol=0, atol=1e-12)
    assert xray.check(checkpoint, own, reading)["difference"] < 1e-12


def test_surprise_is_the_loss_of_each_character() -> None:
    checkpoint = model_of()
    reading = reading_of(checkpoint, "decade")
    summed, count = xray.open_array(checkpoint).evaluate([np.array(reading.tokens)])
    first, *others = xray.surprises(reading)
    assert first is None
    assert len(others) == count[0] == 6
    assert sum(filter(None, others)) == pytest.approx(summed[0], rel=1e-12)


@settings(max_examples=40)
@given(st.text("abcdefgh é", max_size=30), st.integers(1, 3), st.sampled_from([1, 2, 4]))
def test_attention_looks_back_only_and_its_rows_sum_to_one(prompt: str, layer: int, head: int) -> None:
    reading = reading_of(model_of(layer=layer, head=head), prompt)
    for index in range(layer):
        heads = xray.attention(reading, index)
        assert len(heads) == head
        for rows in heads:
            assert [len(row) for row in rows] == list(range(1, len(reading.tokens) + 1))
            assert [sum(row) for row in rows] == pytest.approx([1.0] * len(rows), abs=1e-5)
    assert xray.attention(reading, layer) == xray.attention(reading, -1) == []


@settings(max_examples=50)
@given(st.text("abcdefgh", max_size=40), st.sampled_from(["lines", "paragraphs", "windows"]))
def test_a_prompt_of_any_length_is_read_and_what_is_left_out_is_said(prompt: str, kind: Kind) -> None:
    checkpoint = model_of(kind=kind)
    reading = reading_of(checkpoint, prompt)
    told = xray.summary(checkpoint, reading)
    seen = "".join(told["texts"])
    assert 1 <= len(reading.tokens) <= 8
    assert len(prompt) - reading.left_out == len(seen) or not prompt
    assert seen in prompt or not prompt
    assert bool(told["note"]) == (reading.left_out > 0)
    assert len(told["surprise"]) == len(told["entropy"]) == len(told["likeliest"]) == len(reading.tokens)
    assert all(0 <= undecided <= told["uniform"] + 1e-9 for undecided in told["entropy"])


def sentence(act: Callable[[], object]) -> str | None:
    """What a person is told when an act fails; None where it does not."""
    try:
        act()
    except MicrogptError as error:
        return str(error)
    return None


@settings(max_examples=40)
@given(st.text(min_size=1))
def test_whatever_is_typed_gives_a_reading_or_one_sentence(prompt: str) -> None:
    checkpoint = model_of()
    said = sentence(lambda: reading_of(checkpoint, prompt))
    if set(prompt) <= set(models.LETTERS.characters) - {"\n"}:
        assert said is None
    else:
        assert said
        assert "\n" not in said
        assert "doesn't know" in said or "one line" in said


def test_an_unknown_character_is_named_with_the_nearest_known_one() -> None:
    with pytest.raises(DataError, match=r"'É' \(nearest known: 'é'\)"):
        reading_of(model_of(), "bÉ")


def test_weights_without_finite_chances_are_a_sentence() -> None:
    checkpoint = model_of()
    broken = replace(checkpoint, state=replace(checkpoint.state, weights=checkpoint.state.weights * np.inf))
    with pytest.raises(DivergedError, match="too large"):
        reading_of(broken, "a")


def test_every_kept_step_of_a_run_can_be_read_and_an_unknown_one_says_so(run: Path) -> None:
    from microgpt.training import checkpoint as checkpoints

    assert xray.steps(run) == [0, 10, 20, 30, 40]
    for step in xray.steps(run):
        assert checkpoints.read(xray.at_step(run, step)).state.step == step
    assert xray.at_step(run) == xray.at_step(run, None)
    with pytest.raises(CheckpointError, match="--keep"):
        xray.at_step(run, 15)


def test_a_stray_file_in_the_history_is_no_step(run: Path) -> None:
    for name in ("step-x.safetensors", "step-00000012.txt", "notes"):
        (run / "history" / name).write_bytes(b"")
    assert xray.steps(run) == [0, 10, 20, 30, 40]


def test_the_run_is_checked_against_the_engine_of_its_training(run: Path) -> None:
    from microgpt.training import checkpoint as checkpoints

    checkpoint = checkpoints.read(xray.at_step(run))
    found = xray.check(checkpoint, open_own(checkpoint), reading_of(checkpoint, "emma"))
    assert found["engine"] == "array (64 bits)"
    assert found["difference"] < 1e-9
    assert found["positions"] == 5


# Pictures

MATRICES = st.tuples(st.integers(1, 12), st.integers(1, 9), st.integers(0, 2**32))


@given(MATRICES)
def test_principal_components_keep_the_sign_are_centred_and_in_order(sizes: tuple[int, int, int]) -> None:
    rows, columns, seed = sizes
    vectors = np.random.default_rng(seed).normal(size=(rows, columns))
    points, shares = pictures.principal(vectors)
    assert points.shape == (rows, 2)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    assert 0 <= shares[1] <= shares[0] <= 1 + 1e-12
    assert abs(points[:, 0] @ points[:, 1]) <= 1e-9
    spread = ((vectors - vectors.mean(axis=0)) ** 2).sum()
    assert (points**2).sum() == pytest.approx(shares.sum() * spread, abs=1e-9)
    moved, _ = pictures.principal(vectors + 3.0)
    np.testing.assert_allclose(moved, points, atol=1e-7)


def test_vectors_in_a_plane_keep_their_distances() -> None:
    flat = np.random.default_rng(3).normal(size=(9, 2)) @ np.random.default_rng(4).normal(size=(2, 6))
    points, shares = pictures.principal(flat)
    before, after = (np.linalg.norm(x[:, None] - x[None], axis=-1) for x in (flat, points))
    np.testing.assert_allclose(after, before, atol=1e-9)
    assert shares.sum() == pytest.approx(1)


@given(st.integers(1, 20), st.integers(1, 20), st.integers(1, 6), st.integers(1, 6))
def test_blocks_keep_the_mean_of_what_they_cover(height: int, width: int, rows: int, columns: int) -> None:
    matrix = np.random.default_rng(5).normal(size=(height, width))
    cells = pictures.pooled(matrix, rows, columns)
    assert cells.shape == (-(-height // rows), -(-width // columns))
    for i, j in [(0, 0), (cells.shape[0] - 1, cells.shape[1] - 1)]:
        block = matrix[i * rows : (i + 1) * rows, j * columns : (j + 1) * columns]
        assert cells[i, j] == pytest.approx(block.mean(), abs=1e-12)


def test_every_matrix_stands_in_one_group_with_its_numbers() -> None:
    checkpoint = model_of(layer=2)
    shown = [image for group in pictures.groups(checkpoint) for image in pictures.images(checkpoint, group)]
    named = tensors(checkpoint.model, checkpoint.state.weights)
    assert {image["name"] for image in shown} == {entry.name for entry in ledger(checkpoint.model)}
    for image in shown:
        np.testing.assert_allclose(image["cells"], named[image["name"]], rtol=1e-4)
        assert image["extreme"] == np.abs(named[image["name"]]).max()


def test_a_large_matrix_becomes_a_small_image() -> None:
    image = pictures.images(model_of(emb=96, head=2, ff=4), "layer0")[-1]
    assert (image["name"], image["rows"], image["columns"]) == ("layer0.mlp_fc2", 96, 384)
    assert (len(image["cells"]), len(image["cells"][0]), image["block"]) == (48, 64, [2, 6])


# Routes, without a browser


@pytest.fixture
def ask(run: Path) -> Callable[..., Any]:
    """Asks a route of the page, and gives the status and what it answers."""
    pytest.importorskip("starlette", reason="needs the studio's packages")
    httpx = pytest.importorskip("httpx", reason="asks the routes without a server")
    from starlette.applications import Starlette

    from microgpt.studio import atoms_routes, xray_routes
    from microgpt.studio.studio import Studio

    studio = Studio(run.parent)
    app = Starlette(routes=[*xray_routes.routes(studio), *atoms_routes.routes(studio)])

    async def answered(path: str, parameters: dict[str, Any]) -> tuple[int, Any]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://studio") as client:
            answer = await client.get(path, params=parameters)
        return answer.status_code, answer.json()

    def asked(path: str, **parameters: Any) -> tuple[int, Any]:
        return asyncio.run(answered(path, parameters))

    return asked


def test_every_route_of_the_page_answers(ask: Callable[..., Any]) -> None:
    status, about = ask("/api/xray/run", run="run")
    assert (status, about["steps"], about["sizes"]["head"]) == (200, [0, 10, 20, 30, 40], 2)
    status, read = ask("/api/xray/read", run="run", prompt="em", step=20)
    assert (status, read["texts"]) == (200, ["", "e", "m"])
    status, told = ask("/api/xray/chances", run="run", prompt="em", at=1)
    assert sum(told["chances"]) == pytest.approx(1)
    assert len(ask("/api/xray/attention", run="run", prompt="em", layer=0)[1]["heads"]) == 2
    assert ask("/api/xray/check", run="run", prompt="em")[1]["difference"] < 1e-9
    assert len(ask("/api/xray/embeddings", run="run")[1]["points"]) == about["sizes"]["vocabulary"]
    assert ask("/api/xray/weights", run="run", group="layer0")[1]["groups"] == ["embeddings", "layer0"]


@pytest.mark.parametrize(
    ("path", "asked", "status", "said"),
    [
        ("read", {"run": "gone"}, 404, "deleted"),
        ("read", {"run": "../run"}, 404, "found none"),
        ("read", {"run": "run", "prompt": "EÉ\x00"}, 200, "nearest known"),
        ("read", {"run": "run", "step": "NaN"}, 200, "whole number"),
        ("read", {"run": "run", "step": "7"}, 409, "--keep"),
        ("chances", {"run": "run", "at": "1e9"}, 200, "whole number"),
        ("weights", {}, 404, "expected a run"),
    ],
)
def test_what_can_not_be_shown_is_one_sentence(
    ask: Callable[..., Any], path: str, asked: dict[str, str], status: int, said: str
) -> None:
    found, answer = ask(f"/api/xray/{path}", **asked)
    assert found == status
    assert said in answer["error"]


@pytest.mark.parametrize("question", [*OF_WEIGHTS, *OF_READINGS])
def test_whatever_it_is_asked_the_answer_is_numbers_or_a_sentence(ask: Callable[..., Any], question: str) -> None:
    asked = {"run": "run", "prompt": "em", "stage": "layer0.key", "index": "0"}
    names = ("step", "edits", "prompt", "at", "open", "layer", "group", "stage", "index")
    for name in names[-2:] if question == "atom" else names:  # which takes longer
        for odd in ("9" * 5000, "-1", "²", "losses", "layer0.what"):
            status, answer = ask(f"/api/xray/{question}", **asked | {name: odd})
            assert status in (200, 409), answer
            assert "expected" in answer.get("error", "expected") or "doesn't know" in answer["error"]


def test_a_run_that_goes_on_is_read_anew(tmp_path: Path) -> None:
    from microgpt.studio.opening import Opener
    from microgpt.studio.studio import Studio

    finish(request(tmp_path, steps=5))
    opener = Opener(Studio(tmp_path / "runs"))
    first = opener.open({"run": "run"})
    assert opener.open({"run": "run"}) is first
    weights = tmp_path / "runs" / "run" / "weights.safetensors"
    other = finish(request(tmp_path, steps=9, name="other")).result.run
    weights.write_bytes((Path(str(other)) / "weights.safetensors").read_bytes())
    assert opener.open({"run": "run"}).checkpoint.state.step == 9


def test_damaged_weights_are_a_sentence(tmp_path: Path, ask: Callable[..., Any], run: Path) -> None:
    folder = run.parent / "damaged"
    folder.mkdir(exist_ok=True)
    (folder / "weights.safetensors").write_bytes(random.Random(1).randbytes(400))
    status, answer = ask("/api/xray/run", run="damaged")
    assert status == 409
    assert "\n" not in answer["error"]


# What the routes are made of


def test_a_value_is_made_once_and_the_one_not_asked_for_the_longest_goes_first() -> None:
    kept: Kept[int] = Kept(2)
    made: list[str] = []

    def ask(key: str) -> int:
        return kept.get(key, lambda: made.append(key) or len(made))

    assert [ask(key) for key in "abab"] == [1, 2, 1, 2]
    ask("c")  # a goes
    ask("b")
    ask("a")
    assert "".join(made) == "abca"


def test_values_share_a_room_and_two_may_be_larger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept_values, "ROOM", 100)
    kept, made = Kept(9, lambda size: size), []

    def ask(size: int) -> None:
        kept.get(size, lambda: made.append(size) or size)

    for size in (30, 31, 32, 30):
        ask(size)
    for size in (90, 91, 90, 91, 30):
        ask(size)
    assert made == [30, 31, 32, 90, 91, 30]


def test_what_can_not_be_made_is_not_kept() -> None:
    kept: Kept[float] = Kept(2)
    with pytest.raises(ZeroDivisionError):
        kept.get("key", lambda: 1 / 0)
    assert kept.get("key", lambda: 5) == 5


@given(st.one_of(st.text(max_size=20), st.integers(-(10**14), 10**14).map(str)))
def test_a_whole_number_is_read_or_refused_in_one_sentence(text: str) -> None:
    said = sentence(lambda: whole({"at": text}, "at"))
    if said:
        assert "whole number" in said
        assert "\n" not in said
    else:
        assert whole({"at": text}, "at") == (int(text) if text else None)
