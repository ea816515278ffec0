"""The computation graph of a recording, frozen into arrays: values, slopes, gradients, and the tree of groups.

Atoms are numbered parents first, so the backward pass goes down through the numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

import numpy as np
from numpy.typing import NDArray

from microgpt.studio.recording import UNARY, Recording
from microgpt.symmetry import Val

Indices = NDArray[np.int32]
Numbers = NDArray[np.float64]

WIDEST: Final = 120  # atoms or groups that stand side by side in a group; what has more is cut into parts


@dataclass(frozen=True, eq=False)
class Graph:
    """n atoms, parents before children: y = f(a, b) with slopes da, db; -1 stands for no parent.

    `best` is the largest product of slopes, in size, over all paths from the result to an atom, `via` the child that
    such a path comes from; `paths` counts them all.
    """

    value: Numbers  # (n,)
    gradient: Numbers  # (n,)
    a: Indices  # (n,)
    b: Indices  # (n,)
    da: Numbers  # (n,)
    db: Numbers  # (n,)
    operation: Sequence[str]  # (n,) empty for a leaf
    place: Indices  # (n,) the group
    names: Sequence[str]  # (groups,)
    parents: Sequence[int]  # (groups,) -1 for the root
    leaves: int  # variables or weights, the first atoms
    labels: dict[int, str]  # of atoms that have a name
    result: int
    best: Numbers  # (n,)
    via: Indices  # (n,)
    paths: Numbers  # (n,)

    @property
    def size(self) -> int:
        return len(self.value)

    @cached_property
    def order(self) -> Indices:
        """The operations in the order in which the backward pass meets them, one in each of its steps."""
        return np.flatnonzero(self.a >= 0)[::-1].astype(np.int32)


def freeze(recording: Recording, result: Val, leaves: Sequence[tuple[Val, int]], labels: Mapping[int, str]) -> Graph:
    """The graph of a recording and its gradients. `leaves` are atoms that come first, each with its group; `labels`
    are texts by id of the atom."""
    atoms, places, operations = _numbered(recording, leaves, result)
    index = {id(atom): i for i, atom in enumerate(atoms)}
    a = np.array([index.get(id(atom.a), -1) for atom in atoms], np.int32)
    seconds = [None if name in UNARY else atom.b for atom, name in zip(atoms, operations, strict=True)]
    b = np.array([index.get(id(atom), -1) for atom in seconds], np.int32)
    recording.backward(result)  # which forgets what they came from
    numbers = np.array([(atom.data, atom.grad, atom.da, atom.db) for atom in atoms], float).T
    value, gradient, da, db = numbers
    names, parents = list(recording.names), list(recording.parents)
    place = _cut(np.array(places, np.int32), names, parents)
    best, via, paths = _strongest(a, b, da, db, index[id(result)])
    told = {index[key]: text for key, text in labels.items() if key in index}
    shape, last = (operations, place, names, parents, len(leaves), told), index[id(result)]
    return Graph(value, gradient, a, b, da, db, *shape, last, best, via, paths)


def _numbered(
    recording: Recording, leaves: Sequence[tuple[Val, int]], result: Val
) -> tuple[list[Val], list[int], list[str]]:
    """Atoms, parents first: the leaves given, then operations, each behind the written numbers that it takes."""
    atoms, places = [atom for atom, _ in leaves], [group for _, group in leaves]
    operations = [""] * len(atoms)
    known = set(map(id, atoms))
    for atom, name, place in zip(recording.atoms, recording.operations, recording.places, strict=True):
        operands = (atom.a,) if name in UNARY else (atom.a, atom.b)
        for one, kind in (*((operand, "") for operand in operands), (atom, name)):
            if id(one) not in known:
                known.add(id(one))
                atoms.append(one)
                places.append(place)
                operations.append(kind)
    if id(result) not in known:  # an expression that is a number and nothing else
        atoms.append(result)
        places.append(0)
        operations.append("")
    return atoms, places, operations


def _strongest(a: Indices, b: Indices, da: Numbers, db: Numbers, result: int) -> tuple[Numbers, Indices, Numbers]:
    """For each atom the largest product of slopes from the result, the child it comes by, and the number of paths."""
    size = len(a)
    best, via, paths = [0.0] * size, [-1] * size, [0.0] * size
    best[result] = paths[result] = 1.0
    links = list(zip(a.tolist(), da.tolist(), b.tolist(), db.tolist(), strict=True))
    for child in range(result, -1, -1):
        if not paths[child]:
            continue
        one, slope, other, other_slope = links[child]
        for parent, weight in ((one, slope), (other, other_slope)):
            if parent >= 0:
                paths[parent] += paths[child]
                if via[parent] < 0 or abs(best[child] * weight) > abs(best[parent]):
                    best[parent], via[parent] = best[child] * weight, child
    return np.array(best), np.array(via, np.int32), np.array(paths)


def _cut(place: Indices, names: list[str], parents: list[int]) -> Indices:
    """Groups of more than WIDEST atoms or groups, cut into parts in order, so that none is too wide to be seen."""
    place = place.copy()
    for group in np.flatnonzero(np.bincount(place, minlength=len(names)) > WIDEST).tolist():
        if group:
            members = np.flatnonzero(place == group)
            place[members] = _parts(group, len(members), "atoms", names, parents)
    below = np.bincount(np.array(parents[1:], np.int32), minlength=len(names)) if len(names) > 1 else np.zeros(1, int)
    for group in np.flatnonzero(below > WIDEST).tolist():
        children = [child for child, parent in enumerate(parents) if parent == group]
        for child, part in zip(children, _parts(group, len(children), "groups", names, parents), strict=True):
            parents[child] = part
    return place


def _parts(group: int, count: int, what: str, names: list[str], parents: list[int]) -> list[int]:
    """New groups below a group for so many of its members, WIDEST in each; the one of each member."""
    first = len(names)
    for start in range(0, count, WIDEST):
        names.append(f"{what} {start} to {min(start + WIDEST, count) - 1}")
        parents.append(group)
    return [first + member // WIDEST for member in range(count)]


def partial(graph: Graph, steps: int) -> Numbers:
    """Gradients (n,) after so many steps of the backward pass, which goes from the youngest operation to the oldest.

    An operation that is met has all of its gradient, so its shares are known without taking the steps one by one.
    """
    if steps >= len(graph.order):
        return graph.gradient
    met = graph.order[: max(0, steps)]
    parents = np.stack([graph.a[met], graph.b[met]], axis=1).ravel()  # (2 steps,) in the order of the shares
    shares = (np.stack([graph.da[met], graph.db[met]], axis=1) * graph.gradient[met, None]).ravel()
    real = parents >= 0
    gradient = np.bincount(parents[real], shares[real], minlength=graph.size).astype(np.float64)
    gradient[graph.result] = 1.0
    return gradient


def path_of(graph: Graph, group: int) -> list[int]:
    """The groups from below the root to this one."""
    path: list[int] = []
    while group > 0:
        path.append(group)
        group = graph.parents[group]
    return path[::-1]
