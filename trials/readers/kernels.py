"""Damaged entries in the cache of kernels: each is found out, and compiled anew before anything is loaded."""

import random
import shutil
from pathlib import Path

from microgpt.engines.fused.build import build, load
from trials.stand_in import STAND_IN, size_of


class Cache:
    """A cache with one compiled stand-in, which a trial damages and then asks for."""

    def __init__(self, place: Path) -> None:
        self._kernel, self._folder = place / "stand_in.c", place / "cache"
        self._kernel.write_text(STAND_IN)
        self._folder.mkdir(mode=0o700)
        self._entry = build({"SIZE": 7}, kernel=self._kernel, folder=self._folder)
        self._sound = self._entry.read_bytes()

    def survives(self, seed: int) -> bool:
        """Whether a truncated, flipped or overwritten entry is compiled anew, and what is loaded is the kernel."""
        stream, damaged = random.Random(seed), bytearray(self._sound)
        place = stream.randrange(len(damaged))
        match stream.randrange(3):
            case 0:
                del damaged[place:]
            case 1:
                damaged[place] ^= 1 << stream.randrange(8)
            case _:
                damaged[place : place + 64] = stream.randbytes(64)
        for path in self._folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        self._entry.write_bytes(damaged)
        library = load({"SIZE": 7}, kernel=self._kernel, folder=self._folder)
        right = size_of(library) == 7
        whole = build({"SIZE": 7}, kernel=self._kernel, folder=self._folder)
        return right and whole.read_bytes() != bytes(damaged)
