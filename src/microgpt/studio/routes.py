"""The routes of the pages Train and Compare, and of the list of runs."""

import asyncio
import json
from collections.abc import AsyncIterator
from types import ModuleType
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from microgpt import untrusted
from microgpt.errors import UsageError
from microgpt.machine import cores
from microgpt.studio.answers import answer, failure, get, post, refusal
from microgpt.studio.studio import Studio

TOGETHER: Final = 0.15  # seconds over which events are gathered: drawing more often would cost the training time
TOGETHER_AT_MOST: Final = 256  # events of one write
QUIET: Final = 0.5  # seconds after which an idle stream looks whether the studio closes
BEAT: Final = 20  # such looks between two signs of life


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    return [
        get("/api/hello", lambda _: {"studio": True}),
        get("/api/form", lambda _: _form(studio)),
        get("/api/runs", lambda _: {"runs": _runs().listing(studio)}),
        get("/api/runs/{name}", lambda values: _runs().detail(studio, values["name"])),
        get("/api/runs/{name}/samples", lambda values: _runs().samples(studio, values)),
        post("/api/runs/{name}/resume", lambda values: _resume(studio, values)),
        get("/api/text", lambda values: studio.texts.preview(values.get("id"), values.get("tokens", "characters"))),
        _add_text(studio),
        post("/api/plan", lambda values: _plan(studio, values)),
        get("/api/trainings", lambda _: {"trainings": studio.trainings.listing()}),
        post("/api/trainings", lambda values: studio.trainings.start(values).summary()),
        post("/api/trainings/{id}", lambda values: studio.trainings.act(values["id"], values.get("action"))),
        _events(studio),
        get("/api/scaling", lambda values: studio.scaling.show(values.get("sweep", ""), values.get("seen", ""))),
        get("/api/scaling/law", lambda values: studio.scaling.law(values.get("sweep", ""))),
    ]


def _form(studio: Studio) -> dict[str, Any]:
    from microgpt.studio.form import form

    return form() | {"texts": studio.texts.ids(), "cores": cores(), "folder": str(studio.run_folders)}


def _runs() -> ModuleType:
    from microgpt.studio import runs

    return runs


def _resume(studio: Studio, values: dict[str, Any]) -> dict[str, Any]:
    run = studio.find(values["name"])
    return studio.trainings.resume(untrusted.inside(run.parent, run.name), values).summary()


def _plan(studio: Studio, values: dict[str, Any]) -> dict[str, Any]:
    from microgpt.recipes import resolve
    from microgpt.studio.plan import plan

    given = studio.trainings.given(values)
    request = resolve(given.pop("recipe"), given)
    return plan(request, studio.texts.split(request), measure=values.get("measure") is True)


def _add_text(studio: Studio) -> Route:
    """A text as the raw bytes of a body, its name in the address."""

    async def endpoint(request: Request) -> Response:
        name, data = request.query_params.get("name", "text"), await request.body()
        try:
            return answer({"id": await run_in_threadpool(studio.texts.add, name, data)})
        except Exception as error:
            return refusal(error)

    return Route("/api/texts", endpoint, methods=["POST"])


def _events(studio: Studio) -> Route:
    """The events of a training from a number on, as server-sent events; the stream ends with the last."""

    async def endpoint(request: Request) -> Response:
        try:
            training = studio.trainings.find(request.path_params["id"])
            first = int(request.query_params.get("from", "0"))
            if first < 0:
                raise ValueError
        except ValueError:
            return failure(UsageError("from: expected a whole number of 0 or more; leave it out to begin."))
        except Exception as error:
            return failure(error)
        return StreamingResponse(_stream(studio, training, first), media_type="text/event-stream")

    return Route("/api/trainings/{id}/events", endpoint, methods=["GET"])


async def _stream(studio: Studio, training: Any, place: int) -> AsyncIterator[str]:
    loop, news = asyncio.get_running_loop(), asyncio.Event()
    unsubscribe = training.subscribe(lambda: loop.call_soon_threadsafe(news.set))
    quiet = 0
    try:
        while not studio.closing:
            news.clear()
            while events := training.events[place : place + TOGETHER_AT_MOST]:
                yield "".join(f"id: {place + number}\ndata: {event}\n\n" for number, event in enumerate(events))
                place += len(events)
                if json.loads(events[-1]).get("last"):
                    return
                await asyncio.sleep(0)  # else nobody would hear that the page has gone, and it would be written to
            try:
                await asyncio.wait_for(news.wait(), QUIET)
                await asyncio.sleep(TOGETHER)
            except TimeoutError:
                quiet += 1
                if quiet % BEAT == 0:
                    yield ": still here\n\n"
    finally:
        unsubscribe()
