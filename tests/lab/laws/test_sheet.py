"""CSVs as spreadsheets of several countries write them: what is read, what is said, and what is refused."""

import csv
import io
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.cli.app import run
from microgpt.errors import DataError
from microgpt.lab.laws.csv_file import Columns, Reading, read_csv, read_groups
from microgpt.lab.laws.table import RunTable

COLUMNS = Columns()
HEADER = "params,tokens,loss\n"


def read(folder: Path, text: str | bytes, columns: Columns = COLUMNS, **how: object) -> RunTable:
    path = folder / "runs.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_csv(path, columns, reading=Reading(**how))  # type: ignore[arg-type]


def rows(found: RunTable) -> list[tuple[float, ...]]:
    points = found.points
    return list(zip(points.params.tolist(), points.tokens.tolist(), points.loss.tolist(), strict=True))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEADER + "10000,1e6,2.5\n20000,2e6,2.25\n", ""),
        (HEADER + '"10,000","1,000,000",2.5\n"20,000",2000000,2.25\n', "decimal point, so that '10,000' is 10,000."),
        (HEADER + '"10.000","1.000.000","2,5"\n20.000,2000000,"2,25"\n', "decimal comma, so that '10.000' is 10,000."),
        (HEADER + '"10,000","1000000","2.500"\n"20,000",2000000,2.250\n', "with , and decimal point"),
        ("params;tokens;loss\n10000;1000000;2,5\n20000;2000000;2,25\n", "with ; and decimal comma."),
        ("params;tokens;loss\n10.000;1.000.000;2,500\n20.000;2.000.000;2,250\n", "with ; and decimal comma, so that"),
        ("params;tokens;loss\n10 000;1 000 000;2,5\n20\u00a0000;2\u202f000\u202f000;2,25\n", "; and decimal comma."),
        ("params;tokens;loss\n10'000;1'000'000;2.5\n20’000;2’000’000;2.25\n", "with ; and decimal point."),
        ("params;tokens;loss\n10000;1E+06;2.500\n20000;2E+06;2.250\n", "with ; and decimal point"),
        ("sep=;\r\nparams;tokens;loss\r\n10000;1000000;2,5\r\n20000;2000000;2,25\r\n", "with ; and decimal comma."),
        ('"sep=|"\nparams|tokens|loss\n10000|1000000|2.5\n20000|2000000|2.25\n', "with | and decimal point."),
        ("params\ttokens\tloss\r10000\t1000000\t2,5\r20000\t2000000\t2,25\r", "with tabs and decimal comma."),
        ("params\ttokens\tloss\n10000\t1000000\t2.5\n20000\t2000000\t2.25\n".encode("utf-16"), "with tabs"),
        ("\ufeff\n\nparams,tokens,loss,,\n10000,1e6,2.5,,\n,,,,\n\n20000,2e6,2.25\n,,,,\n,,,,\n", ""),
        ('"params", "tokens", "loss", note\n10000, 1e6, 2.5, "a, b;\nc"\n20000, 2e6, 2.25, ""\n', ""),
        (",params,tokens,loss\n0,10000,1e6,2.5\n1,20000,2e6,2.25\n", ""),
    ],
)  # fmt: skip
def test_what_a_spreadsheet_writes_is_read_and_said(tmp_path: Path, text: str | bytes, said: str) -> None:
    found = read(tmp_path, text)
    assert rows(found) == [(10000, 1e6, 2.5), (20000, 2e6, 2.25)]
    assert found.notes == ()
    assert said in " ".join(found.said) if said else found.said == ()


