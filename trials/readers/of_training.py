"""Readers of run folders and of lone weights files."""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from microgpt import untrusted
from microgpt.cli.runs import line
from microgpt.engines import create
from microgpt.engines.contract import EngineConfig
from microgpt.errors import CheckpointError, DataError, DivergedError
from microgpt.training import checkpoint as checkpoints
from microgpt.training import find
from microgpt.training.run_folder import RunFolder
from microgpt.training.sample import Sampling, Writer
from trials.readers.mutate import bytes_changed, cells_changed, json_changed, spoil
from trials.readers.reader import Reader
from trials.small import finish, request

WEIGHTS: Final = "runs/run/weights.safetensors"
PAIRS: Final = "runs/pairs/weights.safetensors"


def opened(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers of a checkpoint."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def closed(header: object, numbers: bytes) -> bytes:
    """The inverse of `opened`."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers


def checkpoint_changed(data: bytes, stream: random.Random) -> bytes:
    """Bytes changed; or values of the header, of the description inside it, or of the numbers, replaced by extremes."""
    chance = stream.random()
    if chance < 0.5:
        return bytes_changed(data, stream)
    header, numbers = opened(data)
    if chance < 0.6:
        extreme = stream.choice([float("nan"), float("inf"), 1e308, -1e308, 5e-324])
        place = 8 * stream.randrange(len(numbers) // 8)
        return closed(header, numbers[:place] + struct.pack("<d", extreme) + numbers[place + 8 :])
    told = json.loads(header["__metadata__"]["microgpt"])
    for _ in range(stream.randint(1, 3)):
        spoil(told if stream.random() < 0.7 else header, stream)
    if isinstance(header.get("__metadata__"), dict):
        header["__metadata__"]["microgpt"] = json.dumps(told)
    return closed(header, numbers)


def _run(place: Path) -> None:
    if not (place / WEIGHTS).exists():
        finish(request(place, "karpathy", steps=5, holdout=0.2, eval_every=2))
        (place / "runs" / "run" / "looks.json").write_text(
            '{"looks": [{"step": 2, "loss": 2.5, "documents": 2, "samples": ["ann", "bo"]}]}'
        )


def _in_pairs(place: Path) -> None:
    if not (place / PAIRS).exists():
        asked = {"steps": 5, "holdout": 0.2, "tokens": "bpe:26", "name": "pairs", "documents": "windows"}
        finish(request(place, **asked))


def read_merges(place: Path) -> None:
    """A tokenizer of byte pairs, and what it tells."""
    checkpoint = checkpoints.read(place / PAIRS)
    tokenizer = checkpoint.tokenizer
    assert tokenizer.decode(tokenizer.encode(tokenizer.characters)) == tokenizer.characters
    assert checkpoint.state.finite


def read_checkpoint(place: Path) -> None:
    """All that the file says; what is accepted is finite."""
    assert checkpoints.read(place / WEIGHTS).state.finite


def use_checkpoint(place: Path) -> None:
    """What is accepted can be listed, sampled and told."""
    read_checkpoint(place)
    model = checkpoints.read(place / WEIGHTS)
    summary = find.listing(place / "runs")[0]
    line(summary, 10).encode()
    writer = Writer(create("array", EngineConfig("64")).open(model.state), model.tokenizer, model.kind, model.model.ctx)
    for text in writer.write(Sampling(count=1, length=9), random.Random(1)).texts:
        text.encode()


def read_folder(place: Path) -> None:
    """What every look at a run folder reads: its line in the list, its report, its tables, what the studio shows."""
    folder = RunFolder(place / "runs" / "run")
    assert folder.status in ("finished", "unfinished", "diverged")
    for summary in find.listing(place / "runs"):
        line(summary, 10).encode()
    _shown(place)
    find.newest(place / "runs")


def _shown(place: Path) -> None:
    from microgpt.studio import runs
    from microgpt.studio.answers import answer
    from microgpt.studio.studio import Studio

    studio = Studio(place / "runs")
    told = bytes(answer({"run": runs.detail(studio, "run"), "runs": str(runs.listing(studio))}).body)
    untrusted.parse_json(told, "the answer")


def go_on(place: Path) -> None:
    """What a resume reads before it trains."""
    from microgpt.training.resume import _past

    folder = RunFolder(place / "runs" / "run")
    rows = folder.reopen()[1]
    _past(folder, rows, 5, folder)


def _of_folder(name: str, file: str, mutate: Callable[[bytes, random.Random], bytes]) -> Reader:
    def read(place: Path) -> None:
        go_on(place)
        read_folder(place)

    return Reader(name, f"runs/run/{file}", _run, read, (CheckpointError,), mutate, trials=2_000)


READERS: Final = (
    Reader("checkpoint", WEIGHTS, _run, read_checkpoint, (CheckpointError,), checkpoint_changed, trials=100_000),
    Reader("merges", PAIRS, _in_pairs, read_merges, (CheckpointError,), checkpoint_changed),
    Reader("model", WEIGHTS, _run, use_checkpoint, (CheckpointError, DataError, DivergedError), checkpoint_changed),
    _of_folder("report", "run.json", json_changed),
    _of_folder("losses", "losses.csv", cells_changed),
    _of_folder("evaluations", "evaluations.csv", cells_changed),
    _of_folder("looks", "looks.json", json_changed),
    _of_folder("samples", "samples.txt", bytes_changed),
)
