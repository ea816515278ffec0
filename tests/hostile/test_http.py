"""The studio answers whatever it is sent with a sentence, and is still there afterwards."""

from importlib.util import find_spec
from pathlib import Path

import pytest

if not all(map(find_spec, ("starlette", "uvicorn", "httpx"))):
    pytest.skip("needs the extra studio, and httpx", allow_module_level=True)

from trials.readers.of_requests import port_of, sent
from trials.serving import listening


def test_malformed_requests_are_refused_and_the_next_one_is_answered(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    with listening(tmp_path / "runs") as address:
        port = port_of(address)
        for request in (
            b"",
            b"\0" * 3000,
            b"GET / HTTP/9.9\r\n\r\n",
            b"G" * 100_000,
            b"GET / HTTP/1.1\r\nA: " + b"b" * 200_000,
        ):
            assert b" 200 " not in sent(port, request)
        home = f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n".encode()
        assert sent(port, home).startswith(b"HTTP/1.1 200")
