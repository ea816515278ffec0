"""MicroGPT: The Art of Symmetry. A whole GPT from one atom, on the standard library alone.

"Truth is the intersection of beauty and functionality." Read it downwards: a configuration, I the atom, II the algebra,
III the architecture, IV the loop. Or run it: `python symmetry.py --steps 200`. Every faster engine is held against it.
The model is GPT-2 (Radford et al. 2019) with RMSNorm (Zhang & Sennrich 2019, eq. 4), ReLU, and no biases.
"""
from __future__ import annotations
import argparse, copy, gc, math, random, signal, sys, time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import add, mul
from pathlib import Path
from typing import Any

@dataclass(frozen=True)
class Config:
    """The sizes and settings of one training. Each number is a flag of the same name."""
    steps: int = 1000  # Adam updates, each on one document
    lr: float = 0.01   # learning rate of the first step; it falls linearly to zero
    emb: int = 16      # numbers that stand for one token
    head: int = 4      # attention heads, each of emb / head numbers
    layer: int = 1     # blocks of attention and MLP
    ctx: int = 16      # positions that the model can look back on
    ff: int = 4        # the MLP is ff times as wide as emb
    seed: int = 42     # of the stream that draws order, weights and samples
    norm_embeddings: bool = True  # RMSNorm on the summed embeddings
    norm_head: bool = False       # RMSNorm before lm_head

    def __post_init__(self) -> None:
        for name in ("steps", "lr", "emb", "head", "layer", "ctx", "ff"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number above 0, found {getattr(self, name)}")
        if self.emb % self.head:
            raise ValueError(f"emb must be a multiple of head, found emb {self.emb} and head {self.head}")

# ── I. The atom ──────────────────────────────────────────────────────────────────────────────────────────────────────
class Val:
    """A number with its data, its gradient, and the atoms a and b it came from (False: forgotten), its slopes."""
    __slots__ = ("data", "grad", "a", "da", "b", "db")

    def __init__(self, data: float, a: Any = None, da: float = 0.0, b: Any = None, db: float = 0.0) -> None:
        self.data, self.grad = data, 0.0
        self.a, self.da, self.b, self.db = a, da, b, db

    def __float__(self) -> float:
        return float(self.data)

    def __repr__(self) -> str:
        return f"Val({self.data:.6g}, grad={self.grad:.6g})"

TAPE: list[Val] = []  # every atom that an operation made, in order of creation

def backward(loss: Val) -> None:
    """Give every atom its gradient, d(loss)/d(atom), and forget the tape and what stands on it.

    Why no recursion, no sort? An operation needs its operands first, so every atom is younger than its parents: the
    order of creation is a topological order. Backwards, an atom comes after all that used it have paid their part."""
    loss.grad, lost = 1.0, loss.a is False
    for atom in reversed(TAPE):
        a, b, atom.a = atom.a, atom.b, False
        a.grad += atom.da * atom.grad  # the chain rule, once towards each parent
        b.grad += atom.db * atom.grad
        lost = lost or (a.a is False or b.a is False) and atom.grad != 0
    TAPE.clear()
    if lost:
        raise ValueError("expected atoms with their history, which an earlier backward forgot; compute them again")

# ── II. The algebra ──────────────────────────────────────────────────────────────────────────────────────────────────
# Rust has macros; Python has text. Each row of the table below is pasted into this template, in place of the braces,
# and executed once. That makes a method as plain as one written by hand, which computes the value y and, while a and b
# are at hand, the slopes of y towards both: so an operation and its derivative are declared in one place.
MACRO = """
def {method}(self, other=0.0):
    if type(other) is not Val: other = Val(other)
    a = self.data; b = other.data; y = {value}
    TAPE.append(atom := Val(y, self, {da}, other, {db}))
    return atom
"""

def op(name: str, symbol: str, value: str, da: str, db: str = "0.0") -> Any:
    """Make a row of the table an operation of `Val`: an operator or, where the symbol is a word, a function."""
    method = name if name == symbol else f"__{name}__"
    exec(MACRO.format(method=method, value=value, da=da, db=db), space := globals().copy())
    setattr(Val, method, space[method])
    setattr(Val, f"__r{name}__", lambda self, other: space[method](Val(other), self))
    return eval(f"lambda a: a.{name}() if hasattr(a, '{name}') else {value}", space)

#        name       symbol  value y                   slope dy/da                 slope dy/db
op(      "add",     "+",    "a + b",                  "1.0",                      "1.0")
op(      "sub",     "-",    "a - b",                  "1.0",                      "-1.0")
op(      "mul",     "*",    "a * b",                  "b",                        "a")
op(      "truediv", "/",    "a / b",                  "1.0 / b",                  "-y / b")
op(      "pow",     "**",   "a ** b",                 "b and b * a ** (b - 1.0)", "y * math.log(a) if a > 0.0 else 0.0")
op(      "neg",     "-",    "-a",                     "-1.0")
exp = op("exp",     "exp",  "math.exp(a)",            "y")
log = op("log",     "log",  "math.log(a)",            "1.0 / a")
relu = op("relu",   "relu", "a if a > 0.0 else 0.0",  "1.0 if a > 0.0 else 0.0")

# ── III. The architecture ────────────────────────────────────────────────────────────────────────────────────────────
Number = Any  # Val, which builds the graph; float, which only computes; whatever else knows the operations
Vector = list[Number]
Matrix = list[Vector]  # a row for each output
Past = dict[str, list[tuple[Vector, Vector]]]  # of each layer, the key and the value of each token so far

def dot(u: Sequence[Number], v: Sequence[Number]) -> Number:
    return reduce(add, map(mul, u, v))

def linear(x: Vector, w: Matrix) -> Vector:
    return [dot(row, x) for row in w]

def rmsnorm(x: Vector) -> Vector:
    scale = (dot(x, x) / len(x) + 1e-5) ** -0.5
    return [number * scale for number in x]

def log_softmax(x: Vector) -> Vector:
    peak = max(map(float, x))  # what all share cancels out, so take it off before exp can overflow
    total = log(reduce(add, [exp(number - peak) for number in x])) + peak
    return [number - total for number in x]

def softmax(x: Vector) -> Vector:
    return [exp(number) for number in log_softmax(x)]

def shapes(config: Config, vocabulary: int) -> dict[str, tuple[int, int]]:
    """The rows and columns of every matrix, in the order in which they are drawn."""
    emb, wide = config.emb, config.ff * config.emb
    sizes = {"wte": (vocabulary, emb), "wpe": (config.ctx, emb), "lm_head": (vocabulary, emb)}
    for i in range(config.layer):
        sizes.update({f"layer{i}.attn_{name}": (emb, emb) for name in ("wq", "wk", "wv", "wo")})
        sizes.update({f"layer{i}.mlp_fc1": (wide, emb), f"layer{i}.mlp_fc2": (emb, wide)})
    return sizes

class GPT:
    """The model, in any kind of number: a configuration, and a matrix for each name of `shapes`."""
    def __init__(self, config: Config, weights: dict[str, Matrix]) -> None:
        self.config, self.weights = config, weights

    def attention(self, x: Vector, layer: str, past: Past) -> Vector:
        """Relates points in time: in each head a token asks and all so far answer (Vaswani et al. 2017, eq. 1)."""
        query, key, value = [linear(x, self.weights[layer + name]) for name in ("attn_wq", "attn_wk", "attn_wv")]
        past.setdefault(layer, []).append((key, value))
        size, output = len(x) // self.config.head, Vector()
        for part in [slice(start, start + size) for start in range(0, len(x), size)]:
            weights = softmax([dot(query[part], key[part]) / size**0.5 for key, _ in past[layer]])
            output += [dot(weights, column) for column in zip(*[value[part] for _, value in past[layer]])]
        return linear(output, self.weights[layer + "attn_wo"])

    def mlp(self, x: Vector, layer: str) -> Vector:
        """Processes a single point in time."""
        return linear([relu(h) for h in linear(x, self.weights[layer + "mlp_fc1"])], self.weights[layer + "mlp_fc2"])

    def logits(self, token: int, position: int, past: Past) -> Vector:
        """Scores every token as the next one; `past`, the key/value cache, grows by this token."""
        x = list(map(add, self.weights["wte"][token], self.weights["wpe"][position]))
        x = rmsnorm(x) if self.config.norm_embeddings else x
        for layer in [f"layer{i}." for i in range(self.config.layer)]:
            x = list(map(add, x, self.attention(rmsnorm(x), layer, past)))
            x = list(map(add, x, self.mlp(rmsnorm(x), layer)))
        return linear(rmsnorm(x) if self.config.norm_head else x, self.weights["lm_head"])

    def loss(self, tokens: Sequence[int]) -> Number:
        """The mean of -log p(next token), in nats, over the first ctx tokens that have a next one."""
        past, steps = Past(), [(t, tokens[t], tokens[t + 1]) for t in range(min(len(tokens) - 1, self.config.ctx))]
        return -reduce(add, [log_softmax(self.logits(token, t, past))[after] for t, token, after in steps]) / len(steps)

# ── IV. The loop ─────────────────────────────────────────────────────────────────────────────────────────────────────
def adam(atoms: Vector, m: Vector, v: Vector, step: int, lr: float, beta1: float = 0.85, beta2: float = 0.99) -> None:
    """Moves each atom by its mean gradient over the root of its mean square (Kingma & Ba 2015, algorithm 1)."""
    unbias1, unbias2 = 1 - beta1 ** (step + 1), 1 - beta2 ** (step + 1)
    for i, atom in enumerate(atoms):
        m[i] = beta1 * m[i] + (1 - beta1) * atom.grad
        v[i] = beta2 * v[i] + (1 - beta2) * atom.grad * atom.grad
        atom.data, atom.grad = atom.data - lr * (m[i] / unbias1) / (math.sqrt(v[i] / unbias2) + 1e-8), 0.0

def initial(config: Config, vocabulary: int, draw: Callable[[], float]) -> GPT:
    sizes = shapes(config, vocabulary).items()
    return GPT(config, {name: [[Val(draw()) for _ in range(n)] for _ in range(m)] for name, (m, n) in sizes})

def train(model: GPT, documents: Sequence[Sequence[int]]) -> Iterator[float]:
    """Yields the loss of each step."""
    atoms = [atom for matrix in model.weights.values() for row in matrix for atom in row]
    m, v = [0.0] * len(atoms), [0.0] * len(atoms)
    for step in range(model.config.steps):
        loss = model.loss(documents[step % len(documents)])
        backward(loss)
        adam(atoms, m, v, step, model.config.lr * (1 - step / model.config.steps))
        yield loss.data

def generate(model: GPT, stream: random.Random, temperature: float = 0.5) -> list[int]:
    """Draws token after token, until BOS (the last of the vocabulary) ends the document or ctx is full."""
    floating, past, bos = copy.copy(model), Past(), len(model.weights["wte"]) - 1
    floating.weights = {name: [list(map(float, row)) for row in matrix] for name, matrix in model.weights.items()}
    tokens = [bos]
    while len(tokens) <= model.config.ctx and (len(tokens) == 1 or tokens[-1] != bos):
        logits = floating.logits(tokens[-1], len(tokens) - 1, past)
        tokens += stream.choices(range(bos + 1), softmax([logit / temperature for logit in logits]))
    return [token for token in tokens if token != bos]

def read(path: str | None) -> list[str]:
    """The lines of a file, or else the built-in names; a copy of this file that stands alone knows a handful."""
    names = Path(__file__).parent / "data" / "builtin" / "names.txt"
    handful = "emma liam olivia noah ava william sophia james isabella logan mia benjamin charlotte mason amelia elijah"
    text = Path(path or names).read_text("utf-8-sig") if path or names.exists() else handful.replace(" ", "\n")
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if not lines:
        raise ValueError(f"expected text with a document on each line, found none in {path}")
    return lines

def program(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Train a GPT made of atoms, then read what it writes.")
    parser.add_argument("text", nargs="?", help="a file with a document on each line (default: built-in names)")
    for name, *short in map(str.split, ("steps -s", "lr -l", "emb -e", "head", "layer -y", "ctx -c", "ff -f", "seed")):
        default = getattr(Config, name)
        parser.add_argument(f"--{name}", *short, type=type(default), default=default, help=f"default: {default}")
    chosen = vars(parser.parse_args(argv))
    try:
        documents, config = read(chosen.pop("text")), Config(**chosen)
    except (OSError, ValueError) as error:
        parser.error(str(error))
    (stream := random.Random(config.seed)).shuffle(documents)
    bos = len(characters := sorted(set("".join(documents))))
    model = initial(config, bos + 1, lambda: stream.gauss(0, 0.08))
    params = sum(rows * columns for rows, columns in shapes(config, bos + 1).values())
    print(f"MicroGPT: {params} params, training for {config.steps} steps (lr={config.lr}, emb={config.emb}, "
          f"head={config.head}, layer={config.layer}, ctx={config.ctx}, ff={config.ff})", flush=True)
    gc.disable()  # the graph has no cycles: counting references frees it all, and the collector would only cost time
    start, mean = time.perf_counter(), 0.0
    for step, loss in enumerate(train(model, [[bos, *map(characters.index, text), bos] for text in documents]), 1):
        mean += (loss - mean) / min(step, 100)
        if step % 100 == 0 or step in (1, config.steps):
            speed = step / (time.perf_counter() - start)
            print(f"step {step:>6} / {config.steps}   loss {mean:.4f}   {speed:.0f} steps/s", file=sys.stderr)
    for text in ["".join(characters[token] for token in generate(model, stream)) for _ in range(20)]:
        print(text if text.isprintable() or not sys.stdout.isatty() else repr(text))  # it could steer a terminal

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it without a traceback
    for out in filter(None, (sys.stdout, sys.stderr)):
        out.reconfigure(errors="replace")
    program()
