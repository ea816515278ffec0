"""What a person does with a run on the page: another name, away with it, its model as a file."""

import shutil
from pathlib import Path

import pytest

from microgpt.library import load
from microgpt.studio.studio import Studio
from microgpt.training.run_folder import RunFolder
from trials.serving import REFUSED, Visit, visit
from trials.small import finish, request


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(finish(request(tmp_path_factory.mktemp("keeping"), steps=5, name="first")).result.run or "")


@pytest.fixture
def folder(trained: Path, here: Visit) -> Path:
    """A run of the studio `here`."""
    copy = here.studio.run_folders / "first"
    shutil.copytree(trained, copy)
    return copy


def names(here: Visit) -> list[str]:
    return [run["name"] for run in here.get("/api/runs")["runs"]]


def test_a_run_gets_another_name_and_is_whole_under_it(here: Visit, folder: Path) -> None:
    before = load(folder).checkpoint.state.weights
    assert here.post("/api/runs/first/rename", {"to": "names, small"}) == {"name": "names, small"}
    assert names(here) == ["names, small"]
    assert (load(folder.with_name("names, small")).checkpoint.state.weights == before).all()


@pytest.mark.parametrize("name", ["", "../out", "a/b", ".hidden", "x" * 200, "taken"])
def test_a_name_that_can_not_be_or_is_taken_is_a_sentence(here: Visit, folder: Path, name: str) -> None:
    (folder.parent / "taken").mkdir()
    assert "name" in here.post("/api/runs/first/rename", {"to": name}, REFUSED)["error"]
    assert names(here) == ["first"]


def test_a_run_is_deleted_once_its_name_is_said_again(here: Visit, folder: Path) -> None:
    for sure in (None, True, "other"):
        assert "nothing was deleted" in here.post("/api/runs/first/delete", {"sure": sure}, REFUSED)["error"]
    assert names(here) == ["first"]
    here.post("/api/runs/first/delete", {"sure": "first"})
    assert names(here) == []
    assert list(folder.parent.iterdir()) == []


def test_nothing_is_deleted_that_is_trained_lies_elsewhere_or_is_a_link(
    here: Visit, folder: Path, trained: Path, tmp_path: Path
) -> None:
    with RunFolder(folder).locked():
        assert "in use" in here.post("/api/runs/first/delete", {"sure": "first"}, 409)["error"]
    (folder.parent / "link").symlink_to(trained)
    assert "outside" in here.post("/api/runs/link/delete", {"sure": "link"}, REFUSED)["error"]
    with visit(Studio(tmp_path / "none", named={"first": trained})) as there:
        assert "outside" in there.post("/api/runs/first/delete", {"sure": "first"}, REFUSED)["error"]
        assert "outside" in there.post("/api/runs/first/rename", {"to": "other"}, REFUSED)["error"]
    assert load(trained).step == load(folder).step == 5


def test_a_model_is_handed_out_as_a_file(here: Visit, folder: Path) -> None:
    for ending, begins in ((".html", b"<!"), (".py", b"#"), (".safetensors", b"")):
        answer = here.client.get(f"/api/runs/first/export?ending={ending}", headers=here.headers)
        assert answer.headers["content-type"] == "application/octet-stream"
        assert answer.content.startswith(begins)
        assert len(answer.content) > 1000
    for ending in ("", ".exe", "/../x.py"):
        answer = here.client.get("/api/runs/first/export", params={"ending": ending}, headers=here.headers)
        assert "expected one of .safetensors" in answer.json()["error"]
