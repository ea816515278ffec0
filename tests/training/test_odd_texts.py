"""The smallest texts, documents beyond ctx, and characters that a model does not know: the trials, a few."""

from pathlib import Path

import pytest

from trials import odd_texts
from trials.divergence import kinds


@pytest.mark.parametrize("text", odd_texts.SMALLEST)
@pytest.mark.parametrize(
    ("documents", "every"), [("lines", True), ("windows", False), pytest.param("windows", True, marks=pytest.mark.long)]
)
def test_the_smallest_texts_train_and_write(tmp_path: Path, text: str, documents: str, every: bool) -> None:
    for engine, precision in kinds():
        if engine == "array" or (every and engine != "fused"):  # a few of fused are below: each takes a kernel
            odd_texts.trained(
                odd_texts.SMALLEST[text], tmp_path, documents=documents, engine=engine, precision=precision
            )


def test_some_of_the_smallest_texts_train_on_any_engine() -> None:
    found = odd_texts.smallest(8, seed=3)
    assert found.lost == 0, found.figures


def test_what_ctx_leaves_out_is_counted() -> None:
    found = odd_texts.cropped(10, seed=1)
    assert found.lost == 0, found.figures


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is measured as Linux tells it")
@pytest.mark.parametrize("megabytes", [pytest.param(100, marks=pytest.mark.long)])
def test_a_long_line_takes_bounded_memory(megabytes: int) -> None:
    found = odd_texts.long_line(megabytes, seed=0)
    assert found.lost == 0, found.figures


def test_unknown_characters_are_listed_by_every_verb() -> None:
    found = odd_texts.unknown(20, seed=1)
    assert found.lost == 0, found.figures
