"""Saves that are cut short: by death at any file operation, by a loss of power, by a full disk, by a permission."""

import errno
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from microgpt import files, untrusted
from microgpt.errors import CheckpointError, EnvironmentFault, UsageError
from microgpt.training import loop
from microgpt.training.find import folders, listing
from microgpt.training.loop import train
from microgpt.training.records import Saved
from microgpt.training.run_folder import RunFolder
from tests.training.disk import Death, Dying, Failing
from trials.small import fingerprint, finish, request, resumed, stopped_at

EVERY, STEPS = 4, 8


@pytest.mark.long
def test_death_at_any_file_operation_leaves_the_old_state_or_the_new(tmp_path: Path) -> None:
    asked = request(tmp_path, steps=STEPS, save_every=EVERY, keep=f"every:{EVERY}", eval_every=EVERY, name="whole")
    counting = Dying(None)
    with files.watched(counting):
        whole = finish(asked)
    steps = set()
    for at in range(1, counting.moments + 1):
        place = tmp_path / f"{at}"
        place.mkdir()
        with files.watched(Dying(at)), pytest.raises(Death):
            finish(request(place, steps=STEPS, save_every=EVERY, keep=f"every:{EVERY}", eval_every=EVERY))
        for folder in folders(place / "runs"):
            if folder.status == "finished":
                steps.add("finished")
                continue
            checkpoint, rows, _ = folder.reopen()
            assert checkpoint.state.step == len(rows)
            assert not list(folder.path.glob("*.part")) + list(folder.path.glob(".*"))
            again = resumed(folder.path)
            assert fingerprint(again.checkpoint) == fingerprint(whole.checkpoint)
            assert (folder.path / "losses.csv").read_bytes() == (tmp_path / "runs/whole/losses.csv").read_bytes()
            assert (folder.path / "evaluations.csv").read_bytes() == (
                tmp_path / "runs/whole/evaluations.csv"
            ).read_bytes()
            steps.add(str(checkpoint.state.step))
    assert steps == {"0", "4", "8", "finished"}
    assert counting.moments > 100


