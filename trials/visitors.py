"""Visitors of a studio: what its pages ask, and what they never send."""

import contextlib
import http.client
import json
import random
import shutil
import socket
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from microgpt.studio.server import STATIC
from microgpt.studio.xray_routes import OF_READINGS, OF_WEIGHTS

SECONDS: Final = 60.0  # for any one answer
KEPT: Final = 20  # run folders; older ones are deleted, as a person may
SMALL: Final = {"emb": 4, "head": 2, "ctx": 8, "engine": "array", "samples": 1}
STAGES: Final = ("embedding", "layer0.key", "layer0.hidden", "layer0.what", "logits")
PROMPTS: Final = ("", "em", "olivia", "ZZ", "<b>", "é", "a" * 60, "\n")
NOISE: Final = (
    b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n",
    b"GET /api/runs HTTP/1.1\r\nHost: {host}\r\nx-studio-token: wrong\r\n\r\n",
    b"GET /api/runs HTTP/1.1\r\nHost: {host}\r\nOrigin: https://evil.example\r\n\r\n",
    b"DELETE /api/runs HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"POST /api/plan HTTP/1.1\r\nHost: {host}\r\nContent-Length: 99999999\r\n\r\n{}",
    b"POST /api/plan HTTP/1.1\r\nHost: {host}\r\nContent-Length: -5\r\n\r\n",
    b"POST /api/plan HTTP/1.1\r\nHost: {host}\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
    b"GET /static/../../secret HTTP/1.1\r\nHost: {host}\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\nX: " + b"x" * 400_000 + b"\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: {host}\r\n",  # and no more
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\0" * 100,
    b"",
)


