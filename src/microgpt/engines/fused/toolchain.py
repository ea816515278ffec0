"""The machine's C compiler: finding it without ever running one that would ask the person something, and running it.

A compiler is asked once per process what it is. One that is missing, hangs, fails or is killed counts as none.
"""

import atexit
import contextlib
import functools
import importlib.util
import os
import platform
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from microgpt.errors import STOPS, EnvironmentFault

NAMES: Final = ("cc", "gcc", "clang")
PROBE_SECONDS: Final = 10.0  # to say what it is
POLL_SECONDS: Final = 0.001
DEVELOPER_TOOLS: Final = "/usr/bin/xcode-select"  # says where they are, and asks nothing
REMEDY: Final = {
    "linux": "install one (Debian, Ubuntu: apt install build-essential; Fedora: dnf install gcc)",
    "darwin": "install Apple's (xcode-select --install)",
    "win32": "install one (winget install LLVM.LLVM, or MinGW-w64)",
}
EXTRA: Final = "microgpt-symmetry[cc]"  # brings a compiler from the package index
_BUNDLED: Final = "ziglang"  # a package that brings clang, for machines without a compiler
_ZIG: Final = "zig"  # its program: clang with own names for targets and own caches
_SPELLINGS: Final = {"amd64": "x86_64", "arm64": "aarch64"}
_running: "set[subprocess.Popen[bytes]]" = set()
_starting = threading.Lock()  # held while one is being started, and for good once this process leaves
_INEXACT: Final = re.compile(r"-ffast-math|-Ofast|-funsafe-math-optimizations|-ffinite-math-only")

Kind = Literal["gcc", "clang", "zig"]


@dataclass(frozen=True)
class Compiler:
    """A C compiler that answered."""

    command: tuple[str, ...]
    kind: Kind
    version: str  # all that it says of itself
    target: str  # the machine that it compiles for, such as x86_64-linux-gnu

    @property
    def architecture(self) -> str:
        """The target's processor, in one spelling."""
        return _architecture(self.target.split("-")[0])

    @property
    def for_windows(self) -> bool:
        return "windows" in self.target or "mingw" in self.target


@dataclass(frozen=True)
class Outcome:
    """How a command ended, and all that it wrote."""

    code: int | None  # None where it was still running when its time was over
    text: str

    def failure(self) -> str:
        """Why it can't be relied on, in a few words; empty where it ended well."""
        if self.code is None:
            return "it did not end in time"
        if self.code < 0:
            return f"it was killed by signal {-self.code}"
        return f"it failed with exit code {self.code}" if self.code else ""


def find_compiler() -> Compiler:
    """The first of $CC, cc, gcc, clang and an installed `ziglang` that works. Raises `EnvironmentFault` for none."""
    found = _find(os.environ.get("CC", ""), os.environ.get("PATH", ""))
    if isinstance(found, str):
        raise EnvironmentFault(found)
    return found


def bundled_compiler() -> Compiler:
    """The clang of an installed `ziglang`, which compiles for WebAssembly too. Raises `EnvironmentFault` for none."""
    found = next((_probe(command) for command in _bundled()), "none")
    if isinstance(found, str):
        raise EnvironmentFault(f"Expected the compiler of the package ziglang, found {found}; pip install '{EXTRA}'.")
    return found


def reason_unavailable() -> str | None:
    """Why nothing can be compiled here and what to do, in one line; None where a compiler answers."""
    try:
        find_compiler()
    except EnvironmentFault as fault:
        return str(fault)
    return None


