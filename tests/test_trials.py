"""The trials of faults, a few every day and more now and then; `python -m trials` does all and fills the table."""

from multiprocessing import forkserver, resource_tracker

import pytest

from trials import table
from trials.__main__ import collected

ALL = 1_000_000
EVERY_DAY = {  # how many, and a seed
    "resume": (16, 1), "resume-elsewhere": (4, 1), "threads": (6, 1), "divergence": (20, 1), "smallest-texts": (20, 3),
    "long-documents": (10, 1), "unknown-characters": (20, 1), "kills-array": (10, 0), "death-run": (10, 0),
    "power-run": (10, 0), "full-run": (4, 2), "stops-compiling": (24, 3), "kernels": (30, 0), "requests": (200, 0),
    "raw-requests": (100, 0),
}  # fmt: skip
NOW_AND_THEN = {
    "kernels": (1000, 0), "any-model": (30, 0), "any-larger-model": (15, 0),
    "resume": (ALL, 0), "resume-elsewhere": (42, 0), "threads": (ALL, 0), "divergence": (200, 2), "flags": (ALL, 0),
    "smallest-texts": (ALL, 0), "long-line": (100, 0), "kills-array": (50, 1), "kills-atomic": (20, 2),
    "kills-fused": (20, 2), "kills-sweep": (25, 0), "killed-workers": (5, 1), "workers-without-memory": (1, 1),
    "sweeps-at-once": (2, 1), "readers": (150, 1), "denied": (ALL, 0), "full-run": (20, 2), "full-store": (20, 2),
    "full-products": (20, 2), "full-cache": (20, 2), "death-prepare": (10, 0), "death-store": (10, 0),
    "death-export": (10, 0), "power-run": (1000, 1), "power-prepare": (1000, 1), "power-store": (1000, 1),
    "power-export": (1000, 1), "stops-atomic": (8, 3), "stops-array": (8, 3), "stops-fused": (8, 3),
    "stops-sweep": (8, 3), "stops-prepare": (8, 3), "stops-laws": (8, 3), "stops-studio": (8, 3),
    "stops-starting": (40, 3), "going": (10, 3), "requests": (3000, 0), "soak-commands": (60, 7),
    "soak-studio": (1000, 7),
}  # fmt: skip
SHORT = [
    *(pytest.param(name, *how, id=name) for name, how in EVERY_DAY.items()),
    *(pytest.param(name, *how, id=f"more-{name}", marks=pytest.mark.long) for name, how in NOW_AND_THEN.items()),
]


@pytest.mark.parametrize(("name", "trials", "seed"), SHORT)
def test_nothing_is_lost(name: str, trials: int, seed: int) -> None:
    fault = {fault.name: fault for fault in collected()}.get(name)
    if fault is None:
        pytest.skip("needs a package that is not installed here")
    if reason := fault.lacking():
        pytest.skip(reason)
    resource_tracker.ensure_running(), forkserver.ensure_running()  # as tests before this one may have left them
    outcome = fault.try_it(trials, seed)
    assert outcome.trials > 0
    assert outcome.lost == 0, outcome.figures


def test_the_table_has_a_line_for_each_fault_and_says_what_is_kept() -> None:
    pytest.importorskip("uvicorn", reason="needs the extra studio")
    pytest.importorskip("torch", reason="needs the extra torch")
    faults, results = collected(), table.load()
    assert {fault.name for fault in faults} == set(results)
    assert table.table(faults, results) in table.DOCUMENT.read_text(encoding="utf-8")
    assert [name for name, result in results.items() if result.survived < result.trials] == []
