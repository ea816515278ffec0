"""The routes of the page Atoms. Each request names its graph by what it is made from, so that a link reopens it."""

from collections.abc import Hashable
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from microgpt.studio.answers import get
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import numbers, places, whole
from microgpt.studio.studio import Studio

if TYPE_CHECKING:
    from microgpt.studio.descent import Compute, Descent
    from microgpt.studio.graph import Graph, Numbers

KEPT: Final = 4  # graphs that stay in memory
RATE: Final = 0.1  # learning rate of a step that is asked for none
MOST_OPEN: Final = 200  # groups that a request may open


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    kept: Kept[Descent] = Kept(KEPT)

    def view(asked: dict[str, Any]) -> dict[str, Any]:
        from microgpt.studio import atoms

        descent = _descent(studio, kept, asked)
        shown = atoms.view(descent.graph, places(asked, "open")[:MOST_OPEN], whole(asked, "met"))
        return shown | {"values": _values(asked), "descent": descent.told()}

    def atom(asked: dict[str, Any]) -> dict[str, Any]:
        from microgpt.studio import atoms

        number = whole(asked, "atom")
        return atoms.detail(_descent(studio, kept, asked).graph, -1 if number is None else number, whole(asked, "met"))

    return [get("/api/atoms/view", view), get("/api/atoms/atom", atom)]


def _descent(studio: Studio, kept: "Kept[Descent]", asked: dict[str, Any]) -> "Descent":
    """The graph that a request names, after `taken` steps of `rate`; what is kept spares those before it."""
    from microgpt.studio import descent

    key, compute = _source(studio, asked)
    rate = numbers(f"learning rate={asked.get('rate', RATE)}")["learning rate"]

    taken = descent.checked(whole(asked, "taken", 0) or 0)

    def after(steps: int) -> "Descent":
        def make() -> "Descent":
            return descent.stepped(after(steps - 1), compute, taken) if steps else descent.begun(compute, rate)

        return kept.get((key, rate, steps), make)

    return after(taken)


def _source(studio: Studio, asked: dict[str, Any]) -> "tuple[Hashable, Compute]":
    """What names a graph, and computes it: of an expression, or of the loss of a text under a run or none."""
    from microgpt.studio import graphs
    from microgpt.studio.edits import edited
    from microgpt.studio.opening import weights
    from microgpt.training import checkpoint as checkpoints

    if "expression" in asked:
        text, given = str(asked["expression"]), numbers(str(asked.get("values", "")))
        return (text, *given.items()), partial(graphs.of_expression, text, given)
    text = str(asked.get("text", ""))
    if not asked.get("run"):
        return text, lambda moved: graphs.of_loss(graphs.untrained(), text, moved)
    _, file, stamp = weights(studio, asked)
    edits = str(asked.get("edits", ""))

    def compute(moved: "Numbers | None") -> "Graph":
        return graphs.of_loss(edited(checkpoints.read(file, moments=False), edits), text, moved)

    return (text, stamp, edits), compute


def _values(asked: dict[str, Any]) -> dict[str, float]:
    """The variables of an expression with their values."""
    from microgpt.studio.expressions import parse, values_of

    if "expression" not in asked:
        return {}
    return values_of(parse(str(asked["expression"])), numbers(str(asked.get("values", ""))))
