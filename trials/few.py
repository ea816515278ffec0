"""A sweep that takes a second: a tiny model on a few names."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from microgpt.lab.store.record import RunRecord
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import Status, SweepRecord, sweep
from microgpt.lab.sweep.design import Design
from microgpt.lab.sweep.executors import Executor, LocalProcesses
from microgpt.lab.sweep.plan import Plan, plan
from microgpt.lab.sweep.run import Workshop
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.worker import Outcome, outcome_of
from trials.small import text

TINY = {"emb": 4, "head": 2, "ctx": 8, "holdout": 0.2, "engine": "array"}


def design(folder: Path, **changes: Any) -> Design:
    """Two lengths of a tiny model, three seeds, no tuning."""
    base = {"data": (text(folder),), **TINY, **changes.pop("base", {})}
    asked = {"axes": {"steps": (10, 20)}, "tuned": False} | changes
    return Design("few", base=base, **asked)


def design_file(*steps: int, seeds: int = 3, lr: str | None = '"tuned"') -> str:
    """Such a design as a file has it, for a text beside it; without `lr` a level's rate is the default one."""
    base = {"data": "few.txt", **TINY}
    rate = f"lr = {lr}\n" if lr else ""
    lines = "".join(f"{name} = {json.dumps(value)}\n" for name, value in base.items())
    return f"seeds = {seeds}\n{rate}[base]\n{lines}[axes]\nsteps = {list(steps)}\n"


def planned(folder: Path, **changes: Any) -> Plan:
    return plan(design(folder, **changes), Texts())


class Here:
    """An executor without processes, one run at a time: what any other must be like."""

    jobs = 1

    def __init__(self) -> None:
        self.workshop, self.spec = Workshop(), list[Spec]()

    @property
    def room(self) -> bool:
        return not self.spec

    def submit(self, spec: Spec) -> None:
        self.spec.append(spec)

    def outcomes(self, seconds: float) -> list[Outcome]:
        return [outcome_of(self.workshop, self.spec.pop())] if self.spec else []

    def working(self) -> list[Spec | None]:
        return [self.spec[0] if self.spec else None]

    def close(self) -> None: ...


def carry_out(
    asked: Plan,
    path: Path,
    jobs: int = 0,
    *,
    executor: Executor | None = None,
    disturb: Callable[[Any, Status], None] = lambda executor, status: None,
    **options: Any,
) -> list[SweepRecord]:
    """All records of a sweep into a store; without jobs or an executor, in this process. Every status is answered by a
    disturbance."""
    executor = executor or (LocalProcesses(jobs) if jobs else Here())
    records = []
    try:
        with Store.open(path, create=True) as store:
            for record in sweep(asked, store, executor, Texts(), **options):
                records.append(record)
                if isinstance(record, Status):
                    disturb(executor, record)
    finally:
        executor.close()
    return records


def table(path: Path) -> list[tuple[object, ...]]:
    """What a store says of its runs, without what another time would be another."""
    with Store.open(path) as store:
        return sorted(map(measured, store.records()))


def measured(run: RunRecord) -> tuple[object, ...]:
    return run.identity, run.sweeps, run.role, run.status, run.loss, run.training_loss, run.samples, run.flop, run.error
