"""A request: checked when it is made, the same after JSON, and free of numpy."""

from typing import Any

import pytest

from microgpt.errors import CheckpointError, UsageError
from microgpt.model.settings import Settings
from microgpt.training.request import Request


@pytest.mark.parametrize(
    "wrong",
    [
        {"holdout": 1.0},
        {"holdout": -0.1},
        {"threads": 0},
        {"temperature": -0.1},
        {"documents": "words"},
        {"precision": "16"},
        {"data": ()},
        {"data": ("",)},
        {"keep": "500"},
        {"keep": "every:0"},
        {"keep": "every:1e3"},
        {"keep": "every:" + "9" * 5000},
        {"samples": -1},
        {"name": "../up"},
        {"name": "a/b"},
        {"name": ".hidden"},
        {"name": "a\\b"},
        {"name": "a\nb"},
        {"name": "x" * 200},
    ],
)
def test_what_can_not_be_is_refused_in_a_line(wrong: dict[str, Any]) -> None:
    (field,) = wrong
    with pytest.raises(UsageError, match="--" + field.replace("_", "-")) as error:
        Request(**wrong)
    assert "\n" not in str(error.value)
    assert "found" in str(error.value)


def test_a_request_is_the_same_after_json_but_for_its_place() -> None:
    request = Request(Settings(steps=7, lr=0.3), data=("a.txt", "names"), keep="every:3", name="run", out="there")
    again = Request.from_dict(request.to_dict())
    assert again == Request(Settings(steps=7, lr=0.3), data=("a.txt", "names"), keep="every:3", name="", out="")
    assert "there" not in str(request.to_dict())


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"settings": None}, "damaged"),
        ({"settings": {"steps": 3}}, "found none for .*damaged"),
        ({"data": "names"}, "damaged"),
        ({"holdout": "x"}, "damaged"),
        ({"keep": 3}, "damaged"),
        ({"colour": 1}, "newer version of microgpt: it sets 'colour'"),
    ],
)
def test_values_of_a_file_are_checked(change: dict[str, Any], told: str) -> None:
    with pytest.raises(CheckpointError, match=told):
        Request.from_dict(Request().to_dict() | change)
