"""Whether dropout or decoupled weight decay lower the held-out loss: `python bench/regularisation.py [--only TEXT …]`.

The model is that of symmetry.py, in torch and float32 (`pip install torch`), trained on the sequences of microgpt.data.
Dropout (Srivastava et al. 2014) stands on the embeddings after their norm and on what attention and MLP add; weight
decay takes lr · decay of every weight in each step, beside Adam (Loshchilov & Hutter 2019, algorithm 2).

A text is trained at several sizes, steps and learning rates, and each training keeps the weights of its best held-out
loss. Of all that, what scores best on one half of the held-out sequences is scored on the other half, then the halves
change places: so neither choosing nor stopping early is rewarded, and regularisation is credited only with what is left
for it to do. A second table chooses nothing: the largest model after the most steps, as it is. Differences are paired:
a seed gives the same first weights and order to all. The 90 % intervals are over seeds. They leave out that another
held-out part would give other losses, except in "lyrics, lines", where each seed holds out other lines.

All trainings of a size run as one stack, with a matrix product for all of them at once: 20 minutes on one core in all.
Before those of a text the stack is held against the engine `array`.
"""

import argparse
import csv
import itertools
import math
import os
import statistics
from collections.abc import Iterable, Iterator
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import machine
import microgpt
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.reading import text_from
from microgpt.data.slices import Tokens
from microgpt.data.split import Split
from microgpt.engines import create
from microgpt.engines.contract import EPSILON_ADAM, EPSILON_NORM, EngineConfig
from microgpt.model.ledger import ledger
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import Settings
from microgpt.model.state import draw_weights, fresh

HERE = Path(__file__).parent
BUILTIN = Path(microgpt.__file__).parent / "data" / "builtin"
T_QUANTILES = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895)  # of Student's t at 0.95, from 1 degree of freedom
TOLERANCE = 1e-4  # between a loss of the stack and one of the engine
METHODS = ("neither", "dropout", "weight decay")
BETA1, BETA2 = 0.9, 0.99
SEEN_AT_ONCE = 64  # held-out sequences in a rectangle


# ── What is trained ──────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Plan:
    """A text and all that is tried on it. `lines` or `characters` cut it short; shapes are (emb, layer, steps)."""

    title: str
    path: Path
    characters: int | None = None
    lines: int | None = None
    kind: str = "windows"
    ctx: int = 32
    batch: int = 8
    shapes: tuple[tuple[int, int, int], ...] = ((64, 2, 1500),)
    rates: tuple[float, ...] = (0.003, 0.01)  # the better one, without regularisation and with a seed of its own, stays
    dropouts: tuple[float, ...] = (0.1, 0.2)
    decays: tuple[float, ...] = (0.1, 1.0)
    seeds: int = 3
    resplit: bool = False  # whether each seed holds out other documents
    evaluations: int = 12

    @property
    def text(self) -> str:
        whole = self.path.read_text("utf-8")[: self.characters]
        return "".join(whole.splitlines(keepends=True)[: self.lines])

    def split(self, seed: int = 0) -> Split:
        corpus = Corpus.of(text_from(self.text, self.title), self.kind)
        return Split.of(corpus, holdout=0.1, split_seed=seed if self.resplit else 0)


def shapes(sizes: Iterable[tuple[int, int]], steps: Iterable[int]) -> tuple[tuple[int, int, int], ...]:
    """Every size (emb, layer) with every number of steps."""
    return tuple((*size, count) for size, count in itertools.product(sizes, steps))