@dataclass
class Visitor:
    """One client with its connection, its random stream, and what it met."""

    address: str
    token: str
    stream: random.Random
    runs: Path
    statuses: Counter[int] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    last: str = ""  # the training that it began last
    connection: http.client.HTTPConnection | None = None

    def ask(self, method: str, path: str, body: Any = None, *allowed: int) -> Any:
        """What is answered; another status than 200 and those allowed is a fault."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode() if body is not None else None
        self.connection = self.connection or http.client.HTTPConnection(self.address, timeout=SECONDS)
        try:
            self.connection.request(method, path, data, {"x-studio-token": self.token})
            answer = self.connection.getresponse()
            text = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self.close()
            self.faults.append(f"{method} {path}: {type(error).__name__} {error}")
            return None
        self.statuses[answer.status] += 1
        if answer.status not in (200, *allowed):
            self.faults.append(f"{method} {path}: {answer.status} {text[:200]!r}")
        return json.loads(text) if "json" in answer.headers.get("content-type", "") else text

    def close(self) -> None:
        if self.connection:
            self.connection.close()
        self.connection = None

    def one(self) -> None:
        """One request of some kind."""
        kind = self.stream.choices(list(KINDS), list(KINDS.values()))[0]
        kind(self)


def page(visitor: Visitor) -> None:
    visitor.ask("GET", visitor.stream.choice(PAGES))


def looks(visitor: Visitor) -> None:
    """What the pages ask of runs, trainings and the store."""
    paths = ("hello", "form", "runs", "runs/first", "runs/second", "trainings", "scaling", "scaling/law?sweep=few")
    visitor.ask("GET", f"/api/{visitor.stream.choice(paths)}")


def gone(visitor: Visitor) -> None:
    visitor.ask(
        "GET",
        f"/api/{visitor.stream.choice(('runs/none', 'nothing', 'trainings/x/events', 'runs/broken'))}",
        None,
        404,
        409,
    )


def xray(visitor: Visitor) -> None:
    what = visitor.stream.choice((*OF_WEIGHTS, *OF_READINGS))
    run, prompt = visitor.stream.choice(("first", "second")), quote(visitor.stream.choice(PROMPTS))
    number = f"stage={visitor.stream.choice(STAGES)}&index={visitor.stream.randrange(9)}"
    edits = visitor.stream.choice(("", "layer0.head0", "wte.1.1=2.5", "layer9.head9"))
    visitor.ask("GET", f"/api/xray/{what}?run={run}&prompt={prompt}&at=0&layer=0&open=0&{number}&edits={edits}")


def atoms(visitor: Visitor) -> None:
    text = quote(
        visitor.stream.choice(("a*b+c", "exp(x)-1", "import os", "a**3", "(", f"a+{visitor.stream.random():.6f}"))
    )
    visitor.ask("GET", f"/api/atoms/view?expression={text}&values=a%3D2,b%3D3")


def written(visitor: Visitor) -> None:
    prompt, seed = quote(visitor.stream.choice(PROMPTS)), visitor.stream.randrange(10**6)
    visitor.ask("GET", f"/api/runs/first/samples?count=2&seed={seed}&prompt={prompt}")


def plan(visitor: Visitor) -> None:
    settings = SMALL | {"steps": visitor.stream.choice((1, 100, "many", -1)), "emb": visitor.stream.choice((4, 7, 64))}
    visitor.ask("POST", "/api/plan", {"settings": settings, "text": "names"}, 422)


def text(visitor: Visitor) -> None:
    body = visitor.stream.choice((b"", b"\xff\xfe", b"one\ntwo\nthree\n" * 20, "zwölf\nBoxkämpfer\n".encode() * 20))
    visitor.ask("POST", "/api/texts?name=own.txt", body)


def begin(visitor: Visitor) -> None:
    """Start a training that ends soon, or one that has to be stopped."""
    settings = SMALL | {"steps": visitor.stream.choice((5, 50, 10_000_000))}
    asked = {"settings": settings, "text": "names", "paused": visitor.stream.random() < 0.2}
    told = visitor.ask("POST", "/api/trainings", asked, 409)
    if told and "id" in told:
        visitor.last = told["id"]
        tidy(visitor.runs)


def act(visitor: Visitor) -> None:
    if visitor.last:
        action = visitor.stream.choice(("pause", "go_on", "step", "end", "end", "jump"))
        visitor.ask("POST", f"/api/trainings/{visitor.last}", {"action": action}, 404, 422)


def events(visitor: Visitor) -> None:
    """Ask for the events of a training, read a little, and go away."""
    if not visitor.last:
        return
    visitor.close()
    with contextlib.closing(http.client.HTTPConnection(visitor.address, timeout=SECONDS)) as connection:
        try:
            connection.request("GET", f"/api/trainings/{visitor.last}/events", None, {"x-studio-token": visitor.token})
            answer = connection.getresponse()
            visitor.statuses[answer.status] += 1
            if answer.status == 200 and visitor.stream.random() < 0.8:
                answer.fp.readline()
        except (OSError, http.client.HTTPException) as error:
            visitor.faults.append(f"events: {error}")


def noise(visitor: Visitor) -> None:
    """What no page sends; the answer is a refusal, or the end of the connection."""
    host, port = visitor.address.split(":")
    with socket.create_connection((host, int(port)), SECONDS) as connection, contextlib.suppress(OSError):
        connection.sendall(visitor.stream.choice(NOISE).replace(b"{host}", visitor.address.encode()))
        if visitor.stream.random() < 0.5:
            return
        connection.shutdown(socket.SHUT_WR)
        status = connection.recv(1 << 16).split(b" ")
        if len(status) > 1 and not status[1].startswith(b"4"):
            visitor.faults.append(f"noise: {status[:3]}")
        visitor.statuses[int(status[1]) if len(status) > 1 else 0] += 1


PAGES: Final = (
    "/",
    *(f"/static/{path.name}" for path in sorted(STATIC.iterdir()) if path.suffix in (".js", ".css", ".svg")),
)
KINDS: Final[dict[Callable[[Visitor], None], float]] = {
    page: 30, looks: 25, gone: 4, xray: 12, atoms: 4, written: 2,
    plan: 3, text: 1, begin: 1, act: 4, events: 4, noise: 10,
}  # fmt: skip


def tidy(runs: Path) -> None:
    """Delete old runs of the load, as a person would."""
    with contextlib.suppress(OSError):
        made = sorted(path for path in runs.iterdir() if path.name[0] == "2")
        for path in made[:-KEPT]:
            shutil.rmtree(path, ignore_errors=True)
