"""Who may talk to the studio: this machine's browser, with the token that the terminal printed, and nobody else.

Any web page that the person visits may try the loopback port, so every request is checked: the Host against DNS
rebinding, the Origin against forged requests, the token in a header of its own. A cookie would be sent to every other
port of 127.0.0.1 too, where another user of the machine may listen; a header is sent to nobody unless our page does.
The page and its scripts hold nothing secret and are served without a token; all that is under /api/ wants it.
"""

import hmac
import json
import re
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

TOKEN_HEADER: Final = b"x-studio-token"
LOOPBACK: Final = ("127.0.0.1", "localhost")
STRANGER_LIMIT: Final = 4 << 10  # bytes of a request without the token, …
BODY_LIMIT: Final = 1 << 20  # … of one with it …
TEXT_LIMIT: Final = 20 << 20  # … and of a text that is handed over
CODE_SECONDS: Final = 60.0  # in which a code can be used
OWNER: Final = "owner"  # in the state of a request: whether it brought the token
TEXTS: Final = "/api/texts"
ENTER: Final = "/api/enter"
METHODS: Final = ("GET", "HEAD", "POST")
API: Final = "/api/"

HEADERS: Final = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
    "cache-control": "no-store",
}


PAGE: Final = """<!doctype html><meta http-equiv="content-security-policy" content="default-src 'none'">
<meta name="referrer" content="no-referrer"><meta http-equiv="refresh" content="0; url={}">"""


@dataclass
class Keys:
    """The token, and codes that give it once and soon. What a browser is started with can be seen in the list of
    processes, so that is the path of a private file, and the code stands within."""

    token: str = field(default_factory=lambda: secrets.token_urlsafe(32))
    clock: Callable[[], float] = time.monotonic
    _codes: dict[str, tuple[float, Callable[[], None]]] = field(default_factory=dict)  # its end, what to do then

    def code(self, gone: Callable[[], None] = lambda: None) -> str:
        """A fresh code; `gone` is called once it has been used."""
        code = secrets.token_urlsafe(32)
        self._codes[code] = self.clock() + CODE_SECONDS, gone
        return code

    def page(self, address: str) -> str:
        """The address of a private file that leads to `address` with a code, until that is used.

        It is in the home folder, since browsers that are snaps can read neither temporary nor hidden ones. Raises
        `OSError` or `RuntimeError` where it can't be written there.
        """
        folder = TemporaryDirectory(prefix="microgpt-studio-", dir=Path.home(), ignore_cleanup_errors=True)
        page = Path(folder.name, "open.html")
        page.touch(0o600)
        page.write_text(PAGE.format(f"{address}#once={self.code(folder.cleanup)}"), "utf-8")
        return page.as_uri()

    def redeem(self, code: object) -> str | None:
        """The token for a code that nobody has used yet."""
        if not isinstance(code, str) or not (found := self._codes.pop(code, None)):  # which gives it to one thread only
            return None
        end, gone = found
        gone()
        return self.token if self.clock() < end else None

    def fits(self, token: bytes) -> bool:
        return hmac.compare_digest(token, self.token.encode())


class Guard:
    """Stands before the whole application and refuses what is not from our page."""

    def __init__(self, app: ASGIApp, keys: Keys, port: int, allowed: Iterable[str] = ()) -> None:
        self.app, self.keys = app, keys
        self._own = {f"{name}:{port}" for name in LOOPBACK}
        if port == 80:  # which browsers leave out
            self._own.update(LOOPBACK)
        self._allowed = {name.lower() for name in allowed}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        guarded = _with_headers(send)
        tokens = _all(scope["headers"], TOKEN_HEADER)
        owner = len(tokens) == 1 and self.keys.fits(tokens[0].encode("latin-1"))
        scope.setdefault("state", {})[OWNER] = owner
        if refused := self._refusal(scope, owner):  # before its body is read, which is dropped
            await _refuse(guarded, *refused)
            return
        limit = STRANGER_LIMIT if not owner else TEXT_LIMIT if scope["path"] == TEXTS else BODY_LIMIT
        body = await _body(receive, limit)
        if body is None:
            await _refuse(guarded, 413, f"expected at most {limit:,} bytes, found more; send less.")
            return
        whole = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            """The body that was read, then what else the connection has to say."""
            return next(whole, None) or await receive()

        await self.app(scope, replay, guarded)

    def _refusal(self, scope: Scope, owner: bool) -> tuple[int, str] | None:
        """Status and sentence, where a request is refused."""
        headers = scope["headers"]
        if scope["type"] != "http" or scope["method"] not in METHODS:
            return 405, f"expected {', '.join(METHODS)}, found another method."
        hosts = _all(headers, b"host")
        if len(hosts) != 1 or not self._is_ours(hosts[0]):
            return 403, _other_host(hosts)
        if any(not self._is_our_origin(origin, hosts[0]) for origin in _all(headers, b"origin")):
            return 403, "expected a request of the studio's own page, found one of another site."
        if not owner and scope["path"] != ENTER and (scope["path"].startswith(API) or scope["method"] == "POST"):
            return 403, "expected the token of this studio, found none or another; open the address it printed."
        return None

    def _is_ours(self, host: str) -> bool:
        return host.lower() in self._own or _name(host) in self._allowed

    def _is_our_origin(self, origin: str, host: str) -> bool:
        """The page's own origin; behind a proxy it may be https, and the proxy may rewrite the Host."""
        scheme, _, place = origin.lower().partition("://")
        if _name(place) in self._allowed:
            return scheme in ("http", "https")
        return scheme == "http" and place in self._own and place == host.lower()


def _other_host(hosts: list[str]) -> str:
    """What to do about a Host, which is repeated only where it is a plain name."""
    name = _name(hosts[0]) if len(hosts) == 1 else ""
    plain = name if len(name) < 80 and re.fullmatch(r"[a-z0-9_.-]+", name) else ""
    return (
        f"expected the address that the terminal printed as Host, found {plain or 'another'}; open that address, or, "
        f"through a tunnel or proxy of yours, start the studio with --allow-host {plain or 'NAME'}."
    )


async def _body(receive: Receive, limit: int) -> bytes | None:
    """The whole body of a request, None as soon as it is beyond the limit."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            break
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            return None
        more = message.get("more_body", False)
    return b"".join(parts)


def _with_headers(send: Send) -> Send:
    async def guarded(message: Message) -> None:
        if message["type"] == "http.response.start":
            own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
            message = {**message, "headers": [*message.get("headers", []), *own]}
        await send(message)

    return guarded


async def _refuse(send: Send, status: int, sentence: str) -> None:
    body = json.dumps({"error": sentence}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"connection", b"close")]})
    await send({"type": "http.response.body", "body": body})


def _all(headers: list[tuple[bytes, bytes]], name: bytes) -> list[str]:
    return [value.decode("latin-1") for key, value in headers if key.lower() == name]


def _name(host: str) -> str:
    """The name of `name:port`."""
    return host.lower().rpartition(":")[0] if ":" in host else host.lower()
