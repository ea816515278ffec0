"""What a person does with a run that is there: name it, delete it, take its model along. Nothing else is touched than
a folder among the studio's own runs, which no link leads to and nobody trains."""

import contextlib
import secrets
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from microgpt.errors import UsageError, file_faults
from microgpt.export import WRITERS, export
from microgpt.library import load
from microgpt.studio.studio import Studio
from microgpt.training.request import Request
from microgpt.training.run_folder import RunFolder

GONE: Final = ".deleted-"  # before the name of a run that is being deleted, which hides it from every list


def rename(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give a run another name. Raises `UsageError` for a name that can't be or is taken, and what `_own` raises."""
    name = replace(Request(), name=str(asked.get("to", ""))).name  # which judges it as --name is judged
    if not name:
        raise UsageError("expected a name for this run, found none; type one.")
    with _own(studio, str(asked["name"])) as folder:
        target = folder.with_name(name)
        if target.exists():
            raise UsageError(f"expected a new name, found a run that has it: {name}; choose another.")
        with file_faults(folder):
            folder.rename(target)
    return {"name": name}


def delete(studio: Studio, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Delete a run for good. The page asks first: it repeats the name as `sure`. Raises what `_own` raises."""
    name = str(asked["name"])
    if asked.get("sure") != name:
        raise UsageError("expected the name of the run once more, to be sure; nothing was deleted.")
    with _own(studio, name) as folder, file_faults(folder):
        gone = folder.with_name(f"{GONE}{secrets.token_hex(4)}")
        folder.rename(gone)  # at once and whole: what is left over of a deletion is no run
        shutil.rmtree(gone)
    return {"deleted": name}


def exported(studio: Studio, name: str, ending: str) -> bytes:
    """The model of a run as the bytes of a file with this ending. Raises what `export` and `load` raise."""
    if ending not in WRITERS:
        raise UsageError(f"expected one of {', '.join(WRITERS)}, found {ending[:20]!r}.")
    checkpoint = load(studio.find(name)).checkpoint
    with TemporaryDirectory() as folder:
        place = Path(folder, f"model{ending}")
        export(checkpoint, place)
        return place.read_bytes()


@contextlib.contextmanager
def _own(studio: Studio, name: str) -> Iterator[Path]:
    """The folder of a run, for this process alone. Raises `MissingError` where there is none, `UsageError` for a run
    from elsewhere, `CheckpointError` where it is trained."""
    found = studio.find(name)
    folder = studio.run_folders / name
    if name in studio.named or folder.is_symlink() or not folder.is_dir() or found != folder:
        raise UsageError(f"{name}: this run lies outside the studio's folder of runs; name or delete it there.")
    with RunFolder(folder).locked():
        yield folder
