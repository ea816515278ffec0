"""Three systems: the kernel computes the same on all, and what is not the same on Windows is used where it is safe."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from microgpt.errors import EnvironmentFault
from tests.conftest import SOURCE
from trials.systems import SYSTEMS, System, told

OTHER_ON_WINDOWS = re.compile(
    r"fcntl|resource|pwd|grp|termios|tty|pty|posix|syslog|/(?:proc|tmp|dev|usr|bin|etc)(?:/\S*)?|"
    r"os\.(?:fork\w*|killp?g?|get(?:uid|euid|gid|pgid|ppid|loadavg)|set(?:sid|pgid|uid|_blocking)|sched_\w+|sysconf|"
    r"SEEK_(?:DATA|HOLE)|rename|link|symlink|mkfifo|chmod|chown|umask|statvfs|pread|pwrite|wait\w*|nice|uname)|"
    r"select\.\w+|signal\.(?:SIG[A-Z_]+|pthread_\w+|alarm|setitimer|set_wakeup_fd|pause|sigwait\w*)|"
    r"(?:os\.)?O_(?:NOFOLLOW|NONBLOCK|DIRECTORY|CLOEXEC)|SIG[A-Z]+|fork|forkserver|setsid|killpg|"
    r"(?:pass_fds|dir_fd|preexec_fn|start_new_session|close_fds)="
)
SAME = {"SIGINT", "SIGTERM", "signal.SIGINT", "signal.SIGTERM", "signal.SIG_DFL", "signal.SIG_IGN"}
# Where each such thing is used, and why that is safe on Windows. mypy for win32 (`make lint`) proves each "not there".
USES = {
    "children.py": {
        "signal.SIG_BLOCK, signal.SIG_SETMASK, signal.pthread_sigmask": "not there",
        "SIGKILL": "only a name to compare with",
    },
    "cli/app.py": {
        "os.kill": "raise_signal there: os.kill would end the process",
        "os.set_blocking": "not there: Python 3.11 lacks it, and a wakeup descriptor may block",
        "signal.set_wakeup_fd": "takes a pipe there too",
    },
    "engines/fused/build.py": {
        "/proc/cpuinfo": "platform.processor() where there is none",
        "/usr/sbin/sysctl": "on macOS alone",
    },
    "engines/fused/toolchain.py": {
        "/usr/bin/xcode-select": "on macOS alone",
        "start_new_session=": "without effect there",
        "os.killpg, signal.SIGKILL": "not there: the process alone is killed",
    },
    "engines/fused/cache.py": {"os.geteuid": "not there: access lists keep a person's folder"},
    "errors.py": {"SIGHUP": "left out where it is missing"},
    "lab/cluster/driver.py": {"os.setsid, setsid": "left out where it is missing"},
    "lab/cluster/executor.py": {
        "os.killpg, signal.SIGKILL": "not there",
        "/tmp": "only where it can be written; else the system's own",
    },
    "data/sources.py": {"select.select": "not there: a pipe is read at once"},
    "locks.py": {
        "fcntl": "not there: nothing is locked, and nothing that looks dead is removed",
        "O_NONBLOCK": "0 where it is missing",
    },
    "machine.py": {
        "os.sched_getaffinity": "on Linux alone",
        "os.sysconf": "not there: memory beyond all bounds",
        "/proc/meminfo": "all memory where there is none",
    },
    "studio/forked.py": {"os.getppid": "imported by a forkserver alone"},
    "studio/server.py": {"SIGHUP": "left out where it is missing"},
    "studio/texts.py": {"os.chmod": "sets no more than read-only, and the folder can be written"},
    "studio/training.py": {"forkserver": "on Linux alone; spawn elsewhere"},
    "training/report.py": {"/proc/cpuinfo": "platform.processor() where there is none"},
    "untrusted.py": {
        "O_NOFOLLOW, O_NONBLOCK": "0 where it is missing",
        "os.SEEK_DATA, os.SEEK_HOLE": "not there: a file is taken for whole",
    },
}


def names(tree: ast.AST) -> Iterator[str]:
    """Modules that are imported, attributes of modules, keywords and texts."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=parts):
                yield from (part.name for part in parts)
            case ast.ImportFrom(module=str(module), names=parts):
                yield from (module, *(f"{module}.{part.name}" for part in parts))
            case ast.Attribute(value=ast.Name(id=module), attr=name):
                yield f"{module}.{name}"
            case ast.keyword(arg=str(name)):
                yield f"{name}="
            case ast.Constant(value=str(text)):
                yield text


def test_what_is_other_on_windows_is_used_where_it_is_safe() -> None:
    found = {}
    for path in SOURCE.rglob("*.py"):
        uses = {name for name in names(ast.parse(path.read_text("utf-8"))) if OTHER_ON_WINDOWS.fullmatch(name)} - SAME
        if uses:
            found[path.relative_to(SOURCE).as_posix()] = uses
    assert found == {file: {name for names in uses for name in names.split(", ")} for file, uses in USES.items()}


WITHOUT = """
import multiprocessing.connection, multiprocessing.resource_tracker, os, signal, subprocess, sys
import click, numpy, rich.console, threadpoolctl
for module, names in {
    os: "O_NOFOLLOW O_NONBLOCK SEEK_DATA SEEK_HOLE fork geteuid killpg sched_getaffinity set_blocking setsid sysconf",
    signal: "SIGALRM SIGHUP SIGKILL SIGUSR1 SIG_BLOCK SIG_SETMASK pthread_sigmask setitimer",
}.items():
    for name in names.split():
        vars(module).pop(name, None)
signal.set_wakeup_fd = lambda descriptor, **_: -1  # Linux takes none that blocks
sys.modules["fcntl"], sys.platform, opened = None, "win32", os.open

def without_folders(path, *rest, **more):
    if isinstance(path, (str, os.PathLike)) and os.path.isdir(path):
        raise PermissionError(13, "Permission denied")
    return opened(path, *rest, **more)

os.open = without_folders
from microgpt.cli import carry_out
sys.exit(any(carry_out(line.split()) for line in sys.argv[1:]))
"""


def test_the_commands_need_nothing_that_windows_lacks(tmp_path: Path) -> None:
    """What is loaded first is Python's own and others' code, which on Windows takes another way."""
    begin, go_on = "--name a --steps 4 --engine array", "--resume runs/a --steps 8"
    verbs = [begin, go_on, "sample --count 1", "runs", "export a a.py"]
    done = subprocess.run([sys.executable, "-c", WITHOUT, *verbs], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "runs").iterdir())) == 2


@pytest.mark.long
@pytest.mark.parametrize("system", SYSTEMS, ids=lambda system: system.name)
def test_the_kernel_computes_the_same(system: System) -> None:
    try:
        row = told(system)
    except EnvironmentFault as fault:  # no zig
        pytest.skip(str(fault))
    if "not tried" in row:
        pytest.skip(row)
