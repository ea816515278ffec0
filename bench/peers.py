"""The engines `fused` and `array` beside peers in JAX and torch.

    python bench/peers.py [--rounds N] [--only NAME …] [--shape N …]

The peers are written here with their own libraries (`pip install torch jax`) and compute the same function in float32:
the model of symmetry.py from the same first weights, on the same documents, with the same Adam and learning rates.
JAX has the whole training in one jitted scan. Eager torch has its own attention kernel and fused Adam; torch.compile
has the whole step, gradient and Adam included, in one function, which was faster than compiling the loss alone. JAX and
torch.compile fill documents up to ctx and mask what is filled, eager torch fills up to the longest one of the step.

Each contestant has a process of its own, bound to as many cores as it has threads. In each round all of them take
turns at the same training from its first step, documents already in memory as their library wants them. The first
training is not counted: what it took beyond the median one, import of the library included, stands under "compile"
(caches begin empty). "cores" is processor time over time. "error" is the largest difference of a loss from that of
`fused` over the first 20 steps; beyond 1e-4 the command fails.
"""

import importlib.metadata
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

import machine
from microgpt.data.dataset import prepare
from microgpt.data.reading import read
from microgpt.engines import create
from microgpt.engines.contract import EPSILON_ADAM, EPSILON_NORM, Batch, EngineConfig, predictions
from microgpt.model.ledger import Entry, ledger
from microgpt.model.schedule import learning_rates
from microgpt.model.settings import ModelConfig, Settings
from microgpt.model.state import draw_weights, fresh

COMPARED = 20  # steps over which losses must agree
TOLERANCE, DIFFERS = 1e-4, " DIFFERS"
LIBRARIES = ("numpy", "jax", "jaxlib", "torch")


@dataclass(frozen=True)
class Shape:
    """What is trained: the settings, the built-in text, and on how many threads."""

    settings: Settings
    data: str = "names"
    threads: int = 1

    @property
    def title(self) -> str:
        own = self.settings
        sizes = f"emb {own.emb}, head {own.head}, layer {own.layer}, ctx {own.ctx}, batch {own.batch}"
        return f"{sizes}, {self.threads} thread{'s' * (self.threads > 1)}, {own.steps} steps"


# The largest shapes have low rates: at higher ones the roundings of float32 alone grow beyond the tolerance in 20 steps
# (here at 0.001 to 1.4e-4, `fused` against itself in float64).
LARGE = Settings(steps=20, lr=0.0001, emb=128, head=4, layer=4, ctx=64, batch=12)
SHAPES = (
    Shape(Settings()),
    Shape(Settings(steps=200, batch=16)),
    Shape(Settings(steps=100, emb=32, batch=16)),
    Shape(Settings(steps=100, emb=64, batch=16)),
    Shape(Settings(steps=40, lr=0.001, emb=128, batch=16)),
    Shape(LARGE, "shakespeare"),
    Shape(LARGE, "shakespeare", 2),
)


@dataclass(frozen=True)
class Task:
    """One training, ready for any contestant: weights as drawn, and of each step the documents and the rate."""

    shape: Shape
    model: ModelConfig
    weights: NDArray[np.float64]
    batches: list[Batch]
    rates: NDArray[np.float64]

    def matrices(self) -> list[tuple[str, NDArray[np.float32]]]:
        """Every matrix by name. Query, key and value follow one another, so they make one matrix, `qkv`."""
        flat, found = self.weights.astype(np.float32), []
        for entry in ledger(self.model):
            if entry.name.endswith("wq"):
                found.append((entry.name.replace("attn_wq", "qkv"), _rows(flat, entry, 3)))
            elif not entry.name.endswith(("wk", "wv")):
                found.append((entry.name.replace("attn_", "").replace("mlp_", ""), _rows(flat, entry, 1)))
        return found


Rectangle = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float32]]


