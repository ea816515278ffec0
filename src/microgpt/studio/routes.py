"""The routes of the pages Train, Compare and Scaling, and of the list of runs."""

from types import ModuleType
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microgpt import untrusted
from microgpt.errors import UsageError
from microgpt.machine import cores
from microgpt.studio.answers import answer, failure, get, post, refusal
from microgpt.studio.studio import Studio

AT_ONCE: Final = 512  # events of one answer


def routes(studio: Studio) -> list[Route]:
    """Handlers import what they need when they are called, so that the first page does not wait for NumPy."""
    return [
        get("/api/hello", lambda _: {"studio": True}),
        get("/api/form", lambda _: _form(studio)),
        get("/api/runs", lambda _: {"runs": _runs().listing(studio)}),
        post("/api/runs/{name}/rename", lambda values: _keeping().rename(studio, values)),
        post("/api/runs/{name}/delete", lambda values: _keeping().delete(studio, values)),
        _export(studio),
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
        get("/api/sweep", lambda _: studio.sweeps.status()),
        post("/api/sweep", lambda values: studio.sweeps.start(values.get("what"))),
        post("/api/sweep/stop", lambda _: studio.sweeps.stop()),
    ]


def _form(studio: Studio) -> dict[str, Any]:
    from microgpt.studio.form import form

    return form() | {"texts": studio.texts.ids(), "cores": cores(), "folder": str(studio.run_folders)}


def _runs() -> ModuleType:
    from microgpt.studio import runs

    return runs


def _keeping() -> ModuleType:
    from microgpt.studio import keeping

    return keeping


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
        asked, data = request.query_params, await request.body()
        name, encoding = asked.get("name", "text"), asked.get("encoding", "utf-8")
        try:
            return answer({"id": await run_in_threadpool(studio.texts.add, name, data, encoding)})
        except Exception as error:
            return refusal(error)

    return Route("/api/texts", endpoint, methods=["POST"])


def _export(studio: Studio) -> Route:
    """A model as a file to share."""

    async def endpoint(request: Request) -> Response:
        name, ending = request.path_params["name"], request.query_params.get("ending", "")
        try:
            data = await run_in_threadpool(lambda: _keeping().exported(studio, name, ending))
        except Exception as error:
            return refusal(error)
        return Response(data, media_type="application/octet-stream")

    return Route("/api/runs/{name}/export", endpoint, methods=["GET"])


def _events(studio: Studio) -> Route:
    """{"events"}: those of a training from a number on, as many as one answer takes; they are JSON already."""

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
        told = ",".join(training.events[first : first + AT_ONCE])
        return Response(f'{{"events":[{told}]}}', media_type="application/json")

    return Route("/api/trainings/{id}/events", endpoint, methods=["GET"])
