"""Finding the C compiler: whatever stands on PATH, it ends with one that works or with one line of what to do."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from microgpt.engines.fused import toolchain
from microgpt.engines.fused.toolchain import Compiler, find_compiler, flags, libraries, reason_unavailable, run
from microgpt.errors import EnvironmentFault
from trials.waiting import until

CC = toolchain.shutil.which("cc")
needs_compiler = pytest.mark.skipif(CC is None, reason="this machine has no C compiler")
posix = pytest.mark.skipif(os.name == "nt", reason="the fake compilers are shell scripts")
GCC = Compiler(("cc",), "gcc", "gcc version 12", "x86_64-linux-gnu")

pytestmark = posix


def script(folder: Path, body: str, name: str = "cc") -> Path:
    """A fake compiler."""
    path = folder / name
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH."""
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain, "PROBE_SECONDS", 60.0)
    monkeypatch.setattr(toolchain, "_BUNDLED", "no_such_package")
    return tmp_path


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the fake compiler, which may hang, an answer is waited for half a second; of a real one for a minute."""
    asked = toolchain.run
    monkeypatch.setattr(
        toolchain, "run", lambda words, seconds: asked(words, 0.5 if Path(words[0]).name == "cc" else seconds)
    )


def test_an_empty_path_gives_one_line_of_what_to_do(only: Path) -> None:
    reason = reason_unavailable()
    assert reason is not None
    assert "\n" not in reason
    assert "found none" in reason
    assert ", or use --engine array." in reason
    with pytest.raises(EnvironmentFault) as fault:
        find_compiler()
    assert (fault.value.exit_code, str(fault.value)) == (5, reason)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("exit 3", "failed with exit code 3"),
        ("kill -9 $$", "was killed by signal 9"),
        ("echo hello", "is neither gcc nor clang"),
        ("echo Target: aarch64-linux-gnu; echo gcc version 12", "compiles for aarch64"),
        ("echo Target: x86_64-linux-gnu; echo gcc version 12", "compiles for x86_64"),
    ],
)
def test_a_compiler_that_does_not_work_counts_as_none(only: Path, body: str, told: str) -> None:
    if told.endswith(toolchain._architecture(toolchain.platform.machine())):
        pytest.skip("that is this machine")
    script(only, body)
    assert f"cc: it {told}" in str(reason_unavailable())


def test_what_cannot_be_run_counts_as_none(only: Path) -> None:
    path = script(only, "")
    path.write_text("#!/no/such/interpreter\n")
    assert "cc: it can't be run" in str(reason_unavailable())
    path.chmod(0o644)
    toolchain._find.cache_clear()
    assert "found none" in str(reason_unavailable())


@pytest.mark.usefixtures("soon")
def test_a_compiler_that_hangs_counts_as_none(only: Path) -> None:
    script(only, "/bin/sleep 1000")
    assert "cc: it did not end in time" in str(reason_unavailable())


@needs_compiler
@pytest.mark.usefixtures("soon")
def test_the_next_one_is_taken_where_the_first_hangs(only: Path) -> None:
    script(only, "/bin/sleep 1000")
    script(only, f'exec {CC} "$@"', "gcc")
    assert find_compiler().command == (str(only / "gcc"),)


@needs_compiler
def test_the_variable_goes_first_with_its_words(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(only, "exit 1")
    monkeypatch.setenv("CC", f"'{CC}' -DWORD='two words'")
    assert find_compiler().command == (CC, "-DWORD=two words")
    monkeypatch.setenv("CC", f"{CC} -ffast-math")
    assert "remove -ffast-math" in str(reason_unavailable())
    monkeypatch.setenv("CC", "'no end")
    assert "cc: it failed" in str(reason_unavailable())


def test_it_is_asked_once(only: Path) -> None:
    script(only, f"echo asked >> {only}/log; exit 1")
    assert reason_unavailable() == reason_unavailable()
    assert (only / "log").read_text() == "asked\n"


def test_on_macos_nothing_is_run_without_the_developer_tools(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script(only, f"echo asked >> {only}/log; exit 1")
    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(toolchain, "DEVELOPER_TOOLS", str(script(only, "exit 2", "xcode-select")))
    assert "xcode-select --install" in str(reason_unavailable())
    assert not (only / "log").exists()


@needs_compiler
def test_an_installed_package_that_brings_one_comes_last(only: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = only / "packaged"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('it is found, not imported')")
    script(package, f'shift; exec {CC} "$@"', "zig")
    monkeypatch.syspath_prepend(str(only))
    monkeypatch.setattr(toolchain, "_BUNDLED", "packaged")
    found = find_compiler()
    assert (found.command, found.kind) == ((str(package / "zig"), "cc"), "zig")


def test_flags_fit_the_processor_and_the_compiler() -> None:
    assert "-march=native" in flags(GCC)
    assert "-march=x86-64-v3" in flags(GCC, "x86-64-v3")
    assert "-march=x86_64_v3" in flags(replace(GCC, kind="zig"), "x86-64-v3")
    assert "-mcpu=native" in flags(replace(GCC, target="arm64-apple-darwin23"))
    assert not any(flag.startswith("-m") for flag in flags(replace(GCC, target="riscv64-linux-gnu")))
    windows = replace(GCC, target="x86_64-w64-mingw32")
    assert "-fPIC" in flags(GCC)
    assert "-fPIC" not in flags(windows)
    assert (libraries(GCC), libraries(windows)) == (("-lm", "-pthread"), ())


@pytest.mark.parametrize("kind", ["gcc", "clang", "zig"])
def test_flags_are_never_inexact(kind: toolchain.Kind) -> None:
    assert not toolchain._INEXACT.search(" ".join(flags(replace(GCC, kind=kind))))


def test_what_hangs_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    program = script(tmp_path, f"/bin/sleep 1000 & echo $! > {tmp_path}/child; wait")
    told = tmp_path / "child"
    for seconds in (0.5, 4.0, 32.0):  # on a busy machine it may be killed before it has begun
        assert run([str(program)], seconds).code is None
        if told.exists() and told.read_text().strip():
            break
    line = Path(f"/proc/{int(told.read_text())}/cmdline")
    until(lambda: not line.exists() or not line.read_bytes())  # whoever inherits it has reaped it
