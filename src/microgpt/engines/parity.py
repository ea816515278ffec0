"""Do all engines compute the same function? `microgpt verify` asks it here.

Each engine gets the same weights and the same documents as `atomic`: one loss, one gradient, ten training steps. And
`atomic` itself is held against central differences, which know nothing of derivatives.

The error between two engines is the largest over tensors of max|a - b| / max|reference|. What is exactly zero in one
must be zero in the other, but in bfloat16. A gradient that is zero would verify nothing: the weights are drawn so wide
that it is not (normal, deviation 0.5, where a training begins at 0.08), the documents reach every position, and a check
of a tensor whose whole reference is zero is refused.
"""

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import combinations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt.engines import REFERENCE, REGISTRY, available, choose, computes, create
from microgpt.engines.contract import Batch, Engine, EngineConfig
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import Architecture, ModelConfig, Precision, variations
from microgpt.model.state import fresh

STEPS = 10
RANDOM_MODELS = 20
LEARNING_RATE = 0.01
STRIDE = 1e-5  # of central differences: balances their own error, O(stride²), with that of rounding, O(1e-16 / stride)
DIFFERENCES_TOLERANCE = 1e-7


@dataclass(frozen=True)
class Tolerance:
    """The largest relative errors that pass: of the loss and the gradient, and of ten training steps."""

    once: float
    ten_steps: float


TOLERANCES: dict[Precision, Tolerance] = {
    "64": Tolerance(1e-12, 1e-11),
    "32": Tolerance(1e-5, 2e-3),
    "bf16": Tolerance(0.8, 0.3),  # 8 bits of a number, at weights far wilder than a training begins with
}


def tolerance_of(engine: str, precision: Precision) -> Tolerance:
    """The largest errors that pass for an engine."""
    usual = TOLERANCES[precision]
    slack = REGISTRY[engine].slack if precision == "32" else 1.0
    return Tolerance(usual.once * slack, usual.ten_steps)


@dataclass(frozen=True)
class Case:
    """A model, its weights, the documents of ten steps, and the weight decay in them."""

    recipe: str
    model: ModelConfig
    weights: NDArray[np.float64]
    batches: tuple[Batch, ...]
    weight_decay: float = 0.0


@dataclass(frozen=True)
class Answers:
    """What an engine makes of a case: its first loss and gradient, then the losses and weights of ten steps."""

    loss: float
    gradient: NDArray[Any]
    losses: NDArray[np.float64]
    weights: NDArray[Any]


@dataclass(frozen=True)
class Check:
    """One line of `verify`: relative errors of an engine, and what is wrong where it is not ok."""

    engine: str
    precision: Precision
    recipe: str
    loss_error: float
    gradient_error: float
    ten_step_error: float | None  # central differences take no steps
    tolerance: float
    ten_step_tolerance: float | None
    ok: bool
    problem: str = ""


def case(model: ModelConfig, batch: int, seed: int = 0, deviation: float = 0.5) -> Case:
    """A case whose first batch has a document beyond ctx, and whose others have documents of every length from one
    token between BOS. The weights are the same number in float32 and in float64."""
    stream = np.random.default_rng(seed)
    weights = stream.normal(0.0, deviation, params(model)).astype(np.float32).astype(np.float64)
    lengths = iter([model.ctx + 3, *(1 + i % (model.ctx + 3) for i in range(STEPS * batch))])
    bos = model.vocabulary - 1

    def document() -> NDArray[np.int64]:
        return np.array([bos, *stream.integers(0, max(1, bos), next(lengths)), bos])

    batches = tuple([document() for _ in range(batch)] for _ in range(STEPS))
    norms = {(True, False): "embeddings", (False, True): "head", (True, True): "both", (False, False): "none"}
    recipe = (
        f"emb {model.emb} head {model.head} layer {model.layer} ctx {model.ctx} ff {model.ff} "
        f"norms {norms[model.norm_embeddings, model.norm_head]} vocabulary {model.vocabulary} batch {batch}"
    ) + "".join(f" {name} {value}" for name, value in variations(model).items())
    return Case(recipe, model, weights, batches)


def decayed(case: Case) -> Case:
    """The same case, whose weights decay by a hundredth in ten steps."""
    weight_decay = 0.01 / STEPS / LEARNING_RATE
    return replace(case, recipe=f"{case.recipe} weight decay {weight_decay:g}", weight_decay=weight_decay)


