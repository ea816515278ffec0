"""Does the kernel compute on other systems what it does here?

    python -m trials.systems                                   compile for each system, and run where something can
    python -m trials.systems --verify "Linux arm64" PYTHON …   `microgpt verify` on a whole Python, in an emulator

zig compiles for all of them. What it makes is run by the processor itself, by qemu-user or by Wine (`apt install
qemu-user wine wine64`), without Python: systems.c repeats the golden run of a thousand steps, then trains another model
with two threads, and writes with both. macOS has nothing that it could be run by elsewhere.
"""

import argparse
import json
import os
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from bench.machine import line
from microgpt.engines import create
from microgpt.engines.contract import Batch, Drawing, EngineConfig
from microgpt.engines.fused.build import KERNEL
from microgpt.engines.fused.engine import DTYPES, FUNCTIONS, defines, flattened
from microgpt.engines.fused.toolchain import Compiler, bundled_compiler, flags, libraries
from microgpt.engines.parity import case
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import fresh
from trials.golden import golden

SOURCE: Final = Path(__file__).with_suffix(".c")
RUN: Final = "karpathy_1000"
THREADS: Final = 2
PROMPTS, ROOM = 40, 60
GOLDEN: Final[dict[Precision, float]] = {"64": 1e-10, "32": 1e-5}  # the largest difference of a loss that passes
HERE: Final[dict[Precision, float]] = {"64": 1e-12, "32": 1e-5}  # the same, from the engine of this system


@dataclass(frozen=True)
class System:
    """A target of zig's, or a gcc that is one's compiler; the processor that is compiled for; and what runs it here."""

    name: str
    target: str
    processor: str
    runner: tuple[str, ...] | None = ()  # () is this processor, None nothing
    gcc: str = ""

    def compiler(self) -> Compiler:
        """Raises `EnvironmentFault` where zig is not installed."""
        if self.gcc:
            return Compiler((self.gcc,), "gcc", "", self.target)
        zig = bundled_compiler()
        return replace(zig, command=(*zig.command, "-target", self.target), target=self.target)

    def lacking(self) -> str:
        """What is not installed; empty where all is."""
        needed = [word for word in (self.gcc, *(self.runner or ())[:1]) if word]
        return ", ".join(word for word in needed if not shutil.which(word))


SYSTEMS: Final = (
    System("Linux x86-64, AVX2", "x86_64-linux-musl", "x86-64-v3"),
    System("Linux x86-64, SSE", "x86_64-linux-musl", "x86-64-v2", ("qemu-x86_64", "-cpu", "Nehalem")),
    System("Linux arm64", "aarch64-linux-musl", "generic", ("qemu-aarch64",)),
    System("Windows x86-64, AVX2", "x86_64-windows-gnu", "x86-64-v3", ("wine",)),
    System("Windows x86-64, AVX2, gcc", "x86_64-w64-mingw32", "x86-64-v3", ("wine",), "x86_64-w64-mingw32-gcc"),
    System("Windows arm64", "aarch64-windows-gnu", "generic", None),
    System("macOS x86-64", "x86_64-macos", "x86-64-v3", None),
    System("macOS arm64", "aarch64-macos", "apple_m1", None),
)


@dataclass(frozen=True)
class Training:
    """What is carried out on each system."""

    model: ModelConfig
    weights: NDArray[np.float64]
    batches: list[Batch]
    rates: NDArray[np.float64]

    def prompts(self) -> NDArray[np.int32]:
        """One token each."""
        return np.arange(PROMPTS, dtype=np.int32) % self.model.vocabulary

    def uniforms(self) -> NDArray[np.float64]:
        return np.random.default_rng(0).random((PROMPTS, ROOM))

    def file(self, precision: Precision) -> bytes:
        """As systems.c reads it."""
        documents = flattened(self.model, list(chain.from_iterable(self.batches)))
        sizes = [len(self.weights), len(self.batches), len(documents.starts) - 1, len(documents.tokens)]
        parts = (
            np.array([*sizes, self.model.vocabulary, PROMPTS, ROOM, THREADS], np.int64),
            self.weights.astype(DTYPES[precision]),
            self.rates,
            self.uniforms(),
            np.cumsum([0, *map(len, self.batches)], dtype=np.int64),
            documents.starts,
            np.arange(PROMPTS + 1, dtype=np.int64),
            np.ones(self.model.vocabulary, np.int64),
            documents.tokens,
            self.prompts(),
        )
        return b"".join(part.tobytes() for part in parts)


@dataclass(frozen=True)
class Answer:
    """The loss of each step, the weights after the last, and the tokens written with them."""

    losses: NDArray[np.float64]
    weights: NDArray[Any]
    written: NDArray[np.int32]


def trainings() -> tuple[Training, Training]:
    """The golden run, a document a step; and what it leaves out: many documents, heads apart, rotary and SwiGLU."""
    run = golden(RUN)
    rates = learning_rates(run.settings, 0, run.settings.steps)
    model = ModelConfig(27, 20, 2, 2, 40, 4, position="rotary", activation="swiglu")
    other = case(model, batch=40, deviation=0.08)
    return Training(run.model, run.weights, run.batches, rates), Training(
        model, other.weights, list(other.batches), np.full(len(other.batches), 0.01)
    )


def here(training: Training, precision: Precision) -> Answer:
    """What the engine of this system answers."""
    runner = create("fused", EngineConfig(precision, THREADS)).open(fresh(training.model, training.weights))
    losses = runner.advance(training.batches, training.rates)
    written = runner.write([[int(token)] for token in training.prompts()], training.uniforms(), Drawing())
    return Answer(losses, runner.state().weights, np.concatenate([part.tokens for part in written]))


