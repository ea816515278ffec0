"""From sizes to a loaded kernel: compiled on first use, kept in the cache, verified before it is loaded.

`toolchain.py` finds and runs the compiler, `cache.py` keeps what it makes.
"""

import ctypes
import functools
import hashlib
import json
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from microgpt.engines.fused import cache
from microgpt.engines.fused.toolchain import (
    Compiler,
    Outcome,
    bundled_compiler,
    find_compiler,
    flags,
    libraries,
    reason_unavailable,
    run,
    web_flags,
)
from microgpt.errors import EnvironmentFault
from microgpt.machine import cores

__all__ = [
    "CacheWarning",
    "build",
    "command_line",
    "find_compiler",
    "flags",
    "load",
    "reason_unavailable",
    "source",
    "web",
]

CacheWarning = cache.CacheWarning
KERNEL: Final = Path(__file__).with_name("kernel.c")
WEB: Final = Path(__file__).with_name("web.c")  # stands before it, where there is no C library
COMPILE_SECONDS: Final = 300.0 if sys.platform == "win32" else 60.0  # zig makes Windows' C library first: a minute
PROCESSOR_FILE: Final = Path("/proc/cpuinfo")
PROCESSOR_FIELDS: Final = {"vendor_id", "cpu family", "model", "model name", "stepping", "flags"} | {
    "Features", "CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision"
}  # fmt: skip
COMPILER_VARIABLES: Final = (  # by which compilers let themselves be steered
    "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH", "COMPILER_PATH", "GCC_EXEC_PREFIX", "CCC_OVERRIDE_OPTIONS", "SDKROOT",
    "MACOSX_DEPLOYMENT_TARGET",
)  # fmt: skip
WORKPLACE: Final = "its own folder"  # where a compiler works; what was made elsewhere may hold a stranger's code
_FULL: Final = ("No space left on device", "Disk quota exceeded")

Result = TypeVar("Result")


@dataclass(frozen=True)
class Job:
    """A kernel to be compiled, with everything that decides what comes out."""

    text: str
    defines: tuple[tuple[str, float], ...]
    compiler: Compiler
    flags: tuple[str, ...]
    seconds: float
    libraries: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """Names what comes out: another source, size, flag, compiler or processor gives another key."""
        steering = [os.environ.get(name) for name in COMPILER_VARIABLES]
        told = (
            self.compiler.command,
            self.compiler.version,
            self.compiler.target,
            self.flags,
            self.libraries,
            steering,
        )
        parts = json.dumps((WORKPLACE, self.text, self.defines, told, sys.platform, processor()))
        return hashlib.sha256(parts.encode()).hexdigest()[:32]

    def command(self, source: str, output: str) -> list[str]:
        """What compiles a source file."""
        sizes = [f"-D{name}={value}" for name, value in self.defines]
        return [*self.compiler.command, *self.flags, *sizes, source, "-o", output, *self.libraries]


def load(
    defines: Mapping[str, float],
    *,
    target: str = "native",
    folder: Path | None = None,
    kernel: Path = KERNEL,
    extra: tuple[str, ...] = (),
    seconds: float = COMPILE_SECONDS,
) -> ctypes.CDLL:
    """The kernel for these sizes, in this process. Raises `EnvironmentFault` where it can't be compiled or loaded."""
    return _with_fallback(_job(defines, target, kernel, extra, seconds), folder, _open)


def build(
    defines: Mapping[str, float],
    *,
    target: str = "native",
    folder: Path | None = None,
    kernel: Path = KERNEL,
    extra: tuple[str, ...] = (),
    seconds: float = COMPILE_SECONDS,
) -> Path:
    """The compiled kernel for these sizes as a verified file. Raises `EnvironmentFault` where it can't be compiled."""
    return _with_fallback(_job(defines, target, kernel, extra, seconds), folder, _entry)


def web(defines: Mapping[str, float], *, folder: Path | None = None) -> bytes:
    """The kernel for these sizes as WebAssembly with vectors of 16 bytes, the same bytes for the same compiler.

    It exports what Python calls, `kernel_know`, its memory and the place where what is free begins, and imports
    log, pow, cos and sin from a module called Math. Raises `EnvironmentFault` where it can't be compiled.
    """
    compiler = bundled_compiler()
    text = "\n".join(file.read_text("utf-8") for file in (WEB, KERNEL))
    job = Job(text, _sizes(defines), compiler, web_flags(), COMPILE_SECONDS)
    return _with_fallback(job, folder, lambda job, place: _entry(job, place).read_bytes())


def command_line(defines: Mapping[str, float], *, target: str = "native") -> str:
    """The command that compiles the kernel for these sizes."""
    return shlex.join(_job(defines, target).command(KERNEL.name, f"kernel{cache.SUFFIX}"))


