"""Trials in several processes at a time, each with a part of them and a seed of its own."""

import multiprocessing
from collections.abc import Callable
from typing import TypeVar

from microgpt.machine import cores

Count = TypeVar("Count")


def side_by_side(work: Callable[[int, int], Count], trials: int, seed: int) -> list[Count]:
    """`work(trials, seed)` in a process for each core, none of which may end badly. Seeds are apart by the trials."""
    jobs = min(trials, cores())
    parts = [trials // jobs + (number < trials % jobs) for number in range(jobs)]
    context = multiprocessing.get_context("fork")
    heard = []
    for number, part in enumerate(parts):
        here, there = context.Pipe(duplex=False)
        # Not a daemon, as those of a pool are: it may have children of its own.
        process = context.Process(target=_send, args=(there, work, part, seed * 1_000_000 + sum(parts[:number])))
        process.start()
        there.close()
        heard.append((process, here))
    counts = [here.recv() for _, here in heard]
    for process, _ in heard:
        process.join()
    return counts


def _send(there, work, trials, seed) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
    there.send(work(trials, seed))
