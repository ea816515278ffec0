"""Random commands and requests in short, and what they once found."""

import json
from pathlib import Path

import pytest

from microgpt.cli.app import run
from tests.command import microgpt, refused
from trials import soak


@pytest.mark.parametrize("share", [0.0, 0.02])
def test_growth_is_the_slope_of_the_second_half(share: float) -> None:
    looks = [soak.Look(n, round(1e8 * (1 + share * n / 40) + 1e8 * (n < 10)), 3, 1) for n in range(40)]
    assert soak.growth(looks) == pytest.approx(share / 2, abs=2e-3)


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["bench", "--engine", "array", "--precision", "auto"], 2, "'auto' is not one of"),
        (["laws", "--simulate", "2", "--scatter", "1"], 2, "--scatter takes 0 to 0.3 nats, found 1."),
        (["laws", "--simulate", "2", "--scatter", "nan"], 2, "--scatter takes"),
        (["prepare", "few.txt", "--out", "x" * 3000], 5, "File name too long"),
        (["prepare", "few.txt", "--out", "."], 2, "expected a new --out"),
        (["train", "--data", "few.txt", "--steps", "1", "--losses", "/"], 5, "/: expected to read or write it"),
        (["train", "--data", "few.txt", "--steps", "1", "--out", "x" * 3000], 5, "File name too long"),
    ],
)
def test_what_random_commands_have_found_is_one_line(arguments: list[str], code: int, said: str, cwd: Path) -> None:
    (cwd / "few.txt").write_text("emma\nolivia\nava\n")
    line = refused(microgpt(*arguments, cwd=cwd), code)
    assert said in line
    assert "unexpected" not in line


def test_a_kernel_as_json_is_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engines", "--show-kernel", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert "-DEMB=16" in told["command"]
    assert "#define EMB 16" in told["kernel"]
