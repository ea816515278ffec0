"""The server: starlette and uvicorn on the loopback address, a page without a build step, and JSON beneath it."""

import contextlib
import logging
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from microgpt.errors import EnvironmentFault, UsageError
from microgpt.studio import atoms_routes, routes, xray_routes
from microgpt.studio.answers import MissingError, failure, post
from microgpt.studio.security import Guard, Keys
from microgpt.studio.studio import Studio

STATIC: Final = Path(__file__).with_name("static")
TYPES: Final = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
}
PORT: Final = 8613
PORTS_TRIED: Final = 100
ACCEPTED: Final = 32  # connections at once, few beside `MOST`: so none is one too many before it was heard


@dataclass(frozen=True)
class Place:
    """Where a studio listens; `given` says that the person named the port."""

    port: int = PORT
    given: bool = False
    allowed: tuple[str, ...] = ()


def create(studio: Studio, keys: Keys, port: int, allowed: Iterable[str] = ()) -> Guard:
    """The whole application behind its guard."""

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        threading.Thread(target=_import_ahead, daemon=True).start()
        yield
        studio.close()

    pages = (route for room in (routes, xray_routes, atoms_routes) for route in room.routes(studio))
    app = Starlette(routes=[_enter(keys), *pages, *_static()], lifespan=lifespan)
    app.router.redirect_slashes = False  # a path that isn't there is answered, not sent elsewhere
    app.add_exception_handler(404, _nothing)
    return Guard(app, keys, port, allowed)


def serve(studio: Studio, place: Place, ready: Callable[[str, Callable[[], str]], None]) -> int:
    """Serve until a signal ends it, and say which. `ready` is called with the address to print, and with what makes one
    for a browser (`Keys.page`).

    Raises `EnvironmentFault` where the port is taken.
    """
    keys, listening = Keys(), listen(place)
    port = listening.getsockname()[1]
    app, address = create(studio, keys, port, place.allowed), f"http://127.0.0.1:{port}/"
    ready(f"{address}#token={keys.token}", lambda: keys.page(address))
    from microgpt.studio.connection import Connection  # while a browser starts

    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # else strangers could fill a disk with what it says
    config = uvicorn.Config(
        app,
        log_level="critical",
        access_log=False,
        ws="none",
        http=Connection,
        backlog=ACCEPTED,
        loop="asyncio",
        server_header=False,
        proxy_headers=False,  # what a proxy says of the sender is of no use here, and could be forged
        timeout_graceful_shutdown=2,
    )
    server = _Server(config)
    with listening, contextlib.suppress(KeyboardInterrupt):  # which it may raise once more when all is saved
        server.run(sockets=[listening])
    return server.ended_by


def listen(place: Place) -> socket.socket:
    """A socket on the loopback address: the port itself or, unless the person named it, one of the next.

    Raises `UsageError` for what is no port, `EnvironmentFault` where it is taken.
    """
    if not 0 <= place.port < 1 << 16:
        raise UsageError(f"--port takes a number from 0 to 65535, found {place.port}.")
    last = place.port if place.given else min(place.port + PORTS_TRIED, (1 << 16) - 1)
    for port in range(place.port, last + 1):
        # asyncio sends at once (TCP_NODELAY) only where the socket names its protocol; otherwise answers wait 40 ms
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        # On Windows SO_REUSEADDR would let another process listen there too.
        listening.setsockopt(socket.SOL_SOCKET, getattr(socket, "SO_EXCLUSIVEADDRUSE", socket.SO_REUSEADDR), 1)
        try:
            listening.bind(("127.0.0.1", port))
            listening.listen(128)
        except OSError as error:
            listening.close()
            reason = error.strerror
            continue
        return listening
    raise EnvironmentFault(f"--port {place.port}: expected a free port, found: {reason}; leave it out or name another.")


class _Server(uvicorn.Server):
    """Remembers which signal has ended it."""

    ended_by = 0

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Those that uvicorn listens to, and the one that comes when a terminal goes."""
        number = getattr(signal, "SIGHUP", None)
        with super().capture_signals():
            main = threading.current_thread() is threading.main_thread()
            if number is None or not main or signal.getsignal(number) == signal.SIG_IGN:
                yield
                return
            before = signal.signal(number, self.handle_exit)
            try:
                yield
            finally:
                signal.signal(number, before)

    def handle_exit(self, sig: int, frame: object) -> None:
        self.ended_by = sig
        super().handle_exit(sig, frame)  # type: ignore[arg-type]  # uvicorn names a frame or None


def _import_ahead() -> None:
    """What the first page needs of NumPy and the engines, while the browser is still drawing it; so do trainings."""
    for name in ("form", "trainings", "runs"):
        import_module(f"microgpt.studio.{name}")
    import_module("microgpt.studio.training").warm_up()


def _enter(keys: Keys) -> Route:
    """The token for a code that opens once."""

    def enter(parameters: dict[str, object]) -> dict[str, str]:
        if token := keys.redeem(parameters.get("code")):
            return {"token": token}
        raise MissingError("This address opens once, within a minute; open the one that the terminal printed.")

    return post("/api/enter", enter)


def _static() -> list[Route]:
    """A route for each file there is. A path is looked up, never joined, so none leads elsewhere."""
    found = {f"/static/{path.name}": path for path in STATIC.iterdir() if path.suffix in TYPES}
    return [_file("/", STATIC / "index.html"), *(_file(address, path) for address, path in found.items())]


def _file(address: str, path: Path) -> Route:
    async def endpoint(_: Request) -> Response:
        return Response(path.read_bytes(), media_type=TYPES[path.suffix])

    return Route(address, endpoint, methods=["GET"])


async def _nothing(request: Request, error: Exception) -> Response:
    return failure(MissingError("There is nothing at this address."))
