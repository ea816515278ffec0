"""Compiling and caching kernels: many processes at once, damaged entries, folders that can't be trusted or used.

A small stand-in is compiled in place of the kernel: it returns its size, and reads the floating-point state.
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from microgpt.engines.fused import build, cache
from microgpt.engines.fused.build import load, reason_unavailable
from microgpt.errors import EnvironmentFault
from trials.stand_in import STAND_IN, size_of

pytestmark = [
    pytest.mark.skipif(reason_unavailable() is not None, reason=str(reason_unavailable())),
    pytest.mark.skipif(os.name == "nt", reason="owners, modes and shell scripts are those of POSIX"),
]

USUAL_STATE = ctypes.c_uint(0x1F80 if build.platform.machine() in {"x86_64", "AMD64"} else 0).value


def test_the_second_time_nothing_is_compiled(kernel: Path, folder: Path) -> None:
    first = build.build({"SIZE": 7}, kernel=kernel, folder=folder)
    written = first.stat().st_ino
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7
    assert build.build({"SIZE": 7}, kernel=kernel, folder=folder).stat().st_ino == written
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in folder.iterdir()} - {"zig"} == {first.name, cache.LOCKS}


def test_a_compiler_takes_nothing_from_the_working_folder(
    kernel: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("libgcc_s.so.1", "libc.so.6", "libm.so.6"):
        (tmp_path / name).write_text("GROUP ( /nowhere )")
    (tmp_path / "math.h").write_text("#error a stranger's")
    kernel.write_text("#include <math.h>\n" + kernel.read_text())
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CPATH", ":/nowhere")
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7


PROCESS = """
import sys, time
from pathlib import Path
from microgpt.engines.fused.build import load
number, size, kernel, folder, meeting = int(sys.argv[1]), int(sys.argv[2]), *map(Path, sys.argv[3:])
(meeting / f"ready-{number}").touch()
while not (meeting / "go").exists():
    time.sleep(0.005)
