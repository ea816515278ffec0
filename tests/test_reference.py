"""The reference: exact against the golden runs, right against central differences, and runnable alone."""

import ast
import itertools
import math
import random
import shutil
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from microgpt import symmetry
from microgpt.model.ledger import tensors
from microgpt.recipes import resolve
from microgpt.symmetry import GPT, TAPE, Config, Val, adam, backward, exp, generate, initial, log, relu, train
from microgpt.training.loop import train as package_train
from microgpt.training.records import Finished
from tests.conftest import SOURCE, golden

FILE = SOURCE / "symmetry.py"
KARPATHY = Config()
ARTISTIC = Config(lr=0.005, norm_embeddings=False, norm_head=True)


# The art


def test_it_fits_on_its_page() -> None:
    assert len(FILE.read_text().splitlines()) <= 240


def test_it_needs_nothing_but_the_standard_library() -> None:
    tree = ast.parse(FILE.read_text(), feature_version=(3, 9))
    imported = {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names}
    imported |= {n.module for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.module}
    assert {name.split(".")[0] for name in imported} <= sys.stdlib_module_names


# The golden runs


def begun(config: Config) -> tuple[random.Random, list[str]]:
    stream, documents = random.Random(42), symmetry.read(None)
    if config.norm_embeddings:
        stream.shuffle(documents)
    return stream, documents


def made(config: Config, stream: random.Random, documents: list[str]) -> tuple[GPT, list[list[int]], list[str]]:
    """The model of a golden run before its first step, the tokens of its documents, and its characters."""
    characters = sorted(set("".join(documents)))
    bos = len(characters)
    draw = (lambda: stream.gauss(0, 0.08)) if config.norm_embeddings else (lambda: stream.uniform(-0.1, 0.1))
    model = initial(config, bos + 1, draw)
    used = documents[: config.steps]
    return model, [[bos, *map(characters.index, document), bos] for document in used], characters


def write(model: GPT, stream: random.Random, characters: list[str]) -> str:
    return "".join(characters[token] for token in generate(model, stream))


GOLDEN = [
    ("karpathy_1000", KARPATHY),
    ("karpathy_e32h4l2_60", Config(emb=32, layer=2, steps=60)),
    ("artistic_200", replace(ARTISTIC, steps=200)),
]
every_golden_run = pytest.mark.parametrize(("name", "config"), GOLDEN)


@pytest.mark.long
@pytest.mark.usefixtures("no_collector")
@every_golden_run
def test_every_loss_and_sample_of_the_golden_runs(name: str, config: Config) -> None:
    expected = golden(name)
    stream, documents = begun(config)
    model, tokens, characters = made(config, stream, documents)
    losses = list(train(model, tokens))
    samples = [write(model, stream, characters) for _ in range(20)]
    assert losses == pytest.approx(expected.losses, rel=0, abs=1e-10)
    assert samples == expected.samples
    weights = [float(w) for matrix in model.weights.values() for row in matrix for w in row]
    assert sum(weights) == pytest.approx(expected.weights_sum, rel=1e-9)
    assert sum(w * w for w in weights) == pytest.approx(expected.weights_sum_of_squares, rel=1e-9)


@pytest.mark.usefixtures("no_collector")
@every_golden_run
def test_the_first_losses_of_the_golden_runs(name: str, config: Config) -> None:
    stream, documents = begun(config)
    model, tokens, _ = made(config, stream, documents)
    losses = list(itertools.islice(train(model, tokens), 5))
    assert losses == pytest.approx(golden(name).losses[:5], rel=0, abs=1e-10)


@every_golden_run
def test_it_writes_the_samples_of_the_golden_runs(name: str, config: Config) -> None:
    """From the weights that the engine `array` ends with, which takes a second and not minutes."""
    sizes = {
        "steps": config.steps,
        "emb": config.emb,
        "layer": config.layer,
        "engine": "array",
        "out": "",
        "samples": 0,
    }
    *_, end = package_train(resolve(name.split("_")[0], sizes))
    assert isinstance(end, Finished)
    stream, documents = begun(config)
    _, _, characters = made(config, stream, documents)
    named = tensors(end.checkpoint.model, end.checkpoint.state.weights)
    model = GPT(config, {name: matrix.tolist() for name, matrix in named.items()})
    assert [write(model, stream, characters) for _ in range(20)] == golden(name).samples


# The algebra

