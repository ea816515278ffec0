"""Break each term of PyTorch's net in turn: parity must see it.

Autograd differentiates what the net says, so a term that is wrong there is wrong in the loss and in the gradient.
"""

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: pip install 'microgpt-symmetry[torch]'")

from microgpt.engines import create, parity
from microgpt.engines.contract import EngineConfig
from microgpt.engines.torch import engine
from microgpt.engines.torch import net as module
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh

SOURCE = inspect.getsource(module)
COMPUTING = {"embedding", "linear", "rms_norm", "relu", "scaled_dot_product_attention", "cross_entropy"}
SCALED = 1.001
PLAIN = ModelConfig(7, 8, 2, 2, 4, 2, norm_embeddings=True, norm_head=True)
CASES = [
    parity.case(model, batch=3)
    for model in (PLAIN, replace(PLAIN, position="rotary", activation="relu2"), replace(PLAIN, tied=True))
]
PREFIX = [6, 1, 2, 3]


def scaled(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Mult(), ast.Constant(SCALED))


def breaks(tree: ast.Module) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every summand and every call that computes made a thousandth larger; the norms and the mask left out."""
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id="x")], value=ast.BinOp(op=ast.Add()) as sum_):
                name = f"{node.lineno}: {ast.unparse(sum_)[:50]}"
                yield f"{name}, left", lambda n=sum_: setattr(n, "left", scaled(n.left))
                yield f"{name}, right", lambda n=sum_: setattr(n, "right", scaled(n.right))
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if name in COMPUTING:
                yield f"{node.lineno}: {ast.unparse(node)[:60]}", lambda n=node: n.args.insert(0, scaled(n.args.pop(0)))
            case ast.keyword(arg="is_causal", value=ast.Constant()):
                yield "is_causal", lambda n=node: setattr(n, "value", ast.Constant(False))
            case ast.keyword(arg="eps"):
                yield "eps", lambda n=node: setattr(n, "value", scaled(n.value))
            case ast.BinOp(op=ast.Mult(), left=ast.Name(id="a" | "b")):
                yield f"{node.lineno}: {ast.unparse(node)}", lambda n=node: setattr(n, "left", scaled(n.left))
            case ast.If() if "norm_" in ast.unparse(node.test) or "rotary" in ast.unparse(node.test):
                yield f"{node.lineno}: {ast.unparse(node.test)}", lambda n=node: setattr(n, "test", ast.Constant(False))


def computing(name: str) -> bool:
    """Whether a break has a meaning: token ids are not scaled, and no gradient is the index of a matrix."""
    return not any(word in name for word in (": embedding(inputs", ": _keep"))


NAMES = [name for name, _ in breaks(ast.parse(SOURCE))]


def error() -> float:
    """The largest of the loss, of the gradient, and of what comes after a prefix, with and without the cache."""
    errors = []
    for case in CASES:
        state = fresh(case.model, case.weights)
        atoms, runner = (create(name, EngineConfig()).open(state) for name in ("atomic", "torch"))
        (loss, gradient), (mine, found) = atoms.gradient(case.batches[0]), runner.gradient(case.batches[0])
        errors += [np.abs(atoms.next(PREFIX[:n]) - runner.next(PREFIX[:n])).max() for n in (1, 2, 4)]
        errors += [abs(mine - loss), *parity.tensor_errors(case.model, gradient, found).values()]
    return float(max(errors))


def test_whole_it_passes() -> None:
    assert error() < parity.TOLERANCES["64"].once
    assert len(NAMES) > 15


@pytest.mark.parametrize(
    "index", [i for i, name in enumerate(NAMES) if computing(name)], ids=[*filter(computing, NAMES)]
)
def test_broken_it_fails(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse(SOURCE)
    list(breaks(tree))[index][1]()
    space: dict[str, Any] = {"__name__": "broken"}
    exec(compile(ast.fix_missing_locations(tree), "broken", "exec"), space)
    for name in ("losses", "logits", "net"):
        monkeypatch.setattr(engine, name, space[name])
    assert not error() <= parity.TOLERANCES["64"].once
