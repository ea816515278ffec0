"""The table of docs/RELIABILITY.md: every line is a fault that can be carried out again, with what came of it."""

import pytest

from trials import table

pytest.importorskip("uvicorn", reason="needs the extra studio")
pytest.importorskip("torch", reason="needs the extra torch")


def test_the_table_has_a_line_for_each_fault_and_says_what_is_kept() -> None:
    from trials.__main__ import collected

    faults, results = collected(), table.load()
    assert {fault.name for fault in faults} == set(results)
    assert table.table(faults, results) in table.DOCUMENT.read_text(encoding="utf-8")
    assert [name for name, result in results.items() if result.survived < result.trials] == []
