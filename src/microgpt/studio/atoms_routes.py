"""The routes of the page Atoms. Each request names its graph by what it is made from, so that a link reopens it."""

from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from microgpt.studio.answers import get
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import numbers, whole
from microgpt.studio.studio import Studio

if TYPE_CHECKING:
    from microgpt.studio.graph import Graph

KEPT: Final = 4  # graphs that stay in memory
MOST_OPEN: Final = 200  # groups that a request may open


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    kept: Kept[Graph] = Kept(KEPT)

    def view(asked: dict[str, Any]) -> dict[str, Any]:
        from microgpt.studio import atoms

        groups = [int(group) for group in str(asked.get("open", "")).split(".") if group.isdecimal()]
        shown = atoms.view(_graph(studio, kept, asked), groups[:MOST_OPEN], whole(asked, "met"))
        return shown | {"values": _values(asked)}

    def atom(asked: dict[str, Any]) -> dict[str, Any]:
        from microgpt.studio import atoms

        number = whole(asked, "atom")
        return atoms.detail(_graph(studio, kept, asked), -1 if number is None else number, whole(asked, "met"))

    return [get("/api/atoms/view", view), get("/api/atoms/atom", atom)]


def _graph(studio: Studio, kept: "Kept[Graph]", asked: dict[str, Any]) -> "Graph":
    """The graph of an expression, or of the loss of a text under a run or an untrained model."""
    from microgpt.studio import graphs
    from microgpt.studio.opening import weights

    if "expression" in asked:
        text, given = str(asked["expression"]), numbers(str(asked.get("values", "")))
        return kept.get((text, *given.items()), lambda: graphs.of_expression(text, given))
    text = str(asked.get("text", ""))
    if not asked.get("run"):
        return kept.get(("untrained", text), lambda: graphs.of_loss(graphs.untrained(), text))
    _, file, stamp = weights(studio, asked)
    from microgpt.studio.edits import edited
    from microgpt.training import checkpoint as checkpoints

    edits = str(asked.get("edits", ""))
    return kept.get((stamp, edits, text), lambda: graphs.of_loss(edited(checkpoints.read(file), edits), text))


def _values(asked: dict[str, Any]) -> dict[str, float]:
    """The variables of an expression with their values."""
    from microgpt.studio.expressions import parse, values_of

    if "expression" not in asked:
        return {}
    return values_of(parse(str(asked["expression"])), numbers(str(asked.get("values", ""))))
