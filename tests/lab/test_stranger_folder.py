"""A sweep in a folder that a stranger has filled runs nothing of his."""

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from microgpt.lab.sweep import origin
from trials.few import text

DESIGN = """
name = "two"
seeds = 2
[base]
data = "few.txt"
[axes]
steps = [2, 3]
"""


@pytest.mark.parametrize("flags", [(), pytest.param(("-E",), marks=pytest.mark.long)], ids=["", "-E"])
def test_a_sweep_imports_nothing_from_the_folder_that_it_is_begun_in(flags: tuple[str, ...], tmp_path: Path) -> None:
    design = tmp_path / "two.toml"
    design.write_text(DESIGN.replace("few.txt", text(tmp_path)))
    marker = tmp_path / "ran"
    modules = {*sys.stdlib_module_names, "numpy", "click", "microgpt", "safetensors", "threadpoolctl"}
    for name in modules - {"__future__", "antigravity", "this"}:
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r} + ' ')\n")
    program = Path(sysconfig.get_path("scripts")) / "microgpt"
    command = [sys.executable, *flags, program, "sweep", design.name, "--jobs", "2"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert not marker.exists(), marker.read_text()
    assert done.returncode == 0, done.stderr


@pytest.mark.long
def test_a_picture_reads_no_settings_from_it(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(b"\xff\xfe")
    command = [
        sys.executable,
        "-P",
        "-c",
        "from microgpt.lab.pictures.canvas import drawing\nwith drawing():\n    pass",
    ]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_repository_around_an_installed_package_is_not_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "lib" / "site-packages" / "microgpt"
    package.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    monkeypatch.setattr("microgpt.__file__", str(package / "__init__.py"))
    monkeypatch.setattr(origin.subprocess, "run", lambda *_, **__: pytest.fail("git was started"))
    assert origin.commit.__wrapped__() == ""