@pytest.mark.parametrize(
    "body",
    [
        "10.000;1000000;4\n20.000;1000000;4\n",  # by a decimal comma 10,000; nothing tells
        "10.000;100.000;2.500\n",  # sizes and losses tell differently
        "10.000;1000000;2.5\n",
        "10,000;1000000;4\n",
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_both_and_read_as_told(tmp_path: Path, body: str) -> None:
    text = "params;tokens;loss\n" + body
    with pytest.raises(DataError, match=r"row 2, column 'params': .*decimal point and .* decimal comma") as told:
        read(tmp_path, text)
    assert "\n" not in str(told.value)
    assert all(part in str(told.value) for part in (" 10 with", " 10,000 with", "--decimal point or comma"))
    if "2.5" not in body:
        assert {read(tmp_path, text, decimal=mark).points.params[0] for mark in ".,"} == {10, 10_000}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (HEADER + "1,2,3\n10000,1000000,4,9884\n", "row 3: expected 3 fields, as the header has, found 4"),
        (HEADER + "\n\n1,2,3\n\n1,2\n", "row 6: expected 3 fields, as the header has, found 2"),
        ('params,tokens,loss,note\n1,2,3,"a\n\nb"\n1,2,x,c\n', "row 5, column 'loss'"),
        ("sep=,\nparams,tokens,loss\n1,2,3\n1,2,x\n", "row 4, column 'loss'"),
        ("\nparams,tokens,loss,loss\n1,2,3,4\n", "row 2: .*each column once, found 'loss' 2 times"),
        (HEADER + '1,2,3\n1,2,"3\n', "row 3: expected a CSV"),
        ("params;tokens;loss\n9;1.000.000;2.25\n", "'2.25' is 2.25 with .*; row 2, column 'tokens': '1.000.000' is no"),
        ("a;b,c\n1;2,3\n", "'a;b' with ',', or 'a' with ';'; .* sep=, or sep=;"),
        (HEADER + "1,2,2.5.1\n", "found '2.5.1'"),
        (HEADER + "1,,3\n", "row 2, column 'tokens': .*found nothing"),
        (HEADER + "1,2,nan\n1,2,\n", "row 2, column 'loss': .*found 'nan'"),
    ],
)  # fmt: skip
def test_a_fault_is_told_with_its_row_as_the_file_counts_lines(tmp_path: Path, text: str, told: str) -> None:
    columns = Columns() if "params" in text else Columns("z", tokens="y", loss="x")
    with pytest.raises(DataError, match=told):
        read(tmp_path, text, columns)


def test_rows_without_a_number_are_named_and_left_out_or_refused(tmp_path: Path) -> None:
    text = HEADER + "10,2000,3\n20,3000,NaN\n\n30,4000,\n40,5000,inf\n50,6000,2\n,7000,2\n70,N/A,2\n"
    found = read(tmp_path, text)
    assert rows(found) == [(10, 2000, 3), (50, 6000, 2)]
    assert found.notes == (
        "Left out without 'params', 1 of 7 rows: row 8 (blank).",
        "Left out without 'loss', 3 of 7 rows: row 3 (NaN), row 5 (blank), row 6 (inf).",
        "Left out without 'tokens', 1 of 7 rows: row 9 (N/A).",
    )
    with pytest.raises(DataError, match="row 8, column 'params': expected a positive number, found nothing"):
        read(tmp_path, text, strict=True)


def test_weights_of_zero_leave_runs_out_and_those_too_far_apart_are_refused(tmp_path: Path) -> None:
    def weighed(*weights: str) -> RunTable:
        text = "params,tokens,loss,w\n" + "".join(f"{10 * n},{1000 * n},3,{w}\n" for n, w in enumerate(weights, 1))
        return read(tmp_path, text, Columns(tokens="tokens", weights="w"))

    found = weighed("1", "0", "", "3", "0.0")
    assert found.points.params.tolist() == [10, 40]
    assert found.points.weights is not None
    assert found.points.weights.tolist() == [0.5, 1.5]
    assert found.notes == (
        "Left out without 'w', 1 of 5 rows: row 4 (blank).",
        "Left out with a weight of 0 in 'w', 2 of 4 rows: row 3, row 6.",
    )
    for weights, said in (
        (("0", "0"), "--weights takes a column of positive numbers, found 'w' with 0 alone"),
        (("1", "1e300"), "row 3, column 'w': expected a number from 1e-100 to 1e.100, found '1e300'"),
        (("1", "-1"), "row 3, column 'w': expected a positive number, found '-1'"),
        (("1", "1e50"), r"--weights takes .* up to 1e.09 times the smallest, found 1 to 1e.50 in column 'w'; give 0"),
    ):
        with pytest.raises(DataError, match=said):
            weighed(*weights)


