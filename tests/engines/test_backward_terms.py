"""Break each term of the backward pass of `array` in turn: parity must see it.

A term is what can be scaled: each side of every sum and difference, one factor of every product and quotient, the
gradient given to every function, the value of every change in place. A step is what can be left out: a call that only
writes, a norm, an assignment into an array. Both are read from the source, so what is added later is broken as well.
"""

import ast
import inspect
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from microgpt.engines import create, parity
from microgpt.engines.array import backward as module
from microgpt.engines.array import engine
from microgpt.engines.contract import Batch, EngineConfig, Runner
from microgpt.model.settings import ModelConfig
from microgpt.model.state import fresh

SOURCE = inspect.getsource(module)
COMPUTING = {"dot", "matmul", "at", "reduce", "total", "turned"}  # and all whose names begin with d_
SCALED = 1.001
PLAIN = ModelConfig(7, 8, 2, 2, 4, 2, norm_embeddings=True, norm_head=True)
CASES = [
    parity.case(model, batch=3)
    for model in (PLAIN, replace(PLAIN, position="rotary", activation="relu2"), replace(PLAIN, tied=True))
]
BATCHES: list[Batch] = [CASES[0].batches[0], [np.array([6, 1, 6]), np.array([6, 2, 3, 6])]]  # the second is below ctx


def opened(name: str, case: parity.Case) -> Runner:
    return create(name, EngineConfig()).open(fresh(case.model, case.weights))


REFERENCES = [[opened("atomic", case).gradient(batch)[1] for batch in BATCHES] for case in CASES]


def scaled(node: ast.expr) -> ast.expr:
    return ast.BinOp(node, ast.Mult(), ast.Constant(SCALED))


def given(call: ast.Call, name: str) -> int | None:
    """Which argument of a call is the gradient that it passes on; None where the call computes nothing."""
    if name == "at":
        return 2
    if name.startswith("d_"):
        return 1 if ast.unparse(call.args[0]) == "model" else 0
    return 0 if name in COMPUTING else None


def terms(tree: ast.Module) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every term, and what scales it in the tree."""
    for node in ast.walk(tree):
        match node:
            case ast.BinOp(op=ast.Add() | ast.Sub()):
                yield f"{node.lineno}: {ast.unparse(node.left)}", lambda n=node: setattr(n, "left", scaled(n.left))
                yield f"{node.lineno}: {ast.unparse(node.right)}", lambda n=node: setattr(n, "right", scaled(n.right))
            case ast.BinOp():
                yield f"{node.lineno}: {ast.unparse(node)}", lambda n=node: setattr(n, "left", scaled(n.left))
            case ast.AugAssign():
                yield f"{node.lineno}: {ast.unparse(node)}", lambda n=node: setattr(n, "value", scaled(n.value))
            case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
                place = given(node, name)
                if place is not None:
                    yield (
                        f"{node.lineno}: {ast.unparse(node)}",
                        lambda n=node, i=place: n.args.__setitem__(i, scaled(n.args[i])),
                    )


def steps(tree: ast.Module) -> Iterator[tuple[str, Callable[[], None]]]:
    """Every step, and what leaves it out of the tree."""
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for place, node in enumerate(function.body):
            writes = isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Subscript)
            calls = isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)
            if writes or calls or isinstance(node, ast.If | ast.For | ast.AugAssign):
                yield (
                    f"{node.lineno}: without {ast.unparse(node)[:60]}",
                    lambda f=function, i=place: f.body.__setitem__(i, ast.Pass()),
                )


def breaks(tree: ast.Module) -> list[tuple[str, Callable[[], None]]]:
    return [*terms(tree), *steps(tree)]


NAMES = [name for name, _ in breaks(ast.parse(SOURCE))]


def gradient_error() -> float:
    """The largest over all models and both batches, the second after the first: what the first left behind must not
    matter. Infinite where a gradient can't be computed any more."""
    errors = []
    for case, references in zip(CASES, REFERENCES, strict=True):
        runner = opened("array", case)
        for batch, right in zip(BATCHES, references, strict=True):
            try:
                errors += parity.tensor_errors(case.model, right, runner.gradient(batch)[1]).values()
            except TypeError:
                return math.inf
    return max(errors)


def broken_backward(index: int) -> Callable[..., None]:
    tree = ast.parse(SOURCE)
    breaks(tree)[index][1]()
    space: dict[str, Any] = {"__name__": "broken"}
    exec(compile(ast.fix_missing_locations(tree), "broken", "exec"), space)
    backward: Callable[..., None] = space["backward"]
    return backward


def test_whole_it_passes() -> None:
    assert gradient_error() < parity.TOLERANCES["64"].once


@pytest.mark.parametrize("index", range(len(NAMES)), ids=NAMES)
def test_broken_it_fails(index: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "backward", broken_backward(index))
    assert not gradient_error() <= parity.TOLERANCES["64"].once


def test_no_function_is_left_out() -> None:
    broken = {int(name.split(":")[0]) for name in NAMES}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        if function.__module__ == module.__name__:
            source, first = inspect.getsourcelines(function)
            assert broken & set(range(first, first + len(source))), name
