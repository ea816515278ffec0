"""A store of runs that nobody trained."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from microgpt.lab.store.record import Curve, RunRecord, Trained
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.spec import Spec
from microgpt.model.settings import Settings
from microgpt.training.request import Request

ASKED = Request(Settings(steps=30, emb=4, head=2, ctx=8), documents="lines", holdout=0.2)
SETTINGS = Spec(ASKED, "00").scientific


def trained(number: int = 0, **changes: object) -> Trained:
    """A run that was never carried out, known by its number."""
    facts = {"data": "few", "data_sha256": "00", "kind": "lines", "engine": "array", "precision": "64"}
    counts = {"params": 400, "params_embedding": 100, "params_head": 100, "params_body": 200, "holdout_documents": 3}
    sums = {"tokens": 210, "unique_tokens": 100, "epochs": 2.1, "flop": 1e6, "unigram": 2.8, "uniform": 3.3}
    record = RunRecord(
        identity=f"{number:064x}",
        sweeps=(),
        role="study",
        status="done",
        settings=SETTINGS | {"seed": number},
        loss=0.1 + 0.2,
        loss_se=None,
        training_loss=2.5,
        samples=("añ", "", "<b>\n'\""),
        seconds={"total": 0.25},
        **facts,
        **counts,
        **sums,
    )
    return Trained(replace(record, **changes), Curve(2, (3.25, 2.5)))


def keep(path: Path, records: Sequence[RunRecord]) -> Path:
    """A store of these records, without curves, and of the sweeps that they name."""
    with Store.open(path, create=True) as store:
        for name in dict.fromkeys(name for run in records for name in run.sweeps):
            store.begin(name, {"name": name})
            store.enroll(name, [(run.identity, run.role) for run in records if name in run.sweeps])
        for record in records:
            store.add(Trained(record))
    return path


def filled(path: Path, runs: int = 3) -> Path:
    """A store with the sweep "few" of so many of them."""
    with Store.open(path, create=True) as store:
        store.begin("few", {"levels": 1, "seeds": [0]})
        store.enroll("few", [(trained(number).record.identity, "study") for number in range(runs)])
        for number in range(runs):
            store.add(trained(number))
    return path
