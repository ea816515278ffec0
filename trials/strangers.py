"""Another user of the machine at a studio's door: one that reads the list of processes, and one that takes up room."""

import contextlib
import http.client
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trials.fault import Fault, Outcome

MOST = 150e6  # bytes of memory in all, and of what is said


@contextlib.contextmanager
def studio(*flags: str) -> Iterator[tuple[Path, int, int]]:
    """The home, the process and the port of a studio that may open 1,024 files and whose browser does nothing."""
    with tempfile.TemporaryDirectory() as folder, Path(folder, "said").open("w") as said:
        environment = os.environ | {"HOME": folder, "BROWSER": "sh -c 'sleep 1' %s"}
        run = f'ulimit -n 1024; exec {sys.executable} -m microgpt studio --port 0 --out {folder}/runs "$@"'
        command = ["sh", "-c", run, "", *flags]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=said, text=True, env=environment) as process:
            assert process.stdout
            yield Path(folder), process.pid, int(process.stdout.readline().split("/#")[0].rpartition(":")[2])
            process.terminate()


def status(port: int, method: str, path: str, body: bytes | None = None) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as client:
        with contextlib.suppress(ConnectionError):  # as it is answered while it still sends
            client.request(method, path, body)
        return client.getresponse().status if client.sock else 0


def enters(port: int, code: str) -> bool:
    return status(port, "POST", "/api/enter", b'{"code": "%s"}' % code.encode()) == 200


def codes(trials: int, seed: int) -> Outcome:
    survived = 0
    for _ in range(trials):
        with studio() as (home, _, port):
            pages, taken = list[str](), False
            while not pages:  # until the browser is in the list of processes
                for file in Path("/proc").glob("[0-9]*/cmdline"):
                    line = file.read_text("utf-8", "replace") if file.exists() else ""
                    taken |= any(enters(port, code) for code in re.findall(r"(?<![\w-])[\w-]{43}(?![\w-])", line))
                    pages += re.findall(rf"file://({home}/[^\0]+)" if not taken else "(.*)", line)
            page = Path(pages[0])
            private = not taken and not (page.stat().st_mode | page.parent.stat().st_mode) & 0o077
            survived += private and enters(port, page.read_text().split("#once=")[1][:43]) and not page.exists()
    return Outcome(trials, survived)


def halves(trials: int, seed: int) -> Outcome:
    with studio("--no-browser") as (home, _, port), contextlib.ExitStack() as held:
        for _ in range(trials):
            held.enter_context(socket.create_connection(("127.0.0.1", port), timeout=60)).sendall(b"GET / HTTP/1.1\r\n")
        began = time.perf_counter()
        came, said = status(port, "GET", "/") == 200, (home / "said").stat().st_size
        figures = f"the page in {1e3 * (time.perf_counter() - began):.0f} ms, {said} bytes said"
    return Outcome(trials, trials if came and said < MOST else 0, figures)


def bodies(trials: int, seed: int) -> Outcome:
    with studio("--no-browser") as (home, process, port), ThreadPoolExecutor(20) as pool:
        refused = sum(pool.map(lambda _: status(port, "POST", "/", b"x" * 1_000_000) == 403, range(trials)))
        most = int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{process}/status").read_text())[0]) << 10
        said = (home / "said").stat().st_size
    figures = f"at most {most / 1e6:.0f} MB of memory in all, {said} bytes said"
    return Outcome(trials, refused if max(most, said) < MOST else 0, figures)


FAULTS = (
    Fault(30, "code", "codes in the list of processes", "a start; its browser alone comes in", 100, codes),
    Fault(30, "half-requests", "half requests that stay", "a connection; the owner's page comes", 1_100, halves),
    Fault(30, "bodies", "bodies of 1 MB without the token", "refused; memory and log stay", 600, bodies),
)
