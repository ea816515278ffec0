"""One training by several processes, the ranks, as `torchrun` starts them. Without torchrun there is one.

This module imports no torch, so that the command line can ask at no cost whether it is one of several.
"""

import json
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from microgpt import files
from microgpt.engines import REGISTRY
from microgpt.errors import EnvironmentFault, MicrogptError, UsageError


class RankLost(EnvironmentFault):
    """Another rank died, or can't be reached. It is what follows from an error and never its root."""


def ranks() -> int:
    """How many processes torchrun has started for this training; 1 where it has not."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


@contextmanager
def joined(asked: Mapping[str, Any]) -> Iterator[int | None]:
    """The ranks together, for as long as the context lasts.

    It gives None to the one that leads: rank 0, or a process on its own. The others have then served rank 0 to its
    end, and get the exit code to leave with. `asked` is what the person asked of each rank. Raises `UsageError` where
    that differs, `EnvironmentFault` without torch, `RankLost`.
    """
    if ranks() == 1:
        yield None
        return
    try:
        yield from _together(asked)
    except MicrogptError as error:
        if not isinstance(error, RankLost):
            report(str(error))
        raise


def _together(asked: Mapping[str, Any]) -> Iterator[int | None]:
    from microgpt.engines.torch import require_torch

    require_torch()
    from microgpt.engines.torch.distributed import join

    with join() as team:
        try:
            team.agree(asked)
        except UsageError as error:
            if team.rank:  # rank 0 tells it
                yield team.leave(error.exit_code, str(error))
                return
            raise
        if team.rank:
            yield team.follow()
            return
        code, told = 1, "rank 0 failed"
        try:
            yield None
            code, told = 0, ""
        except MicrogptError as error:
            code, told = error.exit_code, str(error)
            raise
        finally:
            team.dismiss(code, told)


def report(told: str) -> None:
    """Leave an error's one line where torchrun looks for it, so that its long report of a rank that failed has it."""
    place = os.environ.get("TORCHELASTIC_ERROR_FILE")
    if place:
        extra = {"py_callstack": told, "timestamp": str(int(time.time()))}
        data = json.dumps({"message": {"message": told, "extraInfo": extra}})
        with suppress(MicrogptError):  # the line itself was told
            files.replace(Path(place), data.encode())


def require_one(engine: str) -> None:
    """Raise `UsageError` where several ranks would train with an engine that computes in one process."""
    if ranks() > 1 and not REGISTRY[engine].ranks:
        others = " or ".join(name for name, entry in REGISTRY.items() if entry.ranks)
        raise UsageError(f"--engine {engine} computes in one process, found {ranks()} ranks; use --engine {others}.")
