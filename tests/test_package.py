"""The package as it is shipped: a wheel and an sdist that build, and a wheel that trains where nothing else is."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def call(*command: str | Path, cwd: Path = ROOT) -> str:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=cwd, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.long
def test_a_wheel_installed_into_an_empty_environment_trains(tmp_path: Path) -> None:
    call(sys.executable, "-m", "build", "--outdir", tmp_path, ROOT)
    call(sys.executable, "-m", "build", "--outdir", tmp_path / "again", ROOT)
    for made in (*tmp_path.glob("*.whl"), *tmp_path.glob("*.tar.gz")):
        assert made.read_bytes() == (tmp_path / "again" / made.name).read_bytes(), "a second build has other bytes"
    call(sys.executable, "-m", "twine", "check", "--strict", *tmp_path.glob("microgpt*"))
    call(sys.executable, "-m", "check_wheel_contents", *tmp_path.glob("*.whl"))
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.endswith("-py3-none-any.whl")
    assert list(tmp_path.glob("*.tar.gz"))
    venv.create(tmp_path / "empty", with_pip=True)
    programs = tmp_path / "empty" / ("Scripts" if sys.platform == "win32" else "bin")
    call(programs / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", wheel)
    for name in ("microgpt", "microgpt-symmetry"):
        printed = call(programs / name, "--steps", "20", cwd=tmp_path)
        assert printed.startswith("MicroGPT: 4192 params, training for 20 steps")  # the built-in names came along
