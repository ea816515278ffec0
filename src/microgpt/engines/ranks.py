"""One training by several processes, the ranks, as `torchrun` starts them. Without torchrun there is one.

This module imports no torch, so that the command line can ask at no cost whether it is one of several.
"""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from microgpt.errors import MicrogptError, UsageError


def ranks() -> int:
    """How many processes torchrun has started for this training; 1 where it has not."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "TORCHELASTIC_RUN_ID" in os.environ else 1


@contextmanager
def joined(asked: Mapping[str, Any]) -> Iterator[int | None]:
    """The ranks together, for as long as the context lasts.

    It gives None to the one that leads: rank 0, or a process on its own. The others have then served rank 0 to its
    end, and get the exit code to leave with. `asked` is what the person asked of each rank. Raises `UsageError` where
    that differs, `EnvironmentFault` without torch or where a rank is lost.
    """
    if ranks() == 1:
        yield None
        return
    from microgpt.engines.torch import require_torch

    require_torch()
    from microgpt.engines.torch.distributed import join

    with join() as team:
        try:
            team.agree(asked)
        except UsageError as error:
            if team.rank:  # rank 0 tells it
                yield team.leave(error.exit_code)
                return
            raise
        if team.rank:
            yield team.follow()
            return
        code = 1
        try:
            yield None
            code = 0
        except MicrogptError as error:
            code = error.exit_code
            raise
        finally:
            team.dismiss(code)


def require_one(engine: str) -> None:
    """Raise `UsageError` where several ranks would train with an engine that computes in one process."""
    if engine != "torch" and ranks() > 1:
        raise UsageError(f"--engine {engine} computes in one process, found {ranks()} ranks; use --engine torch.")
