"""The routes of the pages X-ray and Model."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from microgpt.studio.answers import get
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import places, whole
from microgpt.studio.studio import Studio

if TYPE_CHECKING:
    from microgpt.studio.opening import Opened, Opener

OF_WEIGHTS: Final = ("run", "embeddings", "weights", "samples")
OF_READINGS: Final = ("read", "chances", "attention", "check", "pass", "stage", "number", "atom")


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    kept: Kept[Opener] = Kept(1)

    def answered(question: str, asked: dict[str, Any]) -> dict[str, Any]:
        from microgpt.studio.opening import Opener

        opener = kept.get("opener", lambda: Opener(studio))
        opened = opener.open(asked)
        told = (_of_reading if question in OF_READINGS else _of_weights)(question, opener, opened, asked)
        under_way = question == "pass" and str(asked.get("run")) in studio.trainings.running()
        return told | {"training": under_way} if question == "pass" else told

    return [get(f"/api/xray/{question}", partial(answered, question)) for question in (*OF_WEIGHTS, *OF_READINGS)]


def _of_weights(question: str, opener: "Opener", opened: "Opened", asked: dict[str, Any]) -> dict[str, Any]:
    from microgpt.studio import pictures, xray

    checkpoint = opened.checkpoint
    match question:
        case "embeddings":
            return pictures.embeddings(checkpoint)
        case "weights":
            group = str(asked.get("group", "embeddings"))
            return {"groups": pictures.groups(checkpoint), "images": pictures.images(checkpoint, group)}
        case "samples":
            told = {}
            for name, each in (("now", opened), ("before", opened.plain)):
                with each.lock:
                    told[name] = xray.samples(each.checkpoint, each.array, str(asked.get("prompt", "")))
            return told
    with opened.lock:
        return xray.about(opened.path, checkpoint, opened.array)


def _of_reading(question: str, opener: "Opener", opened: "Opened", asked: dict[str, Any]) -> dict[str, Any]:
    from microgpt.studio import stages, xray

    checkpoint, reading = opened.checkpoint, opener.read(opened, asked)
    at = min(max(whole(asked, "at", len(reading.tokens) - 1) or 0, 0), len(reading.tokens) - 1)
    name = str(asked.get("stage", ""))
    match question:
        case "read":
            return xray.summary(checkpoint, reading)
        case "chances":
            return {"chances": xray.chances(reading, at)}
        case "attention":
            return {"heads": xray.attention(reading, whole(asked, "layer") or 0)}
        case "pass":
            before = opener.read(opened.plain, asked)
            return {
                "at": at,
                "step": checkpoint.state.step,
                "stages": stages.picture(checkpoint.model, reading, at, places(asked, "open")),
                "lens": stages.lens(checkpoint, reading, at),
                "loss": {"now": stages.loss(reading), "before": stages.loss(before)},
                "chances": stages.compared(before, reading, at),
            }
        case "stage":
            return stages.over_time(reading, name)
        case "number" | "atom":
            source = name, at, whole(asked, "index") or 0
            if question == "number":
                return stages.told(stages.number(checkpoint, reading, source))
            return _atom(opened, reading, source)
    with opened.lock:
        return xray.check(checkpoint, opened.own, reading)


def _atom(opened: "Opened", reading: Any, source: tuple[str, int, int]) -> dict[str, Any]:
    from microgpt.studio import atom_places, graphs

    text = atom_places.text(opened.checkpoint, reading, source[1])
    graph = graphs.of_loss(opened.checkpoint, text)
    atom = atom_places.place(graph, opened.checkpoint, reading, source)
    return {"text": text, "atom": atom, "open": int(graph.place[atom])}
