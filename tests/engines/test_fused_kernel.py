"""The kernel's source, broken and watched: each statement of its backward pass matters; no access is out of bounds."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from microgpt.engines import create, parity
from microgpt.engines.contract import Batch, EngineConfig
from microgpt.engines.fused.build import KERNEL, find_compiler, load, reason_unavailable
from microgpt.engines.fused.engine import FusedRunner, declared, defines
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh

pytestmark = pytest.mark.skipif(reason_unavailable() is not None, reason=str(reason_unavailable()))

SOURCE = KERNEL.read_text("utf-8")
PACKED = ModelConfig(7, 8, 2, 2, 4, 2, norm_embeddings=True, norm_head=True)
SEPARATE = ModelConfig(7, 20, 2, 2, 20, 2, norm_embeddings=True, norm_head=True)  # heads of 10 are no lanes
HALVES = ModelConfig(7, 32, 2, 1, 4, 2, position="rotary")  # half a head fills vectors
MODELS = {
    "packed heads": PACKED,
    "separate heads": SEPARATE,
    "packed heads, varied": replace(PACKED, position="rotary", activation="swiglu"),
    "separate heads, varied": replace(SEPARATE, position="rotary", activation="swiglu"),
    "half heads": HALVES,
}
BACKWARD = ("_backward", "backward", "outer_block", "outer", "scatter", "reduce", "turn")  # ends of functions' names
FUNCTION = re.compile(r"^(?:SEPARATE|INLINE|static) \w+ \*?(\w+)\([^;{]*\) \{\n(.*?)^\}", re.MULTILINE | re.DOTALL)
CALLED = r"(?:store|turn|outer|product|transpose|scatter|\w+_backward)"
CALL = re.compile(rf"^ +(?:for \(.*?\) |if \(!?\w+\) )?({CALLED}\(.*\);)")
LONG_CALL = re.compile(r"^ +(outer|product|linear_backward|embed_backward)\([^;]*?\n[^;]*?\);", re.MULTILINE)
CHANGE = re.compile(r"^ .*[^-+*/=<>!]([-+]=) (.*?);", re.MULTILINE)
VALUE = re.compile(r"^ +(?:const )?(?:vector|real) (\w+) = ([^;{]*);", re.MULTILINE)


def mutants() -> Iterator[tuple[str, str]]:
    """Every statement of the backward pass that computes: without it or, where it makes a value, with 1.001 of it."""
    for function in FUNCTION.finditer(SOURCE):
        name, body, start = function.group(1), function.group(2), function.start(2)
        if name == "cross_entropy":  # its last loop
            forward, loop, body = body.partition("    for (long t = 0; backward")
            body, start = loop + body, start + len(forward)
        elif not name.endswith(BACKWARD):
            continue
        position = start
        for line in body.splitlines(keepends=True):
            yield from _of_line(name, line, position)
            position += len(line)
        # Statements that go on in a second line.
        for call in LONG_CALL.finditer(body):
            yield _replaced(f"{name}: without {call.group(1)}", start + call.start(), start + call.end(), ";")


def _of_line(name: str, line: str, position: int) -> Iterator[tuple[str, str]]:
    said = f"{name}: {' '.join(line.split())}"
    if call := CALL.match(line):
        if name != "reduce" or "(vector){0}" not in line:  # what is cleared there is for Adam's next step
            yield _replaced(f"{said} left out", position + call.start(1), position + call.end(1), ";")
    elif change := CHANGE.match(line):
        if "load" in line or not re.search(r"LANES|width", change.group(2)):
            scaled = f"({change.group(2)}) * (real)1.001"
            yield _replaced(f"{said} scaled", position + change.start(2), position + change.end(2), scaled)
    elif (value := VALUE.match(line)) and value.group(1) != "number":
        scaled = f"({value.group(2)}) * (real)1.001"
        yield _replaced(f"{said} scaled", position + value.start(2), position + value.end(2), scaled)


def _replaced(name: str, start: int, end: int, text: str) -> tuple[str, str]:
    return name, SOURCE[:start] + text + SOURCE[end:]


MUTANTS = list(mutants())


def gradient_error(text: str, folder: Path, model: ModelConfig) -> float:
    """The largest error of two gradients, the second after the first: what the first leaves behind must not matter."""
    case = parity.case(model, batch=14)
    bos = model.vocabulary - 1
    batches: list[Batch] = [case.batches[0], [np.array([bos, 1, bos]), np.array([bos, 2, 3, bos])]]
    path = folder / "kernel.c"
    path.write_text(text, "utf-8")
    library = declared(load(defines(model, "64"), kernel=path, folder=folder / "cache"))
    state = fresh(case.model, case.weights * 0.5)
    broken, reference = FusedRunner(EngineConfig(), state, library), create("array", EngineConfig()).open(state)
    pairs = [(reference.gradient(batch)[1], broken.gradient(batch)[1]) for batch in batches]
    return max(max(parity.tensor_errors(model, right, found).values()) for right, found in pairs)


def test_the_statements_are_found() -> None:
    names = {name.split(":")[0] for name, _ in MUTANTS}
    found = {function.group(1) for function in FUNCTION.finditer(SOURCE)}
    assert {name for name in found if name.endswith("backward")} <= names
    assert {"attention_backward", "rmsnorm_backward", "embed_backward", "linear_backward", "outer_block"} <= names
    assert len(MUTANTS) > 50


@pytest.mark.long
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_whole_it_passes(model: ModelConfig, tmp_path: Path) -> None:
    assert gradient_error(SOURCE, tmp_path, model) < 1e-11


@pytest.mark.long
@pytest.mark.parametrize("index", range(len(MUTANTS)), ids=[name[:90] for name, _ in MUTANTS])
def test_broken_it_fails(index: int, tmp_path: Path) -> None:
    text = MUTANTS[index][1]
    errors = []
    for name, model in MODELS.items():
        (tmp_path / name).mkdir()
        errors.append(gradient_error(text, tmp_path / name, model))
        if not errors[-1] <= 1e-11:
            return
    pytest.fail(f"{MUTANTS[index][0]}: nobody noticed, errors {errors}")


def test_the_epsilons_are_those_of_the_contract() -> None:
    model, batch = ModelConfig(5, 4, 2, 1, 3, 1), [np.array([4, 1, 2, 4])]
    for name in ("EPSILON_NORM", "EPSILON_ADAM"):
        constants = defines(model, "64")
        losses = []
        for value in (constants[name], 1.0):
            library = declared(load(constants | {name: value}))
            runner = FusedRunner(EngineConfig(), fresh(model, np.linspace(-1, 1, params(model))), library)
            losses.append(runner.advance([batch] * 2, np.full(2, 0.1))[1])
        expected = create("array", EngineConfig()).open(fresh(model, np.linspace(-1, 1, params(model))))
        assert losses[0] == pytest.approx(expected.advance([batch] * 2, np.full(2, 0.1))[1], rel=1e-12)
        assert losses[1] != pytest.approx(losses[0], rel=1e-3)


GUARDED = """
import ctypes, json, sys
import numpy as np
from pathlib import Path
from microgpt.engines.contract import Drawing, EngineConfig
from microgpt.engines.fused.build import load
from microgpt.engines.fused.engine import FusedRunner, declared, defines
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh

