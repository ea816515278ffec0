"""Readers of the lab: designs, points, predictions, stores."""

import functools
import json
import random
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from microgpt.errors import DataError, StoreError, UsageError
from microgpt.lab.laws import crossed, doubts, fit  # noqa: F401 - imported before a trial is watched
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.points import levels
from microgpt.lab.laws.predict import Prediction
from microgpt.lab.laws.register import register, registered, score
from microgpt.lab.laws.table import table
from microgpt.lab.report.study import SWEEPS, answer
from microgpt.lab.statistics.ideas import ideas_table
from microgpt.lab.statistics.render import to_json
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.design_file import read_design
from microgpt.lab.sweep.plan import plan
from microgpt.lab.sweep.texts import Texts
from trials.few import text
from trials.readers.mutate import EXTREMES, bytes_changed, cells_changed, json_changed, words_changed
from trials.readers.reader import Reader
from trials.stores import filled

DESIGN: Final = """\
name = "heads"
recipe = "default"
mode = "crossed"
seeds = 2
lr = "tuned"
where = ["emb % head == 0", "layer <= 2"]

[base]
data = "few.txt"
batch = 2
decay = "cosine"
holdout = 0.2

[axes]
emb = [8, 16]
steps = {from = 10, to = 80, count = 4}

[[levels]]
head = 2
[[levels]]
head = 4

[[drop]]
head = 4
emb = 8

[tuning]
rates = [0.005, 0.01]
seeds = [100]
"""
POINTS: Final = "params,tokens,loss,flop\n" + "".join(
    f"{n},{d},{2 + 400 / n**0.4 + 900 / d**0.4:.6f},{6 * n * d}\n" for n in (1e3, 4e3, 16e3) for d in (1e5, 4e5)
)
_texts = functools.cache(Texts)


def _design(place: Path) -> None:
    (place / "sweep.toml").write_text(DESIGN.replace("few.txt", text(place)))


def read_toml(place: Path) -> None:
    """A design and its plan, as `sweep FILE --dry-run` makes them."""
    planned = plan(read_design(place / "sweep.toml"), _texts())
    json.dumps(planned.to_dict(), allow_nan=False).encode()


def read_points(place: Path) -> None:
    """The points of a CSV, their levels and their hash."""
    found = read_csv(place / "points.csv", Columns())
    assert len(found.sha256) == 64
    assert len(levels(found.points.params)) == len(levels(found.points.tokens)) == len(found.points)
    assert np.isfinite(found.points.flop).all()


def _predictions(place: Path) -> None:
    if not (place / "said.json").exists():
        said = Prediction(1e4, 1e6, 2.5, 2.4, 2.6, 0.9, 0.0, True)
        register(place / "said.json", [said, said], "00", datetime(2026, 1, 1, tzinfo=UTC))
    (place / "points.csv").write_text(POINTS)


def read_predictions(place: Path) -> None:
    """Predictions, scored on runs."""
    runs = read_csv(place / "points.csv", Columns()).points
    for found in score(registered(place / "said.json"), runs, [""] * len(runs)):
        json.dumps(found.to_dict(), allow_nan=False)


def read_store(place: Path) -> None:
    """All of a store, and what `analyze` and `laws` make of it."""
    with Store.open(place / "lab.db") as store:
        records = store.records()
        store.records("few", "study")
        json.dumps(list(store.sweeps().values()))
        for curve in store.curves().values():
            assert all(isinstance(loss, float) for loss in curve.losses)
        store.outcomes()
        to_json([ideas_table(records)]).encode()  # an answer must have rows, and these are of no ablation
        for question in SWEEPS.keys() - {"ideas"}:
            to_json(answer(store, question, "few").tables).encode()
    table(records)


def cell_changed(data: bytes, stream: random.Random) -> bytes:
    """A store in which some cells hold a value that they should not; now and then bytes changed."""
    if stream.random() < 0.4:
        return bytes_changed(data, stream, head=len(data))
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
        connection.deserialize(data)
        for _ in range(stream.randint(1, 2)):
            _spoil_cell(connection, stream)
        return connection.serialize()


def _spoil_cell(connection: sqlite3.Connection, stream: random.Random) -> None:
    name = stream.choice(["runs", "runs", "runs", "runs", "curves", "members", "sweeps"])
    column = stream.choice(connection.execute(f"PRAGMA table_info({name})").fetchall())[1]
    value = stream.choice(EXTREMES)
    if isinstance(value, list | dict) or stream.random() < 0.2:
        value = json.dumps(value)
    elif isinstance(value, str) and stream.random() < 0.2:
        value = value.encode("utf-8", "surrogatepass")
    try:
        statement = f'UPDATE {name} SET "{column}" = ? WHERE rowid % 2' if name in ("runs", "sweeps") else ""
        connection.execute(statement or f'UPDATE {name} SET "{column}" = ?', (value,))
    except (sqlite3.Error, OverflowError, UnicodeEncodeError):
        pass  # what SQLite itself keeps out


READERS: Final = (
    Reader("design", "sweep.toml", _design, read_toml, (DataError, UsageError), words_changed, trials=10_000),
    Reader("points", "points.csv", _predictions, read_points, (DataError,), cells_changed, trials=10_000),
    Reader("predictions", "said.json", _predictions, read_predictions, (DataError,), json_changed, trials=10_000),
    Reader(
        "store", "lab.db", lambda place: filled(place / "lab.db"), read_store, (StoreError, DataError), cell_changed
    ),
)