def rectangle(model: ModelConfig, batch: Batch, to_ctx: bool = False) -> Rectangle:
    """Inputs, targets and the share of each prediction in the loss, each (batch, places); filled up with 0."""
    counts = [predictions(model, tokens) for tokens in batch]
    size = len(batch), model.ctx if to_ctx else max(counts)
    inputs, targets, shares = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.float32)
    for row, (tokens, count) in enumerate(zip(batch, counts, strict=True)):
        inputs[row, :count], targets[row, :count] = tokens[:count], tokens[1 : count + 1]
        shares[row, :count] = 1 / (count * len(batch))
    return inputs, targets, shares


def _rows(flat: NDArray[np.float32], first: Entry, matrices: int) -> NDArray[np.float32]:
    end = first.offset + matrices * first.size
    return flat[first.offset : end].reshape(matrices * first.rows, first.columns)


def task(shape: Shape) -> Task:
    settings = shape.settings
    dataset = prepare(read([shape.data]), ctx=settings.ctx, seed=settings.seed)
    model = settings.model(dataset.vocabulary)
    batches: list[Batch] = [*dataset.sequences_of(0, settings.steps, settings.batch)]
    return Task(shape, model, draw_weights(settings, model), batches, learning_rates(settings, 0, settings.steps))


# ── Contestants ──────────────────────────────────────────────────────────────────────────────────────────────────────
class Contestant(Protocol):
    def begin(self) -> None:
        """Go back to the first weights; not timed."""

    def train(self) -> NDArray[Any]:
        """The whole training; the loss of each step."""


class Ours:
    """An engine of this package."""

    def __init__(self, name: str, task: Task) -> None:
        settings = task.shape.settings
        self.task = task
        self.engine = create(name, EngineConfig("32", task.shape.threads, settings.beta1, settings.beta2))

    def begin(self) -> None:
        self.runner = self.engine.open(fresh(self.task.model, self.task.weights))

    def train(self) -> NDArray[Any]:
        return self.runner.advance(self.task.batches, self.task.rates)


class Jax:
    """The whole training in one jitted scan over the steps."""

    def __init__(self, task: Task) -> None:
        import jax

        self.jax, self.task = jax, task
        rectangles = [rectangle(task.model, batch, to_ctx=True) for batch in task.batches]
        inputs, targets, shares = (np.stack(part) for part in zip(*rectangles, strict=True))
        steps = np.arange(1, len(task.batches) + 1, dtype=np.float32)
        rates = task.rates.astype(np.float32)
        self.steps = jax.device_put((inputs.astype(np.int32), targets.astype(np.int32), shares, steps, rates))
        self.run = jax.jit(self.training)

    def begin(self) -> None:
        weights = self.jax.device_put(dict(self.task.matrices()))
        zeros = self.jax.tree.map(np.zeros_like, weights)
        self.state = self.jax.block_until_ready((weights, self.jax.device_put(zeros), self.jax.device_put(zeros)))

    def train(self) -> NDArray[Any]:
        return np.asarray(self.jax.block_until_ready(self.run(self.state, self.steps))[1])

    def training(self, state: Any, steps: Any) -> Any:
        gradient = self.jax.value_and_grad(self.loss)

        def step(state: Any, given: Any) -> Any:
            inputs, targets, shares, count, lr = given
            loss, slopes = gradient(state[0], inputs, targets, shares)
            return self.adam(state, slopes, count, lr), loss

        return self.jax.lax.scan(step, state, steps)

    def adam(self, state: Any, slopes: Any, count: Any, lr: Any) -> Any:
        beta1, beta2, tree = self.task.shape.settings.beta1, self.task.shape.settings.beta2, self.jax.tree
        unbias1, unbias2 = 1 - beta1**count, 1 - beta2**count
        m = tree.map(lambda old, slope: beta1 * old + (1 - beta1) * slope, state[1], slopes)
        v = tree.map(lambda old, slope: beta2 * old + (1 - beta2) * slope * slope, state[2], slopes)
        root = self.jax.numpy.sqrt
        weights = tree.map(
            lambda w, m, v: w - lr * (m / unbias1) / (root(v / unbias2) + EPSILON_ADAM), state[0], m, v
        )  # fmt: skip
        return weights, m, v

    def loss(self, weights: Any, inputs: Any, targets: Any, shares: Any) -> Any:
        model, nn = self.task.model, self.jax.nn
        x = self.rows(weights["wte"], inputs) + weights["wpe"][: inputs.shape[1]]
        x = self.norm(x) if model.norm_embeddings else x
        for layer in range(model.layer):
            own = {name: weights[f"layer{layer}.{name}"] for name in ("qkv", "wo", "fc1", "fc2")}
            x = x + self.attention(self.norm(x) @ own["qkv"].T) @ own["wo"].T
            x = x + nn.relu(self.norm(x) @ own["fc1"].T) @ own["fc2"].T
        logits = (self.norm(x) if model.norm_head else x) @ weights["lm_head"].T
        return -(self.chosen(nn.log_softmax(logits), targets) * shares).sum()

    def rows(self, matrix: Any, tokens: Any) -> Any:
        """The row of each token. With one document in a step the product with a one-hot matrix is the faster way."""
        single = self.task.shape.settings.batch == 1
        return self.jax.nn.one_hot(tokens, len(matrix)) @ matrix if single else matrix[tokens]

    def chosen(self, scores: Any, tokens: Any) -> Any:
        """The score of each token, in the faster way too."""
        if self.task.shape.settings.batch == 1:
            return (scores * self.jax.nn.one_hot(tokens, scores.shape[-1])).sum(-1)
        return self.jax.numpy.take_along_axis(scores, tokens[..., None], -1)[..., 0]

    def attention(self, mixed: Any) -> Any:
        numpy, model = self.jax.numpy, self.task.model
        batch, places = mixed.shape[:2]
        parts = mixed.reshape(batch, places, 3, model.head, model.head_size)
        query, key, value = (parts[:, :, part] for part in range(3))
        scores = numpy.einsum("bqhe,bkhe->bhqk", query, key) * model.head_size**-0.5
        before = numpy.tril(numpy.ones((places, places), bool))
        weights = self.jax.nn.softmax(numpy.where(before, scores, -numpy.inf))
        return numpy.einsum("bhqk,bkhe->bqhe", weights, value).reshape(batch, places, model.emb)

    def norm(self, x: Any) -> Any:
        return x * self.jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + EPSILON_NORM)