folder, cases = Path(sys.argv[1]), json.loads(sys.argv[2])
extra = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-g1")
for sizes, precision, target in cases:
    model = ModelConfig(*sizes)
    library = declared(load(defines(model, precision), folder=folder, extra=extra, target=target, seconds=300))
    stream = np.random.default_rng(0)
    state = fresh(model, stream.normal(0, 0.1, params(model)))
    for threads in (1, 2):
        runner = FusedRunner(EngineConfig(precision, threads), state, library)
        for size in (1, 7, 40):
            batch = [stream.integers(0, model.vocabulary, 2 + (i * 5) % (model.ctx + 4)) for i in range(size)]
            assert len(runner.advance([batch, batch], np.full(2, 0.01))) == 2
            runner.gradient(batch), runner.evaluate(batch), runner.state()
        for length in sorted({1, (model.ctx + 1) // 2, model.ctx}):
            runner.next(batch[0][:1].tolist() * length)
        prompts = [stream.integers(0, model.vocabulary, 1 + i % model.ctx) for i in range(150)]
        for drawing in (Drawing(end=0), Drawing(0.9, 3, 0.9, 0.01), Drawing(0.0, top_p=0.5)):
            (written,) = runner.write(prompts, stream.random((150, 2 * model.ctx + 3)), drawing)
            assert len(written.counts) == 150
        assert len(runner.advance([batch], np.array([1e308]))) < 2
print("sound")
"""
SPREAD = [
    (27, 16, 4, 1, 16, 4, True, False),
    (1, 1, 1, 1, 1, 1, True, False),
    (11, 20, 2, 2, 40, 2, False, True),
    (33, 7, 7, 1, 9, 3, True, True),
    (65, 64, 2, 1, 70, 1, False, False),
    (300, 32, 4, 2, 33, 1, True, True),
]


@pytest.mark.long
@pytest.mark.parametrize("target", ["native", "x86-64-v3", "x86-64-v2"])
@pytest.mark.parametrize("precision", ["64", "32"])
def test_no_access_is_out_of_bounds(target: str, precision: str, tmp_path: Path) -> None:
    """The sanitizers of addresses and of undefined behaviour over a spread, in memory that they guard."""
    if sys.platform != "linux" or find_compiler().kind != "gcc":
        pytest.skip("needs gcc on Linux")
    if target != "native" and find_compiler().architecture != "x86_64":
        pytest.skip("the target is of another processor")
    if target == "x86-64-v3" and "avx2" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this machine has no AVX2")
    compiler = find_compiler().command[0]
    runtime = subprocess.run([compiler, "-print-file-name=libasan.so"], capture_output=True, text=True).stdout.strip()
    if not shutil.which(compiler) or not Path(runtime).is_file():
        pytest.skip("needs the address sanitizer's library")
    environment = os.environ | {
        "LD_PRELOAD": runtime,
        "ASAN_OPTIONS": "detect_leaks=0:verify_asan_link_order=0",
        "PYTHONMALLOC": "malloc",
    }
    cases = json.dumps([(sizes, precision, target) for sizes in SPREAD])
    command = [sys.executable, "-c", GUARDED, str(tmp_path / "cache"), cases]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout.strip() == "sound", done.stderr[-3000:]
