"""Speed of writing: `python bench/writing.py [--repeats N] [--guard]`.

Models are trained on the names for a moment, so that documents are as long as names. Peak is what independent chains of
multiply-adds reach on one core, measured before each repeat, as is a training of the same model; useful work is that of
model/cost.py. Each figure is the median over the repeats; of one core, time is that of the processor, so that other
work on the machine counts little, and of threads and of commands it is the clock's.

With --guard it takes a few seconds, tells ratios within its run alone, of the fastest repeats, and exits with 1 where
one is below a limit that is wide of what is reached: a kernel that has become slow, whatever the machine and its load.
"""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import machine
from array_engine import names
from microgpt.engines import create
from microgpt.engines.contract import Batch, Drawing, EngineConfig, Runner, predictions
from microgpt.engines.measure import chains
from microgpt.library import train
from microgpt.model.cost import step_cost
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State

BATCH, STEPS = 16, 60
LEAST = {  # ratios of the guard, at about half of what is reached or less
    "training, emb 64 layer 4: share of the peak": 0.25,
    "writing, emb 64 layer 4: share of the peak": 0.18,
    "writing, default model: tokens, for each of training in the same time": 0.6,
    "writing, default model: tokens, for each that is asked for alone in the same time": 20.0,
}


def trained(**sizes: int) -> State:
    """A model of names in float32."""
    return train("names", steps=300, samples=0, engine="fused", **sizes).checkpoint.state


def batches() -> list[Batch]:
    sequences = names()[: BATCH * STEPS]
    return [sequences[first : first + BATCH] for first in range(0, len(sequences), BATCH)]