@pytest.mark.parametrize("apart", [3, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", ["create", "write", "sync", "replace", "open"])
def test_a_full_disk_ends_the_run_with_its_last_save_intact(tmp_path: Path, kind: str, apart: int) -> None:
    counting = Failing(errno.ENOSPC, (kind,), at=-1)
    with files.watched(counting):
        whole = finish(request(tmp_path, steps=STEPS, save_every=EVERY, name="whole"))
    for at in {*range(1, counting.met + 1, apart), counting.met}:
        place = tmp_path / f"{at}"
        place.mkdir()
        with (
            files.watched(Failing(errno.ENOSPC, (kind,), at)),
            pytest.raises(EnvironmentFault, match="free some space"),
        ):
            finish(request(place, steps=STEPS, save_every=EVERY))
        assert not list(place.rglob("*.part"))
        for folder in folders(place / "runs"):
            assert fingerprint(resumed(folder.path).checkpoint) == fingerprint(whole.checkpoint)


def test_a_folder_without_permission_is_one_line_that_helps(tmp_path: Path) -> None:
    refused = pytest.raises(EnvironmentFault, match="get permission, or choose another folder")
    with files.watched(Failing(errno.EACCES, ("make folder",), 1)), refused as fault:
        finish(request(tmp_path))
    assert fault.value.exit_code == 5
    assert "\n" not in str(fault.value)


@pytest.fixture
def common_ground() -> Iterator[Path]:
    """A folder that every user of the machine can reach."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_a_read_only_folder_as_an_ordinary_user(common_ground: Path) -> None:
    asked = request(common_ground)
    Path(asked.out).mkdir(mode=0o555)
    told, tell = os.pipe()
    if (child := os.fork()) == 0:  # a process of its own can give up its rights without a way back
        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            finish(asked)
        except BaseException as fault:
            os.write(tell, f"{type(fault).__name__}: {fault}".encode())
        os._exit(0)
    os.close(tell)
    os.waitpid(child, 0)
    with os.fdopen(told) as message:
        line = message.read()
    assert line.startswith(f"EnvironmentFault: {asked.out}")
    assert "get permission, or choose another folder" in line


def test_a_name_that_is_taken_is_refused(tmp_path: Path) -> None:
    finish(request(tmp_path))
    with pytest.raises(UsageError, match="found a folder of that name"):
        list(train(request(tmp_path)))


def test_what_a_broken_off_write_left_is_removed_and_told(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=EVERY), EVERY)
    folder = RunFolder(tmp_path / "runs" / "run")
    (folder.path / ".weights.safetensors.abcd.part").write_bytes(b"half")
    assert folder.reopen()[2] == 1
    assert not list(folder.path.glob(".*"))


def test_what_a_broken_off_write_left_in_the_history_is_removed_too(tmp_path: Path) -> None:
    stopped_at(request(tmp_path, save_every=EVERY, keep=f"every:{EVERY}"), EVERY)
    folder = RunFolder(tmp_path / "runs" / "run")
    (folder.path / "history" / ".step-00000008.safetensors.abcd.part").write_bytes(b"half")
    assert folder.reopen()[2] == 1
    assert not list(folder.path.rglob(".*"))


def die_while_filling(path: Path) -> None:
    """Leave what a process leaves that is killed while it fills a new folder."""
    if (child := os.fork()) == 0:
        files.make_folder(path, lambda folder: (folder / "half").touch() or os._exit(0))  # type: ignore[func-returns-value]
    os.waitpid(child, 0)
    assert len(list(path.parent.glob(f".{path.name}.*.part"))) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="without locks nothing is removed")
def test_a_folder_that_a_killed_process_was_filling_is_removed_by_the_next_start(tmp_path: Path) -> None:
    die_while_filling(tmp_path / "runs" / "another")
    finish(request(tmp_path))  # a run of any name
    die_while_filling(tmp_path / "tokens")
    files.make_folder(tmp_path / "tokens", lambda folder: None)
    assert not list(tmp_path.rglob(".*"))


def test_a_folder_that_is_being_filled_or_of_another_kind_stays(tmp_path: Path) -> None:
    (tmp_path / ".mine.part").mkdir()
    (tmp_path / ".elsewhere.0123abcd.part").symlink_to(tmp_path / ".mine.part")

    def fill(folder: Path) -> None:
        files.tidy_dead(tmp_path)
        assert folder.is_dir()

    files.make_folder(tmp_path / "new", fill)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".elsewhere.0123abcd.part", ".mine.part", "new"]


def test_a_folder_that_is_tidied_before_it_is_held_is_made_again(tmp_path: Path) -> None:
    def tidy(moment: str, operation: files.Operation) -> None:
        if (moment, operation.kind) == ("after", "make folder") and not removed:
            removed.append(files.tidy_dead(tmp_path))

    removed: list[int] = []
    with files.watched(tidy):
        files.make_folder(tmp_path / "new", lambda folder: (folder / "it").touch())
    assert removed == [1]
    assert (tmp_path / "new" / "it").exists()


def test_reading_refuses_what_is_no_regular_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        with pytest.raises(CheckpointError):
            untrusted.read(tmp_path / name, 1000)
    (tmp_path / "large").write_bytes(bytes(1001))
    with pytest.raises(CheckpointError, match="at most 1,000 bytes, found 1,001"):
        untrusted.read(tmp_path / "large", 1000)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{", '{"a": NaN}', '{"a": 1, "a": 2}', "[" * 100_000, "\udc80", '{"a": 1e999999}x']
)
def test_json_that_is_no_plain_object_is_refused(text: str) -> None:
    with pytest.raises(CheckpointError, match="found"):
        untrusted.parse_json(text.encode("utf-8", "surrogatepass"), "it")


def test_a_folder_that_can_not_be_read_does_not_spoil_the_list(tmp_path: Path) -> None:
    finish(request(tmp_path))
    broken = tmp_path / "runs" / "broken"
    broken.mkdir()
    (broken / "weights.safetensors").write_bytes(b"nonsense")
    listed = {summary.name: summary for summary in listing(tmp_path / "runs")}
    assert listed["broken"].status == "unreadable"
    assert listed["run"].status == "finished"
    assert listed["run"].holdout is not None


def test_the_first_save_comes_soon_and_the_next_when_saving_is_cheap(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "FIRST_SAVE", 0.0)
    monkeypatch.setattr(loop, "SAVE_AFTER", 0.0)
    monkeypatch.setattr(loop, "SAVE_SHARE", 1e-9)
    saved = [record.step for record in train(request(tmp_path, steps=STEPS)) if isinstance(record, Saved)]
    assert saved == [1, STEPS]


def test_a_stop_while_a_hidden_file_is_made_leaves_none(tmp_path: Path) -> None:
    def stop(moment: str, operation: files.Operation) -> None:
        if (moment, operation.kind) in (("after", "create"), ("after", "make folder")):
            raise KeyboardInterrupt

    with files.watched(stop):
        for act in (lambda: files.replace(tmp_path / "it", b""), lambda: files.make_folder(tmp_path / "it", print)):
            with pytest.raises(KeyboardInterrupt):
                act()
    assert not list(tmp_path.iterdir())
