"""The atoms of symmetry.py and variations.py, with a note of what made each one and where in the model it stands.

Nothing of symmetry.py changes, and its tape stays untouched, since a training may be under way on it in another thread.
Its own code runs here once more in a namespace of its own: `Val` means an atom of this recording, each operation has a
tape that notes its name, and `linear`, `dot`, `softmax` … say where they are before they work. No label is guessed.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from types import FunctionType
from typing import Any, Final

from microgpt import symmetry, variations
from microgpt.errors import UsageError
from microgpt.symmetry import GPT, Matrix, Val, Vector
from microgpt.variations import Varied

OPERATIONS: Final[dict[str, FunctionType]] = {
    name: method
    for name, method in vars(Val).items()
    if isinstance(method, FunctionType) and "TAPE" in method.__code__.co_names
}  # the table of symmetry.py as methods; a row that is added there is here too
FUNCTIONS: Final = tuple(name for name in OPERATIONS if not name.startswith("__"))  # exp, log, relu
UNARY: Final = frozenset({*FUNCTIONS, "neg"})  # the second operand of these is an idle zero
MOST_ATOMS: Final = 200_000  # of one recording
PARTS: Final = {
    "attn_wq": "queries",
    "attn_wk": "keys",
    "attn_wv": "values",
    "attn_wo": "attention output",
    "mlp_fc1": "MLP in",
    "mlp_fc2": "MLP out",
}


class Recording:
    """Atoms in order of creation, each with its operation and its group; and the tree of groups, 0 its root."""

    def __init__(self) -> None:
        self.atoms: list[Val] = []
        self.operations: list[str] = []
        self.places: list[int] = []
        self.names: list[str] = ["model"]
        self.parents: list[int] = [-1]
        self.here = 0
        self._known: dict[tuple[int, str], int] = {}
        self.Atom = self._atom()

    def group(self, *path: str, start: int = 0) -> int:
        """The group of a path below `start`, made where it is new."""
        for name in path:
            if (start, name) not in self._known:
                self._known[start, name] = len(self.names)
                self.names.append(name)
                self.parents.append(start)
            start = self._known[start, name]
        return start

    @contextmanager
    def inside(self, group: int) -> Iterator[None]:
        """What is made here stands in a group."""
        before, self.here = self.here, group
        yield
        self.here = before

    def backward(self, loss: Val) -> None:
        """symmetry.py's own backward pass over these atoms."""
        rehosted(symmetry.backward, {"TAPE": list(self.atoms)})(loss)

    def _atom(self) -> type[Val]:
        """A kind of `Val` whose operations, the code of symmetry.py, write on this recording."""
        kind: Any = type("Atom", (Val,), {"__slots__": ()})
        for name, method in OPERATIONS.items():
            short = name.strip("_")
            own = rehosted(method, {**method.__globals__, "Val": kind, "TAPE": _Tape(self, short)})
            setattr(kind, name, own)
            setattr(kind, f"__r{short}__", lambda self, other, own=own: own(kind(other), self))
        return kind  # type: ignore[no-any-return]


class _Tape:
    """The tape of one operation."""

    def __init__(self, recording: Recording, operation: str) -> None:
        self._recording, self._operation = recording, operation

    def append(self, atom: Val) -> None:
        recording = self._recording
        if len(recording.atoms) >= MOST_ATOMS:
            raise UsageError(
                f"expected at most {MOST_ATOMS:,} atoms, found more; choose a shorter text or a smaller model."
            )
        recording.atoms.append(atom)
        recording.operations.append(self._operation)
        recording.places.append(recording.here)


def rehosted(function: FunctionType | Callable[..., Any], namespace: dict[str, Any]) -> Callable[..., Any]:
    """A function's own code where names mean something else."""
    assert isinstance(function, FunctionType)
    copy = FunctionType(function.__code__, namespace, function.__name__, function.__defaults__, function.__closure__)
    copy.__kwdefaults__ = function.__kwdefaults__
    return copy


def loss(recording: Recording, config: Varied, weights: Mapping[str, Matrix], tokens: Sequence[int]) -> Val:
    """The loss of a document by the code of the model, recorded; `weights` are atoms of the recording."""
    places, model = _Places(recording, config, weights), type(variations.varied(config, dict(weights)))
    namespace = vars(symmetry) | vars(variations)
    for name in ("dot", "linear", "rmsnorm", "log_softmax", "softmax", "turned"):
        namespace[name] = _announced(getattr(places, name), rehosted(namespace[name], namespace))
    methods = {
        name: _announced(getattr(places, name), rehosted(getattr(model, name), namespace))
        for name in ("attention", "mlp", "logits", "loss")
    }
    told: GPT = type("Told", (model,), methods)(config, dict(weights))
    result: Val = told.loss(tokens)
    return result