def timed(action: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    start = clock()
    action()
    return clock() - start


class Bench:
    """A model on an engine, asked to write so many names."""

    def __init__(self, state: State, count: int, engine: str = "fused", threads: int = 1) -> None:
        self.state, self.model, self.count = state, state.model, count
        self.runner: Runner = create(engine, EngineConfig("32", threads)).open(state)
        bos = self.model.vocabulary - 1
        self.prompts, self.drawing = [[bos]] * count, Drawing(end=bos)
        self.uniforms = np.random.default_rng(0).random((count, self.model.ctx))
        self.counts = np.concatenate([part.counts for part in self.write()])

    def write(self) -> list[object]:
        return list(self.runner.write(self.prompts, self.uniforms, self.drawing))

    @property
    def tokens(self) -> int:
        return int(self.counts.sum())

    @property
    def work(self) -> int:
        """Operations of all forward passes."""
        return sum(step_cost(self.model, [int(n)]).forward * int(k) for n, k in zip(*self._lengths, strict=True))

    @property
    def _lengths(self) -> tuple[np.ndarray, np.ndarray]:
        return np.unique(self.counts, return_counts=True)


def training(model: ModelConfig, runner: Runner) -> tuple[Callable[[], object], int, int]:
    """Some steps, their operations (without Adam's) and predictions."""
    steps, rates = batches(), np.full(STEPS, 1e-4)
    sizes = [[predictions(model, tokens) for tokens in batch] for batch in steps]
    cost = [step_cost(model, each) for each in sizes]
    return lambda: runner.advance(steps, rates), sum(c.forward + c.backward for c in cost), sum(map(sum, sizes))


def by_next(runner: Runner, bos: int, count: int) -> int:
    """Tokens of so many documents that are asked for one by one, and drawn here."""
    stream, drawn = np.random.default_rng(0), 0
    for _ in range(count):
        tokens = [bos]
        while len(tokens) <= 16:
            sums = np.cumsum(runner.next(tokens))
            tokens.append(int(np.searchsorted(sums, stream.random() * sums[-1], "right")))
            drawn += 1
            if tokens[-1] == bos:
                break
    return drawn


def ratios(repeats: int) -> dict[str, float]:
    """What the guard looks at."""
    peak, small, large = chains("32"), Bench(trained(), 20_000), Bench(trained(emb=64, layer=4), 1000)
    (few, _, predicted), (step, work, _) = training(small.model, small.runner), training(large.model, large.runner)
    one, seconds = 0, dict.fromkeys(("train", "write", "few", "many", "one"), float("inf"))
    highest = 0.0
    for _ in range(repeats):
        highest = max(highest, peak())
        start = time.process_time()
        one = by_next(small.runner, small.model.vocabulary - 1, 50)
        taken = {"one": time.process_time() - start, "train": timed(step), "write": timed(large.write)}
        taken |= {"few": timed(few), "many": timed(small.write)}
        seconds = {name: min(best, taken[name]) for name, best in seconds.items()}
    found = (
        work / seconds["train"] / 1e9 / highest,
        large.work / seconds["write"] / 1e9 / highest,
        small.tokens / seconds["many"] / (predicted / seconds["few"]),
        small.tokens / seconds["many"] / (one / seconds["one"]),
    )
    return dict(zip(LEAST, found, strict=True))


def guard() -> int:
    """The exit code."""
    slow = 0
    for name, found in ratios(9).items():
        slow += found < LEAST[name]
        told = "" if found >= LEAST[name] else "  TOO SLOW"
        print(f"{name}: {found:.2f}, at least {LEAST[name]}{told}", flush=True)
    return min(1, slow)


def line(title: str, bench: Bench, repeats: int, peak: Callable[[], float]) -> None:
    """Tokens a second, and the share of the peak of the cores that are used."""
    peaks, taken = [], []
    for _ in range(repeats):
        peaks.append(peak())
        taken.append(timed(bench.write))
    middle, spread = statistics.median(taken), statistics.quantiles(taken, n=10)
    rates = [bench.tokens / each / 1e6 for each in (middle, spread[-1], spread[0])]
    share = bench.work / middle / 1e9 / statistics.median(peaks)
    print(f"{title:34} {rates[0]:8.3f}  {rates[1]:.3f} to {rates[2]:.3f}  {share:8.1%}", flush=True)


def threads(state: State, count: int, repeats: int) -> tuple[float, float]:
    """How many times as fast two threads are, measured in turns, and what they take of the processor beside one: on a
    busy machine the second says more."""
    one, two, ratios = Bench(state, count), Bench(state, count, threads=2), []
    for _ in range(repeats):
        taken = [timed(one.write, clock) / timed(two.write, clock) for clock in (time.perf_counter, time.process_time)]
        ratios.append((taken[0], 1 / taken[1]))
    faster, more = map(statistics.median, zip(*ratios, strict=True))
    return faster, more


def command(repeats: int) -> tuple[float, float]:
    """Seconds of `microgpt sample --count 100000`, and of `--count 1`, each whole."""
    with tempfile.TemporaryDirectory() as folder:
        train("names", out=folder, name="names", samples=0)
        taken: list[list[float]] = []
        for count in (100_000, 1):
            words = [sys.executable, "-m", "microgpt", "sample", str(Path(folder, "names")), "--count", str(count)]

            def run(words: list[str] = words) -> None:
                subprocess.run(words, capture_output=True, check=True)

            taken.append([timed(run, time.perf_counter) for _ in range(repeats)])
    return statistics.median(taken[0]), statistics.median(taken[1])


def main() -> int:
    chosen = machine.asked(__doc__, repeats=15, guard=False)
    if chosen.guard:
        return guard()
    peak, small, large = chains("32"), trained(), trained(emb=64, layer=4)
    print(machine.line())
    print(machine.load())
    print("\nfloat32, one core                  M tokens/s  10 % to 90 %   of peak")
    line("fused, default model", Bench(small, 50_000), chosen.repeats, peak)
    line("fused, emb 64 head 4 layer 4", Bench(large, 4000), chosen.repeats, peak)
    line("array, default model", Bench(small, 5000, "array"), chosen.repeats, peak)
    runner = create("fused", EngineConfig("32")).open(small)
    rates = []
    for _ in range(chosen.repeats):
        start = time.process_time()
        rates.append(by_next(runner, small.model.vocabulary - 1, 200) / (time.process_time() - start))
    print(f"{'fused, one call for each token':34} {statistics.median(rates) / 1e6:8.3f}")
    for title, state, count in (("default model", small, 100_000), ("emb 64 head 4 layer 4", large, 8000)):
        faster, more = threads(state, count, chosen.repeats)
        print(f"two threads, {title}: {faster:.2f} times as fast as one, {more:.2f} times its time of the processor")
    many, one = command(5)
    print(f"microgpt sample --count 100000: {many:.2f} s whole; --count 1: {one:.2f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
