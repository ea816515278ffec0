"""What a stranger on the same machine can't do: come in by what the list of processes shows, shut the owner out, fill
memory. Each test has a server that really listens, in a thread, whose patience is short."""

import contextlib
import http.client
import re
import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest

from microgpt.cli import studio as command
from microgpt.studio import connection, server
from microgpt.studio.kept import Kept
from microgpt.studio.security import CODE_SECONDS, STRANGER_LIMIT, Keys
from microgpt.studio.studio import Studio
from tests.browser import browser, browser_page
from trials.serving import Visit
from trials.waiting import PATIENCE, until

HALF = b"GET / HTTP/1.1\r\nHost: 127"
MOST = 6


@dataclass
class Door:
    """A server that listens on a port, for an owner with the token and for strangers without."""

    studio: Studio
    port: int
    keys: Keys
    open: contextlib.ExitStack

    def ask(self, method: str, path: str, body: bytes | None = None, *, token: bool = True) -> int:
        """The status of a request on a connection of its own."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(client):
            client.request(method, path, body, {"x-studio-token": self.keys.token} if token else {})
            return client.getresponse().status

    def say(self, text: bytes) -> socket.socket:
        """A connection that begins with so much."""
        said = self.open.enter_context(socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE))
        said.sendall(text)
        return said

    def head(self, first: str, length: int, token: str = "") -> bytes:
        lines = (first, f"Host: 127.0.0.1:{self.port}", f"Content-Length: {length}", f"x-studio-token: {token}", "", "")
        return "\r\n".join(lines).encode()


@pytest.fixture
def door(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Door]:
    found: list[Any] = []

    class Told(server._Server):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            found.append(self)

    monkeypatch.setattr(server, "_Server", Told)
    monkeypatch.setattr(server, "Keys", lambda: keys)
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", MOST)
    monkeypatch.setattr(connection, "WAITING", 0.2)
    monkeypatch.setattr(connection, "SILENT", 0.2)
    studio, keys, addresses = Studio(tmp_path), Keys(), []
    place = server.Place(0, given=True)
    arguments = (studio, place, lambda address, _: addresses.append(address))
    thread = threading.Thread(target=server.serve, args=arguments, daemon=True)
    thread.start()
    until(lambda: found and found[0].started)
    with contextlib.ExitStack() as stack:
        yield Door(studio, int(addresses[0].split("/#")[0].rpartition(":")[2]), keys, stack)
    found[0].should_exit = True
    thread.join(PATIENCE)


def ended(said: socket.socket) -> bool:
    """Whether the server has ended a connection, once it says so."""
    with contextlib.suppress(ConnectionError):
        while said.recv(1 << 16):
            pass
    return True


def test_beside_any_number_of_half_requests_the_owner_is_answered(door: Door) -> None:
    half = [door.say(HALF) for _ in range(4 * MOST)]
    assert door.ask("GET", "/") == 200
    assert all(ended(each) for each in half)


def test_a_header_that_trickles_ends_and_the_owners_long_answer_does_not(
    door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on, answered = threading.Event(), []
    monkeypatch.setattr(Studio, "scaling", property(lambda _: go_on.wait(PATIENCE) and pytest.fail("asked for more")))
    slow = threading.Thread(target=lambda: answered.append(door.ask("GET", "/api/scaling")))
    slow.start()
    trickle = door.say(HALF)

    def refused() -> bool:
        try:
            trickle.send(b"1")
        except OSError:
            return True
        return False

    until(refused)
    silent = door.say(b"")
    assert ended(silent)
    assert not answered
    go_on.set()
    slow.join(PATIENCE)
    assert answered == [500]  # in its own time


def test_a_strangers_body_is_not_read(door: Door) -> None:
    for path in ("/", "/api/texts", "/static/app.js", "/nothing"):
        said = door.say(door.head(f"POST {path} HTTP/1.1", 1_000_000))
        answer = said.recv(1 << 16)
        assert answer.startswith(b"HTTP/1.1 403"), answer
        assert b"connection: close" in answer
        assert ended(said)
    assert door.ask("POST", "/api/enter", b"x" * (STRANGER_LIMIT + 1), token=False) == 413
    assert door.ask("GET", "/", b"x" * (STRANGER_LIMIT + 1), token=False) == 413


@pytest.mark.parametrize("owner", [True, False])
def test_a_body_that_stays_away_ends_the_connection(door: Door, owner: bool) -> None:
    said = door.say(door.head("POST /api/enter HTTP/1.1", 100, door.keys.token if owner else "") + b"{")
    assert ended(said)


def test_a_code_is_worth_nothing_after_a_minute() -> None:
    now = [0.0]
    keys = Keys(clock=lambda: now[0])
    first, second = keys.code(), keys.code()
    now[0] = CODE_SECONDS - 1
    assert keys.redeem(first) == keys.token
    now[0] = CODE_SECONDS
    assert keys.redeem(second) is None


def page_of(monkeypatch: pytest.MonkeyPatch, home: Path, keys: Keys, address: str) -> str:
    """What a browser is started with."""
    opened: list[str] = []
    monkeypatch.setattr(Path, "home", lambda: home)
    monkeypatch.setattr("webbrowser.open", opened.append)
    command._open(lambda: keys.page(address))
    return until(lambda: opened)[0] if home.exists() else "".join(opened)


def test_a_browser_is_started_with_a_private_file_which_goes_with_its_code(
    here: Visit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = page_of(monkeypatch, tmp_path, here.keys, "http://127.0.0.1:8613/")
    assert re.fullmatch(r"file:///.*/microgpt-studio-\w{8}/open.html", given)
    page = Path(url2pathname(given.removeprefix("file://")))
    assert [stat.S_IMODE(path.stat().st_mode) for path in (page, page.parent)] == [0o600, 0o700]
    code = re.findall('0; url=http://127.0.0.1:8613/#once=(.{43})"', page.read_text())[0]
    assert code not in given
    assert here.client.post("/api/enter", json={"code": code}).json() == {"token": here.keys.token}
    assert not page.parent.exists()


def test_without_a_place_for_the_file_no_browser_is_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert page_of(monkeypatch, tmp_path / "nothing", Keys(), "http://127.0.0.1:8613/") == ""


@pytest.mark.browser
@pytest.mark.long
def test_the_file_leads_a_real_browser_in(door: Door, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "WAITING", 60.0)
    monkeypatch.setattr(connection, "MOST_CONNECTIONS", 100)
    address = f"http://127.0.0.1:{door.port}/"
    given = page_of(monkeypatch, tmp_path, door.keys, address)
    with browser() as opened, browser_page(opened, lambda url: url.startswith((address, given))) as watched:
        watched.tab.goto(given)
        watched.tab.wait_for_url(address)  # its code is gone from it: it has been used
        assert watched.tab.evaluate("localStorage.getItem('microgpt-studio-token')") == door.keys.token
        watched.check()
    assert not Path(url2pathname(given.removeprefix("file://"))).exists()


def test_while_one_value_is_made_others_are_answered_and_it_is_made_once() -> None:
    kept: Kept[str] = Kept(2)
    begun, go_on, made, found = threading.Event(), threading.Event(), [], []

    def slow() -> str:
        made.append("slow")
        begun.set()
        assert go_on.wait(PATIENCE)
        return "slow"

    threads = [threading.Thread(target=lambda: found.append(kept.get("a", slow)), daemon=True) for _ in range(2)]
    threads[0].start()
    assert begun.wait(PATIENCE)
    threads[1].start()
    quick = threading.Thread(target=lambda: found.append(kept.get("b", lambda: "quick")), daemon=True)
    quick.start()
    until(lambda: found == ["quick"])
    go_on.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert (made, found) == (["slow"], ["quick", "slow", "slow"])
