"""What the page Atoms shows: boxes and edges of a graph that is mostly folded, and all about one atom.

Groups are a tree; a page opens some of them and sees, in place of each that is closed, one box with all its atoms.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from microgpt.errors import UsageError
from microgpt.studio.graph import Graph, Indices, Numbers, partial, path_of

MOST_BOXES: Final = 600  # that one view shows
MOST_ALIKE: Final = 8  # folded boxes of one kind beside an open one; more are drawn as one
ALIKE: Final = ("number", "position", "row", "token")  # kinds of which none is made from another of its group
MOST_BRANCHES: Final = 60  # of one atom that are listed one by one


def view(graph: Graph, opened: Iterable[int], steps: int | None = None) -> dict[str, Any]:
    """The boxes and the edges between them when these groups are open, besides the root and all above them.

    A box is an atom, a closed group or, beside an open one, the others of its kind. Raises `UsageError` for too many
    boxes.
    """
    unfolded = _unfolded(graph, opened)
    box = _boxes(graph, unfolded)  # (n,) atoms below size, groups from there
    shown, member, counts = np.unique(box, return_inverse=True, return_counts=True)
    if len(shown) > MOST_BOXES:
        raise UsageError(f"expected at most {MOST_BOXES} boxes in view, found {len(shown):,}; fold some groups first.")
    met = graph.order if steps is None else graph.order[: max(0, steps)]
    gradient = partial(graph, len(met))
    largest = np.zeros(len(shown))
    np.maximum.at(largest, member, np.abs(gradient))
    totals = zip(
        counts.tolist(),
        largest.tolist(),
        np.bincount(member[graph.order], minlength=len(shown)).tolist(),
        np.bincount(member[met], minlength=len(shown)).tolist(),
        strict=True,
    )
    return {
        "boxes": [_box(graph, key, gradient, *rest) for key, rest in zip(shown.tolist(), totals, strict=True)],
        "edges": _edges(graph, member, shown),
        "open": [{"id": group, "name": graph.names[group], "parent": graph.parents[group]} for group in unfolded],
        "atoms": graph.size,
        "steps": len(graph.order),
        "step": len(met),
        "met": _passing(graph, int(met[-1])) if len(met) else None,
        "met_box": int(shown[member[met[-1]]]) if len(met) else -1,
        "result": {"atom": graph.result, "value": graph.value[graph.result]},
    }


def _unfolded(graph: Graph, opened: Iterable[int]) -> list[int]:
    """The open groups and all above them, the root first, without those that are none."""
    groups = {0}
    for group in opened:
        if 0 < group < len(graph.names):
            groups.update(path_of(graph, group))
    return sorted(groups, key=lambda group: (len(path_of(graph, group)), group))


def _boxes(graph: Graph, unfolded: Sequence[int]) -> Indices:
    """For each atom the box that stands for it: itself, size + the outermost closed group around it or, past the
    groups, size + groups + the group whose folded ones are drawn as one."""
    is_open, crowds = set(unfolded), _crowds(graph, unfolded)
    stands = np.full(len(graph.names), -1)
    for group in set(graph.place.tolist()):
        closed = next((step for step in path_of(graph, group) if step not in is_open), None)
        if closed is not None:
            crowd = crowds.get((graph.parents[closed], _kind(graph, closed)))
            stands[group] = graph.size + (closed if crowd is None else len(graph.names) + graph.parents[closed])
    chosen = stands[graph.place]
    return np.where(chosen < 0, np.arange(graph.size), chosen).astype(np.int32)


def _crowds(graph: Graph, unfolded: Sequence[int]) -> dict[tuple[int, str], int]:
    """How many folded groups of a kind stand beside an open one of it, where they are more than MOST_ALIKE; by the
    group around them and the kind."""
    is_open = set(unfolded)
    beside = {(graph.parents[group], _kind(graph, group)) for group in unfolded if _kind(graph, group) in ALIKE}
    counts = dict.fromkeys(beside, 0)
    for group, parent in enumerate(graph.parents):
        key = parent, _kind(graph, group)
        if key in counts and group not in is_open:
            counts[key] += 1
    return {key: count for key, count in counts.items() if count > MOST_ALIKE}


def _kind(graph: Graph, group: int) -> str:
    """The first word of a group's name."""
    return graph.names[group].split(" ")[0]


