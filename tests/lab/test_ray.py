"""A sweep on a Ray cluster: the same table as anywhere, whoever dies; closed to strangers; and nothing left behind."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest

import microgpt as package
from microgpt.errors import DataError
from microgpt.lab.cluster.asked import Asked
from microgpt.lab.cluster.executor import RayCluster
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import Retried, Status, SweepRecord, sweep
from microgpt.lab.sweep.executors import Executor
from microgpt.lab.sweep.plan import Plan
from microgpt.lab.sweep.texts import Texts
from tests.conftest import SOURCE
from tests.lab.test_sweep import alive, counts, gone, place, workers
from trials import few

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'microgpt-symmetry[ray]'"),
    pytest.mark.skipif(sys.platform != "linux", reason="Ray's processes are looked up in /proc"),
]

SLOW = 5_000  # steps that take a second or more
TOKEN = "the-token-of-a-test-cluster"


@pytest.fixture(scope="module")
def cluster() -> Iterator[RayCluster]:
    """A cluster of this machine, which several tests share: starting one takes seconds."""
    found = RayCluster(Asked(jobs=2 if (os.cpu_count() or 1) > 1 else 1))
    yield found
    everyone = session(driver(os.getpid()))
    assert everyone
    found.close()
    assert gone(everyone)


def carry_out(asked: Plan, path: Path, executor: Executor) -> list[SweepRecord]:
    with Store.open(path, create=True) as store:
        return list(sweep(asked, store, executor, Texts()))


def session(leader: int) -> list[int]:
    """All processes of a session: the driver and whatever Ray has started."""
    return [int(stat.parent.name) for stat in Path("/proc").glob("[0-9]*/stat") if _field(stat, 3) == leader]


def driver(pid: int) -> int:
    """The driver that a process has started: of its children the one that leads a session."""
    return next(child for child in workers(pid) if _field(Path(f"/proc/{child}/stat"), 3) == child)


def _field(stat: Path, number: int) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[number])
    except OSError:  # it ended in the meantime
        return -1


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def microgpt(*arguments: str, cwd: Path, **environment: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "microgpt", "sweep", "few.toml", "--executor", "ray", *arguments]
    pipe, known = subprocess.PIPE, os.environ | environment
    return subprocess.Popen(command, cwd=cwd, stdout=pipe, stderr=pipe, text=True, start_new_session=True, env=known)


def refused(process: "subprocess.Popen[str]") -> str:
    """The one line of a refusal with exit code 5."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 5, err
    assert out == ""
    (line,) = err.splitlines()
    return line


# The same results


@pytest.mark.parametrize("engine", ["atomic", "array", "fused", "torch"])
def test_runs_have_the_same_identities_losses_and_samples_as_here(
    cluster: RayCluster, tmp_path: Path, engine: str
) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    asked = few.planned(tmp_path, base={"engine": engine})
    assert counts(carry_out(asked, tmp_path / "ray.db", cluster)) == (6, 6, 0, 0)
    few.carry_out(asked, tmp_path / "local.db", jobs=1)
    assert few.table(tmp_path / "ray.db") == few.table(tmp_path / "local.db")


def test_a_run_whose_worker_is_killed_is_tried_again(cluster: RayCluster, tmp_path: Path) -> None:
    asked, records, killed = few.planned(tmp_path, axes={"steps": (SLOW,)}), list[SweepRecord](), 0
    with Store.open(tmp_path / "killed.db", create=True) as store:
        for record in sweep(asked, store, cluster, Texts()):
            records.append(record)
            if not killed and isinstance(record, Status) and any(record.working):
                everyone = session(driver(os.getpid()))
                killed = next((pid for pid in everyone if "carry_out" in command_line(pid)), 0)
                if killed:
                    os.kill(killed, signal.SIGKILL)
    retried = [record for record in records if isinstance(record, Retried)]
    assert killed
    assert ["ended" in record.reason for record in retried] == [True]
    assert counts(records) == (3, 3, 0, 0)
    few.carry_out(asked, tmp_path / "calm.db")
    assert few.table(tmp_path / "killed.db") == few.table(tmp_path / "calm.db")


