"""Inside a folder nothing is followed: links, pipes and names in a run folder lead nowhere; what a person typed may."""

import os
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from microgpt import files
from microgpt.data import sources
from microgpt.errors import CheckpointError, DataError, EnvironmentFault
from microgpt.library import load
from microgpt.library import run as library_run
from microgpt.studio import xray
from microgpt.training import checkpoint as checkpoints
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.find import find, listing, weights_of
from microgpt.training.prepare import dataset_of
from microgpt.training.run_folder import HISTORY, RunFolder
from microgpt.training.tables import LOSSES
from trials.small import request, resumed, stopped_at

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="links and pipes as POSIX has them")


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    """A run that was stopped after 4 of 8 steps."""
    stopped_at(request(tmp_path, steps=8, save_every=4, keep="every:4"), 4)
    return RunFolder(tmp_path / "runs" / "run")


@pytest.fixture
def another(tmp_path: Path, run: RunFolder) -> Path:
    """The longer table of another run."""
    path = tmp_path / "another.csv"
    path.write_bytes((run.path / "losses.csv").read_bytes() + b"5,2.0,0.1\n6,2.0,0.1\n")
    return path


def test_a_table_that_is_a_link_is_refused_and_its_target_stays(run: RunFolder, another: Path) -> None:
    before, table = another.read_bytes(), run.path / "losses.csv"
    table.unlink()
    table.symlink_to(another)
    with pytest.raises(CheckpointError, match=r"losses\.csv: .*found one to .*another\.csv; remove it"):
        resumed(run.path)
    with pytest.raises(EnvironmentFault):
        run.append(LOSSES, b"7,2.0,0.1\n")
    assert another.read_bytes() == before
    table.unlink()
    resumed(run.path)  # as the message says


def test_a_table_with_another_name_is_replaced_and_never_written(run: RunFolder, another: Path) -> None:
    before, table = another.read_bytes(), run.path / "losses.csv"
    table.unlink()
    table.hardlink_to(another)
    run.append(LOSSES, b"7,2.0,0.1\n")
    assert table.read_bytes() == before + b"7,2.0,0.1\n"
    assert another.read_bytes() == before
    table.unlink()
    table.hardlink_to(another)
    assert len(resumed(run.path).losses) == 8
    assert another.read_bytes() == before


def test_a_table_that_is_a_pipe_is_refused_at_once(run: RunFolder) -> None:
    (run.path / "losses.csv").unlink()
    os.mkfifo(run.path / "losses.csv")
    with pytest.raises(EnvironmentFault, match="expected to read or write it"):
        run.append(LOSSES, b"7,2.0,0.1\n")
    reading = os.open(run.path / "losses.csv", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(EnvironmentFault, match="no regular file"):
        run.append(LOSSES, b"7,2.0,0.1\n")
    os.close(reading)
    with pytest.raises(CheckpointError, match="no regular file"):
        resumed(run.path)


def test_a_history_that_leads_elsewhere_is_neither_tidied_nor_written(run: RunFolder, tmp_path: Path) -> None:
    checkpoint = run.reopen()[0]
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / ".it.part").touch()
    (run.path / HISTORY).rename(tmp_path / "before")
    (run.path / HISTORY).symlink_to(tmp_path / "victim")
    for act in (
        run.reopen,
        lambda: run.keep(checkpoint),
        lambda: xray.steps(run.path),
        lambda: xray.at_step(run.path, 4),
    ):
        with pytest.raises(CheckpointError, match=r"history: .*found one to .*victim; remove it"):
            act()
    assert [path.name for path in (tmp_path / "victim").iterdir()] == [".it.part"]
    (run.path / HISTORY).unlink()
    (run.path / HISTORY).touch()
    with pytest.raises(EnvironmentFault, match="history"):
        run.reopen()


def test_no_file_of_a_run_folder_may_be_a_link(run: RunFolder, tmp_path: Path) -> None:
    run.commit_best(run.reopen()[0])
    for name in ("weights.safetensors", "best.safetensors", "run.json"):
        (run.path / name).rename(tmp_path / name)
        (run.path / name).symlink_to(tmp_path / name)
    for read in (run.reopen, run.read_best, run.read_report, lambda: weights_of(run.path), lambda: load(run.path)):
        with pytest.raises(CheckpointError, match="no link here"):
            read()
    (listed,) = listing(run.path.parent)
    assert "no link here" in str(listed.fault)


