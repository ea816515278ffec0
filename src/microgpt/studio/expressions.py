"""An expression that a person typed, read as a tree and never run as code.

Numbers, names, + - * / **, signs, brackets, and the functions of symmetry.py's table: `(a*b + c).relu()`, `exp(a)`.
"""

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from operator import add, mul, neg, pow, sub, truediv
from typing import Any, Final

from microgpt.errors import UsageError
from microgpt.studio.recording import FUNCTIONS, Recording
from microgpt.symmetry import Val

MOST_CHARACTERS: Final = 400  # characters
DEEPEST: Final = 50  # brackets in brackets
USUAL: Final = (2.0, -3.0, 10.0, 0.5, 1.5)  # values of variables that were given none
BINARY: Final[dict[type[ast.operator], Callable[[Any, Any], Any]]] = {
    ast.Add: add,
    ast.Sub: sub,
    ast.Mult: mul,
    ast.Div: truediv,
    ast.Pow: pow,
}
ALLOWED: Final = f"numbers, names, + - * / ** ( ) and {', '.join(FUNCTIONS)}"


@dataclass(frozen=True)
class Computed:
    """The atom of an expression, its variables by name, and the text that each atom stands for."""

    result: Val
    variables: Mapping[str, Val]
    texts: Mapping[int, str]  # by id of the atom


def parse(text: str) -> ast.expr:
    """The tree of an expression in which every node is allowed. Raises `UsageError`."""
    if len(text) > MOST_CHARACTERS:
        raise UsageError(
            f"expected an expression of at most {MOST_CHARACTERS} characters, found {len(text):,}; shorten it."
        )
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise UsageError(f"expected an expression such as (a*b + c).relu(), found {text[:60]!r}; check it.") from None
    _check(tree, 0)
    return tree


def variables(tree: ast.expr) -> list[str]:
    """The names of an expression's variables, in the order in which they are written."""
    called = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and id(node) not in called]
    return list(dict.fromkeys(node.id for node in sorted(names, key=lambda node: node.col_offset)))


def values_of(tree: ast.expr, given: Mapping[str, float]) -> dict[str, float]:
    """A value for each variable: the one given, or a usual one."""
    return {name: given.get(name, USUAL[i % len(USUAL)]) for i, name in enumerate(variables(tree))}


def compute(text: str, given: Mapping[str, float], recording: Recording) -> Computed:
    """Build the expression out of atoms of a recording. Raises `UsageError` for what is no number."""
    tree = parse(text)
    atoms = {name: recording.Atom(value) for name, value in values_of(tree, given).items()}
    texts = {id(atom): name for name, atom in atoms.items()}

    def built(node: ast.expr) -> Val:
        made = _built(node, built, atoms, recording)
        texts.setdefault(id(made), ast.unparse(node))
        return made

    return Computed(built(tree), atoms, texts)


def _check(node: ast.expr, depth: int) -> None:
    """Raise `UsageError` unless a node and all below it are of the few allowed kinds."""
    if depth > DEEPEST:
        raise UsageError(f"expected at most {DEEPEST} levels of brackets and operations, found more; shorten it.")
    for below in _operands(node):
        _check(below, depth + 1)


def _operands(node: ast.expr) -> Iterator[ast.expr]:
    """What an allowed node is computed from. Raises `UsageError` for any other."""
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            _number(number)
        case ast.Name(id=name) if name not in FUNCTIONS and len(name) <= 20:
            return
        case ast.BinOp(left=left, op=operator, right=right) if type(operator) in BINARY:
            yield from (left, right)
        case ast.UnaryOp(op=ast.USub() | ast.UAdd(), operand=operand):
            yield operand
        case ast.Call(func=ast.Attribute(value=operand, attr=name), args=[], keywords=[]) if name in FUNCTIONS:
            yield operand
        case ast.Call(func=ast.Name(id=name), args=[operand], keywords=[]) if name in FUNCTIONS:
            yield operand
        case _:
            raise UsageError(f"expected {ALLOWED}, found {ast.unparse(node)[:60]!r}; leave it out.")


def _number(written: int | float) -> float:
    """A written number as a float. Raises `UsageError` beyond what a float holds."""
    try:
        if math.isfinite(number := float(written)):
            return number
    except OverflowError:
        pass
    raise UsageError("expected numbers that a float can hold, found one beyond 1e308; write a smaller one.")


def _built(node: ast.expr, built: Callable[[ast.expr], Val], atoms: Mapping[str, Val], recording: Recording) -> Val:
    match node:
        case ast.Constant(value=int() | float() as number):
            return recording.Atom(_number(number))
        case ast.Name(id=name):
            return atoms[name]
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return built(operand)
    operands = [built(below) for below in _operands(node)]
    return _finite(node, lambda: _applied(node, operands))


def _applied(node: ast.expr, operands: list[Any]) -> Val:
    """One operation of symmetry.py on atoms."""
    match node:
        case ast.BinOp(op=operator):
            result = BINARY[type(operator)](*operands)
        case ast.Call(func=ast.Attribute(attr=name) | ast.Name(id=name)):
            result = getattr(operands[0], name)()
        case _:
            result = neg(operands[0])
    return result  # type: ignore[no-any-return]


def _finite(node: ast.expr, operation: Callable[[], Val]) -> Val:
    """The atom of an operation. Raises `UsageError` where its value or a slope is no finite number."""
    try:
        atom = operation()
        if all(isinstance(number, int | float) and math.isfinite(number) for number in (atom.data, atom.da, atom.db)):
            return atom
        found = str(atom.data)
    except (ArithmeticError, ValueError, TypeError) as error:
        found = str(error) or type(error).__name__
    raise UsageError(f"expected a finite number and slope at {ast.unparse(node)[:60]}, found: {found}; choose others.")