LYRICS = HERE.parent / "tests" / "fixtures" / "lyrics_pt.txt"
SHAKESPEARE, NAMES = BUILTIN / "shakespeare.txt", BUILTIN / "names.txt"
SMALL, MIDDLE, LARGE = (16, 1), (32, 1), (64, 2)
PLANS = (
    Plan("lyrics", LYRICS, shapes=shapes((SMALL, MIDDLE, LARGE), (100, 400)), decays=(0.01, 0.1, 1.0), seeds=4),
    Plan(
        "lyrics, lines", LYRICS, kind="lines", ctx=64, seeds=6, resplit=True,
        shapes=((8, 1, 200), (*SMALL, 50), *shapes((SMALL, LARGE), (100, 200))),
    ),
    Plan(
        "names 1,000", NAMES, lines=1000, kind="lines", ctx=16, batch=16,
        shapes=(*shapes((SMALL, LARGE), (250, 1000)), (*LARGE, 500)),
    ),
    Plan(
        "shakespeare 30 kB", SHAKESPEARE, characters=30_000, batch=16,
        shapes=(*shapes((MIDDLE, LARGE), (250, 650)), (*LARGE, 1000), (*LARGE, 2000)),
    ),
    Plan("shakespeare 100 kB", SHAKESPEARE, characters=100_000, batch=16, dropouts=(0.1,), decays=(0.1,)),
    Plan("names", NAMES, kind="lines", ctx=16, batch=32, dropouts=(0.1,), evaluations=6),
    Plan(
        "shakespeare 300 kB", SHAKESPEARE, characters=300_000, ctx=64, batch=16, shapes=((*LARGE, 500),),
        rates=(0.01,), dropouts=(0.1,), decays=(0.1,), evaluations=4,
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Run:
    """One training."""

    emb: int
    layer: int
    steps: int
    lr: float
    dropout: float = 0.0
    decay: float = 0.0
    seed: int = 0

    @property
    def method(self) -> str:
        return "dropout" if self.dropout else "weight decay" if self.decay else "neither"

    @property
    def name(self) -> str:
        strength = f", dropout {self.dropout:g}" * bool(self.dropout) + f", decay {self.decay:g}" * bool(self.decay)
        return f"emb {self.emb}, layer {self.layer}, steps {self.steps}, lr {self.lr:g}{strength}"

    @property
    def choice(self) -> "Run":
        """The same without its seed: what can be chosen."""
        return replace(self, seed=0)

    def settings(self, plan: Plan) -> Settings:
        return Settings(
            steps=self.steps, batch=plan.batch, lr=self.lr, beta1=BETA1, beta2=BETA2, warmup=self.steps // 20,
            seed=self.seed, emb=self.emb, head=4, layer=self.layer, ctx=plan.ctx,
        )  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """Held-out losses of a run as it was trained, (evaluations, 2): one column for each half of the sequences."""

    text: str
    run: Run
    steps: tuple[int, ...]
    losses: NDArray[np.float64]

    def chosen_by(self, half: int) -> float:
        """The lowest loss of this half."""
        return float(self.losses[:, half].min())

    def reported_by(self, half: int) -> float:
        """The loss of this half where the other one's is the lowest."""
        return float(self.losses[self.losses[:, 1 - half].argmin(), half])

    @property
    def last(self) -> float:
        return float(self.losses[-1].mean())


@dataclass(frozen=True)
class Rectangle:
    """Sequences filled up with 0: inputs and targets, and the predictions of each; the leading axes are free."""

    inputs: NDArray[np.int64]  # (…, ctx)
    targets: NDArray[np.int64]  # (…, ctx)
    counts: NDArray[np.int64]  # (…,)

    @staticmethod
    def of(sequences: Iterable[Tokens], ctx: int, *leading: int) -> "Rectangle":
        cropped = [sequence[: ctx + 1] for sequence in sequences]
        inputs, targets = np.zeros((2, len(cropped), ctx), np.int64)
        for row, tokens in enumerate(cropped):
            inputs[row, : len(tokens) - 1], targets[row, : len(tokens) - 1] = tokens[:-1], tokens[1:]
        counts = np.array([len(tokens) - 1 for tokens in cropped])
        leading = leading or counts.shape
        return Rectangle(inputs.reshape(*leading, ctx), targets.reshape(*leading, ctx), counts.reshape(leading))

    def part(self, places: Any) -> "Rectangle":
        """Some places of the first axis, no wider than their longest sequence."""
        counts = self.counts[places]
        width = counts.max()
        return Rectangle(self.inputs[places][..., :width], self.targets[places][..., :width], counts)

    @property
    def met(self) -> NDArray[np.float32]:
        """1 at each prediction, 0 where it was filled up. Shape of the inputs."""
        return (np.arange(self.inputs.shape[-1]) < self.counts[..., None]).astype(np.float32)


# ── The model ────────────────────────────────────────────────────────────────────────────────────────────────────────
class Stack:
    """Runs of one size and as many steps, side by side. Weights and Adam moments have shape (runs, params)."""

    def __init__(self, plan: Plan, split: Split, runs: list[Run]) -> None:
        import torch

        self.torch, self.functional, self.plan, self.runs = torch, torch.nn.functional, plan, runs
        torch.set_num_threads(1)
        torch.set_flush_denormal(True)  # moments of what a text lacks fade into numbers that are slow to compute with
        self.random = np.random.Generator(np.random.SFC64(0))  # of the dropout; torch's own would take half the time
        settings = [run.settings(plan) for run in runs]
        self.model = settings[0].model(split.corpus.tokenizer.vocabulary)
        self.weights = torch.from_numpy(np.stack([draw_weights(own, self.model) for own in settings])).float()
        self.weights.requires_grad_()
        self.m, self.v = torch.zeros_like(self.weights), torch.zeros_like(self.weights)
        self.rates = np.stack([learning_rates(own, 0, own.steps) for own in settings], axis=1)  # (steps, runs)
        self.decays = torch.tensor([[run.decay] for run in runs])
        self.dropouts = np.array([run.dropout for run in runs], np.float32)[:, None, None]
        self.training = True
        seeds = sorted({run.seed for run in runs})
        self.order = [seeds.index(run.seed) for run in runs]
        self.steps = [self.sequences(Dataset.of(split, ctx=plan.ctx, seed=seed)) for seed in seeds]
        self.held_out = Rectangle.of(Dataset.of(split, ctx=plan.ctx).held_out(), plan.ctx)

    def sequences(self, dataset: Dataset) -> Rectangle:
        """Those of all steps; leading axes (steps, batch)."""
        steps, batch = self.runs[0].steps, self.plan.batch
        sequences = itertools.chain.from_iterable(dataset.sequences_of(0, steps, batch))
        return Rectangle.of(sequences, self.plan.ctx, steps, batch)

    def given(self, step: int) -> Rectangle:
        """What every run sees in a step; leading axes (runs, batch)."""
        width = max(own.counts[step].max() for own in self.steps)
        own = [(seed.inputs[step, :, :width], seed.targets[step, :, :width], seed.counts[step]) for seed in self.steps]
        inputs, targets, counts = (np.stack(part)[self.order] for part in zip(*own, strict=True))
        return Rectangle(inputs, targets, counts)

    def train(self) -> list[Curve]:
        steps, evaluations = self.runs[0].steps, self.plan.evaluations
        points = [round(steps * part / evaluations) for part in range(1, evaluations + 1)]
        losses = []
        for step in range(steps):
            self.advance(step)
            if step + 1 in points:
                losses.append(self.evaluate())
        whole = np.stack(losses, axis=1)  # (runs, evaluations, 2)
        return [Curve(self.plan.title, run, tuple(points), own) for run, own in zip(self.runs, whole, strict=True)]

    def advance(self, step: int) -> NDArray[np.float64]:
        """One Adam update of every run; the losses (runs,) before it."""
        losses = self.loss(self.given(step))
        (gradient,) = self.torch.autograd.grad(losses.sum(), self.weights)
        with self.torch.no_grad():
            self.adam(gradient, step)
        return np.asarray(losses.detach().numpy(), np.float64)

    def adam(self, gradient: Any, step: int) -> None:
        """Adam with decoupled weight decay (Loshchilov & Hutter 2019, algorithm 2)."""
        lr = self.torch.from_numpy(self.rates[step]).float()[:, None]
        self.m.lerp_(gradient, 1 - BETA1)
        self.v.mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
        root = (self.v / (1 - BETA2 ** (step + 1))).sqrt_().add_(EPSILON_ADAM)
        self.weights.mul_(1 - lr * self.decays)
        self.weights.sub_(self.m.div(root).mul_(lr / (1 - BETA1 ** (step + 1))))

    def loss(self, given: Rectangle) -> Any:
        """The mean over the batch of each sequence's mean over its predictions. Shape (runs,)."""
        shares = given.met / (given.counts[..., None] * self.plan.batch)
        return (self.surprises(given.inputs, given.targets) * self.torch.from_numpy(shares).float()).sum((1, 2))

    def evaluate(self) -> NDArray[np.float64]:
        """The held-out loss of each run on every other sequence, from the first and from the second. (runs, 2)."""
        sums = np.zeros((len(self.runs), len(self.held_out.counts)))
        by_length = np.argsort(self.held_out.counts, kind="stable")
        self.training = False
        with self.torch.no_grad():
            for places in np.split(by_length, range(SEEN_AT_ONCE, len(by_length), SEEN_AT_ONCE)):
                part = self.held_out.part(places)
                inputs, targets = (np.stack([own] * len(self.runs)) for own in (part.inputs, part.targets))
                sums[:, places] = (self.surprises(inputs, targets).numpy() * part.met).sum(2)
        self.training = True
        counts = self.held_out.counts
        return np.stack([sums[:, half::2].sum(1) / counts[half::2].sum() for half in (0, 1)], axis=1)

    def surprises(self, inputs: NDArray[np.int64], targets: NDArray[np.int64]) -> Any:
        """-log p of each target, in nats. All shapes (runs, batch, places)."""
        logits = self.logits(self.torch.from_numpy(inputs))
        truth = self.torch.from_numpy(targets)
        return self.functional.cross_entropy(logits.flatten(0, 1), truth.flatten(), reduction="none").view(truth.shape)

    def matrices(self) -> dict[str, Any]:
        """Every matrix by name, (runs, rows, columns), as views of the weights."""
        entries = ledger(self.model)
        parts = self.weights.split([entry.size for entry in entries], dim=1)
        pairs = zip(entries, parts, strict=True)
        return {entry.name: part.unflatten(1, (entry.rows, entry.columns)) for entry, part in pairs}

    def logits(self, inputs: Any) -> Any:
        """(runs, batch, places) to (runs, batch · places, vocabulary)."""
        own = self.matrices()
        runs, batch, places = inputs.shape
        rows = inputs + self.torch.arange(runs)[:, None, None] * self.model.vocabulary
        x = self.functional.embedding(rows, own["wte"].flatten(0, 1)) + own["wpe"][:, None, :places]
        x = self.drop(self.norm(x).flatten(1, 2))  # (runs, batch · places, emb)
        for layer in range(self.model.layer):
            name = f"layer{layer}."
            x = x + self.drop(self.attention(self.norm(x), own, name + "attn_", batch))
            h = self.functional.relu(self.linear(self.norm(x), own[name + "mlp_fc1"]))
            x = x + self.drop(self.linear(h, own[name + "mlp_fc2"]))
        return self.linear(x, own["lm_head"])

    def attention(self, x: Any, own: dict[str, Any], name: str, batch: int) -> Any:
        """(runs, batch · places, emb) to the same."""
        runs, _, emb = x.shape
        mixed = self.linear(x, self.torch.cat([own[name + part] for part in ("wq", "wk", "wv")], dim=1))
        parts = mixed.view(runs * batch, -1, 3, self.model.head, self.model.head_size).permute(2, 0, 3, 1, 4)
        answer = self.functional.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        return self.linear(answer.transpose(1, 2).reshape(runs, -1, emb), own[name + "wo"])

    def linear(self, x: Any, matrix: Any) -> Any:
        return self.torch.bmm(x, matrix.transpose(1, 2))

    def norm(self, x: Any) -> Any:
        return self.functional.rms_norm(x, x.shape[-1:], eps=EPSILON_NORM)

    def drop(self, x: Any) -> Any:
        """In training, each number is 0 with the run's own probability, and the others grow to keep the mean."""
        if not self.training or not self.dropouts.any():
            return x
        drawn = np.frombuffer(self.random.bytes(2 * x.numel()), np.uint16).reshape(x.shape)
        kept = (drawn >= np.uint16(65536 * self.dropouts)) / (1 - self.dropouts)
        return x * self.torch.from_numpy(kept)


def check(plan: Plan, steps: int = 20) -> float:
    """The largest difference of the stack's losses from those of the engine `array` in float64 over the first steps."""
    run, split = Run(emb=32, layer=2, steps=steps, lr=0.003, seed=1), plan.split()
    settings, stack = run.settings(plan), Stack(plan, split, [run])
    runner = create("array", EngineConfig("64", 1, BETA1, BETA2)).open(
        fresh(stack.model, draw_weights(settings, stack.model))
    )
    batches = Dataset.of(split, ctx=plan.ctx, seed=run.seed).sequences_of(0, steps, plan.batch)
    theirs = runner.advance(batches, learning_rates(settings, 0, steps))
    return max(abs(float(stack.advance(step)[0]) - loss) for step, loss in enumerate(theirs))


# ── All trainings of a text ──────────────────────────────────────────────────────────────────────────────────────────
def curves(plan: Plan) -> Iterator[Curve]:
    """Every training of a plan. Those with dropout have stacks of their own, since drawing takes time."""
    together = [[seed] for seed in range(plan.seeds)] if plan.resplit else [[*range(plan.seeds)]]
    for emb, layer, steps in plan.shapes:
        rate = tuned(plan, Run(emb, layer, steps, lr=0.003, seed=plan.seeds))
        for seeds in together:
            split, base = plan.split(seeds[0]), [Run(emb, layer, steps, rate, seed=seed) for seed in seeds]
            decayed = [replace(run, decay=own) for own in (0.0, *plan.decays) for run in base]
            dropped = [replace(run, dropout=own) for own in plan.dropouts for run in base]
            yield from Stack(plan, split, decayed).train() + Stack(plan, split, dropped).train()


def tuned(plan: Plan, run: Run) -> float:
    """The learning rate of the lowest held-out loss."""
    if len(plan.rates) == 1:
        return plan.rates[0]
    found = Stack(plan, plan.split(run.seed), [replace(run, lr=rate) for rate in plan.rates]).train()
    return min(found, key=lambda curve: curve.losses.mean(1).min()).run.lr


# ── Figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Figure:
    """A line of a table: mean loss over seeds, and by how much it differs from that of neither, paired by seed."""

    text: str
    method: str
    settings: str
    loss: float
    difference: float | None = None
    interval: float | None = None  # half the width, 90 %

    @staticmethod
    def of(text: str, method: str, settings: str, losses: list[float], neither: list[float]) -> "Figure":
        if losses == neither:
            return Figure(text, method, settings, statistics.mean(losses))
        pairs = [own - other for own, other in zip(losses, neither, strict=True)]
        spread = statistics.stdev(pairs) / math.sqrt(len(pairs))
        loss, difference = statistics.mean(losses), statistics.mean(pairs)
        return Figure(text, method, settings, loss, difference, T_QUANTILES[len(pairs) - 2] * spread)

    def line(self) -> str:
        difference = "" if self.difference is None else f"{self.difference:+.4f} ± {self.interval:.4f}"
        return f"{self.text:18}  {self.method:12}  {self.loss:.4f}  {difference:17}  {self.settings}"


HEADER = f"{'text':18}  {'method':12}  {'loss':6}  {'to neither, 90 %':17}  settings"


def chosen(found: list[Curve]) -> Iterator[Figure]:
    """The best of each method, chosen on one half of the held-out sequences and scored on the other, both ways."""
    neither: list[float] = []
    for method in METHODS:
        ways = [best([curve for curve in found if curve.run.method == method], half) for half in (0, 1)]
        scored = [[curve.reported_by(1 - half) for curve in way] for half, way in enumerate(ways)]
        losses = [statistics.mean(pair) for pair in zip(*scored, strict=True)]
        neither = neither or losses
        names = dict.fromkeys(way[0].run.name for way in ways)
        yield Figure.of(found[0].text, method, " or ".join(names), losses, neither)


def best(found: list[Curve], half: int) -> list[Curve]:
    """The curves, one for each seed, of the choice with the lowest mean of lowest losses on a half."""
    choices: dict[Run, list[Curve]] = {}
    for curve in sorted(found, key=lambda curve: curve.run.seed):
        choices.setdefault(curve.run.choice, []).append(curve)
    return min(choices.values(), key=lambda own: statistics.mean(curve.chosen_by(half) for curve in own))


def careless(found: list[Curve]) -> Iterator[Figure]:
    """The last weights of the largest model after the most steps, for every strength of every method."""
    largest = max((curve.run.emb * curve.run.layer, curve.run.steps) for curve in found)
    losses: dict[Run, list[float]] = {}
    for curve in sorted(found, key=lambda curve: curve.run.seed):
        if (curve.run.emb * curve.run.layer, curve.run.steps) == largest:
            losses.setdefault(curve.run.choice, []).append(curve.last)
    ordered = sorted(losses, key=lambda run: (METHODS.index(run.method), run.dropout, run.decay))
    for run in ordered:
        yield Figure.of(found[0].text, run.method, run.name, losses[run], losses[ordered[0]])


TABLES = {"The best choice of each method": chosen, "The largest model after the most steps, as it is": careless}


# ── Files ────────────────────────────────────────────────────────────────────────────────────────────────────────────
def rows(curve: Curve) -> Iterator[tuple[Any, ...]]:
    """A curve as lines of a table: its text, its run, a step, and the losses of both halves."""
    for step, losses in zip(curve.steps, curve.losses.tolist(), strict=True):
        yield curve.text, *astuple(curve.run), step, *losses


def reread(path: Path) -> Iterator[Curve]:
    """The inverse of `rows`."""
    kinds = [int, int, int, float, float, float, int]
    points: dict[tuple[str, Run], list[list[str]]] = {}
    with path.open(newline="") as file:
        for text, *line in csv.reader(file):
            run = Run(*(kind(word) for kind, word in zip(kinds, line[:-3], strict=True)))
            points.setdefault((text, run), []).append(line[-3:])
    for (text, run), own in points.items():
        steps, *losses = zip(*own, strict=True)
        yield Curve(text, run, tuple(map(int, steps)), np.array(losses, np.float64).T)


def all_curves(titles: list[str], path: Path | None) -> Iterator[Curve]:
    """Train, and note each curve in the file as it comes."""
    with (path or Path(os.devnull)).open("a", newline="", buffering=1) as file:
        for plan in PLANS:
            if plan.title in titles:
                error = check(plan)
                if error > TOLERANCE:
                    raise SystemExit(f"{plan.title}: losses differ from those of the engine by {error:.1e}.")
                for curve in curves(plan):
                    csv.writer(file).writerows(rows(curve))
                    yield curve


def main() -> None:
    titles = [plan.title for plan in PLANS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=titles, default=titles, metavar="TEXT", help=", ".join(titles))
    parser.add_argument("--curves", type=Path, help="file that every held-out loss is added to, as CSV")
    parser.add_argument("--from", type=Path, dest="source", help="tables of such a file, without training")
    parser.add_argument("--csv", type=Path, help="file for the tables, as CSV")
    arguments = parser.parse_args()
    found = reread(arguments.source) if arguments.source else all_curves(arguments.only, arguments.curves)
    print(machine.line())
    texts: dict[str, list[Curve]] = {}
    for curve in found:
        texts.setdefault(curve.text, []).append(curve)
    tables = {name: [figure for own in texts.values() for figure in table(own)] for name, table in TABLES.items()}
    for title, figures in tables.items():
        print(f"\n{title}\n{HEADER}", *(figure.line() for figure in figures), sep="\n")
    if arguments.csv:
        with arguments.csv.open("w", newline="") as file:
            lines = [(title, *astuple(figure)) for title, figures in tables.items() for figure in figures]
            csv.writer(file).writerows([("table", *(field.name for field in fields(Figure))), *lines])


if __name__ == "__main__":
    main()
