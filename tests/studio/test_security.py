"""The studio answers its own page alone, and nothing that it is sent leads out of its folders."""

import json
import random
import re
import string
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from microgpt.studio.security import BODY_LIMIT, ENTER, TEXT_LIMIT, Keys
from microgpt.studio.server import create
from microgpt.studio.studio import Studio
from trials.serving import HOST, PORT, TestClient, Visit, visit

METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE")
HOSTS = ("evil.example", "127.0.0.1", f"127.0.0.1:{PORT + 1}", f"evil.example:{PORT}", f"127.0.0.1.evil:{PORT}", "")
ORIGINS = (
    "null",
    "https://evil.example",
    f"https://{HOST}",
    f"http://127.0.0.1:{PORT + 1}",
    f"http://localhost:{PORT}",
    f"http://{HOST}.evil.example",
)


def addresses(there: Visit) -> list[str]:
    """Every address that there is, with a name in the place of each parameter, and two that there are not."""
    routes = there.guard.app.routes  # type: ignore[attr-defined]  # a Starlette
    return [re.sub(r"{\w+(:\w+)?}", "x", route.path) for route in routes] + ["/api/nothing", "/nothing"]


def check_refused(there: Visit, address: str, headers: dict[str, str | bytes]) -> None:
    """Every method of an address: those that there are with 403, all others with 405."""
    for method in METHODS:
        answer = there.client.request(method, address, headers=headers)
        assert answer.status_code == (403 if method in ("GET", "HEAD", "POST") else 405), (method, address, headers)


def some_first(strangers: Sequence[str]) -> list[Any]:
    """The first with every address; the others too, but only in the long suite."""
    return [strangers[0], *(pytest.param(one, marks=pytest.mark.long) for one in strangers[1:])]


@pytest.mark.parametrize("host", some_first(HOSTS))
def test_another_host_is_refused_by_every_route_and_method(here: Visit, host: str) -> None:
    for address in addresses(here):
        check_refused(here, address, here.headers | {"host": host})


@pytest.mark.parametrize("origin", some_first(ORIGINS))
def test_another_origin_is_refused_by_every_route_and_method(here: Visit, origin: str) -> None:
    for address in addresses(here):
        check_refused(here, address, here.headers | {"origin": origin})


@pytest.mark.parametrize(
    "headers", [*({"host": host} for host in HOSTS), *({"origin": one} for one in ORIGINS)], ids=str
)
def test_strangers_are_refused(here: Visit, headers: dict[str, str]) -> None:
    for address in ("/", "/api/runs"):
        check_refused(here, address, here.headers | headers)


@pytest.mark.parametrize(
    "token", [None, "é".encode(), *(pytest.param(t, marks=pytest.mark.long) for t in (b"", b"x", b"x" * 43))]
)
def test_without_the_token_nothing_is_told_or_done_by_any_route_and_method(here: Visit, token: bytes | None) -> None:
    api = [address for address in addresses(here) if address.startswith("/api/") and address != ENTER]
    assert len(api) > 15
    for address in api:
        check_refused(here, address, {} if token is None else {"x-studio-token": token})


def test_the_token_is_taken_from_its_header_alone(here: Visit) -> None:
    token = here.keys.token
    assert here.client.get(f"/api/runs?token={token}").status_code == 403
    assert here.client.get("/api/runs", headers={"cookie": f"x-studio-token={token}"}).status_code == 403
    assert here.client.get("/api/runs", headers=here.headers).status_code == 200


def test_our_own_origin_is_admitted(here: Visit) -> None:
    assert here.client.get("/api/hello", headers=here.headers | {"origin": f"http://{HOST}"}).status_code == 200
    local = {"host": f"localhost:{PORT}", "origin": f"http://localhost:{PORT}"}
    assert here.client.get("/api/hello", headers=here.headers | local).status_code == 200


def test_a_proxy_is_admitted_by_name_and_needs_the_token(tmp_path: Path) -> None:
    with visit(Studio(tmp_path), allowed=("class.example",)) as there:
        proxied = {"host": "class.example", "origin": "https://class.example"}
        assert there.client.get("/api/hello", headers=there.headers | proxied).status_code == 200
        assert there.client.get("/api/hello", headers=proxied).status_code == 403
        other = {"host": "class.example.evil", "origin": "https://class.example"}
        assert there.client.get("/api/hello", headers=there.headers | other).status_code == 403


@pytest.mark.parametrize(("host", "named"), [("localhost:9000", "localhost"), ("<b>:80", "NAME"), ("", "NAME")])
def test_a_tunnel_is_told_the_flag_that_admits_it(here: Visit, host: str, named: str) -> None:
    answer = here.client.get("/", headers={"host": host})
    assert answer.status_code == 403
    assert f"start the studio with --allow-host {named}." in answer.json()["error"]
    assert "<" not in answer.text


def test_a_tunnel_of_another_port_is_admitted_by_name(tmp_path: Path) -> None:
    with visit(Studio(tmp_path), allowed=("localhost",)) as there:
        tunnelled = {"host": "localhost:9000", "origin": "http://localhost:9000"}
        assert there.client.get("/api/hello", headers=there.headers | tunnelled).status_code == 200
        assert there.client.get("/api/hello", headers=tunnelled).status_code == 403


