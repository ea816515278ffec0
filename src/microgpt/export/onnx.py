"""`.onnx`: the model as a graph of standard operators, which runs wherever an ONNX runtime does.

It reads `tokens` int64 (batch, length), length at most ctx, and gives `probabilities` float32 (batch, length,
vocabulary) of the token after each. Its metadata names the characters, whose places are their token ids; BOS comes
after the last of them.

Shapes: B documents, T positions, V vocabulary, H heads, S numbers of a head, emb = H·S, wide = ff·emb.
"""

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt import __version__
from microgpt.engines.array.forward import forward, rotation, softmax
from microgpt.engines.array.matrices import matrices
from microgpt.engines.contract import EPSILON_NORM
from microgpt.errors import EnvironmentFault, MicrogptError, UsageError
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import ModelConfig
from microgpt.outputs import PRODUCER
from microgpt.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    import onnx

OPSET: Final = 17  # of 2022: runtimes of today know it, also in a browser
IR_VERSION: Final = 8  # of the same year
MOST_PARAMS: Final = 2**29 - 2**23  # numbers: protobuf ends at 2 GiB, characters and names included
TOLERANCE: Final = 1e-5  # of a probability, where numbers have 32 bits
ROUNDINGS: Final = 4  # times what 32 bits cost the array engine: large weights magnify every rounding


def graph(checkpoint: Checkpoint) -> bytes:
    """The file, held against the array engine where onnxruntime is installed.

    Raises `EnvironmentFault` without the package onnx, `UsageError` for a model too large for the format,
    `MicrogptError` where onnxruntime computes another function.
    """
    try:
        import onnx
    except ImportError:
        raise EnvironmentFault(
            "expected the package onnx to write .onnx, found none; pip install 'microgpt-symmetry[onnx]' installs it."
        ) from None
    model = checkpoint.model
    turns = 2 * model.ctx * model.head_size if model.position == "rotary" else 0  # the numbers of both tables
    if params(model) + turns > MOST_PARAMS:
        raise UsageError(
            f".onnx holds at most {MOST_PARAMS:,} params, found {params(model) + turns:,}; export a folder."
        )
    made = _model(checkpoint)
    onnx.checker.check_model(made)
    data: bytes = made.SerializeToString()
    _verify(data, checkpoint)
    return data