def test_a_text_that_changes_stops_the_sweep(cluster: RayCluster, tmp_path: Path) -> None:
    asked = few.planned(tmp_path)
    Path(few.text(tmp_path)).write_text("other\nnames\nthan\nplanned\nbefore\n")
    own = RayCluster(Asked())  # it ends with the fault
    try:
        with pytest.raises(DataError, match="start the sweep again"):
            carry_out(asked, tmp_path / "lab.db", own)
    finally:
        own.close()


# Who is let in

CLIENT = """
import sys, ray
from ray._raylet import Config
ray.init(address=sys.argv[1], log_to_driver=False)
print("is in", flush=True)
"""


def knock(address: str, **environment: str) -> tuple[str, str]:
    """What a client of Ray says that knocks for some seconds."""
    known = os.environ | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"} | environment
    command = [sys.executable, "-c", CLIENT, address]
    process = subprocess.Popen(command, env=known, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        return process.communicate(timeout=8)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.communicate()


def test_a_cluster_of_our_own_lets_in_who_has_its_token_and_listens_here_alone(cluster: RayCluster) -> None:
    everyone = session(driver(os.getpid()))
    raylet = next(pid for pid in everyone if "raylet/raylet" in command_line(pid))
    environment = Path(f"/proc/{raylet}/environ").read_bytes().decode().split("\0")
    (token,) = [line.partition("=")[2] for line in environment if line.startswith("RAY_AUTH_TOKEN=")]
    (address,) = {word.partition("=")[2] for word in command_line(raylet).split() if word.startswith("--gcs-address=")}
    assert address.startswith("127.0.0.1:")
    assert token not in " ".join(map(command_line, everyone))
    assert "is in" in knock(address, RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=token)[0]
    for stranger in ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "another"}, {"RAY_AUTH_MODE": "disabled"}):
        out, err = knock(address, **stranger)
        assert "is in" not in out
        assert "InvalidAuthToken" in err
    assert token not in os.environ.values()


