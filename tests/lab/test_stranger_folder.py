"""A sweep in a folder that a stranger has filled runs nothing of his."""

import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.lab.few import text

DESIGN = """
name = "two"
seeds = 2
[base]
data = "few.txt"
[axes]
steps = [2, 3]
"""


def test_a_sweep_imports_nothing_from_the_folder_that_it_is_begun_in(tmp_path: Path) -> None:
    design = tmp_path / "two.toml"
    design.write_text(DESIGN.replace("few.txt", text(tmp_path)))
    marker = tmp_path / "ran"
    modules = {*sys.stdlib_module_names, "numpy", "click", "microgpt", "safetensors", "threadpoolctl"}
    for name in modules - {"__future__", "antigravity", "this"}:
        (tmp_path / f"{name}.py").write_text(f"open({str(marker)!r}, 'a').write({name!r} + ' ')\n")
    program = Path(sysconfig.get_path("scripts")) / "microgpt"
    done = subprocess.run([program, "sweep", design.name, "--jobs", "2"], cwd=tmp_path, capture_output=True, text=True)
    assert not marker.exists(), marker.read_text()
    assert done.returncode == 0, done.stderr
