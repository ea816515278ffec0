"""The walls of the house: a room imports only rooms above it, and nothing heavy before it is needed."""

import ast
import subprocess
import sys
from collections.abc import Collection

import pytest

from tests.conftest import SOURCE

ROOMS = [
    "symmetry",
    "variations",
    "errors",
    "collector",
    "children",
    "machine",
    "locks",
    "untrusted",
    "files",
    "model",
    "planning",
    "data",
    "engines",
    "training",
    "outputs",
    "recipes",
    "export",
    "library",
    "lab",
    "studio",
    "cli",
]
LAB = ["store", "sweep", "cluster", "statistics", "audit", "pictures", "laws", "report"]  # the rooms of the lab
FRONT = {"__init__", "__main__"}  # the doors: they may name any room
FILES = sorted(path for path in SOURCE.rglob("*.py") if path.parent.name != "remote_code")  # those are for transformers


def room_of(module: str) -> str:
    """The room that a dotted module of the package stands in."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else "__init__"


def imported(source: str, packages: Collection[str] = ("microgpt",)) -> set[str]:
    """The modules of some packages that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports name the whole path"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in packages}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_room_imports_only_rooms_above_it(file) -> None:  # noqa: ANN001
    own = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    if own in FRONT:
        return
    assert own in ROOMS, f"{own} has no place in the house: name it in docs/ARCHITECTURE.md and here"
    for module in imported(file.read_text()):
        other = room_of(module)
        if own == other == "lab":
            places = [LAB.index(place) for place in (module.split(".")[2], file.relative_to(SOURCE).parts[1])]
            assert places == sorted(places), f"{file} imports {module}, which is below it"
        if other in ROOMS:  # others are names of the package itself, such as __version__
            assert ROOMS.index(other) <= ROOMS.index(own), f"{own} imports {module}, which is below it"


ROOT = SOURCE.parents[1]
FORBIDDEN = {"src": {"tests", "trials", "bench"}, "bench": {"tests", "trials"}, "trials": {"tests"}}


@pytest.mark.parametrize("folder", FORBIDDEN)
def test_the_product_imports_no_trials_and_trials_no_tests(folder: str) -> None:
    """Tests use trials and trials the product, never the other way; figures are made without either."""
    for file in FILES if folder == "src" else (ROOT / folder).rglob("*.py"):
        assert not imported(file.read_text(), FORBIDDEN[folder]), f"{file} imports what stands beside it or on it"


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after a statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_is_light() -> None:
    heavy = {"numpy", "rich", "click", "safetensors", "scipy", "matplotlib", "torch", "ray", "starlette"}
    assert not loaded_by("import microgpt, microgpt.recipes, microgpt.data.choices") & heavy  # what help pages need


def test_the_reference_pulls_in_nothing_at_all() -> None:
    third_party = loaded_by("import microgpt.symmetry") - loaded_by("pass") - sys.stdlib_module_names - {"microgpt"}
    assert not third_party
