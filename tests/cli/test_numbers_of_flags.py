"""Every flag of every verb that takes a number refuses what can't be: exit 2, one line, and nothing is left behind."""

from pathlib import Path

import pytest

from trials import flags
from trials.flags import Trial
from trials.forked import command

ONCE_WRONG = [  # what each did is in the comment
    Trial("train", "budget", "--for", ""),  # it was taken for no --for at all
    Trial("sample", "count", "--count", flags.LARGE),  # it went on and on
    Trial("sample", "length", "--length", flags.LARGE),  # so did it
    Trial("laws", "seed", "--seed", "-1"),  # an unexpected ValueError
    Trial("predict", "seed", "--seed", "-1"),
    Trial("frontier", "seed", "--seed", "-1"),
    Trial("laws", "scatter", "--scatter", "nan"),  # an unexpected LinAlgError, after warnings of NumPy
    Trial("laws", "scatter", "--scatter", "1e18"),
    Trial("laws", "drop_highest", "--drop-highest", "-1"),  # exit 3, as if the data were wrong
    Trial("predict", "at", "", "nan"),  # so did this
    Trial("predict", "at", "", "0"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return flags.home(tmp_path_factory.mktemp("home"))


def test_the_list_is_that_of_the_commands() -> None:
    found = {(trial.verb, trial.name) for trial in flags.trials()}
    assert {("train", "lr"), ("train", "budget"), ("train", "keep"), ("predict", "at"), ("sweep", "jobs")} <= found
    assert len(found) > 60
    assert {verb for verb, _ in found} == set(flags.USUAL)


@pytest.mark.parametrize("trial", ONCE_WRONG, ids=lambda trial: f"{trial.verb} {trial.name}={trial.value}")
def test_what_was_once_accepted_is_refused(place: Path, trial: Trial) -> None:
    pytest.importorskip("scipy")
    assert flags.problem(trial, place) == ""
    assert command(trial.arguments, place).code == 2