# What can't be


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--address", "127.0.0.1:1"], "found nothing that answers"),
        (["--cores-per-run", "999"], "expected a machine with 999 cores"),
        (["--jobs", "999"], "expected room for so many runs"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(tmp_path: Path, arguments: list[str], told: str) -> None:
    folder = place(tmp_path / "here")
    assert told in refused(microgpt("--jobs", "1", *arguments, cwd=folder, RAY_AUTH_TOKEN=TOKEN))


def test_an_address_where_something_else_listens_is_given_up_in_time(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        process = microgpt("--address", address, cwd=place(tmp_path / "here"), RAY_AUTH_TOKEN=TOKEN)
        assert "expected an answer within 15 s" in refused(process)


# What is left behind


def begun(folder: Path, *more: str, **environment: str) -> "subprocess.Popen[str]":
    """A sweep that would take long, with its first run done."""
    process = microgpt(*more, cwd=folder, **environment)
    while not (folder / "lab.db").exists() or not few.table(folder / "lab.db"):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    return process


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_sweep_that_is_stopped_leaves_no_process_and_no_file(tmp_path: Path, number: int, code: int) -> None:
    folder = place(tmp_path / "here", longest=2_000_000)
    process = begun(folder)
    everyone = session(driver(process.pid))
    (private,) = {
        word.partition("=")[2].partition("/session")[0]
        for pid in everyone
        for word in command_line(pid).split()
        if word.startswith(("--session-dir=", "--session_dir="))
    }
    assert len(everyone) > 4
    os.killpg(process.pid, number)
    out, err = process.communicate(timeout=300)
    assert process.returncode == code, err
    assert "Traceback" not in err + out
    assert gone(everyone)
    assert not Path(private).exists()
    assert few.table(folder / "lab.db")


# Several machines


@contextlib.contextmanager
def started(count: int, **environment: str) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """The address of a cluster of so many nodes with a core each, and their processes."""
    with socket.create_server(("", 0)) as free:
        port = free.getsockname()[1]
    folder = tempfile.mkdtemp(prefix="mg-", dir="/tmp")  # the paths of sockets must be short
    own = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "RAY_USAGE_STATS_ENABLED": "0"} | environment
    head = ["--head", f"--port={port}", "--include-dashboard=false", f"--temp-dir={folder}"]
    nodes = []
    try:
        for words in (head, *[[f"--address=127.0.0.1:{port}"]] * (count - 1)):
            ray = [Path(sys.executable).with_name("ray"), "start", *words]
            command = [*ray, "--num-cpus=1", "--block", "--object-store-memory=100000000"]
            quiet = subprocess.DEVNULL
            nodes.append(
                subprocess.Popen(
                    command, env=os.environ | own, cwd=folder, start_new_session=True, stdout=quiet, stderr=quiet
                )
            )
            while not any("raylet/raylet" in command_line(pid) for pid in session(nodes[-1].pid)):
                assert nodes[-1].poll() is None
                time.sleep(0.2)
        time.sleep(3)  # until the last one has joined
        yield f"127.0.0.1:{port}", nodes
    finally:
        for node in nodes:
            end(node)
        shutil.rmtree(folder)


def end(node: "subprocess.Popen[bytes]") -> None:
    """As a machine ends that loses its power."""
    for pid in session(node.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    node.wait()


@pytest.fixture
def two_nodes() -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    with started(2) as found:
        yield found


def test_a_cluster_is_joined_by_its_address_and_left_as_it_was(
    tmp_path: Path, two_nodes: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    address, nodes = two_nodes
    folder, calm = place(tmp_path / "here"), place(tmp_path / "calm")
    assert "expected the token" in refused(microgpt("--address", address, cwd=folder, RAY_AUTH_TOKEN="another"))
    assert "found none" in refused(microgpt("--address", address, cwd=folder, RAY_AUTH_TOKEN="", HOME=str(tmp_path)))
    process = microgpt("--address", address, "--json", cwd=folder, RAY_AUTH_TOKEN=TOKEN)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    assert "2 at a time" in err
    assert json.loads(out)["failed"] == 0
    command = [sys.executable, "-m", "microgpt", "sweep", "few.toml", "--jobs", "1", "--quiet"]
    subprocess.run(command, cwd=calm, check=True, capture_output=True)
    assert few.table(folder / "lab.db") == few.table(calm / "lab.db")
    everyone = [pid for node in nodes for pid in session(node.pid)]
    assert sum("raylet/raylet" in command_line(pid) for pid in everyone) == 2
    assert not any("ray::Worker" in command_line(pid) for pid in everyone)


def test_a_sweep_goes_on_without_a_machine_and_ends_with_the_last(
    tmp_path: Path, two_nodes: tuple[str, list["subprocess.Popen[bytes]"]]
) -> None:
    address, (head, second) = two_nodes
    folder = place(tmp_path / "here", longest=300_000)
    process = begun(folder, "--address", address, RAY_AUTH_TOKEN=TOKEN)
    end(second)
    time.sleep(2)
    assert process.poll() is None
    done = len(few.table(folder / "lab.db"))
    end(head)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 5, err
    assert out == ""
    assert "Traceback" not in err
    assert "the same command goes on" in err.splitlines()[-1]
    assert len(few.table(folder / "lab.db")) >= done
    assert not alive(process.pid)


@pytest.mark.parametrize(("kind", "told"), [("older", "found microgpt 0.0.1"), ("none", "found one without it")])
def test_a_machine_with_another_package_is_told(tmp_path: Path, kind: str, told: str) -> None:
    shelf = tmp_path / "shelf"
    shutil.copytree(SOURCE, shelf / "microgpt", ignore=shutil.ignore_patterns("__pycache__", "static", "builtin"))
    door = shelf / "microgpt" / "__init__.py"
    older = door.read_text().replace(f'"{package.__version__}"', '"0.0.1"')
    door.write_text(older if kind == "older" else "raise ModuleNotFoundError(\"No module named 'microgpt'\")\n")
    with started(1, PYTHONPATH=str(shelf)) as (address, _):
        line = refused(microgpt("--address", address, cwd=place(tmp_path / "here"), RAY_AUTH_TOKEN=TOKEN))
    assert told in line
    assert "install the same version there" in line