def there(system: System, training: Training, precision: Precision, folder: Path) -> Answer:
    """What a system answers, by a program that on Windows loads the library, and elsewhere has the kernel in it."""
    asked, answer, program = folder / "asked", folder / "answer", folder / "program.exe"
    asked.write_bytes(training.file(precision))
    sizes = defines(training.model, precision)
    windows = system.compiler().for_windows
    compiled(system, sizes, [SOURCE, library(system, sizes, folder) if windows else KERNEL], program)
    command = [*(system.runner or ()), str(program), asked.name, answer.name]
    subprocess.run(command, cwd=folder, env=os.environ | {"WINEDEBUG": "-all"}, check=True, timeout=600)
    data, losses = answer.read_bytes(), 8 * len(training.batches)
    weights = losses + len(training.weights) * DTYPES[precision].itemsize
    return Answer(
        np.frombuffer(data[:losses]),
        np.frombuffer(data[losses:weights], DTYPES[precision]),
        np.frombuffer(data[weights:], np.int32).reshape(PROMPTS, ROOM),
    )


def library(system: System, sizes: Mapping[str, float], folder: Path) -> Path:
    """The kernel as the engine compiles it there; a program that calls all of its functions was linked with it."""
    path = folder / {"windows": "kernel.dll", "macos": "kernel.dylib"}.get(system.target.split("-")[1], "kernel.so")
    compiled(system, sizes, [KERNEL], path)
    calls, names = folder / "calls.c", list(FUNCTIONS)
    declared = "".join(f"void {name}(void);\n" for name in names)
    calls.write_text(f"{declared}int main(void) {{ {' '.join(f'{name}();' for name in names)} }}\n")
    compiled(system, {}, [calls, path], folder / "calls.exe")
    return path


def compiled(system: System, sizes: Mapping[str, float], files: Sequence[Path], output: Path) -> None:
    """Compile with the engine's own flags. Raises `CalledProcessError` where the compiler refuses."""
    compiler = system.compiler()
    used = [flag for flag in flags(compiler, system.processor) if flag != "-shared" or output.suffix != ".exe"]
    words = [*used, *(f"-D{name}={value}" for name, value in sizes.items()), *map(str, files), "-o", str(output)]
    subprocess.run([*compiler.command, *words, *libraries(compiler)], check=True, cwd=output.parent)


@dataclass(frozen=True)
class Difference:
    """The largest ones of losses: from the golden run's, and from what the engine of this system answers. And whether
    the same tokens were written."""

    golden: float
    losses: float
    same_text: bool

    def ok(self, precision: Precision) -> bool:
        return self.golden < GOLDEN[precision] and self.losses < HERE[precision] and self.same_text


def difference(system: System, precision: Precision, folder: Path) -> Difference:
    """Of one system."""
    pairs = [(there(system, training, precision, folder), here(training, precision)) for training in trainings()]
    apart = [float(np.abs(found.losses - known.losses).max()) for found, known in pairs]
    golden_apart = float(np.abs(pairs[0][0].losses - golden(RUN).losses).max())
    return Difference(golden_apart, max(apart), all((found.written == known.written).all() for found, known in pairs))


def told(system: System) -> str:
    """The row of a system."""
    with tempfile.TemporaryDirectory() as folder:
        if lacking := system.lacking():
            return f"| {system.name} | not tried: needs {lacking} | | |"
        if system.runner is None:
            library(system, defines(trainings()[0].model, "32"), Path(folder))
            return f"| {system.name} | compiles, exports all functions; not run | | |"
        cells = []
        for precision in ("64", "32"):
            found = difference(system, precision, Path(folder))
            assert found.ok(precision), f"{system.name}, float{precision}: {found}"
            cells.append(f"{found.golden:.0e}, {found.losses:.0e}")
    return f"| {system.name} | {' '.join(system.runner) or 'the processor itself'} | {cells[0]} | {cells[1]} |"


def verified(system: System, python: Sequence[str]) -> str:
    """The row of a system on which a whole Python verifies the engine. Its compiler is one of this system."""
    with tempfile.TemporaryDirectory() as folder:
        compiler = Path(folder) / "cc"  # which knows the processor's name, for "native" would be that of this one
        gnu = replace(system, target=system.target.replace("musl", "gnu")).compiler()
        named = next(flag for flag in flags(gnu, system.processor) if flag.startswith("-m"))
        compiler.write_text(f'#!/bin/bash\nexec {shlex.join(gnu.command)} "${{@/#-m*=native/{named}}}"\n')
        compiler.chmod(0o700)
        environment = os.environ | {"CC": str(compiler), "MICROGPT_CACHE": str(Path(folder) / "cache")}
        command_line = [*python, "-c", "from microgpt.cli import main; main()", "verify", "--engine", "fused", "--json"]
        done = subprocess.run(command_line, env=environment, stdout=subprocess.PIPE, check=True)
    checks = [check for check in json.loads(done.stdout)["checks"] if check["engine"] == "fused"]
    errors = [max(one["gradient_error"] for one in checks if one["precision"] == kind) for kind in ("64", "32")]
    return f"| {system.name} | `verify` on all of Python: {len(checks)} checks | {errors[0]:.0e} | {errors[1]:.0e} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verify", choices=[system.name for system in SYSTEMS])
    parser.add_argument("python", nargs=argparse.REMAINDER, help="the words that start it, with --verify")
    asked = parser.parse_args()
    if asked.verify:
        print(verified(next(system for system in SYSTEMS if system.name == asked.verify), asked.python))
        return
    print("| system | run by | float64: from golden, from here | float32 |\n|---|---|---|---|")
    for system in SYSTEMS:
        print(told(system), flush=True)
    print(f"\n{line()}")


if __name__ == "__main__":
    main()