def _edges(graph: Graph, member: NDArray[np.intp], shown: Indices) -> list[list[int]]:
    """[from, to, how many] between boxes."""
    pairs = [(parents, np.flatnonzero(parents >= 0)) for parents in (graph.a, graph.b)]
    sources = np.concatenate([member[parents[children]] for parents, children in pairs]).astype(np.int64)
    targets = np.concatenate([member[children] for _, children in pairs])
    apart = sources != targets
    keys, counts = np.unique(sources[apart] * len(shown) + targets[apart], return_counts=True)
    one, other = shown[keys // len(shown)], shown[keys % len(shown)]
    return np.stack([one, other, counts], axis=1).tolist()  # type: ignore[no-any-return]


def _box(
    graph: Graph, key: int, gradient: Numbers, atoms: int, largest: float, steps: int, done: int
) -> dict[str, Any]:
    """An atom, or a closed group with its largest gradient in size; `done` of its `steps` are behind us."""
    progress = {"steps": steps, "done": done}
    if key < graph.size:
        return _atom_box(graph, key, gradient[key]) | progress
    kind, group = ("group", key - graph.size) if key < graph.size + len(graph.names) else ("others", 0)
    around = graph.parents[group] if kind == "group" else key - graph.size - len(graph.names)
    names = [graph.names[step] for step in path_of(graph, group if kind == "group" else around)]
    told = {"id": key, "kind": kind, "group": group, "within": around, "name": names[-1], "path": names}
    return told | {"atoms": atoms, "largest": largest} | progress


def _atom_box(graph: Graph, atom: int, gradient: float) -> dict[str, Any]:
    return {
        "id": atom,
        "kind": "atom",
        "operation": graph.operation[atom],
        "label": graph.labels.get(atom, ""),
        "value": graph.value[atom],
        "gradient": gradient,
        "a": int(graph.a[atom]),
        "b": int(graph.b[atom]),
        "da": graph.da[atom],
        "db": graph.db[atom],
        "within": int(graph.place[atom]),
    }


def _passing(graph: Graph, atom: int) -> dict[str, Any]:
    """An operation in its step of the backward pass, when it has all of its gradient, and what it was made from."""
    pairs = [(graph.a[atom], graph.da[atom]), (graph.b[atom], graph.db[atom])]
    parents = [
        {"atom": int(parent), "value": graph.value[parent], "slope": slope, "label": graph.labels.get(parent, "")}
        for parent, slope in pairs
        if parent >= 0
    ]
    return _atom_box(graph, atom, graph.gradient[atom]) | {"parents": parents}


def detail(graph: Graph, atom: int, steps: int | None = None) -> dict[str, Any]:
    """Everything about one atom. Its shares, one for each use, add up to its gradient. Raises `UsageError`."""
    if not 0 <= atom < graph.size:
        raise UsageError(f"expected an atom from 0 to {graph.size - 1:,}, found {atom}; choose one of the graph.")
    gradient = graph.gradient if steps is None else partial(graph, steps)
    uses = [
        {"atom": child, "operation": graph.operation[child], "slope": slope, "gradient": above, "share": slope * above}
        for child, slope in _children(graph, atom)
        for above in [graph.gradient[child]]
    ]
    return _passing(graph, atom) | {
        "gradient": gradient[atom],
        "whole": graph.gradient[atom],
        "path": [{"id": group, "name": graph.names[group]} for group in path_of(graph, int(graph.place[atom]))],
        "uses": uses[:MOST_BRANCHES],
        "uses_in_all": len(uses),
        "shares": float(np.sum([use["share"] for use in uses])) if uses else float(atom == graph.result),
        "paths": graph.paths[atom],
        "chain": chain(graph, atom),
        "product": graph.best[atom],
    }


def _children(graph: Graph, atom: int) -> list[tuple[int, float]]:
    """Each use of an atom: the operation, and its slope towards it."""
    sides = ((graph.a, graph.da), (graph.b, graph.db))
    return [(child, float(slopes[child])) for side, slopes in sides for child in np.flatnonzero(side == atom).tolist()]


def chain(graph: Graph, atom: int) -> list[dict[str, Any]]:
    """The path from the result to an atom whose product of slopes is the largest; empty where there is no path."""
    if not graph.paths[atom]:
        return []
    steps: list[dict[str, Any]] = []
    while atom != graph.result:
        child = int(graph.via[atom])
        slopes = [
            graph.da[child] if graph.a[child] == atom else None,
            graph.db[child] if graph.b[child] == atom else None,
        ]
        slope = max((slope for slope in slopes if slope is not None), key=abs)
        steps.append({"atom": child, "to": atom, "operation": graph.operation[child], "slope": slope})
        atom = child
    return steps[::-1]