def flags(compiler: Compiler, target: str = "native") -> tuple[str, ...]:
    """What the kernel is compiled with, apart from its sizes.

    Never -ffast-math: a library linked with it can make the whole process flush small numbers to zero, and checks for
    NaN vanish. The two relaxations named here change no result: nobody reads errno, and nobody traps.
    """
    # -g0: zig adds the name of the folder it works in otherwise, and no two libraries are the same.
    exact = ("-O2", "-g0", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math")
    position = () if compiler.for_windows else ("-fPIC",)
    return (*exact, *_processor(compiler, target), *position, "-shared")


def libraries(compiler: Compiler) -> tuple[str, ...]:
    """What the kernel is linked with; on Windows nothing by name."""
    return () if compiler.for_windows else ("-lm", "-pthread")


def web_flags() -> tuple[str, ...]:
    """What the kernel is compiled with for a page: one thread and no C library, on every browser since 2023."""
    exact = ("-O3", "-g0", "-std=gnu11", "-fno-math-errno", "-fno-trapping-math")
    target = ("--target=wasm32-freestanding", "-mcpu=generic+simd128+bulk_memory")
    linked = ("--no-entry", "--strip-all", "--export-dynamic", "--export=__heap_base")
    return (*exact, *target, "-nostdlib", "-fvisibility=default", *(f"-Wl,{flag}" for flag in linked))


def _processor(compiler: Compiler, target: str) -> tuple[str, ...]:
    if compiler.architecture == "x86_64":
        return (f"-march={target.replace('-', '_') if compiler.kind == 'zig' else target}",)
    if compiler.architecture == "aarch64":  # where -march=native came later than -mcpu=native
        return ("-mcpu=native" if target == "native" else f"-march={target}",)
    return ()  # what a compiler for another processor takes is not known; its default runs everywhere


@functools.lru_cache(maxsize=16)
def _find(given: str, path: str) -> Compiler | str:
    """The compiler for these values of $CC and $PATH, or the line that says why there is none."""
    reasons = []
    for command in _candidates(given, path):
        found = _probe(command)
        if isinstance(found, Compiler):
            return found
        reasons.append(f"{Path(command[0]).name}: {found}")
    found = "; ".join(dict.fromkeys(reasons)) or "none"
    remedy = REMEDY.get(sys.platform, "install one")
    expected = f"Expected a C compiler ({', '.join(NAMES)}) on PATH, found {found}"
    return f"{expected}; {remedy}, or pip install '{EXTRA}', or use --engine array."


def _candidates(given: str, path: str) -> Iterator[tuple[str, ...]]:
    # Without Apple's developer tools, /usr/bin/cc opens a window that asks to install them.
    if sys.platform != "darwin" or _has_developer_tools():
        for words in (_words(given), *([name] for name in NAMES)):
            found = shutil.which(words[0], path=path) if words else None
            if found:
                yield (str(Path(found).absolute()), *words[1:])
    yield from _bundled()


def _words(given: str) -> list[str]:
    try:
        return shlex.split(given, posix=sys.platform != "win32")
    except ValueError:  # a quotation without an end
        return [given]


def _bundled() -> Iterator[tuple[str, ...]]:
    specification = importlib.util.find_spec(_BUNDLED)
    for folder in (specification.submodule_search_locations or []) if specification else []:
        program = Path(folder) / (f"{_ZIG}.exe" if sys.platform == "win32" else _ZIG)
        if program.is_file():
            yield (str(program), "cc")


def _has_developer_tools() -> bool:
    try:
        return not run([DEVELOPER_TOOLS, "-p"], PROBE_SECONDS).failure()
    except OSError:
        return False


def _probe(command: tuple[str, ...]) -> Compiler | str:
    """Ask a command what compiler it is."""
    if _INEXACT.search(" ".join(command)):
        return "its flags make it compute inexactly; remove -ffast-math and the like from $CC"
    try:
        outcome = run([*command, "-v"], PROBE_SECONDS)
    except OSError as error:
        return f"it can't be run ({error.strerror or error})"
    return outcome.failure() or _identified(command, outcome.text)


def _identified(command: tuple[str, ...], text: str) -> Compiler | str:
    target = re.search(r"^Target: (\S+)", text, re.MULTILINE)
    name = re.search(r"^gcc(?= version)|\bclang(?= version)", text, re.MULTILINE)
    if not target or not name:
        return "it is neither gcc nor clang"
    kind: Kind = "zig" if Path(command[0]).stem == _ZIG else "gcc" if name.group() == "gcc" else "clang"
    compiler = Compiler(command, kind, text.strip(), target.group(1))
    here = _architecture(platform.machine())
    if here != compiler.architecture and {here, compiler.architecture} <= {"x86_64", "aarch64"}:
        return f"it compiles for {compiler.architecture}, and this is {here}"
    return compiler


def _architecture(name: str) -> str:
    return _SPELLINGS.get(name.lower(), name.lower())


def run(
    command: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None, folder: Path = Path(os.sep)
) -> Outcome:
    """Run a command to its end and read what it writes; one that takes longer is killed with all that it started.

    It works in `folder`, never in that of the person, where a stranger may have put a library: linkers look there first
    for what a library of their own asks for.
    """
    # A file, since a pipe would be waited for as long as anything that the command has started holds it.
    with tempfile.TemporaryFile() as output, _signals_held_back() as deliver:
        _end_all_at_exit()
        with _starting:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=folder,
                env={**os.environ, "LC_ALL": "C", **(environment or {})},
                start_new_session=True,
            )
            _running.add(process)
        code = _wait(process, seconds, deliver)
        output.seek(0)
        return Outcome(code, output.read().decode("utf-8", "replace"))


@contextlib.contextmanager
def _signals_held_back() -> Iterator[Callable[[], None]]:
    """Signals only take note; what is given delivers those that came.

    A handler that raises between the start of a compiler and its entry in `_running` would leave one that nobody
    knows. Blocking signals would not do: another thread takes them, and Python runs the handler in this one.
    """
    heard: list[int] = []
    here = STOPS if threading.current_thread() is threading.main_thread() else ()
    before = {number: handler for number in here if (handler := signal.getsignal(number)) not in (signal.SIG_IGN, None)}

    def note(number: int, _: object) -> None:
        heard.append(number)

    def deliver() -> None:
        while heard:
            number = heard.pop(0)
            if callable(handler := before[number]):
                handler(number, None)
            else:  # the system's default, which ends this process
                end_all(for_good=True)
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

    try:
        for number in before:
            signal.signal(number, note)
        yield deliver
    finally:
        for number, handler in before.items():
            if signal.getsignal(number) is note:  # and not what a handler has put in its place
                signal.signal(number, handler)
        deliver()


@functools.lru_cache(maxsize=1)
def _end_all_at_exit() -> None:
    atexit.register(end_all, for_good=True)  # where it runs in a thread that is not waited for


def end_all(for_good: bool = False) -> None:
    """End what is being run, for whoever leaves the process without waiting for anything; `for_good` lets no other
    begin."""
    held = _starting.acquire(timeout=PROBE_SECONDS)
    for process in list(_running):
        _kill(process)
    if held and not for_good:
        _starting.release()


def _wait(process: "subprocess.Popen[bytes]", seconds: float, deliver: Callable[[], None]) -> int | None:
    deadline = time.monotonic() + seconds
    try:
        while process.poll() is None and time.monotonic() < deadline:
            deliver()
            time.sleep(POLL_SECONDS)  # process.wait(seconds) looks so seldom that it doubles a short wait
        return process.returncode
    finally:  # also when Ctrl-C ends the wait
        if process.returncode is None:
            _kill(process)
        _running.discard(process)


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        if sys.platform == "win32":
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
