"""The cache of kernels: no code from a folder that can't be trusted, and kernels also where a folder won't do."""

import errno
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from microgpt import files
from microgpt.engines.fused import cache
from microgpt.engines.fused.build import CacheWarning, build, load, reason_unavailable
from microgpt.errors import EnvironmentFault
from trials.stand_in import size_of

pytestmark = [
    pytest.mark.skipif(reason_unavailable() is not None, reason=str(reason_unavailable())),
    pytest.mark.skipif(os.name == "nt", reason="owners and modes are those of POSIX"),
]
needs_root = pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="only root may do this")


@pytest.fixture
def mounted(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Mounts a small file system with the options that are asked for."""
    path = tmp_path / "mounted"

    def mount(options: str) -> Path:
        path.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"mode=700,{options}", "tmpfs", str(path)]
        if not shutil.which("mount") or subprocess.run(command, capture_output=True).returncode:
            pytest.skip("no right to mount a file system here")
        return path

    yield mount
    if path.is_mount():
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def loads_privately(kernel: Path, folder: Path, told: str) -> None:
    """Loading gives a warning and the right code, from elsewhere."""
    with pytest.warns(CacheWarning, match=told) as warned:
        path = build({"SIZE": 7}, kernel=kernel, folder=folder)
    assert path.parent == cache.private_folder()
    assert warned[0].filename == __file__
    with pytest.warns(CacheWarning, match=told):
        assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7


def plant(folder: Path, kernel: Path) -> Path:
    """Put other code where the cache would look for the kernel of size 7."""
    other = kernel.with_name("other.c")
    other.write_text("int size(void) { return 666; }")
    name = build({"SIZE": 7}, kernel=kernel, folder=folder).name
    data = build({"SIZE": 7}, kernel=other, folder=folder).read_bytes()
    shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    path = folder / f"{name.split('.')[0]}.{hashlib.sha256(data).hexdigest()}{cache.SUFFIX}"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_the_folder_is_the_persons_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (cache.VARIABLE, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.default_folder().name == "microgpt"
    assert cache.default_folder().is_relative_to(tmp_path)
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path / "chosen"))
    assert cache.default_folder() == tmp_path / "chosen"
    cache.prepare(tmp_path / "chosen")
    assert (tmp_path / "chosen").stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o770, 0o702, 0o777])
def test_a_folder_that_others_can_write_is_not_loaded_from(mode: int, kernel: Path, folder: Path) -> None:
    plant(folder, kernel)
    folder.chmod(mode)
    loads_privately(kernel, folder, "others can write")


def test_a_symbolic_link_is_not_loaded_from(kernel: Path, folder: Path, tmp_path: Path) -> None:
    plant(folder, kernel)
    link = tmp_path / "link"
    link.symlink_to(folder)
    loads_privately(kernel, link, "a symbolic link")


def test_a_folder_that_others_can_replace_is_not_loaded_from(kernel: Path, tmp_path: Path) -> None:
    folder = tmp_path / "open" / "cache"
    folder.mkdir(parents=True, mode=0o700)
    plant(folder, kernel)
    for mode in (0o777, 0o770, 0o702):
        folder.parent.chmod(mode)
        loads_privately(kernel, folder, "in its place")
    folder.parent.chmod(0o1777)  # as /tmp is
    cache.prepare(folder)


@needs_root
def test_what_belongs_to_another_is_not_loaded(kernel: Path, folder: Path) -> None:
    entry = plant(folder, kernel)
    os.chown(entry, 12345, 12345)
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7
    os.chown(folder, 12345, 12345)
    loads_privately(kernel, folder, "another user")
    os.chown(folder, 0, 0)
    os.chown(folder.parent, 12345, 12345)  # who may put another folder in its place
    loads_privately(kernel, folder, "in its place")
    os.chown(folder.parent, 0, 0)


@pytest.mark.parametrize("umask", [0o000, 0o002])
def test_what_is_made_is_the_persons_own_whatever_the_umask(umask: int, kernel: Path, tmp_path: Path) -> None:
    before = os.umask(umask)
    try:
        entry = build({"SIZE": 7}, kernel=kernel, folder=tmp_path / "home" / "cache" / "microgpt")
    finally:
        os.umask(before)
    made = (entry, *list(entry.parents)[:3])
    assert [path.stat().st_mode & 0o777 for path in made] == [0o600, 0o700, 0o700, 0o700]


def test_an_entry_that_others_can_write_is_not_loaded(kernel: Path, folder: Path) -> None:
    for mode in (0o620, 0o602):
        plant(folder, kernel).chmod(mode)
        assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7
        shutil.rmtree(folder)


def test_a_planted_entry_would_be_loaded_from_a_trusted_folder(kernel: Path, folder: Path) -> None:
    plant(folder, kernel)  # or the tests above would show nothing
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 666


def test_a_link_in_the_folder_is_not_loaded(kernel: Path, folder: Path, tmp_path: Path) -> None:
    entry = plant(folder, kernel)
    entry.rename(tmp_path / "elsewhere.so")
    entry.symlink_to(tmp_path / "elsewhere.so")
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7


def test_a_file_in_its_place_gives_a_private_folder(kernel: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    loads_privately(kernel, tmp_path / "file", "no folder")
    loads_privately(kernel, tmp_path / "file" / "cache", "Not a directory|File exists")


@pytest.mark.parametrize(
    ("options", "told"), [("ro", "Read-only"), ("noexec", "code can be loaded"), ("size=4k", "No space left")]
)
def test_a_file_system_that_will_not_do_gives_a_private_folder(
    options: str, told: str, kernel: Path, mounted: Callable[[str], Path]
) -> None:
    folder = mounted(options)
    with pytest.warns(CacheWarning, match=told):
        assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7


def test_a_disk_that_fills_up_while_it_is_kept_gives_a_private_folder(kernel: Path, folder: Path) -> None:
    def full(moment: str, operation: files.Operation) -> None:
        if (moment, operation.kind) == ("before", "write") and operation.path.is_relative_to(folder):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with files.watched(full):
        loads_privately(kernel, folder, "free some space")
    assert [path.name for path in folder.iterdir()] == [cache.LOCKS]


def test_where_no_folder_will_do_it_is_said_in_one_line(
    kernel: Path, mounted: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = mounted("noexec")
    monkeypatch.setattr(cache, "private_folder", lambda: folder)
    with pytest.warns(CacheWarning), pytest.raises(EnvironmentFault, match="use --engine array") as fault:
        load({"SIZE": 7}, kernel=kernel, folder=folder)
    assert "\n" not in str(fault.value)


def test_the_private_folder_goes_with_the_process(kernel: Path, tmp_path: Path) -> None:
    code = "import sys; from microgpt.engines.fused import cache; print(cache.private_folder())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "microgpt-" in done.stdout
    assert not Path(done.stdout.strip()).exists()


def test_what_was_used_least_lately_goes_first(kernel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "MOST_ENTRIES", 3)
    paths = [cache.store(folder, f"{number:032x}", b"x" * 100) for number in range(3)]
    for age, path in enumerate(paths):
        os.utime(path, (1e9 - age, 1e9 - age))
    assert cache.find(folder, f"{2:032x}") == paths[2]  # used now
    newest = cache.store(folder, f"{9:032x}", b"x" * 100)
    assert {path for path in [*paths, newest] if path.exists()} == {newest, paths[2], paths[0]}
    monkeypatch.setattr(cache, "MOST_BYTES", 150)
    cache.prune(folder, keep=newest)
    assert [path for path in paths if path.exists()] == []
    assert newest.exists()


def test_what_died_in_the_making_is_removed_after_an_hour(folder: Path) -> None:
    old, new = folder / f"{cache.SCRATCH}old", folder / f"{cache.SCRATCH}new"
    for path in (old, new):
        path.mkdir()
        (path / "kernel.c").touch()
    (folder / ".entry.part").touch()
    for path in (old, folder / ".entry.part"):
        os.utime(path, (1e9, 1e9))
    cache.store(folder, "key", b"x")
    assert (old.exists(), new.exists(), (folder / ".entry.part").exists()) == (False, True, False)


def test_a_library_that_is_held_is_taken_where_it_is_the_same(folder: Path) -> None:
    """Windows replaces none that a process has loaded."""
    path = cache.store(folder, "key", b"code")

    def refuse(_: str, operation: files.Operation) -> None:
        if operation.kind == "replace":
            raise PermissionError(errno.EACCES, "in use")

    with files.watched(refuse):
        assert cache.store(folder, "key", b"code") == path
        with pytest.raises(cache.CacheFault, match="in use"):
            cache.store(folder, "key", b"other")
    assert [found for found in folder.iterdir() if found.is_file()] == [path]