def source(defines: Mapping[str, float]) -> str:
    """What is compiled for these sizes: the kernel with them as its first lines."""
    sizes = "".join(f"#define {name} {value}\n" for name, value in sorted(defines.items()))
    return f"{sizes}\n{KERNEL.read_text('utf-8')}"


def _job(
    defines: Mapping[str, float],
    target: str,
    kernel: Path = KERNEL,
    extra: tuple[str, ...] = (),
    seconds: float = COMPILE_SECONDS,
) -> Job:
    compiler = find_compiler()
    text = kernel.read_text("utf-8")
    used = (*flags(compiler, target), *extra)
    return Job(text, _sizes(defines), compiler, used, seconds, libraries(compiler))


def _sizes(defines: Mapping[str, float]) -> tuple[tuple[str, float], ...]:
    return tuple(sorted((name, value if isinstance(value, float) else int(value)) for name, value in defines.items()))


def _with_fallback(job: Job, folder: Path | None, action: Callable[[Job, Path], Result]) -> Result:
    """Do it in the cache or, where that can't be used or trusted, in a folder for this process alone."""
    try:
        chosen = folder or cache.default_folder()
        chosen = chosen.parent.resolve() / chosen.name  # a link on the way could lead elsewhere after the check
        cache.prepare(chosen)
        return action(job, chosen)
    except cache.CacheFault as fault:
        told = f"{fault} Until then kernels are compiled for this process alone."
        warnings.warn(told, CacheWarning, stacklevel=3)
    return action(job, cache.private_folder())


def _open(job: Job, folder: Path) -> ctypes.CDLL:
    path = _entry(job, folder)
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        reason = str(error)
    if not path.exists():  # dropped by another process in between
        return _open(job, folder)
    message = f"{folder}: expected a folder from which code can be loaded, found: {reason}"
    raise cache.CacheFault(f"{message}; set {cache.VARIABLE} to another, or use --engine array.")


def _entry(job: Job, folder: Path) -> Path:
    """The verified file of a job: found, or waited for, or compiled."""
    found = cache.find(folder, job.key)
    if found:
        return found
    patience = 2 * job.seconds
    with cache.one_of(folder, [f"key-{job.key[:2]}"], patience):
        found = cache.find(folder, job.key)  # by whoever held the lock before
        if found:
            return found
        with cache.one_of(folder, [f"slot-{slot}" for slot in range(cores())], patience):
            data = _compiled(job, folder)
        return cache.store(folder, job.key, data)


def _compiled(job: Job, folder: Path) -> bytes:
    with cache.working(folder.absolute()) as scratch:
        (scratch / KERNEL.name).write_text(job.text, "utf-8")
        output = scratch / f"kernel{cache.SUFFIX}"
        command = job.command(str(scratch / KERNEL.name), str(output))
        outcome = run(command, job.seconds, _places(folder.absolute(), scratch), scratch)
        if outcome.failure() or not output.is_file():
            raise _fault(job, outcome, scratch)
        return output.read_bytes()


def _places(folder: Path, scratch: Path) -> dict[str, str]:
    """Where compilers put what they need in between, so that a killed one leaves nothing. zig keeps its own runtime
    library, which takes seconds to compile."""
    lasting, passing = str(folder / "zig"), str(scratch)
    return {"TMPDIR": passing, "ZIG_LOCAL_CACHE_DIR": passing, "ZIG_GLOBAL_CACHE_DIR": lasting}


def _fault(job: Job, outcome: Outcome, scratch: Path) -> EnvironmentFault:
    """What to tell of a compiler that made nothing."""
    lines = [line.replace(f"{scratch}{os.sep}", "") for line in outcome.text.splitlines() if line.strip()]
    errors = [line.strip() for line in lines if "error:" in line]
    found = errors[0] if errors else "; ".join([outcome.failure() or "it made no file", *lines[-1:]])
    message = f"{job.compiler.command[0]}: expected to compile the kernel, found: {found}"
    if any(full in outcome.text for full in _FULL):
        return cache.CacheFault(f"{message}; free some space.")
    return EnvironmentFault(f"{message}; install another compiler and name it in CC, or use --engine array.")


@functools.lru_cache(maxsize=1)
def processor() -> str:
    """What tells this processor from another for which the same compiler would make other code."""
    if PROCESSOR_FILE.exists():
        lines = _first_bytes(PROCESSOR_FILE, 8192).partition("\n\n")[0].splitlines()
        return "\n".join(line for line in lines if line.partition(":")[0].strip() in PROCESSOR_FIELDS)
    if sys.platform == "darwin":
        names = ["machdep.cpu.brand_string", "machdep.cpu.features", "machdep.cpu.leaf7_features"]
        return run(["/usr/sbin/sysctl", *names], 10).text
    return f"{platform.machine()} {platform.processor()}"


def _first_bytes(path: Path, size: int) -> str:
    """The beginning of a file that the system writes while it is read, core by core."""
    with path.open("rb", buffering=0) as file:
        return (file.read(size) or b"").decode("utf-8", "replace")
