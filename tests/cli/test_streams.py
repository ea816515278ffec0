"""Whatever standard output and standard error are: no training ends for them, and nothing steers a terminal."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from microgpt.cli import app
from microgpt.library import load, train
from microgpt.untrusted import visible
from trials.forked import as_by_itself, waited

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="processes are forked")
TRAIN = (
    "train",
    "--data",
    "odd.txt",
    "--steps",
    "3",
    "--engine",
    "array",
    "--emb",
    "8",
    "--head",
    "2",
    "--holdout",
    "0.3",
)
ODD = "\x1b]0;t\x07Łódź\n\x9b31m\u202eKraków\nŚrem\n" * 4
PATIENCE = 60.0


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a text of characters that few streams can show, and a run that has learned them."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "odd.txt").write_text(ODD)
    train(folder / "odd.txt", steps=3, engine="array", emb=8, head=2, holdout=0.3, out=folder / "runs", name="odd")
    return folder


def code_of(arguments: tuple[str, ...], home: Path, arrange: Callable[[], None], encoding: str = "utf-8") -> int:
    """The exit code of a command whose standard streams are as `arrange` leaves the descriptors 1 and 2."""
    pid = os.fork()
    if not pid:
        code = 99
        try:
            os.chdir(home)
            as_by_itself()
            arrange()
            for number, name in ((1, "stdout"), (2, "stderr")):
                stream = None
                with contextlib.suppress(OSError):  # as Python does where it is closed
                    stream = open(number, "w", encoding=encoding, errors="strict", closefd=False)  # noqa: SIM115
                setattr(sys, name, stream)
            code = app.run(arguments)
            for stream in filter(None, (sys.stdout, sys.stderr)):
                stream.flush()
        finally:
            os._exit(code)
    status = waited(pid, PATIENCE)
    assert status is not None, "it went on"
    return os.waitstatus_to_exitcode(status)


def into(file: str, *descriptors: int) -> Callable[[], None]:
    return lambda: [os.dup2(os.open(file, os.O_WRONLY | os.O_CREAT), each) for each in descriptors] and None


def closed(*descriptors: int) -> Callable[[], None]:
    return lambda: [os.close(each) for each in descriptors] and None


def gone(*descriptors: int) -> Callable[[], None]:
    def arrange() -> None:
        reader, writer = os.pipe()
        for each in descriptors:
            os.dup2(writer, each)
        os.close(reader)

    return arrange


@pytest.mark.parametrize(
    ("arrange", "code"),
    [
        (closed(1), 0),
        (closed(2), 0),
        (closed(0, 1, 2), 0),
        (gone(1), 0),
        (gone(2), 0),
        (gone(1, 2), 0),
        (into("/dev/full", 2), 0),
        (into("/dev/full", 1), 5),
    ],
    ids=["no-out", "no-err", "none", "gone-out", "gone-err", "gone", "full-err", "full-out"],
)
def test_a_training_outlasts_its_streams(arrange: Callable[[], None], code: int, home: Path, tmp_path: Path) -> None:
    if not Path("/dev/full").exists() and "full" in str(arrange):
        pytest.skip("there is no /dev/full")

    def arranged() -> None:
        into("told", 1, 2)()
        arrange()

    assert (
        code_of((*TRAIN, "--out", str(tmp_path), "--name", "run", "--losses", f"{tmp_path}/l.csv"), home, arranged)
        == code
    )
    assert (tmp_path / "run" / "samples.txt").exists()
    assert (tmp_path / "l.csv").read_text().count("\n") == 4


def test_results_that_nobody_reads_end_silently(home: Path) -> None:
    for arguments in (
        ("sample", "odd", "--count", "100000"),
        ("sample", "odd", "--stream", "--count", "100000"),
        ("runs",),
    ):
        assert code_of(arguments, home, gone(1, 2)) == 0


@pytest.mark.parametrize(
    "encoding", ["cp1252", "ascii", *(pytest.param(e, marks=pytest.mark.long) for e in ("cp437", "gbk", "iso8859-5"))]
)
def test_what_a_stream_can_not_encode_is_replaced(encoding: str, home: Path, tmp_path: Path) -> None:
    for arguments in (
        (*TRAIN, "--out", str(tmp_path)),
        ("sample", "odd", "--seed", "1"),
        ("sample", "odd", "--stream"),
        ("eval", "odd"),
        ("sample", "Łódź"),
    ):
        assert code_of(arguments, home, into(str(tmp_path / "told"), 1, 2), encoding) == (
            4 if "Łódź" in arguments else 0
        )


def test_programs_that_stand_alone_replace_it_too(home: Path) -> None:
    commands = (
        ["-m", "microgpt", "export", "odd", "m.py"],
        ["m.py"],
        ["-m", "microgpt.symmetry", "odd.txt", "--steps", "1"],
    )
    for command in commands:
        environment = os.environ | {"PYTHONIOENCODING": "ascii"}
        done = subprocess.run([sys.executable, *command], cwd=home, env=environment, capture_output=True, check=False)
        assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert (
        subprocess.run(
            f"{sys.executable} m.py --count 9999 | head -1; exit ${{PIPESTATUS[0]}}",
            shell=True,
            executable="/bin/bash",
            cwd=home,
            capture_output=True,
        ).returncode
        == 0
    )


def on_a_terminal(arguments: tuple[str, ...], home: Path) -> str:
    """All that a command writes to a terminal that is its standard output and error."""
    screen, line = os.openpty()
    code_of(arguments, home, lambda: [os.dup2(line, each) for each in (1, 2)] and None)
    os.close(line)
    told = b""
    with contextlib.suppress(OSError), os.fdopen(screen, "rb", closefd=True) as written:
        while part := written.read1(1 << 16):
            told += part
    return told.decode()


def test_on_a_terminal_nothing_from_outside_steers(home: Path) -> None:
    (home / "many.csv").write_text("params,tokens\x1b[31m\n1,2\n")
    for arguments in (
        ("sample", "odd", "--temperature", "9", "--count", "100"),  # so that one of them has all that steers
        ("sample", "odd", "--temperature", "9", "--stream", "--count", "100"),
        ("sample", "\x1b[31m\u202e"),
        ("laws", "--csv", "many.csv"),
    ):
        told = on_a_terminal(arguments, home)
        assert visible(told.replace("\r\n", "\n")) == told.replace("\r\n", "\n")
        assert "\\x1b" in told or "\\u202e" in told or "\\x9b" in told
    bar = on_a_terminal((*TRAIN, "--name", "live"), home)
    assert "\x1b]0;" not in bar
    assert "\u202e" not in bar


def test_into_a_file_samples_go_as_they_are(home: Path) -> None:
    assert code_of(("sample", "odd", "--seed", "1", "--temperature", "9"), home, into(str(home / "written"), 1)) == 0
    expected = load(home / "runs" / "odd").sample(seed=1, temperature=9.0)
    assert (home / "written").read_text().split("\n")[:-1] == expected


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_standard_output_that_is_full_is_one_line() -> None:
    with Path("/dev/full").open("w") as out:
        command = [sys.executable, "-m", "microgpt", "runs", "--json"]
        done = subprocess.run(command, stdout=out, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 5
    assert done.stderr.startswith("microgpt: standard output: ")
    assert done.stderr.count("\n") == 1


def test_a_hangup_that_is_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with app._Interruptible(), app.Stop() as stop:
            stop.listen()
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
        assert not stop()
    finally:
        signal.signal(signal.SIGHUP, before)