def test_units_that_cannot_be_are_asked_about(tmp_path: Path) -> None:
    (asked,) = read(tmp_path, HEADER + "1e8,7,3\n2e8,300,2\n").notes
    assert asked.startswith("Column 'tokens' gives 7 to 300 tokens a run, which is impossible: are they thousands")
    (asked,) = read(tmp_path, HEADER + "0.1,7e9,3\n7,9e9,2\n").notes
    assert "Column 'params' gives 0.1 to 7 parameters" in asked
    (asked,) = read(tmp_path, HEADER + "1e8,7e9,30\n2e8,3e9,22\n").notes
    assert "Column 'loss' has 22 to 30, more nats than any token costs: is it a perplexity" in asked


def test_exact_copies_are_one_run(tmp_path: Path) -> None:
    body = "10,2000,3,0\n10,2000,3,1\n10,2000,3,0\n20,3000,4,0\n20,3000,4,0\n"
    found = read(tmp_path, "params,tokens,loss,seed\n" + body)
    assert rows(found) == [(10, 2000, 3), (10, 2000, 3), (20, 3000, 4)]
    assert found.notes == ("Exact copies count once, 2 of 5 rows: row 4 of row 2, row 6 of row 5.",)


TUNED = "params,tokens,loss,lr,text\n" + "".join(
    f"{n},{d},{2 + abs(rate - best)},{rate},{text}\n"
    for text in "ab"
    for n, best in ((100, 2), (200, 1))
    for d in (1000, 2000)
    for rate in (1, 2)
)


def test_of_each_size_and_length_the_best_is_taken(tmp_path: Path) -> None:
    found = read(tmp_path, TUNED, where=(("text", "a"),), best_of="loss")
    assert rows(found) == [(100, 1000, 2), (100, 2000, 2), (200, 1000, 2), (200, 2000, 2)]
    assert found.notes == ("Of each size and length the run of the lowest loss counts: 4 of 8 runs.",)
    assert read(tmp_path, TUNED, where=(("text", "a"),), best_of="lr").points.loss.tolist() == [3, 3, 2, 2]
    with pytest.raises(DataError, match="expected a column 'los', found none; did you mean 'loss'"):
        read(tmp_path, TUNED, best_of="los")
    with pytest.raises(
        DataError, match="--best-of takes a column of positive numbers such as loss, found 'text' with 'a'"
    ):
        read(tmp_path, TUNED, best_of="text")


def test_each_value_of_a_column_is_a_group(tmp_path: Path) -> None:
    path = tmp_path / "runs.csv"
    path.write_text(TUNED)
    found = read_groups(path, COLUMNS, 1, Reading(best_of="loss"), "text")
    assert {text: len(table.points) for text, table in found.items()} == {"a": 3, "b": 3}
    assert [table.source for table in found.values()] == ["runs.csv, text = a", "runs.csv, text = b"]
    path.write_text("params,tokens,loss\n" + "".join(f"100,{d},2\n" for d in range(1000, 1051)))
    with pytest.raises(DataError, match="at most 50 values, found that tokens has 51: '1000', '1001'"):
        read_groups(path, COLUMNS, 0, Reading(), "tokens")


