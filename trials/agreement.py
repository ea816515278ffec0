"""Row 24: any valid model and any text: all engines give one loss, one gradient, and one training of three steps."""

import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any, Final

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as seeded
from hypothesis import strategies as st
from numpy.typing import NDArray

from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.reading import text_from
from microgpt.data.split import Split
from microgpt.engines import REGISTRY, available, create
from microgpt.engines.contract import EPSILON_ADAM, Batch, Engine, EngineConfig
from microgpt.engines.parity import Tolerance, tolerance_of
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import fresh
from trials.fault import Fault, Outcome, by_tests

STEPS: Final = 3
RATE: Final = 0.01
ON_THE_WAY: Final = 8  # times as much as rounding the weights may do rounding all that is made of them
HOPELESS: Final = 20.0  # nats; there softmax has left most gradients next to nothing, and Adam steps on their rounding
ONE_NUMBER: Final = (1, "32")  # emb and precision; the gradient of a norm of one number is a difference of equal ones
SMALL: Final = {"head": 4, "head_size": 4, "layer": 3, "ctx": 10, "ff": 4, "vocabulary": 40}
LARGE: Final = {"head": 8, "head_size": 24, "layer": 2, "ctx": 70, "ff": 3, "vocabulary": 600}
FEW: Final = (  # that a kernel is compiled for in the everyday suite: parity's own, and the least there can be
    ModelConfig(27, 8, 2, 2, 5, 4, norm_embeddings=False, norm_head=True),
    ModelConfig(11, 6, 1, 3, 4, 2, norm_embeddings=False, norm_head=False),
    ModelConfig(2, 4, 4, 2, 7, 3, norm_embeddings=False, norm_head=True),
)
INK = st.characters(exclude_categories=("Cs", "Cc", "Cf", "Cn", "Zs", "Zl", "Zp"))


@dataclass(frozen=True)
class Case:
    """A model, what it is trained on, and how its weights are drawn."""

    model: ModelConfig
    documents: tuple[str, ...]
    batch: int
    scale: float  # standard deviation of the weights
    seed: int
    reference: str  # the engine that the others are held to

    @property
    def weights(self) -> NDArray[np.float64]:
        """The same numbers in float32 and in float64."""
        drawn = np.random.default_rng(self.seed).normal(0.0, self.scale, params(self.model))
        return drawn.astype(np.float32).astype(np.float64)

    @property
    def batches(self) -> list[Batch]:
        """The sequences of three steps, by the way that a text takes to a training."""
        split = Split.of(Corpus.of(text_from("\n".join(self.documents)), "lines"), 0.0, 0)
        dataset = Dataset.of(split, ctx=self.model.ctx, seed=self.seed, order="shuffled")
        return list(dataset.sequences_of(0, STEPS, self.batch))


@st.composite
def models(draw: st.DrawFn, most: dict[str, int]) -> ModelConfig:
    """Any valid sizes up to the most, with any placement of norms."""
    sizes = {name: draw(st.integers(2 if name == "vocabulary" else 1, high)) for name, high in most.items()}
    emb = sizes["head"] * sizes.pop("head_size")
    return ModelConfig(emb=emb, norm_embeddings=draw(st.booleans()), norm_head=draw(st.booleans()), **sizes)


@st.composite
def cases(draw: st.DrawFn, model: st.SearchStrategy[ModelConfig], reference: str = "atomic") -> Case:
    """Any text of at most as many different characters as the model knows: of one, of one document, of all scripts."""
    chosen = draw(model)
    letters = draw(st.lists(INK, unique=True, min_size=1, max_size=min(chosen.vocabulary - 1, 12)))
    document = st.text(st.sampled_from(letters), min_size=1, max_size=chosen.ctx + 3)
    documents = draw(st.lists(document, min_size=1, max_size=6))
    scale = draw(st.sampled_from((0.08, 0.3, 0.5)))  # where training begins, to the widest that `verify` takes
    return Case(chosen, tuple(documents), draw(st.integers(1, 4)), scale, draw(st.integers(0, 1 << 16)), reference)


def usable() -> list[tuple[str, Precision]]:
    """Every engine of this machine in each precision that is held to tolerances of rounding."""
    names = [one.name for one in available() if one.usable]
    kinds = [(name, precision) for name in names for precision in REGISTRY[name].precisions]
    return [kind for kind in kinds if kind[1] != "bf16"]


@dataclass(frozen=True)
class Answers:
    """What an engine makes of a case: its first loss and gradient, then the losses and weights of three steps."""

    loss: float
    gradient: NDArray[Any]
    losses: NDArray[np.float64]
    weights: NDArray[Any]


def answers(engine: Engine, case: Case) -> Answers:
    runner, batches = engine.open(fresh(case.model, case.weights)), case.batches
    loss, gradient = runner.gradient(batches[0])
    losses = runner.advance(batches, np.full(STEPS, RATE))
    return Answers(loss, gradient, losses, runner.state().weights)


@dataclass(frozen=True)
class Reference(Answers):
    """The answers that others are held to, and what they are to be allowed."""

    moved: NDArray[np.float64]  # of each weight in three steps, at most, by an error of one in the gradient
    rounding: NDArray[np.float64]  # of the gradient, where the weights are moved by a rounding of float32