class Torch:
    """torch, one operator after another, with its fused Adam."""

    def __init__(self, task: Task, to_ctx: bool = False) -> None:
        import torch

        self.torch, self.functional, self.task = torch, torch.nn.functional, task
        torch.set_num_threads(task.shape.threads)
        self.steps = [self.given(batch, to_ctx) for batch in task.batches]

    def given(self, batch: Batch, to_ctx: bool = False) -> list[Any]:
        """A batch as the loss takes it."""
        return [self.torch.from_numpy(part) for part in rectangle(self.task.model, batch, to_ctx)]

    def begin(self) -> None:
        settings, torch = self.task.shape.settings, self.torch
        self.weights = {name: torch.tensor(matrix, requires_grad=True) for name, matrix in self.task.matrices()}
        betas = (settings.beta1, settings.beta2)
        self.adam = torch.optim.Adam(self.weights.values(), settings.lr, betas, EPSILON_ADAM, fused=True)

    def train(self) -> NDArray[Any]:
        losses = []
        for given, lr in zip(self.steps, self.task.rates.tolist(), strict=True):
            losses.append(self.update(given, lr))
        return self.torch.stack(losses).numpy()

    def update(self, given: list[Any], lr: float) -> Any:
        """One step of Adam; the loss before it."""
        loss = self.loss(self.weights, *given)
        self.adam.zero_grad()
        loss.backward()
        self.adam.param_groups[0]["lr"] = lr
        self.adam.step()
        return loss.detach()

    def loss(self, weights: Any, inputs: Any, targets: Any, shares: Any) -> Any:
        model, functional = self.task.model, self.functional
        x = functional.embedding(inputs, weights["wte"]) + weights["wpe"][: inputs.shape[1]]
        x = self.norm(x) if model.norm_embeddings else x
        for layer in range(model.layer):
            own = {name: weights[f"layer{layer}.{name}"] for name in ("qkv", "wo", "fc1", "fc2")}
            x = x + functional.linear(self.attention(functional.linear(self.norm(x), own["qkv"])), own["wo"])
            x = x + functional.linear(functional.relu(functional.linear(self.norm(x), own["fc1"])), own["fc2"])
        logits = functional.linear(self.norm(x) if model.norm_head else x, weights["lm_head"])
        each = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
        return each @ shares.flatten()

    def attention(self, mixed: Any) -> Any:
        batch, places = mixed.shape[:2]
        parts = mixed.view(batch, places, 3, self.task.model.head, self.task.model.head_size).permute(2, 0, 3, 1, 4)
        answer = self.functional.scaled_dot_product_attention(*parts.unbind(), is_causal=True)
        return answer.transpose(1, 2).reshape(batch, places, self.task.model.emb)

    def norm(self, x: Any) -> Any:
        return self.functional.rms_norm(x, x.shape[-1:], eps=EPSILON_NORM)


