"""What the server answers: JSON without NaN, and every failure as one sentence with a fitting status.

A handler is a plain function from parameters to values that JSON knows. It runs in a thread of its own, so it may take
its time; those of a GET come from the address, those of a POST from a JSON body, and names in the path are added.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microgpt import untrusted
from microgpt.errors import CheckpointError, DataError, MicrogptError, UsageError

Handler = Callable[[dict[str, Any]], Any]

GONE: Final = 404
UNPROCESSABLE: Final = 422  # settings or a text that can't be
TYPED: Final = (UsageError.exit_code, DataError.exit_code)  # faults of settings, texts and prompts
CONFLICT: Final = 409  # the machine or a file stands against it


class MissingError(CheckpointError):
    """What was asked for is not there, or not there any more."""


def finite(value: Any) -> Any:
    """The same value for JSON: what is no finite number becomes None, arrays become lists."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    if hasattr(value, "tolist"):  # an array of NumPy, or one of its numbers
        return finite(value.tolist())
    return value


def answer(value: Any, status: int = 200) -> Response:
    """A value as JSON."""
    # Lone surrogates, which a hostile file may hold, are no UTF-8: they become question marks.
    text = json.dumps(finite(value), allow_nan=False, ensure_ascii=False).encode("utf-8", "replace")
    return Response(text, status, media_type="application/json")


def failure(error: Exception) -> Response:
    """One sentence that says what happened and what to do."""
    if isinstance(error, MissingError):
        status = GONE
    elif isinstance(error, MicrogptError):
        status = UNPROCESSABLE if error.exit_code in TYPED else CONFLICT
    elif isinstance(error, MemoryError):
        error, status = MemoryError("There is not enough memory for this; smaller sizes need less."), CONFLICT
    else:
        error, status = RuntimeError(f"unexpected {type(error).__name__}: {error}"), 500
    return answer({"error": _line(error)}, status)


def _line(error: Exception) -> str:
    return " ".join(str(error).split())


def refusal(error: Exception) -> Response:
    """The same sentence; with status 200 where it is about what a person typed, which is no fault of the page.

    A browser writes every other status into its console as an error, at each key that makes no sense yet.
    """
    typed = isinstance(error, MicrogptError) and error.exit_code in TYPED and not isinstance(error, MissingError)
    return answer({"error": _line(error)}) if typed else failure(error)


def get(path: str, handler: Handler) -> Route:
    """A route that only looks."""

    async def endpoint(request: Request) -> Response:
        return await _answered(handler, {**request.query_params, **request.path_params})

    return Route(path, endpoint, methods=["GET"])


def post(path: str, handler: Handler) -> Route:
    """A route that does something; its body is a JSON object, or empty."""

    async def endpoint(request: Request) -> Response:
        body = await request.body()
        try:
            values = untrusted.parse_json(body, "the request") if body else {}
        except CheckpointError as error:
            return failure(UsageError(str(error).replace("the file is damaged", "send JSON")))
        return await _answered(handler, {**values, **request.path_params})

    return Route(path, endpoint, methods=["POST"])


async def _answered(handler: Handler, parameters: dict[str, Any]) -> Response:
    try:
        return answer(await run_in_threadpool(handler, parameters))
    except Exception as error:  # whatever it is, the page gets a sentence
        return refusal(error)
