"""The studio's server, sent what no page of its own would send: parameters and bodies of any value, and raw bytes."""

import json
import random
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from microgpt.studio.studio import Studio
from trials.readers.mutate import EXTREMES, bytes_changed, spoil
from trials.serving import HOST, Visit
from trials.small import finish, request
from trials.stores import filled

PARAMETERS: Final[dict[str, tuple[Any, ...]]] = {
    "run": ("run", "x"), "step": (0, 2, 5), "prompt": ("ann", "b", ""), "at": (0, 1), "layer": (0,), "sweep": ("",
    "few"),
    "group": ("embeddings", "layer 0"), "text": ("ann", ""), "expression": ("a*b + c", "(a**2).relu()", "exp(a)/b"),
    "values": ("a=2,b=-3", ""), "open": ("1.2", ""), "met": (0, 3), "atom": (0, 7), "id": ("names", "x"), "seen": ("",),
    "count": (1, 2), "temperature": (0.5,), "top_k": (0, 2), "length": (5,), "seed": (1,), "from": (0,),
    "name": ("a.txt",), "encoding": ("latin-1", "utf-8"), "ending": (".py", ".html"),
}  # fmt: skip
BODIES: Final[tuple[dict[str, Any], ...]] = (
    {"recipe": "default", "text": "names", "settings": {"steps": 10, "emb": 4, "head": 2, "lr": 0.01,
    "decay": "cosine"}},
    {"code": "x"}, {"action": "pause"}, {"what": "sizes"}, {"to": ""}, {"sure": "x"}, {"steps": 10},
    {"settings": {"name": "a", "keep": "every:3", "holdout": 0.1}},
)  # fmt: skip
TRAINS: Final = ("/api/trainings", "/api/runs/{name}/resume")  # what a body may start there takes longer than a trial
REQUEST: Final = (
    f"POST /api/enter HTTP/1.1\r\nHost: {HOST}\r\nContent-Type: application/json\r\nContent-Length: 13\r\n"
    'Connection: close\r\n\r\n{"code": "x"}'
).encode()


def asked(there: Visit, stream: random.Random) -> None:
    """One request with the token, of any route; whatever it says, the answer is a sentence or what was asked for."""
    routes = [route for route in there.guard.app.routes if route.path not in TRAINS]  # type: ignore[attr-defined]
    route = stream.choice([route for route in routes if route.path.startswith("/api/") and "events" not in route.path])
    path = re.sub(
        r"{(\w+)}",
        lambda _: quote(stream.choice(["run", "x", "..", "\0", "é", "\ud800"]), errors="replace"),
        route.path,
    )
    if "POST" in route.methods:
        body: Any = json.loads(json.dumps(stream.choice(BODIES)))
        spoil(body, stream)
        text = bytes_changed(json.dumps(body).encode(), stream) if stream.random() < 0.2 else json.dumps(body).encode()
        answer = there.client.post(path, content=text, headers=there.headers)
    else:
        answer = there.client.get(f"{path}?{_query(stream)}", headers=there.headers)
    assert answer.status_code in (200, 403, 404, 409, 422), f"{answer.status_code}: {path} {answer.text[:200]}"
    if answer.headers["content-type"] == "application/octet-stream":  # a model as a file
        return
    told = json.loads(answer.text, parse_constant=lambda constant: _fail(f"{path} answers {constant}"))
    assert answer.status_code == 200 or "\n" not in told["error"]


def _fail(sentence: str) -> None:
    raise AssertionError(sentence)


def _query(stream: random.Random) -> str:
    """Most parameters usual, so that the others are reached; some of any value."""
    pairs = []
    for name, usual in PARAMETERS.items():
        if stream.random() < 0.75 or name == "run":
            value = stream.choice(usual) if stream.random() < 0.8 else stream.choice(EXTREMES)
            pairs.append(f"{name}={quote(str(value)[:500].encode('utf-8', 'replace'))}")
    return "&".join(pairs)


def sent(port: int, data: bytes, seconds: float = 5) -> bytes:
    """What a server answers to raw bytes, after which nothing more comes."""
    with closing(socket.create_connection(("127.0.0.1", port), seconds)) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
            return b"".join(_pieces(connection))
        except TimeoutError:  # it must answer
            raise
        except OSError:  # it hung up before it had read all, or before there was an end to tell
            return b""


def _pieces(connection: socket.socket) -> Iterator[bytes]:
    while piece := connection.recv(1 << 16):
        yield piece


def raw(port: int, seed: int) -> None:
    """One damaged request: no answer, or one that refuses it, and never a fault of the server's own."""
    request = bytes_changed(REQUEST.replace(HOST.encode(), f"127.0.0.1:{port}".encode()), random.Random(seed))
    answer = sent(port, request)
    for status in re.findall(rb"^HTTP/1\.1 (\d+)", answer, re.MULTILINE):
        assert status[:1] == b"4", answer[:300]


def port_of(address: str) -> int:
    """The port of an address that the studio printed."""
    found = re.search(r":(\d+)/", address)
    assert found
    return int(found[1])


def filled_studio(place: Path) -> Studio:
    """A studio with a run and a store."""
    finish(request(place, "karpathy", steps=5, holdout=0.2, eval_every=2, keep="every:2"))
    return Studio(place / "runs", filled(place / "lab.db"))