numbers = st.floats(-3, 3)
positive = st.floats(0.1, 3)
BINARY = {"+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b}


def slope(f, x: float) -> float:  # noqa: ANN001
    """The central difference of f at x."""
    h = 1e-5 * max(1.0, abs(x))
    return (f(x + h) - f(x - h)) / (2 * h)


def check_slopes(f, *xs: float) -> None:  # noqa: ANN001
    """The value of f over atoms is its value over floats, and its gradients are its slopes."""
    atoms = [Val(x) for x in xs]
    y = f(*atoms)
    assert y.data == f(*xs)
    backward(y)
    for i, atom in enumerate(atoms):
        assert atom.grad == pytest.approx(slope(lambda x: f(*xs[:i], x, *xs[i + 1 :]), xs[i]), rel=1e-6, abs=1e-6)  # noqa: B023


@given(st.sampled_from("+-*/"), numbers, numbers)
def test_an_operator_between_two_atoms(symbol: str, a: float, b: float) -> None:
    assume(symbol != "/" or abs(b) > 0.1)
    check_slopes(BINARY[symbol], a, b)


@given(st.sampled_from("+-*/"), numbers, numbers)
def test_an_atom_and_a_number_interact_alike_from_both_sides(symbol: str, a: float, b: float) -> None:
    assume(symbol != "/" or min(abs(a), abs(b)) > 0.1)
    check_slopes(lambda x: BINARY[symbol](x, b), a)
    check_slopes(lambda x: BINARY[symbol](a, x), b)


@given(positive, numbers)
def test_powers_of_atoms_and_numbers(a: float, b: float) -> None:
    check_slopes(lambda x, y: x**y, a, b)
    check_slopes(lambda x: x**b, a)
    check_slopes(lambda y: a**y, b)


@given(positive)
def test_functions_and_negation(a: float) -> None:
    for f in (exp, log, relu, lambda x: -x):
        check_slopes(f, a)
    for f in (exp, relu, lambda x: -x):
        check_slopes(f, -a)


def test_powers_of_zero() -> None:
    x = Val(0.0)
    backward(x**2 + x**0 + x)
    assert x.grad == 1.0


def test_a_whole_number_is_a_number_too() -> None:
    assert [exp(0), log(1), relu(-2), relu(2)] == [1.0, 0.0, 0.0, 2]
    assert float(2 * Val(3) + 1) == 7


def test_what_is_no_number_is_refused() -> None:
    with pytest.raises(TypeError):
        Val(2.0) * "two"  # type: ignore[operator]


def test_a_new_operation_is_one_row() -> None:
    tanh = symmetry.op("tanh", "tanh", "math.tanh(a)", "1.0 - y * y")
    check_slopes(tanh, 0.7)
    assert tanh(0.7) == math.tanh(0.7)


# The walk back


def test_an_atom_used_twice_gathers_both_shares() -> None:
    x = Val(3.0)
    y = x * x
    backward(y * x + y)  # x³ + x²
    assert x.grad == 27 + 6


def test_history_names_the_parents_and_the_slopes() -> None:
    a, b = Val(2.0), Val(5.0)
    y = a * b
    assert (y.a, y.da, y.b, y.db) == (a, 5.0, b, 2.0)
    assert (a.a, a.b) == (None, None)
    TAPE.clear()


def test_what_the_loss_did_not_use_gets_no_gradient() -> None:
    a, b = Val(2.0), Val(5.0)
    unused = exp(b)
    backward(a * 3)
    assert (a.grad, b.grad, unused.grad) == (3.0, 0.0, 0.0)


def test_the_tape_is_forgotten_so_that_memory_is_bounded() -> None:
    x = Val(1.0)
    for _ in range(3):
        backward(x * x)
        assert not TAPE


@pytest.mark.parametrize("grow", [lambda y, a: y, lambda y, a: y * 2.0, lambda y, a: a + y])
@pytest.mark.parametrize("first", [lambda y, a: y, lambda y, a: a * 3.0])
def test_a_history_that_is_forgotten_is_an_error_and_no_gradient_too_few(grow, first) -> None:  # noqa: ANN001
    a = Val(2.0)
    y = a * a
    backward(first(y, a))
    with pytest.raises(ValueError, match="which an earlier backward forgot"):
        backward(grow(y, a))
    assert not TAPE
    y * 2.0  # of no use to the next loss, and no fault of it
    b = Val(2.0)
    backward(b * b)
    assert b.grad == 4.0


def test_depth_needs_no_recursion() -> None:
    x = y = Val(1.0)
    for _ in range(100_000):
        y = y + 1e-9
    backward(y)
    assert x.grad == 1.0


# The architecture


@dataclass(frozen=True)
class Dual:
    """A forward-mode dual number, value + slope · ε with ε² = 0: a third kind of number for the model."""

    value: float
    slope: float = 0.0

    def __add__(self, other: "Dual | float") -> "Dual":
        other = dual(other)
        return Dual(self.value + other.value, self.slope + other.slope)

    def __mul__(self, other: "Dual | float") -> "Dual":
        other = dual(other)
        return Dual(self.value * other.value, self.slope * other.value + self.value * other.slope)

    def __neg__(self) -> "Dual":
        return self * -1.0

    def __sub__(self, other: "Dual | float") -> "Dual":
        return self + -dual(other)

    def __truediv__(self, other: float) -> "Dual":
        return self * (1.0 / other)

    def __pow__(self, other: float) -> "Dual":
        return Dual(self.value**other, other * self.value ** (other - 1) * self.slope)

    def exp(self) -> "Dual":
        return Dual(math.exp(self.value), math.exp(self.value) * self.slope)

    def log(self) -> "Dual":
        return Dual(math.log(self.value), self.slope / self.value)

    def relu(self) -> "Dual":
        return self if self.value > 0 else Dual(0.0)

    def __float__(self) -> float:
        return self.value

    __radd__, __rmul__ = __add__, __mul__


def dual(number: "Dual | float") -> Dual:
    return number if isinstance(number, Dual) else Dual(number)


SMALL = Config(emb=6, head=2, layer=2, ctx=5, ff=2)
TOKENS = [4, 0, 1, 2, 1, 3, 4]


def small_model(config: Config) -> GPT:
    stream = random.Random(1)
    return initial(config, 5, lambda: stream.gauss(0, 0.5))


def over(model: GPT, number) -> GPT:  # noqa: ANN001
    """The same model in another kind of number."""
    return GPT(model.config, {name: [list(map(number, row)) for row in m] for name, m in model.weights.items()})


def test_a_subclass_writes_with_its_own_arithmetic() -> None:
    class Parrot(GPT):
        """It knows one word."""

        def __init__(self, word: list[int]) -> None:
            model = small_model(SMALL)
            super().__init__(model.config, model.weights)
            self.word = [*word, 4]

        def logits(self, token: int, position: int, past: symmetry.Past) -> list[float]:
            return [100.0 * (token == self.word[position]) for token in range(5)]

    assert generate(Parrot([2, 0, 1]), random.Random(0)) == [2, 0, 1]


NORMS = [Config(**{**vars(SMALL), "norm_embeddings": e, "norm_head": h}) for e in (True, False) for h in (True, False)]


@pytest.mark.parametrize("config", NORMS, ids=lambda c: f"embeddings={c.norm_embeddings},head={c.norm_head}")
def test_three_kinds_of_number_give_one_loss_and_one_gradient(config: Config) -> None:
    model = small_model(config)
    loss = model.loss(TOKENS)
    backward(loss)
    assert over(model, float).loss(TOKENS) == pytest.approx(loss.data, rel=1e-14)
    for name in ("wte", "wpe", "lm_head", "layer0.attn_wq", "layer1.attn_wk", "layer1.mlp_fc1"):
        duals = over(model, lambda atom: Dual(atom.data))
        duals.weights[name][1][2] = Dual(model.weights[name][1][2].data, 1.0)
        forward = duals.loss(TOKENS)
        assert forward.value == pytest.approx(loss.data, rel=1e-14)
        assert forward.slope == pytest.approx(model.weights[name][1][2].grad, rel=1e-11)


def test_every_gradient_of_the_model_is_its_slope() -> None:
    model = small_model(SMALL)
    backward(model.loss(TOKENS))
    floats = over(model, float)
    for name, matrix in model.weights.items():
        for i, row in enumerate(matrix):
            for j, atom in enumerate(row):

                def loss(x: float, name: str = name, i: int = i, j: int = j) -> float:
                    kept, floats.weights[name][i][j] = floats.weights[name][i][j], x
                    value = floats.loss(TOKENS)
                    floats.weights[name][i][j] = kept
                    return value

                assert atom.grad == pytest.approx(slope(loss, atom.data), rel=1e-5, abs=1e-8), (name, i, j)


def test_a_token_is_predicted_from_what_came_before_it_alone() -> None:
    model = over(small_model(SMALL), float)

    def scores(tokens: list[int]) -> list[list[float]]:
        past: symmetry.Past = {}
        return [model.logits(token, position, past) for position, token in enumerate(tokens)]

    assert scores([4, 0, 1])[:2] == scores([4, 0, 3])[:2]


@given(st.lists(st.floats(-1e4, 1e4), min_size=1, max_size=50))
def test_softmax_is_finite_and_sums_to_one(x: list[float]) -> None:
    chances = symmetry.softmax(x)
    assert all(0 <= chance <= 1 for chance in chances)
    assert sum(chances) == pytest.approx(1, rel=1e-9)


def test_a_loss_stays_finite_where_the_probability_underflows() -> None:
    assert -symmetry.log_softmax([0.0, 1e4])[0] == 1e4


def test_documents_beyond_ctx_are_cropped() -> None:
    model = over(small_model(SMALL), float)
    assert model.loss([4, *[1] * 50, 4]) == model.loss([4, *[1] * 5])


# The loop


def test_adam_moves_by_the_learning_rate_at_first() -> None:
    atom = Val(1.0)
    atom.grad = 123.0
    adam([atom], [0.0], [0.0], 0, 0.1)
    assert (atom.data, atom.grad) == (pytest.approx(0.9), 0.0)


@pytest.mark.parametrize(
    "wrong", [{"emb": 15}, {"steps": 0}, {"lr": 0.0}, {"lr": math.nan}, {"head": 0}, {"ctx": -1}, {"layer": 0}]
)
def test_a_wrong_setting_is_refused_by_name(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Config(**wrong)  # type: ignore[arg-type]


def run(file: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(file), *arguments], capture_output=True, text=True, check=False)


def test_the_program_trains_on_the_built_in_names_and_prints_samples() -> None:
    done = run(FILE, "--steps", "3", "--emb", "8", "--head", "2")
    assert done.returncode == 0
    header, *samples = done.stdout.splitlines()
    assert header == ("MicroGPT: 1328 params, training for 3 steps (lr=0.01, emb=8, head=2, layer=1, ctx=16, ff=4)")
    assert len(samples) == 20
    assert "step      3 / 3" in done.stderr


def test_its_flags_have_the_original_short_forms() -> None:
    done = run(FILE, "-s", "2", "-l", "0.1", "-e", "4", "-y", "2", "-c", "3", "-f", "1", "--head", "1", "--seed", "7")
    assert "training for 2 steps (lr=0.1, emb=4, head=1, layer=2, ctx=3, ff=1)" in done.stdout


def test_copied_alone_into_an_empty_folder_it_still_runs(tmp_path: Path) -> None:
    alone = shutil.copy(FILE, tmp_path)
    assert "training for 2 steps" in run(Path(alone), "--steps", "2").stdout


def test_it_takes_a_text_of_ones_own(tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_bytes("\ufeffabc\r\nbca\r\n\r\n".encode())
    done = run(FILE, str(text), "--steps", "2", "--emb", "4")
    assert done.stdout.startswith("MicroGPT: 288 params")  # three characters and BOS


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--emb", "15"], "emb must be a multiple of head, found emb 15 and head 4"),
        (["--steps", "many"], "invalid int value: 'many'"),
        (["--wrong"], "unrecognized arguments: --wrong"),
        (["no-such-file.txt"], "No such file"),
    ],
)
def test_a_wrong_flag_or_file_is_one_kind_line(arguments: list[str], message: str) -> None:
    done = run(FILE, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_empty_text_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text("\n \n")
    done = run(FILE, str(tmp_path / "empty.txt"))
    assert done.returncode == 2
    assert "empty.txt" in done.stderr
    assert "Traceback" not in done.stderr


def older_python() -> str | None:
    """A working Python 3.9 or 3.10, if the machine has one."""
    for name in ("python3.9", "python3.10"):
        found = shutil.which(name)
        if found and not subprocess.run([found, "--version"], capture_output=True, check=False).returncode:
            return found
    return None


@pytest.mark.skipif(not older_python(), reason="no Python 3.9 or 3.10 on the PATH; its syntax is checked above")
def test_an_older_python_runs_it() -> None:
    done = subprocess.run(
        [older_python() or "", str(FILE), "--steps", "2"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
