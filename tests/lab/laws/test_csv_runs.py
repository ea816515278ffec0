"""The audit of a CSV from elsewhere: silent where nothing is wrong, right about faults, and it goes on after one."""

import math
from pathlib import Path

import numpy as np
import pytest

from microgpt.errors import DataError
from microgpt.lab.audit import sentence
from microgpt.lab.laws.csv_file import Columns, Reading
from microgpt.lab.laws.csv_runs import Looked, Named, look

pytest.importorskip("scipy", reason="the tests for a rise need SciPy")
SIZES, LENGTHS, RATES = (1e6, 3e6, 1e7, 3e7), (1e8, 3e8, 1e9, 3e9, 1e10), (0.001, 0.002, 0.004)
HEADER = ["model", "N", "D", "steps", "peak_lr", "seed", "val", "seconds"]
NONE = Named()
COLUMNS = Columns("N", "D", loss="val")


def rows(seeds: int = 1, number: int = 0, falls: bool = True) -> list[list[object]]:
    """A grid of others: names, steps that follow the length, and times that are new in every row."""
    stream, found = np.random.default_rng(number), list[list[object]]()
    for n in SIZES:
        for d in LENGTHS:
            for rate in RATES:
                for seed in range(seeds):
                    loss = (1.7 + 400 / n**0.34 + 410 / d**0.28 if falls else 3) + 0.05 * abs(math.log2(rate / 0.002))
                    loss += stream.normal(0, 0.01)
                    found.append([f"m{n:g}", n, d, d / 1e5, rate, seed, loss, stream.uniform(1, 9)])
    return found


def looked(folder: Path, body: list[list[object]], named: Named = NONE, header: list[str] = HEADER) -> Looked:
    path = folder / "theirs.csv"
    path.write_text("\n".join(",".join(map(str, row)) for row in [header, *body]) + "\n")
    return look(path, COLUMNS, Reading(), named)


def kinds(found: Looked) -> dict[str, str]:
    return {finding.kind: sentence(finding) for finding in found.findings}


def test_a_clean_grid_raises_no_alarm(tmp_path: Path) -> None:
    found = looked(tmp_path, rows(seeds=3))
    assert found.findings == ()
    assert found.sentence == "theirs.csv: 180 runs, 4 sizes, 5 lengths, 3 of lr; 20 pairs of size and length"
    assert set(kinds(looked(tmp_path, rows()))) == {"few seeds"}


def test_a_learning_rate_that_does_nothing_is_a_dead_axis(tmp_path: Path) -> None:
    body = rows()
    for place, row in enumerate(body):
        row[6] = body[place - place % len(RATES)][6]
    assert kinds(looked(tmp_path, body))["dead axis"].startswith(
        "lr makes no difference: the losses at lr 0.001, 1,000"
    )
    for row in body[1 :: len(RATES)]:  # every third alone may be chance, as where losses were rounded
        row[6] = float(str(row[6])) + 0.1
    assert "dead axis" not in kinds(looked(tmp_path, body))


def test_a_best_rate_at_the_edge_and_one_rate_for_all_sizes_are_told(tmp_path: Path) -> None:
    body = [[*row[:6], float(str(row[6])) - 40 * float(str(row[4])), row[7]] for row in rows()]
    assert "1,000,000 params: 0.004" in kinds(looked(tmp_path, body))["learning rate at the edge"]
    single = [row for row in rows() if row[4] == 0.002]
    assert "learning rate not tuned" in kinds(looked(tmp_path, single))


def test_losses_near_the_logarithm_of_the_vocabulary_learned_nothing(tmp_path: Path) -> None:
    body = rows(seeds=3)
    body[7][6] = 10.8
    said = kinds(looked(tmp_path, body, Named(vocabulary=50257)))["near uniform"]
    assert said.startswith("1 run (row 9) ended near 10.825 nats, the logarithm of 50257 tokens")
    assert "near uniform" not in kinds(looked(tmp_path, body))
    with_column = looked(tmp_path, [[*row, 50257] for row in body], header=[*HEADER, "vocab_size"])
    assert "near uniform" in kinds(with_column)


def test_curves_that_do_not_fall_are_found_without_seeds(tmp_path: Path) -> None:
    flat = [each.numbers for each in looked(tmp_path, rows(falls=False)).findings if each.kind == "flat axis"]
    assert flat == [{"axis": "tokens"}, {"axis": "params"}]
    body = rows()
    for row in body:
        row[6] = float(str(row[6])) + (1.0 if row[2] == 1e10 else 0.0)
    assert "tokens 10,000,000,000" in kinds(looked(tmp_path, body))["rising loss"]
    upwards = [[*row[:6], 9 - float(str(row[6])), row[7]] for row in rows()]
    assert "rising loss" in kinds(looked(tmp_path, upwards))


def test_it_goes_on_after_a_fault_and_names_row_and_column(tmp_path: Path) -> None:
    body = rows()
    body[0] = [*body[0], "extra"]
    body[3][2] = "many"
    body[5][6], body[6][6] = "nan", ""
    body[9][1] = ""
    for row in body[20:]:
        row[6] = 2.5
    found = looked(tmp_path, body)
    said = kinds(found)
    assert "Of 59 rows 2 can't be read" in said["unreadable rows"]
    assert "row 2: expected 8 fields" in said["unreadable rows"]
    assert "row 5, column 'D': expected a positive number, found 'many'" in said["unreadable rows"]
    assert "2 of 57 runs failed (row 7; row 8)" in said["failed runs"]
    assert "Left out without 'N', 1 of 59 rows: row 11 (blank)." in said["reading"]
    assert {"dead axis", "few seeds"} <= set(said)
    assert [each.severity for each in found.findings] == sorted(each.severity for each in found.findings)


def test_units_that_can_not_be_are_asked_about(tmp_path: Path) -> None:
    small = [[*row[:2], float(str(row[2])) / 1e9, *row[3:]] for row in rows()]
    assert "are they thousands, millions or billions?" in kinds(looked(tmp_path, small))["units"]


def test_what_holds_no_number_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="expected rows of numbers, found none; the first: row 2, column 'N'"):
        looked(tmp_path, [["a", "b", "c", 1, 1, 1, 1, 1]])
    with pytest.raises(DataError, match="expected losses in column 'val', found none"):
        looked(tmp_path, [["a", 1e5, 1e6, 1, 1, 1, "nan", 1]])