def test_on_port_80_the_host_has_no_port(tmp_path: Path) -> None:
    app = create(Studio(tmp_path), keys := Keys(), 80)
    with TestClient(app, base_url="http://127.0.0.1") as client:
        for name in ("127.0.0.1", "localhost"):
            own = {"host": name, "origin": f"http://{name}", "x-studio-token": keys.token}
            assert client.get("/api/hello", headers=own).status_code == 200
        assert client.get("/", headers={"host": "evil.example"}).status_code == 403


def test_a_code_opens_once(here: Visit) -> None:
    code = here.keys.code()
    answer = here.client.post("/api/enter", json={"code": code})
    assert answer.json() == {"token": here.keys.token}
    assert here.client.post("/api/enter", json={"code": code}).status_code == 404
    for wrong in ("", "guess", None, 3, [code], {"code": code}):
        assert here.client.post("/api/enter", json={"code": wrong}).status_code == 404


def test_every_answer_forbids_frames_foreign_scripts_and_referrers(here: Visit) -> None:
    for address in ("/", "/static/app.js", "/api/runs", "/nothing"):
        headers = here.client.get(address, headers=here.headers).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "script-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-opener-policy"] == "same-origin"
        assert headers["cross-origin-resource-policy"] == "same-origin"


def wandering(count: int) -> list[str]:
    """Paths that want to leave the folder, plain, encoded once and twice."""
    draw = random.Random(5)
    steps = [
        "..",
        "%2e%2e",
        "%252e%252e",
        ".",
        "",
        "....",
        "..%00",
        "etc",
        "passwd",
        "run.json",
        "~",
        "C:",
        "..\\",
        "%5c..",
    ]
    places = ["/", "/static/", "/api/runs/", "/api/xray/", "/static/../", "/api/runs/..", "//"]
    slashes = ["/", "%2f", "%252f", "\\", "%5c", "//"]
    made = []
    for _ in range(count):
        path = draw.choice(places)
        for _ in range(draw.randint(1, 7)):
            path += draw.choice(steps) + draw.choice(slashes)
        made.append(path + draw.choice(["", "secret.txt", "".join(draw.choices(string.printable[:62], k=3))]))
    return made


def check_paths(there: Visit, paths: list[str]) -> None:
    for path in paths:
        answer = there.client.get(f"http://{HOST}{path}", headers=there.headers)
        assert b"the secret" not in answer.content
        home = answer.status_code == 200 and b"<title>MicroGPT studio" in answer.content
        told = answer.status_code == 200 and answer.content.startswith((b'{"runs"', b'{"error"'))
        assert home or told or answer.status_code in (404, 405, 422), (path, answer.status_code, answer.text[:200])


def hidden(tmp_path: Path) -> Studio:
    """A studio with secrets beside and below its folder of runs."""
    out = tmp_path / "runs"
    out.mkdir()
    for folder in (tmp_path, out):
        (folder / "secret.txt").write_text("the secret")
    return Studio(out)


def test_no_path_leads_out(tmp_path: Path) -> None:
    with visit(hidden(tmp_path)) as there:
        check_paths(there, wandering(300))


@pytest.mark.long
def test_no_path_of_ten_thousand_leads_out(tmp_path: Path) -> None:
    with visit(hidden(tmp_path)) as there:
        check_paths(there, wandering(10_000))


@pytest.mark.parametrize("name", ["..", "../secret", ".texts", "a/b", "a\\b", "a:b", "\0", "", "x" * 300, "a\nb"])
def test_a_runs_name_is_no_path(tmp_path: Path, name: str) -> None:
    from microgpt.studio.answers import MissingError

    with pytest.raises(MissingError):
        hidden(tmp_path).find(name)


def test_a_body_beyond_the_limit_is_not_read(here: Visit) -> None:
    answer = here.client.post("/api/plan", content=b"x" * (BODY_LIMIT + 1), headers=here.headers)
    assert answer.status_code == 413
    pieces = iter([b"x" * (1 << 20)] * ((TEXT_LIMIT >> 20) + 1))
    answer = here.client.post("/api/texts?name=big.txt", content=pieces, headers=here.headers)
    assert answer.status_code == 413
    assert "20,971,520" in answer.json()["error"]


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff", b'{"a": NaN}', b'{"a": 1, "a": 2}', b"[" * 5000])
def test_a_body_that_is_no_json_object_is_a_sentence(here: Visit, body: bytes) -> None:
    answer = here.client.post("/api/plan", content=body, headers=here.headers)
    assert answer.status_code == 422
    assert "expected" in answer.json()["error"]


def test_what_is_no_number_becomes_null() -> None:
    from microgpt.studio.answers import answer

    body = bytes(answer({"a": float("nan"), "b": [float("inf"), 1.5], "c": {"d": -float("inf")}, "e": "\ud800"}).body)
    told = json.loads(body, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert told == {"a": None, "b": [None, 1.5], "c": {"d": None}, "e": "?"}
