"""The routes of the page X-ray."""

from functools import partial
from typing import TYPE_CHECKING, Any, Final

from starlette.routing import Route

from microgpt.studio.answers import get
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import whole
from microgpt.studio.studio import Studio

if TYPE_CHECKING:
    from microgpt.studio.opening import Opener

QUESTIONS: Final = ("run", "embeddings", "weights", "read", "chances", "attention", "check")


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    kept: Kept[Opener] = Kept(1)

    def answered(question: str, asked: dict[str, Any]) -> dict[str, Any]:
        from microgpt.studio.opening import Opener

        return _answer(question, kept.get("opener", lambda: Opener(studio)), asked)

    return [get(f"/api/xray/{question}", partial(answered, question)) for question in QUESTIONS]


def _answer(question: str, opener: "Opener", asked: dict[str, Any]) -> dict[str, Any]:
    from microgpt.studio import pictures, xray

    opened = opener.open(asked)
    checkpoint = opened.checkpoint
    match question:
        case "run":
            with opened.lock:
                return xray.about(opened.path, checkpoint, opened.array)
        case "embeddings":
            return pictures.embeddings(checkpoint)
        case "weights":
            group = str(asked.get("group", "embeddings"))
            return {"groups": pictures.groups(checkpoint), "images": pictures.images(checkpoint, group)}
    reading = opener.read(opened, asked)
    match question:
        case "read":
            return xray.summary(checkpoint, reading)
        case "chances":
            return {"chances": xray.chances(reading, whole(asked, "at") or 0)}
        case "attention":
            return {"heads": xray.attention(reading, whole(asked, "layer") or 0)}
    with opened.lock:
        return xray.check(checkpoint, opened.own, reading)