assert load({"SIZE": size}, kernel=kernel, folder=folder).size() == size
"""


@pytest.mark.parametrize("processes", [12, pytest.param(50, marks=pytest.mark.long)])
def test_many_processes_share_a_cold_cache(
    processes: int, kernel: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, sizes = tmp_path / "log", processes // 3
    counting = tmp_path / "counting"  # a compiler that writes down when it begins and ends
    told = f'case "$*" in *-shared*) echo begin >> {log}; cc "$@"; echo end >> {log};; *) exec cc "$@";; esac'
    counting.write_text(f"#!/bin/sh\n{told}\n")
    counting.chmod(0o755)
    monkeypatch.setenv("CC", str(counting))
    arguments = [[str(number), str(number % sizes), kernel, folder, tmp_path] for number in range(processes)]
    command = [sys.executable, "-W", "error", "-c", PROCESS]
    running = [subprocess.Popen([*command, *rest], stderr=subprocess.PIPE) for rest in arguments]
    while len(list(tmp_path.glob("ready-*"))) < processes and all(process.poll() is None for process in running):
        time.sleep(0.01)
    (tmp_path / "go").touch()
    assert [process.communicate(timeout=300)[1] for process in running] == [b""] * processes
    at_once = [0]
    for line in log.read_text().split():
        at_once.append(at_once[-1] + (1 if line == "begin" else -1))
    assert Counter(log.read_text().split()) == {"begin": sizes, "end": sizes}
    assert max(at_once) <= build.cores()


def test_each_part_of_the_key_counts(kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = build._job({"SIZE": 7}, "native", kernel)
    keys = [
        job.key,
        replace(job, text=job.text + " ").key,
        replace(job, defines=(("SIZE", 8),)).key,
        replace(job, flags=(*job.flags, "-g")).key,
        replace(job, compiler=replace(job.compiler, version="another")).key,
        replace(job, compiler=replace(job.compiler, target="another")).key,
        replace(job, compiler=replace(job.compiler, command=("another",))).key,
    ]
    monkeypatch.setenv("CPATH", "another")
    keys.append(job.key)
    monkeypatch.setattr(build, "processor", lambda: "another")
    keys.append(job.key)
    assert len(set(keys)) == len(keys)
    assert len(build.processor()) > 0


def test_the_processor_is_known_by_what_it_can_do() -> None:
    assert len(build.processor()) > 5
    if build.platform.machine() == "x86_64" and sys.platform == "linux":
        assert "sse2" in build.processor()
        assert "MHz" not in build.processor()


def test_another_source_size_or_target_is_compiled(kernel: Path, folder: Path) -> None:
    first = build.build({"SIZE": 7}, kernel=kernel, folder=folder)
    assert size_of(load({"SIZE": 8}, kernel=kernel, folder=folder)) == 8
    assert build.build({"SIZE": 7}, kernel=kernel, folder=folder, extra=("-g",)) != first
    kernel.write_text(STAND_IN.replace("return SIZE", "return SIZE + 1"))
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 8


def test_a_kernel_that_does_not_compile_says_so(kernel: Path, folder: Path) -> None:
    kernel.write_text("#error this size can't be\n")
    with pytest.raises(EnvironmentFault, match=r": kernel\.c:1:2: error: .*this size can't be") as fault:
        load({"SIZE": 7}, kernel=kernel, folder=folder)
    assert "\n" not in str(fault.value)


@pytest.mark.parametrize(
    ("body", "told"),
    [("exec /bin/sleep 1000", "did not end in time"), ("kill -9 $$", "killed by signal 9"), ("exit 0", "made no file")],
)
def test_a_compiler_that_fails_leaves_nothing(
    body: str, told: str, kernel: Path, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "fake"
    fake.write_text(f'#!/bin/sh\ncase "$*" in *-shared*) {body};; *) exec cc "$@";; esac\n')
    fake.chmod(0o755)
    monkeypatch.setenv("CC", str(fake))
    with pytest.raises(EnvironmentFault, match=told):
        load({"SIZE": 7}, kernel=kernel, folder=folder, seconds=0.5 if "sleep" in body else 60)
    assert [path.name for path in folder.iterdir()] == [cache.LOCKS]
    monkeypatch.delenv("CC")
    assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7


def test_a_stopped_process_does_not_stop_the_others(
    kernel: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = build._job({"SIZE": 7}, "native", kernel)
    with cache.one_of(folder, [f"key-{job.key[:2]}"], 1):
        one_of = cache.one_of  # with less patience for the lock, and as much as ever for the compiler
        monkeypatch.setattr(cache, "one_of", lambda place, names, seconds: one_of(place, names, min(seconds, 0.5)))
        assert size_of(load({"SIZE": 7}, kernel=kernel, folder=folder)) == 7


STATE = """
import json, sys
from pathlib import Path
from microgpt.engines.fused.build import load
kernel, folder, extra = Path(sys.argv[1]), Path(sys.argv[2]), tuple(sys.argv[3:])
smallest = 5e-324
before = load({"SIZE": 1}, kernel=kernel, folder=folder).state()
after = load({"SIZE": 2}, kernel=kernel, folder=folder, extra=extra).state()
print(json.dumps([before, after, smallest * 1.0 != 0]))
"""


@pytest.mark.parametrize("inexact", [False, True])
def test_the_floating_point_state_is_left_alone(inexact: bool, kernel: Path, folder: Path) -> None:
    extra = ["-ffast-math"] if inexact else []
    command = [sys.executable, "-c", STATE, str(kernel), str(folder), *extra]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    before, after, subnormal = json.loads(done.stdout)
    assert before == USUAL_STATE
    if not inexact:
        assert (after, subnormal) == (USUAL_STATE, True)
    elif after == USUAL_STATE:
        pytest.skip("this compiler's -ffast-math leaves the state alone too")  # else the test sees what it guards


def test_what_is_compiled_can_be_shown() -> None:
    text = build.source({"EMB": 16, "CTX": 8})
    assert text.startswith("#define CTX 8\n#define EMB 16\n\n")
    assert text.endswith(build.KERNEL.read_text("utf-8"))
    command = build.command_line({"EMB": 16, "CTX": 8})
    assert " -DCTX=8 -DEMB=16 kernel.c -o kernel" in command