class TorchCompiled(Torch):
    """The whole step as one compiled function: loss, gradient and Adam."""

    def __init__(self, task: Task) -> None:
        super().__init__(task, to_ctx=True)
        counts = np.arange(1, len(task.batches) + 1)
        beta1, beta2 = task.shape.settings.beta1, task.shape.settings.beta2
        numbers = np.stack([task.rates, 1 - beta1**counts, 1 - beta2**counts], axis=1).astype(np.float32)
        self.numbers = [tuple(row.unbind()) for row in self.torch.from_numpy(numbers)]
        self.step = self.torch.compile(self.whole, dynamic=False)

    def begin(self) -> None:
        torch = self.torch
        self.weights = {name: torch.tensor(matrix) for name, matrix in self.task.matrices()}
        self.m, self.v = ({name: torch.zeros_like(own) for name, own in self.weights.items()} for _ in range(2))

    def train(self) -> NDArray[Any]:
        losses = []
        with self.torch.no_grad():
            for given, numbers in zip(self.steps, self.numbers, strict=True):
                losses.append(self.step(self.weights, self.m, self.v, given, *numbers))
        return self.torch.stack(losses).numpy()

    def whole(self, weights: Any, m: Any, v: Any, given: Any, lr: Any, unbias1: Any, unbias2: Any) -> Any:
        beta1, beta2 = self.task.shape.settings.beta1, self.task.shape.settings.beta2
        slopes, loss = self.torch.func.grad_and_value(self.loss)(weights, *given)
        for name, slope in slopes.items():
            m[name].mul_(beta1).add_(slope, alpha=1 - beta1)
            v[name].mul_(beta2).add_(slope * slope, alpha=1 - beta2)
            weights[name].sub_(lr * (m[name] / unbias1) / ((v[name] / unbias2).sqrt() + EPSILON_ADAM))
        return loss


CONTESTANTS: dict[str, Callable[[Task], Contestant]] = {
    "fused": lambda task: Ours("fused", task),
    "array": lambda task: Ours("array", task),
    "jax scan": Jax,
    "torch eager": Torch,
    "torch.compile": TorchCompiled,
}


# ── Turns ────────────────────────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Turn:
    """One training: its seconds (of the first, with import and compilation), those of all its threads, its losses."""

    seconds: float
    busy: float
    losses: list[float]