def reference_of(case: Case) -> Reference:
    """The reference of a case. Adam divides by the root of the mean square, so that of an error in a tiny gradient
    much becomes; and some weights make float32 itself too coarse for a gradient, which moving them shows."""
    model, weights, batches = case.model, case.weights, case.batches
    runner, moved = create(case.reference, EngineConfig()).open(fresh(model, weights)), np.zeros(len(weights))
    loss, gradient = runner.gradient(batches[0])
    losses = []
    for step, batch in enumerate(batches, 1):
        losses.append(runner.advance([batch], np.array([RATE])))
        moved += RATE / (np.sqrt(runner.state().adam_v / (1 - EngineConfig().beta2 ** step)) + EPSILON_ADAM)
    nearby = weights * (1 + np.random.default_rng(case.seed).uniform(-1, 1, len(weights)) * 2.0**-24)
    beside = create("array", EngineConfig()).open(fresh(model, nearby)).gradient(batches[0])[1]
    return Reference(
        loss, gradient, np.concatenate(losses), runner.state().weights, moved, ON_THE_WAY * np.abs(beside - gradient)
    )


def disagreement(case: Case) -> list[str]:
    """In what an engine differs from the reference by more than it may."""
    reference, found = reference_of(case), list[str]()
    for name, precision in usable():
        if (case.model.emb, precision) == ONE_NUMBER:
            continue
        if (name, precision) != (case.reference, "64") and name != "atomic":
            mine = answers(create(name, EngineConfig(precision)), case)
            wrong = _wrong(case.model, reference, mine, tolerance_of(name, precision), precision == "64")
            found += [f"{name} {precision}: {each}" for each in wrong]
    return found


def _wrong(model: ModelConfig, right: Reference, mine: Answers, limit: Tolerance, exact: bool) -> list[str]:
    """What is out of tolerance. Gradients are held to the largest of their tensor, or a thousandth of the largest of
    all: where a norm leaves next to nothing of a tensor's gradient, what it leaves is rounding."""
    wrong = [] if abs(mine.loss - right.loss) <= limit.once * right.loss else ["loss"]
    largest = float(np.abs(right.gradient).max())
    rounding = tensors(model, right.rounding * (0.0 if exact else 1.0))
    expected, found = tensors(model, right.gradient), tensors(model, mine.gradient.astype(np.float64))
    for name, one in expected.items():
        allowed = limit.once * max(float(np.abs(one).max()), largest / 1000) + rounding[name].max()
        if not np.abs(found[name] - one).max() <= allowed:
            wrong.append(f"gradient of {name}")
        if (found[name][one == 0.0] != 0.0).any() or (exact and (found[name] == 0.0)[one != 0.0].any()):
            wrong.append(f"zeros of {name}")
    if right.loss > HOPELESS:
        return wrong
    if not (len(mine.losses) == STEPS and np.abs(mine.losses - right.losses).max() <= limit.ten_steps):
        return [*wrong, "losses of three steps"]
    off = limit.once * largest + (0.0 if exact else right.rounding.max())
    room = limit.ten_steps * float(np.abs(right.weights).max()) + off * right.moved
    return [*wrong, "weights after three steps"] if (np.abs(mine.weights - right.weights) > room).any() else wrong


def collected(count: int, seed: int, strategy: st.SearchStrategy[Case]) -> list[Case]:
    """So many cases of a strategy, the same for the same seed."""
    found: list[Case] = []
    keep: Callable[[Case], None] = found.append
    quiet = settings(
        max_examples=count, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=[*HealthCheck]
    )
    seeded(seed)(quiet(given(strategy)(lambda case: keep(case))))()
    return found[:count]


def agreements(strategy: st.SearchStrategy[Case]) -> Callable[[int, int], Outcome]:
    """Trials of cases that a strategy draws, in as many processes as there are cores."""

    def try_it(count: int, seed: int) -> Outcome:
        found = collected(count, seed, strategy)
        with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
            wrong = list(pool.map(disagreement, found))
        kinds = ", ".join(f"{name} {precision}" for name, precision in usable())
        problems = [f"{case}: {told}" for case, told in zip(found, wrong, strict=True) if told]
        return Outcome.told(len(found), problems, kinds)

    return try_it


KERNEL, ARRAY = "tests/engines/test_fused_kernel.py", "tests/engines/test_backward_terms.py"
TOGETHER = (
    "one loss, one gradient and one training of three steps in every engine, float64 and float32, within the "
    "tolerances of `microgpt verify`; exact zeros in the same places"
)
FAULTS = (
    Fault(24, "any-model", "any sizes, norms and text, held to atoms", TOGETHER, 80, agreements(cases(models(SMALL)))),
    Fault(
        24,
        "any-larger-model",
        "larger sizes, held to the array engine in float64",
        TOGETHER,
        30,
        agreements(cases(models(LARGE), "array")),
    ),
    by_tests(
        24,
        "broken-gradient",
        "a backward pass that is broken",
        "each statement of the kernel's and each term of array's backward pass broken in turn: parity fails",
        *("-n", "2", f"{KERNEL}::test_broken_it_fails", f"{ARRAY}::test_broken_it_fails"),
    ),
    by_tests(
        24,
        "broken-net",
        "a net in PyTorch that is broken",
        "each term of the model that autograd differentiates broken in turn: parity fails",
        "tests/engines/test_net_terms.py::test_broken_it_fails",
    ),
    by_tests(
        24,
        "central-differences",
        "gradients against central differences",
        "each weight's gradient in float64 is the slope between two losses",
        "tests/test_reference.py::test_every_gradient_of_the_model_is_its_slope",
        "tests/engines/test_array.py::test_the_gradient_is_that_of_central_differences",
        "tests/engines/test_extremes.py::test_every_gradient_is_its_slope",
    ),
)
