"""A Firefox of the machine for tests, by WebDriver BiDi (W3C), which playwright speaks with builds of its own alone."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("firefox-esr", "firefox")


class Tab:
    """A tab that goes to addresses and evaluates expressions."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._numbers = connection, itertools.count()
        self._send("session.new", capabilities={})
        self._context = self._send("browsingContext.getTree")["contexts"][0]["context"]

    def goto(self, address: str) -> None:
        self._send("browsingContext.navigate", context=self._context, url=address, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """The value of an expression, awaited; it must be one that JSON can hold."""
        target = {"context": self._context}
        asked = f"(async () => JSON.stringify(await ({expression})))()"
        found = self._send("script.evaluate", expression=asked, target=target, awaitPromise=True)
        assert found["type"] == "success", found
        return json.loads(found["result"]["value"])

    def _send(self, method: str, **parameters: Any) -> Any:
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            said = json.loads(self._connection.recv(timeout=60))
            if said.get("id") == number:
                assert said["type"] == "success", said
                return said["result"]


@contextmanager
def firefox(folder: Path) -> Iterator[Tab]:
    """A Firefox without a window, whose profile is in a folder; skips where there is none."""
    client = pytest.importorskip("websockets.sync.client", reason="needs the package websockets")
    executable = next(filter(None, map(shutil.which, NAMES)), None)
    if executable is None:
        pytest.skip(f"needs one of {', '.join(NAMES)}")
    command = [executable, "--headless", "--no-remote", "--profile", str(folder), "--remote-debugging-port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stderr
            address = next(filter(None, (re.search(r"ws://\S+", line) for line in process.stderr)))[0]
            with client.connect(f"{address}/session", max_size=None) as connection:
                yield Tab(connection)
        finally:
            process.terminate()