def quick() -> list[Case]:
    """A spread of every kind of size, in a few seconds: both norm placements in their four combinations, one and
    several layers, heads and documents, vocabularies of 2, 27, 200 and 4,000."""
    return [
        case(model_of(27, (16, 4, 1, 16, 4), (True, False)), batch=1),
        case(model_of(27, (8, 2, 2, 5, 4), (False, True)), batch=3),
        decayed(case(model_of(200, (8, 4, 1, 6, 1), (True, True)), batch=2)),
        case(model_of(11, (6, 1, 3, 4, 2), (False, False)), batch=2),
        case(model_of(2, (4, 4, 2, 7, 3), (False, True)), batch=1),
        case(model_of(4000, (4, 2, 1, 2, 1), (True, False)), batch=1),
        *varied(),
    ]


def varied() -> list[Case]:
    """A case for each other value of each setting by which a model may differ from that of symmetry.py, and for each
    pair of such values."""
    base = model_of(27, (8, 2, 2, 5, 4), (False, True))
    alone = [{name: value} for name, values in other_values().items() for value in values]
    pairs = [one | other for one, other in combinations(alone, 2) if one.keys() != other.keys()]
    return [case(replace(base, **changes), batch=3) for changes in alone + pairs]


def other_values() -> dict[str, list[Any]]:
    """Of each setting that came after symmetry.py's, the values that its page has not."""
    later = [field for field in fields(Architecture) if field.metadata["since"]]
    values = {field: field.metadata["choices"] or (True, False) for field in later}
    return {field.name: [one for one in ones if one != field.metadata["before"]] for field, ones in values.items()}


def random_model(stream: random.Random) -> ModelConfig:
    """Small sizes, norms and variations at random."""
    head, size = stream.choice((1, 2, 4)), stream.choice((2, 4, 6, 8))
    sizes = head * size, head, stream.randint(1, 3), stream.randint(2, 9), stream.randint(1, 4)
    plain = model_of(stream.randint(2, 60), sizes, stream.choices((True, False), k=2))
    changes = {name: stream.choice(values) for name, values in other_values().items() if stream.random() < 0.7}
    return replace(plain, **changes)


def model_of(vocabulary: int, sizes: tuple[int, ...], norms: Sequence[bool]) -> ModelConfig:
    """A model of so many token ids, with emb, head, layer, ctx and ff, and with RMSNorm on embeddings and before the
    head."""
    emb, head, layer, ctx, ff = sizes
    after, before = norms
    return ModelConfig(
        vocabulary, emb=emb, head=head, layer=layer, ctx=ctx, ff=ff, norm_embeddings=after, norm_head=before
    )


def random_case(stream: random.Random) -> Case:
    """A model at random, with weights less wild than elsewhere: where many layers square what they get, the errors of
    float32 grow with it."""
    return case(random_model(stream), stream.randint(1, 3), stream.randrange(1 << 32), deviation=0.2)


def full() -> list[Case]:
    """The whole spread, in minutes: every placement of norms with every shape, vocabulary and batch below, and models
    at random."""
    shapes = [(16, 4, 1, 16, 4), (8, 8, 2, 3, 2), (12, 3, 3, 9, 1), (4, 1, 1, 2, 2)]
    vocabularies = [2, 27, 200]
    placements = list(product((True, False), repeat=2))
    small = [
        case(model_of(vocabulary, shape, norms), batch)
        for shape, vocabulary, norms, batch in product(shapes, vocabularies, placements, (1, 3))
    ]
    large = [case(model_of(4000, (4, 2, 1, 4, 2), norms), batch=1) for norms in placements]
    stream = random.Random(0)
    return quick() + small + large + [random_case(stream) for _ in range(RANDOM_MODELS)]


def answers(engine: Engine, case: Case) -> Answers:
    runner = engine.open(fresh(case.model, case.weights))
    loss, gradient = runner.gradient(case.batches[0])
    losses = runner.advance(case.batches, np.full(STEPS, LEARNING_RATE))
    return Answers(loss, gradient, losses, runner.state().weights)


def tensor_errors(
    model: ModelConfig, reference: NDArray[Any], found: NDArray[Any], same_zeros: bool = True
) -> dict[str, float]:
    """The relative error of each tensor; infinite where zeros don't coincide, or where there is nothing but zeros."""
    right, mine = tensors(model, reference), tensors(model, found.astype(np.float64))
    return {name: _error(right[name], mine[name], same_zeros) for name in right}