def _announced(place: Callable[..., AbstractContextManager[None]], function: Callable[..., Any]) -> Callable[..., Any]:
    def announced(*arguments: Any) -> Any:
        with place(*arguments):
            return function(*arguments)

    return announced


class _Places:
    """Where in the model its code is. Each method bears the name of the function that runs within it."""

    def __init__(self, recording: Recording, config: Varied, weights: Mapping[str, Matrix]) -> None:
        self._recording, self._config = recording, config
        self._matrices = {id(matrix): name for name, matrix in weights.items()}
        blocks = [f"layer {i}" for i in range(config.layer)]
        self._norms = [("embeddings", "norm")] if config.norm_embeddings else []
        self._norms += [(block, f"norm before {part}") for block in blocks for part in ("attention", "MLP")]
        self._norms += [("logits", "norm")]
        self._position = self._norm = 0
        self._layer = ""
        self._head = -1  # the head under way, -1 outside of heads
        self._answers = 0  # sums that the head under way still owes, once its softmax is done
        self._counts: dict[int, int] = {}  # of each group, the numbers begun

    def _at(self, *path: str) -> int:
        return self._recording.group(*path, f"position {self._position}")

    def loss(self, gpt: GPT, tokens: Sequence[int]) -> AbstractContextManager[None]:
        return self._recording.inside(self._recording.group("loss"))

    @contextmanager
    def logits(self, gpt: GPT, token: int, position: int, past: Any) -> Iterator[None]:
        self._position, self._norm = position, 0
        with self._recording.inside(self._at("embeddings", "sum")):
            yield

    @contextmanager
    def attention(self, gpt: GPT, x: Vector, layer: str, past: Any) -> Iterator[None]:
        self._layer, self._head, self._answers = f"layer {layer[5:-1]}", 0, 0
        yield
        self._head = -1
        self._recording.here = self._at(self._layer, "sum after attention")  # what follows in `logits`

    @contextmanager
    def mlp(self, gpt: GPT, x: Vector, layer: str) -> Iterator[None]:
        self._recording.here = self._at(self._layer, "ReLU")
        yield
        self._recording.here = self._at(self._layer, "sum after MLP")

    def rmsnorm(self, x: Vector) -> AbstractContextManager[None]:
        self._norm += 1
        return self._recording.inside(self._at(*self._norms[self._norm - 1]))

    @contextmanager
    def linear(self, x: Vector, w: Matrix) -> Iterator[None]:
        layer, _, matrix = self._matrices[id(w)].rpartition(".")
        group = self._at(self._layer, PARTS[matrix]) if layer else self._at("logits", "lm_head")
        head, self._head = self._head, -1  # its sums are not those of a head
        with self._recording.inside(group):
            yield
        self._head = head

    def dot(self, u: Vector, v: Vector) -> AbstractContextManager[None]:
        if self._head >= 0:
            self._recording.here = self._within_head(len(u))
        here = self._recording.here
        self._counts[here] = self._counts.get(here, -1) + 1
        return self._recording.inside(self._recording.group(f"number {self._counts[here]}", start=here))

    def _within_head(self, width: int) -> int:
        """A head scores every key, weighs them by softmax, and answers in `size` sums; then comes the next head."""
        if not self._answers:
            return self._head_group("scores")
        group = self._head_group("answer")
        self._answers -= 1
        self._head += not self._answers
        return group

    def _head_group(self, part: str) -> int:
        head = self._recording.group(self._layer, f"head {self._head}", f"position {self._position}")
        return self._recording.group(part, start=head)

    def turned(self, x: Vector, position: int) -> AbstractContextManager[None]:
        return self._recording.inside(self._at(self._layer, "rotation"))

    def softmax(self, x: Vector) -> AbstractContextManager[None]:
        self._answers = self._config.emb // self._config.head
        return self._recording.inside(self._head_group("softmax"))

    @contextmanager
    def log_softmax(self, x: Vector) -> Iterator[None]:
        if self._head >= 0:
            yield
        else:
            with self._recording.inside(self._at("loss")):
                yield
