"""A studio in memory, and one that really listens."""

import contextlib
import http.client
import http.server
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("starlette", reason="needs the extra studio")
pytest.importorskip("httpx", reason="needs the package httpx")

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of one package of HTTP that starlette would rather have than another
    from starlette.testclient import TestClient

from microgpt.studio.security import Guard, Keys
from microgpt.studio.server import create
from microgpt.studio.studio import Studio
from trials.waiting import PATIENCE, until

PORT = 8613
HOST = f"127.0.0.1:{PORT}"
REFUSED = 0  # in place of a status: 200 with a sentence, since what a person typed is no fault of the page


@dataclass
class Visit:
    """A browser's view of a studio: `client` sends what it is told, `get` and `post` with the token."""

    studio: Studio
    keys: Keys
    guard: Guard
    client: TestClient

    @property
    def headers(self) -> dict[str, str]:
        return {"x-studio-token": self.keys.token}

    def get(self, path: str, status: int = 200) -> Any:
        return _value(self.client.get(path, headers=self.headers), status)

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        return _value(self.client.post(path, json=body or {}, headers=self.headers), status)

    def wait(self, training: str, phases: tuple[str, ...] = ("finished", "stopped", "failed")) -> Any:
        """The training once it is in one of these phases."""
        return until(lambda: self.training(training)["phase"] in phases and self.training(training))

    def training(self, training: str) -> Any:
        return next(each for each in self.get("/api/trainings")["trainings"] if each["id"] == training)


def _value(answer: Any, status: int) -> Any:
    assert answer.status_code == (status or 200), answer.text
    value = answer.json()
    if status in (200, REFUSED) and isinstance(value, dict):
        assert ("error" in value) == (status == REFUSED), answer.text
    return value


@contextlib.contextmanager
def visit(studio: Studio, allowed: tuple[str, ...] = ()) -> Iterator[Visit]:
    keys = Keys()
    app = create(studio, keys, PORT, allowed)
    with TestClient(app, base_url=f"http://{HOST}", raise_server_exceptions=False) as client:
        yield Visit(studio, keys, app, client)
    studio.close()


class _Proxy(http.server.BaseHTTPRequestHandler):
    """Hands on what lies below /class/ and nothing else, as it comes, with the Host that it was asked for."""

    studio = 0  # the port

    def do_GET(self) -> None:
        if not self.path.startswith("/class/"):
            return self.send_error(404)
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        upstream = http.client.HTTPConnection("127.0.0.1", self.studio)
        upstream.request(self.command, self.path.removeprefix("/class"), body, dict(self.headers))
        answer = upstream.getresponse()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("date", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.end_headers()  # the connection's end is that of the body
        with contextlib.suppress(OSError):
            while piece := answer.read1(1 << 16):
                self.wfile.write(piece)
        upstream.close()
        return None

    do_POST = do_GET  # noqa: N815

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextlib.contextmanager
def behind_a_proxy(address: str) -> Iterator[str]:
    """The address of a studio below a path of a proxy, which has another port."""
    place, _, token = address.partition("#")
    handler = type("Handler", (_Proxy,), {"studio": int(place.rstrip("/").rpartition(":")[2])})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as proxy:
        proxy.daemon_threads = True
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        yield f"http://localhost:{proxy.server_address[1]}/class/#{token}"
        proxy.shutdown()


@contextlib.contextmanager
def listening(out: Path, *flags: str) -> Iterator[str]:
    """A studio of its own process; the address that it printed."""
    command = [sys.executable, "-m", "microgpt", "studio", "--no-browser", "--out", str(out), *flags]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=out.parent)
    assert process.stdout is not None
    killer = threading.Timer(300, process.kill)
    killer.start()
    try:
        line = process.stdout.readline()
        assert "http" in line, "the studio did not start"
        yield line.split()[-1]
    finally:
        killer.cancel()
        process.terminate()
        process.wait(PATIENCE)
        process.stdout.close()