def test_what_varies_besides_size_and_length_is_told_and_a_part_can_be_taken(tmp_path: Path) -> None:
    lines = ["params,tokens,loss,emb,learning_rate,text,seed,seconds"]
    lines += [
        f"{n},{d},{2 + 10 / n + 10 / d + rate},{n // 10},{rate},{text},{seed},{n * d * seed / 7}"
        for n in (100, 200) for d in (1000, 2000) for rate, text in ((0.01, "a"), (0.02, "b")) for seed in (0, 1)
    ]  # fmt: skip
    text = "\n".join(lines)
    (note,) = read(tmp_path, text).notes
    assert "differ in learning_rate (0.01, 0.02), text (a, b)," in note
    for where in (("text", "a"), ("learning_rate", "1e-2")):
        assert read(tmp_path, text, where=(where,)).notes == ()
        assert len(read(tmp_path, text, where=(where,)).points) == 8
    with pytest.raises(DataError, match="expected rows with text = c, found none; there are: 'a', 'b'"):
        read(tmp_path, text, where=(("text", "c"),))
    with pytest.raises(DataError, match="did you mean 'text'"):
        read(tmp_path, text, where=(("txt", "a"),))


def test_of_tokens_and_flop_it_is_told_which_counts(tmp_path: Path) -> None:
    text = "params,tokens,flop,loss\n10,2000,9,3\n20,4000,x,2\n"
    assert "tokens counts, and flop is not read" in read(tmp_path, text).notes[0]
    assert read(tmp_path, text, Columns(tokens="tokens")).notes == ()


def test_a_command_tells_how_it_read_and_refuses_flags_that_would_do_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "few.csv"
    path.write_text("params;tokens;loss;text\n" + "".join(f"{n};{n * n};2,5;a\n" for n in (1, 2)))
    assert run(["laws", "--csv", str(path), "--where", "text=a"]) == 3
    note, refusal = capsys.readouterr().err.splitlines()
    assert note == "note: few.csv is read with ; and decimal comma."
    assert "3 sizes or more" in refusal
    for arguments in (["--csv", str(path), "--where", "a"], ["--strict"], ["--decimal", "comma"]):
        assert run(["laws", *arguments]) == 2
        assert arguments[-2 if arguments[-1] != "--strict" else -1] in capsys.readouterr().err


COUNTS = st.integers(1, 10**12)
LOSSES = st.floats(0.001, 900).map(lambda value: float(f"{value:.6g}"))


def grouped(value: float, group: str, decimal: str) -> str:
    """A number as a spreadsheet shows it."""
    whole, _, rest = f"{value:.17g}".partition(".")
    return f"{int(whole):,}".replace(",", group) + (decimal + rest if rest else "")


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(COUNTS, COUNTS, LOSSES, st.text(max_size=12)), max_size=8, unique_by=lambda row: row[:3]),
    st.sampled_from([(",", ".", ""), (",", ".", ","), (";", ",", "."), (";", ",", "\u00a0"), ("\t", ",", ""),
                     (";", ".", "'"), (",", ",", "."), ("\t", ".", ",")]),
    st.sampled_from([("\r\n", "utf-8-sig", ""), ("\n", "utf-8", "sep"), ("\r", "utf-8", ""), ("\r\n", "utf-16", "")]),
    st.booleans(),
)  # fmt: skip
def test_numbers_of_every_dialect_read_back_equal(
    found: list[tuple[int, int, float, str]], dialect: tuple[str, str, str], file: tuple[str, str, str], blank: bool
) -> None:
    (separator, decimal, group), (newline, encoding, sep) = dialect, file
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=separator, lineterminator=newline)
    writer.writerow(["params", "tokens", "loss", "note"])
    for *numbers, note in [*found, (1234567, 1, 0.5, "")]:  # the last one shows both marks
        writer.writerow(
            [*(grouped(value, group, decimal) for value in numbers), note.replace("\r", "").replace("\n", newline[-1])]
        )
        writer.writerows([[""] * 4] * blank)
    with tempfile.TemporaryDirectory() as folder:
        text = (f"sep={separator}{newline}" if sep else "") + out.getvalue()
        back = read(Path(folder), text.encode(encoding, "replace"))
    assert rows(back) == [*(row[:3] for row in found), (1234567, 1, 0.5)]