def serve(connection: Connection, name: str, shape: Shape) -> None:
    """The process of a contestant: a turn for each word that comes, until the connection ends."""
    try:
        if hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-shape.threads :])
        given = task(shape)
        start = clocks()
        contestant = CONTESTANTS[name](given)
        contestant.begin()
        connection.send(turn(contestant, start))
        while connection.recv():
            contestant.begin()
            connection.send(turn(contestant, clocks()))
    except EOFError:
        pass
    except Exception as error:  # whatever a library can't do here is the reason that the table gives
        connection.send(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")


def clocks() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def turn(contestant: Contestant, start: tuple[float, float]) -> Turn:
    losses = contestant.train()
    seconds, busy = (now - then for now, then in zip(clocks(), start, strict=True))
    return Turn(seconds, busy, np.asarray(losses, np.float64).tolist())


def environment(threads: int, folder: str) -> dict[str, str]:
    """What libraries read as they are loaded: threads, and caches that begin empty."""
    count = str(threads)
    flags = f"--xla_cpu_multi_thread_eigen={'true' if threads > 1 else 'false'} intra_op_parallelism_threads={count}"
    counts = {f"{name}_NUM_THREADS": count for name in ("OMP", "OPENBLAS", "MKL")}
    counts["TORCHINDUCTOR_COMPILE_THREADS"] = "1"
    caches = {"MICROGPT_CACHE": f"{folder}/microgpt", "TORCHINDUCTOR_CACHE_DIR": f"{folder}/torch"}
    return {**counts, **caches, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags, "CUDA_VISIBLE_DEVICES": ""}


class Player:
    """A contestant's process as its opponents see it."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.name, self.turns, self.reason = name, list[Turn](), ""
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=serve, args=(theirs, name, shape), daemon=False)
        self.process.start()
        theirs.close()
        self.take()

    def take(self) -> None:
        """Wait for the end of a turn."""
        try:
            answer = self.connection.recv()
        except EOFError:
            answer = "its process ended"
        if isinstance(answer, Turn):
            self.turns.append(answer)
        else:
            self.reason = answer

    def play(self) -> None:
        if not self.reason:
            self.connection.send(True)
            self.take()

    def leave(self) -> None:
        self.connection.close()
        self.process.join()


# ── Figures ──────────────────────────────────────────────────────────────────────────────────────────────────────────
HEADER = "  contestant       µs a step   quartiles             to fused   cores      compile   error"


def table(shape: Shape, names: list[str], rounds: int) -> Iterator[str]:
    """A line for each contestant at one shape, once all have taken their turns."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ.update(environment(shape.threads, folder))
        players = [Player(name, shape) for name in names]
        for _ in range(rounds):
            for player in players:
                player.play()
        for player in players:
            player.leave()
    fused = next((player for player in players if player.name == "fused" and not player.reason), None)
    yield from (line(shape, player, fused) for player in players)


def line(shape: Shape, player: Player, fused: Player | None) -> str:
    """Microseconds a step as median and quartiles, their ratio to those of fused, cores, compile, error; or why not."""
    if player.reason:
        return f"  {player.name:14} not measured: {player.reason}"
    low, middle, high = (seconds * 1e6 / shape.settings.steps for seconds in quartiles(player))
    compiling = max(0.0, player.turns[0].seconds - quartiles(player)[1])
    cores = statistics.median(turn.busy / turn.seconds for turn in player.turns[1:])
    ratio, error = "", ""
    if fused:
        ratio = f"{quartiles(player)[1] / quartiles(fused)[1]:.2f}"
        pairs = zip(player.turns[0].losses[:COMPARED], fused.turns[0].losses[:COMPARED], strict=True)
        largest = max(abs(one - other) for one, other in pairs)
        error = f"{largest:.1e}{'' if largest <= TOLERANCE else DIFFERS}"
    span = f"{low:.1f} to {high:.1f}"
    numbers = f"{middle:11.1f}   {span:20} {ratio:>9} {cores:7.2f} {compiling:10.2f} s"
    return f"  {player.name:14} {numbers}   {error}"


def quartiles(player: Player) -> list[float]:
    return statistics.quantiles([turn.seconds for turn in player.turns[1:]], n=4, method="inclusive")


def versions() -> str:
    """Versions of the libraries, or that they are missing."""
    found = []
    for name in LIBRARIES:
        try:
            found.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            found.append(f"{name} missing")
    return ", ".join(found)


def main() -> None:
    chosen = machine.asked(__doc__, rounds=7, only=list(CONTESTANTS), shape=list(range(len(SHAPES))))
    print(f"{machine.line()}\n{versions()}")
    lines = []
    for shape in (SHAPES[i] for i in chosen.shape):
        print(f"\n{shape.title}\n{HEADER}")
        for one in table(shape, chosen.only, max(2, chosen.rounds)):
            lines.append(one)
            print(one, flush=True)
    if any(one.endswith(DIFFERS) for one in lines):
        raise SystemExit("Losses differ by more than they may.")


if __name__ == "__main__":
    main()
