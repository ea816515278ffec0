"""The command: where it listens, what it prints, how it ends."""

import re
import socket
import subprocess
import sys
import urllib.parse
import urllib.request
from pathlib import Path

import pytest

from microgpt.errors import EnvironmentFault, UsageError
from microgpt.studio.server import PORTS_TRIED, STATIC, Place, listen
from trials.serving import behind_a_proxy, listening


def test_a_port_that_is_taken_gives_way_to_the_next_or_is_a_fault() -> None:
    with listen(Place(0, given=True)) as taken:
        port = taken.getsockname()[1]
        with listen(Place(port)) as next_one:
            assert port < next_one.getsockname()[1] <= port + PORTS_TRIED
        with pytest.raises(EnvironmentFault, match=f"--port {port}: expected a free port") as fault:
            listen(Place(port, given=True))
    assert fault.value.exit_code == 5


def test_it_listens_on_the_loopback_address_alone() -> None:
    with listen(Place(0, given=True)) as found:
        assert found.getsockname()[0] == "127.0.0.1"


@pytest.mark.parametrize("port", [-1, 65536])
def test_what_is_no_port_is_a_usage_error(port: int) -> None:
    with pytest.raises(UsageError, match="--port takes"):
        listen(Place(port, given=True))


def test_the_command_prints_an_address_with_a_token_and_answers(tmp_path: Path) -> None:
    with listening(tmp_path / "runs") as address:
        page, token = address.split("#token=")
        assert len(token) > 40
        with urllib.request.urlopen(page) as answer:
            assert answer.status == 200
        with socket.create_connection(("127.0.0.1", int(page.split(":")[-1].strip("/")))):
            pass


def test_below_a_path_of_a_proxy_all_that_the_page_names_is_found(tmp_path: Path) -> None:
    flags = ("--port", "0", "--allow-host", "localhost")
    with listening(tmp_path / "runs", *flags) as address, behind_a_proxy(address) as proxied:
        root, token = proxied.split("#token=")
        page = urllib.request.urlopen(root, timeout=60).read().decode()
        named = re.findall(r'(?:href|src)="([^"]+)"', page)
        assert {"static/style.css", "static/app.js"} <= set(named)
        for name in named:
            if not name.startswith(("#", "data:")):
                assert urllib.request.urlopen(urllib.parse.urljoin(root, name), timeout=60).status == 200
        asked = urllib.request.Request(f"{root}api/hello", headers={"X-Studio-Token": token})
        assert urllib.request.urlopen(asked, timeout=60).status == 200


@pytest.mark.parametrize("script", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_no_script_asks_the_root_of_its_host(script: Path) -> None:
    text = script.read_text()
    assert not re.findall(r"""["'`]/(?:static|\?)|fetch\(["'`]/|from "/""", text)


def test_a_missing_package_is_a_fault_that_names_the_extra(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['uvicorn'] = None; from microgpt.cli.app import run; "
        "sys.exit(run(['studio', '--no-browser']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 5
    assert "microgpt-symmetry[studio]" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_run_that_is_not_there_is_said_before_anything_listens(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "microgpt", "studio", "nothing", "--no-browser"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert done.returncode == 4
    assert "expected a run's name" in done.stderr
