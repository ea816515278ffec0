"""`microgpt plan` as a person meets it."""

import json

import pytest
from click.testing import CliRunner, Result

from microgpt.cli.app import microgpt
from microgpt.errors import UsageError


def planned(*arguments: str) -> Result:
    return CliRunner().invoke(microgpt, ["plan", *arguments])


def test_the_plan_shows_every_assumption() -> None:
    told = planned("--params", "1.5e9", "--tokens", "3e10", "--gpus", "64", "--price", "2").output
    for word in ("64 x h100", "989.4", "80 GB", "--utilisation 0.4", "--precision bf16", "--sharding 1", "--reserve"):
        assert word in told
    assert "chosen for --params 1.5e+09" in told
    assert "cost" in told


def test_json_holds_what_is_told() -> None:
    done = planned("--emb", "768", "--layer", "12", "--gpus", "8", "--tokens", "1e10", "--json")
    told = json.loads(done.stdout)
    assert told["params"] == 162_915_840
    assert told["sizes"]["head"] == 12
    assert told["cost"] is None
    assert told["fits"]
    assert told["batch_total"] == 8 * told["batch"]
    assert told["assumptions"]["peak"] == 989.4e12
    assert told["memory"] <= 0.9 * told["assumptions"]["memory"]


def test_assumptions_can_be_changed() -> None:
    usual = json.loads(planned("--params", "1e9", "--json").stdout)
    slow = json.loads(planned("--params", "1e9", "--peak", "1e14", "--memory", "40", "--json").stdout)
    assert slow["seconds"] == pytest.approx(9.894 * usual["seconds"])
    assert slow["batch"] < usual["batch"]
    again = json.loads(planned("--params", "1e9", "--recompute", "--json").stdout)
    assert again["seconds"] == pytest.approx(usual["seconds"] * 4 / 3)
    assert again["batch"] > usual["batch"]


def test_a_model_that_does_not_fit_is_told_what_would_make_room() -> None:
    assert (
        "--sharding 1 or --sharding 2 would do" in planned("--params", "7e9", "--gpus", "8", "--sharding", "0").output
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "--params nan",
        "--params 1e99",
        "--params 1000",
        "--params 1e9 --gpus 0",
        "--params 1e9 --utilisation 0",
        "--params 1e9 --tokens inf",
        "--params 1e9 --price -1",
        "--params 1e9 --device h1000",
        "--params 1e9 --emb 64 --layer 2",
        "--params 1e9 --memory 0",
        "--emb 64",
        "--emb 64 --layer 100000000",
        "--emb 64 --layer 2 --head 7",
        "",
    ],
)
def test_absurd_values_are_refused_in_one_line(arguments: str) -> None:
    done = planned(*arguments.split())
    assert isinstance(done.exception, UsageError)  # exit code 2
    assert "\n" not in str(done.exception)