def test_what_a_person_typed_may_be_a_link(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "link.safetensors").symlink_to(run.weights)
    assert load(tmp_path / "link.safetensors").step == 4
    (run.path.parent / "another").symlink_to(run.path)
    assert load(find("another", run.path.parent)).step == 4
    assert resumed(find("another", run.path.parent)).result.steps == 8


def naming(run: RunFolder, *names: str) -> Checkpoint:
    """The checkpoint of a run, made to say that its text is elsewhere."""
    checkpoint = checkpoints.read(run.weights)
    run.commit(checkpoint.noting(provenance=replace(checkpoint.trained.provenance, sources=names)))
    return checkpoints.read(run.weights)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("pipe.txt", "no regular file"),
        ("folder", "no regular file"),
        ("link.txt", "no regular file"),
        ("large.txt", "too large to be read without --data"),
        ("many", "too large to be read without --data"),
        ("/dev/zero", "no regular file"),
        ("markov:1000000000", "too large to be read without --data"),
        ("//server/share/it.txt", "found nothing there"),
        (r"\\server\share", "found nothing there"),
        ("-", "found nothing there"),
    ],
)
def test_a_checkpoint_is_not_believed_about_the_place_of_its_text(
    run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, says: str
) -> None:
    monkeypatch.setattr(sources, "UNASKED", 1 << 20)
    monkeypatch.setattr(sources, "UNASKED_FILES", 8)
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "link.txt").symlink_to("pipe.txt")
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate((1 << 20) + 1)
    for folder, names in (("folder", ["pipe.txt"]), ("many", [f"{number}.txt" for number in range(9)])):
        (tmp_path / folder).mkdir()
        for each in names:
            (os.mkfifo if each == "pipe.txt" else Path.touch)(tmp_path / folder / each)
    place = str(tmp_path / name) if (tmp_path / name).exists() else name
    checkpoint = naming(run, place)
    with pytest.raises(DataError, match=says) as told:
        dataset_of(checkpoint)
    assert name in str(told.value)
    with pytest.raises(DataError, match=says):
        resumed(run.path)
    assert load(run.path).copies(["emma"]) is None


def test_where_the_text_can_not_be_read_samples_are_written_all_the_same(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise EnvironmentFault("/proc/1: permission denied")

    monkeypatch.setattr(library_run, "dataset_of", refused)
    assert load(run.path).copies(["emma"]) is None


def test_what_a_person_names_as_the_text_of_a_run_may_be_a_pipe(run: RunFolder, tmp_path: Path) -> None:
    data = (tmp_path / "few.txt").read_bytes()
    naming(run, "-")
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(data,))
    writer.start()
    assert resumed(run.path, {"data": (str(tmp_path / "pipe"),)}).result.steps == 8
    writer.join()


def test_a_text_may_be_a_link_or_a_folder_with_some(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("few.txt")
    (tmp_path / "folder").mkdir()
    (tmp_path / "few.txt").rename(tmp_path / "folder" / "few.txt")
    (tmp_path / "few.txt").symlink_to("folder/few.txt")
    for place in ("few.txt", "link", "folder"):
        assert dataset_of(naming(run, str(tmp_path / place))).documents


def test_a_folder_that_becomes_a_link_while_it_is_removed_leads_nowhere(tmp_path: Path) -> None:
    victim, folder = tmp_path / "victim", tmp_path / ".new.0123abcd.part"
    victim.mkdir()
    (victim / "it").touch()
    for name in ("a", "b"):
        (folder / name).mkdir(parents=True)
        (folder / name / "it").touch()

    def swap(moment: str, operation: files.Operation) -> None:
        if (moment, operation.kind) == ("before", "remove") and not (folder / "a").is_symlink():
            (folder / "a").rename(tmp_path / "before")
            (folder / "a").symlink_to(victim)

    with files.watched(swap):
        assert files.tidy_dead(tmp_path) == 1
    assert (victim / "it").exists()
    assert not folder.exists()


def test_a_file_that_becomes_a_link_before_it_is_written_leads_nowhere(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    for link in (Path.symlink_to, Path.hardlink_to):
        victim.write_bytes(b"mine")

        def swap(moment: str, operation: files.Operation, link=link) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
            if (moment, operation.kind) == ("after", "create"):
                operation.path.unlink()
                link(operation.path, victim)

        with files.watched(swap), pytest.raises(EnvironmentFault):
            files.replace(tmp_path / "it", b"theirs")
        assert victim.read_bytes() == b"mine"
