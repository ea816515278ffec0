"""`looks.json` of a run folder: what its model wrote at the steps where someone looked."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from microgpt import files, untrusted
from microgpt.errors import CheckpointError, EnvironmentFault

LOOKS: Final = "looks.json"
LIMIT: Final = 16 << 20  # bytes
FIELDS: Final = ("step", "loss", "documents", "samples")


def write_looks(folder: Path, looks: Sequence[dict[str, Any]]) -> None:
    """Keep the looks of a training beside its losses. Raises `EnvironmentFault`."""
    plain = [{name: look[name] for name in FIELDS} for look in looks]
    text = json.dumps({"looks": plain}, ensure_ascii=False, allow_nan=False)
    files.replace(folder / LOOKS, text.encode("utf-8", "replace"))


def read_looks(folder: Path) -> list[dict[str, Any]]:
    """The looks of a run, by step; none where the file is missing, damaged or says what can't be."""
    try:
        path = untrusted.inside(folder, LOOKS)
        found = untrusted.parse_json(untrusted.read(path, LIMIT), str(path)).get("looks") if path.is_file() else []
    except (CheckpointError, EnvironmentFault):
        return []
    looks = found if isinstance(found, list) else []
    return sorted((look for look in looks if _sound(look)), key=lambda look: int(look["step"]))


def _sound(look: object) -> bool:
    if not isinstance(look, dict) or set(look) != set(FIELDS):
        return False
    step, loss, documents, samples = (look[name] for name in FIELDS)
    return (
        type(step) is int
        and step >= 0
        and (loss is None or (isinstance(loss, float) and math.isfinite(loss)))
        and type(documents) is int
        and isinstance(samples, list)
        and all(isinstance(sample, str) for sample in samples)
    )