class _Nodes:
    """The graph as it grows. Weights are named as in the ledger, but stand in x out."""

    def __init__(self, weights: dict[str, NDArray[Any]]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, NDArray[Any]] = {}
        self._weights = weights

    def add(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        """Add a node and return the name of what it gives."""
        from onnx import helper

        name = name or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name, **attributes))
        return name

    def number(self, value: float | list[int], kind: type[np.generic] = np.float32) -> str:
        """A constant, of which there is one for each value."""
        name = f"{kind.__name__}_{value}".replace(" ", "")
        self.constants[name] = np.array(value, kind)
        return name

    def table(self, name: str) -> str:
        """A matrix whose rows are looked up."""
        self.constants[name] = self._weights[name].astype(np.float32)
        return name

    def linear(self, x: str, name: str) -> str:
        """y = x Wᵀ, for W out x in."""
        self.constants[name] = np.ascontiguousarray(self._weights[name].T, np.float32)
        return self.add("MatMul", x, name)

    def turns(self, model: ModelConfig, positions: str) -> tuple[str, str]:
        """Of positions (T,), what the numbers of a head and their partners are multiplied by when they are turned,
        (T, 1, S) each. They are looked up, since 32 bits of an angle are too few."""
        cos, sin = rotation(model.head_size, 0, model.ctx, np.dtype(np.float32))  # (ctx, S/2) each
        self.constants["cos"] = np.concatenate([cos, cos], -1)[:, None]  # (ctx, 1, S)
        self.constants["sin"] = np.concatenate([-sin, sin], -1)[:, None]  # (ctx, 1, S)
        return self.add("Gather", "cos", positions), self.add("Gather", "sin", positions)

    def turned(self, x: str, turns: tuple[str, str], size: int) -> str:
        """Queries or keys (B, T, H, S), their pairs of numbers i and i + S/2 turned (Su et al. 2021, eq. 34)."""
        cos, sin = turns
        partners = self.number([*range(size // 2, size), *range(size // 2)], np.int64)
        other = self.add("Gather", x, partners, axis=-1)  # (B, T, H, S)
        return self.add("Add", self.add("Mul", x, cos), self.add("Mul", other, sin))

    def rmsnorm(self, x: str) -> str:
        """y = x / sqrt(mean(x²) + ε) (Zhang & Sennrich 2019, eq. 4)."""
        square = self.add("ReduceMean", self.add("Mul", x, x), axes=[-1], keepdims=1)  # (B, T, 1)
        return self.add("Div", x, self.add("Sqrt", self.add("Add", square, self.number(EPSILON_NORM))))


def _model(checkpoint: Checkpoint) -> "onnx.ModelProto":
    from onnx import TensorProto, helper, numpy_helper

    nodes = _Nodes(tensors(checkpoint.model, checkpoint.state.weights))
    _forward(nodes, checkpoint.model)
    places = ["batch", "length"]
    told = helper.make_graph(
        nodes.nodes,
        "microgpt",
        [helper.make_tensor_value_info("tokens", TensorProto.INT64, places)],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [*places, checkpoint.model.vocabulary])],
        [numpy_helper.from_array(array, name) for name, array in nodes.constants.items()],
    )
    model: onnx.ModelProto = helper.make_model(
        told,
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name=PRODUCER,
        producer_version=__version__,
    )
    helper.set_model_props(model, _metadata(checkpoint))
    return model


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """`characters` is a list in JSON: in one string, two of them could be read back as one. `merges`, where tokens are
    byte pairs, are pairs of ids in the order in which they are merged; each makes the next id."""
    tokenizer = checkpoint.tokenizer
    return {
        "characters": json.dumps(list(tokenizer.characters)),
        **({"merges": json.dumps(tokenizer.merges)} if tokenizer.merges else {}),
        "normalize": tokenizer.normalize,
        "kind": checkpoint.kind,
        "ctx": str(checkpoint.model.ctx),
        "bos": str(tokenizer.bos),
    }


def _forward(nodes: _Nodes, model: ModelConfig) -> None:
    """From `tokens` to `probabilities`, as forward.py of the array engine does."""
    zero, one = nodes.number(0, np.int64), nodes.number(1, np.int64)
    length = nodes.add("Gather", nodes.add("Shape", "tokens"), one)
    positions = nodes.add("Range", zero, length, one)  # (T,)
    ahead = nodes.add("Greater", positions, nodes.add("Unsqueeze", positions, nodes.number([1], np.int64)))  # (T, T)
    x = nodes.add("Gather", nodes.table("wte"), "tokens")  # (B, T, emb)
    turns = nodes.turns(model, positions) if model.position == "rotary" else None
    if not turns:
        x = nodes.add("Add", x, nodes.add("Gather", nodes.table("wpe"), positions))  # (B, T, emb)
    x = nodes.rmsnorm(x) if model.norm_embeddings else x
    for layer in range(model.layer):
        x = nodes.add("Add", x, _attention(nodes, model, f"layer{layer}.attn_", nodes.rmsnorm(x), ahead, turns))
        x = nodes.add("Add", x, _mlp(nodes, model, f"layer{layer}.mlp_", nodes.rmsnorm(x)))
    logits = nodes.linear(nodes.rmsnorm(x) if model.norm_head else x, "lm_head")  # (B, T, V)
    nodes.add("Softmax", logits, name="probabilities", axis=-1)


def _mlp(nodes: _Nodes, model: ModelConfig, layer: str, x: str) -> str:
    hidden = nodes.linear(x, f"{layer}fc1")  # (B, T, wide)
    if model.activation == "swiglu":
        gate = nodes.linear(x, f"{layer}gate")  # (B, T, wide)
        hidden = nodes.add("Mul", nodes.add("Mul", gate, nodes.add("Sigmoid", gate)), hidden)
    else:
        hidden = nodes.add("Relu", hidden)
    return nodes.linear(hidden, f"{layer}fc2")


def _attention(nodes: _Nodes, model: ModelConfig, layer: str, x: str, ahead: str, turns: tuple[str, str] | None) -> str:
    """softmax(query · key / sqrt(S)) · value in each head (Vaswani et al. 2017, eq. 1)."""
    heads = nodes.number([0, 0, model.head, model.head_size], np.int64)  # a 0 keeps the size that is there
    query, key, value = (nodes.add("Reshape", nodes.linear(x, layer + part), heads) for part in ("wq", "wk", "wv"))
    if turns:
        query, key = (nodes.turned(part, turns, model.head_size) for part in (query, key))
    query, value = (nodes.add("Transpose", part, perm=[0, 2, 1, 3]) for part in (query, value))  # (B, H, T, S)
    key = nodes.add("Transpose", key, perm=[0, 2, 3, 1])  # (B, H, S, T)
    scores = nodes.add("Mul", nodes.add("MatMul", query, key), nodes.number(model.head_size**-0.5))
    scores = nodes.add("Where", ahead, nodes.number(-np.inf), scores)  # (B, H, T, T)
    answer = nodes.add("MatMul", nodes.add("Softmax", scores, axis=-1), value)  # (B, H, T, S)
    answer = nodes.add("Transpose", answer, perm=[0, 2, 1, 3])
    return nodes.linear(nodes.add("Reshape", answer, nodes.number([0, 0, model.emb], np.int64)), layer + "wo")


def _verify(data: bytes, checkpoint: Checkpoint) -> None:
    """Compute some probabilities with onnxruntime, where it is installed, and with the array engine."""
    try:
        import onnxruntime
    except ImportError:
        return
    model = checkpoint.model
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    draw = np.random.default_rng(0)
    for length in sorted({1, (model.ctx + 1) // 2, model.ctx}):
        tokens = draw.integers(model.vocabulary, size=(2, length))
        (found,) = session.run(["probabilities"], {"tokens": tokens})
        _compare(found, checkpoint, tokens)


def _compare(found: NDArray[Any], checkpoint: Checkpoint, tokens: NDArray[np.int64]) -> None:
    with np.errstate(all="ignore"):
        exact, rounded = (_probabilities(checkpoint, tokens, kind) for kind in (np.float64, np.float32))
    limit = max(TOLERANCE, ROUNDINGS * float(np.abs(rounded - exact).max()))
    error = float(np.abs(found - exact).max())
    if not error <= limit:
        expected = f"expected probabilities within {limit:.1e} of the array engine's from onnxruntime"
        raise MicrogptError(f".onnx: {expected}, found a difference of {error:.1e}; take another version of it.")


def _probabilities(checkpoint: Checkpoint, tokens: NDArray[np.int64], kind: type[np.floating[Any]]) -> NDArray[Any]:
    """What the array engine gives in a precision, (B, T, V)."""
    weights = matrices(checkpoint.model, checkpoint.state.weights.astype(kind))
    return softmax(forward(checkpoint.model, weights, tokens).logits).reshape(*tokens.shape, -1)
