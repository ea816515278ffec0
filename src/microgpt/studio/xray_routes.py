"""The routes of the page X-ray."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from microgpt.studio.answers import get
from microgpt.studio.kept import Kept
from microgpt.studio.parameters import whole
from microgpt.studio.studio import Studio

if TYPE_CHECKING:
    from microgpt.studio.opening import Opened, Opener
    from microgpt.studio.xray import Reading

Asked = dict[str, Any]


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    kept: Kept[Opener] = Kept(1)

    def opener() -> "Opener":
        from microgpt.studio.opening import Opener

        return kept.get("opener", lambda: Opener(studio))

    def of_weights(answer: "Callable[[Opened, Asked], Any]") -> Callable[[Asked], Any]:
        return lambda asked: answer(opener().open(asked), asked)

    def of_reading(answer: "Callable[[Opened, Reading, Asked], Any]") -> Callable[[Asked], Any]:
        def handler(asked: Asked) -> Any:
            opened = opener().open(asked)
            return answer(opened, opener().read(opened, asked), asked)

        return handler

    return [
        get("/api/xray/run", of_weights(_about)),
        get("/api/xray/read", of_reading(_summary)),
        get("/api/xray/chances", of_reading(_chances)),
        get("/api/xray/attention", of_reading(_attention)),
        get("/api/xray/check", of_reading(_check)),
        get("/api/xray/embeddings", of_weights(_embeddings)),
        get("/api/xray/weights", of_weights(_images)),
    ]


def _about(opened: "Opened", _: Asked) -> dict[str, Any]:
    from microgpt.studio import xray

    with opened.lock:
        return xray.about(opened.path, opened.checkpoint, opened.array)


def _summary(opened: "Opened", reading: "Reading", _: Asked) -> dict[str, Any]:
    from microgpt.studio import xray

    return xray.summary(opened.checkpoint, reading)


def _chances(_: "Opened", reading: "Reading", asked: Asked) -> dict[str, Any]:
    from microgpt.studio import xray

    return {"chances": xray.chances(reading, whole(asked, "at") or 0)}


def _attention(_: "Opened", reading: "Reading", asked: Asked) -> dict[str, Any]:
    from microgpt.studio import xray

    return {"heads": xray.attention(reading, whole(asked, "layer") or 0)}


def _check(opened: "Opened", reading: "Reading", _: Asked) -> dict[str, Any]:
    from microgpt.studio import xray

    with opened.lock:
        return xray.check(opened.checkpoint, opened.own, reading)


def _embeddings(opened: "Opened", _: Asked) -> dict[str, Any]:
    from microgpt.studio import pictures

    return pictures.embeddings(opened.checkpoint)


def _images(opened: "Opened", asked: Asked) -> dict[str, Any]:
    from microgpt.studio import pictures

    group = str(asked.get("group", "embeddings"))
    return {"groups": pictures.groups(opened.checkpoint), "images": pictures.images(opened.checkpoint, group)}