def _error(reference: NDArray[Any], found: NDArray[Any], same_zeros: bool = True) -> float:
    largest = float(np.abs(reference).max())
    if largest == 0.0 or (same_zeros and not np.array_equal(reference == 0.0, found == 0.0)):
        return math.inf
    return float(np.abs(reference - found).max()) / largest


def compare(engine: str, precision: Precision, case: Case, reference: Answers, found: Answers) -> Check:
    """The errors of one engine's answers."""
    tolerance = tolerance_of(engine, precision)
    same_zeros = precision != "bf16"  # so coarse that ReLU passes what is zero in the reference, and the reverse
    gradients = tensor_errors(case.model, reference.gradient, found.gradient, same_zeros)
    finished = len(found.losses) == len(reference.losses)
    steps = {"losses": _error(reference.losses, found.losses) if finished else math.inf}
    steps |= tensor_errors(case.model, reference.weights, found.weights, same_zeros)
    loss_error = abs(found.loss - reference.loss) / reference.loss
    wrong = [f"gradient of {name}" for name, error in gradients.items() if not error <= tolerance.once]
    wrong += [f"{name} after ten steps" for name, error in steps.items() if not error <= tolerance.ten_steps]
    wrong += ["loss"] if not loss_error <= tolerance.once else []
    return Check(
        engine=engine,
        precision=precision,
        recipe=case.recipe,
        loss_error=loss_error,
        gradient_error=max(gradients.values()),
        ten_step_error=max(steps.values()),
        tolerance=tolerance.once,
        ten_step_tolerance=tolerance.ten_steps,
        ok=not wrong,
        problem=", ".join(wrong),
    )


def differences(case: Case) -> Check:
    """`atomic`'s gradient of one document against (f(w + h) - f(w - h)) / 2h, weight by weight."""
    engine, document = create(REFERENCE, EngineConfig()), case.batches[0][0]

    def loss(weights: NDArray[np.float64]) -> float:
        sums, counts = engine.open(fresh(case.model, weights)).evaluate([document])
        return float(sums[0] / counts[0])

    offsets = STRIDE * np.eye(params(case.model))
    slopes = np.array([(loss(case.weights + h) - loss(case.weights - h)) / (2.0 * STRIDE) for h in offsets])
    found_loss, gradient = engine.open(fresh(case.model, case.weights)).gradient([document])
    loss_error = abs(found_loss / loss(case.weights) - 1.0)
    gradient_error = max(tensor_errors(case.model, gradient, slopes).values())
    ok = max(loss_error, gradient_error) <= DIFFERENCES_TOLERANCE
    return Check(
        engine=REFERENCE,
        precision="64",
        recipe=f"central differences, {case.recipe}",
        loss_error=loss_error,
        gradient_error=gradient_error,
        ten_step_error=None,
        tolerance=DIFFERENCES_TOLERANCE,
        ten_step_tolerance=None,
        ok=ok,
        problem="" if ok else "gradient or loss against central differences",
    )


def difference_cases() -> list[Case]:
    """Small models, for each weight takes two forward passes."""
    placements = product((True, False), repeat=2)
    plain = [model_of(5, (4, 2, 2, 3, 2), norms) for norms in placements]
    others = other_values()
    mixed = [replace(plain[0], **dict(zip(others, ones, strict=True))) for ones in product(*others.values())]
    return [case(model, batch=1) for model in plain + mixed]


def verify(engines: Sequence[str] = (), whole: bool = False) -> Iterator[Check]:
    """Every check, each as soon as it is done: central differences, then each case in each engine and precision.

    Without `engines`, all that this machine can run. Raises `UsageError` for a model that an engine claims to compute
    and the atoms do not.
    """
    engines = engines or [one.name for one in available() if one.usable]
    yield from map(differences, difference_cases())
    for one in full() if whole else quick():
        if not (able := [name for name in engines if computes(name, one.model) and name != REFERENCE]):
            continue
        choose(REFERENCE, one.model)  # without its definition in atoms there is nothing to hold an engine against
        reference = answers(create(REFERENCE, EngineConfig(weight_decay=one.weight_decay)), one)
        for name in able:
            for precision in REGISTRY[name].precisions:
                found = answers(create(name, EngineConfig(precision, weight_decay=one.weight_decay)), one)
                yield compare(name, precision, one, reference, found)
