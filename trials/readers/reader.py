"""What a reader of untrusted bytes is to these tests, and one trial of it."""

import contextlib
import random
import sqlite3
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from microgpt.errors import MicrogptError
from trials.readers.mutate import Mutate
from trials.readers.watch import SECONDS, audited, bounded, punctual

CORPUS: Final = Path(__file__).with_name("corpus")
LONGEST: Final = 1200  # characters of a message


@dataclass(frozen=True)
class Reader:
    """`prepare` makes in a folder all that reading needs, with sound bytes in `file`; `read` reads that file wholly.

    Nothing but one of `permitted` may come of other bytes there. `allowed` are events which this reading does need.
    """

    name: str
    file: str
    prepare: Callable[[Path], object]
    read: Callable[[Path], object]
    permitted: tuple[type[MicrogptError], ...]
    mutate: Mutate
    trials: int = 5_000  # of the full form
    seconds: float = SECONDS
    allowed: tuple[str, ...] = ()
    accepts: bool = True  # whether sound bytes are taken

    @property
    def kept(self) -> list[Path]:
        """What once broke this reader, and classics. An .sql is done to a valid store."""
        return sorted(path for path in (CORPUS / self.name).glob("*") if path.suffix != ".md")


class Bench:
    """A reader at work in a folder of its own."""

    def __init__(self, reader: Reader, folder: Path) -> None:
        self.reader, self._folder = reader, folder
        reader.prepare(folder)
        self._file = folder / reader.file
        self.sound = self._file.read_bytes()
        for _ in range(2):  # whatever is imported on the way is imported now
            assert self.refuses(self.sound, watched=False) != reader.accepts, f"{reader.name} refuses sound bytes"

    def mutated(self, seed: int) -> bytes:
        return self.reader.mutate(self.sound, random.Random(f"{self.reader.name} {seed}"))

    def replayed(self, path: Path) -> bytes:
        """The bytes of a kept file."""
        if path.suffix != ".sql":
            return path.read_bytes()
        with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as connection:
            connection.deserialize(self.sound)
            connection.executescript(path.read_text("utf-8"))
            return connection.serialize()

    def refuses(self, data: bytes, watched: bool = True) -> bool:
        """Whether reading refuses these bytes, as it should or, where they do no harm, need not.

        Raises `AssertionError`, or whatever came of reading, where that is no refusal in a line.
        """
        self._file.write_bytes(data)
        said = ""
        with warnings.catch_warnings(), audited() if watched else contextlib.nullcontext([]) as events:
            warnings.simplefilter("error")
            try:
                with bounded(), punctual(self.reader.seconds if watched else 60):
                    self.reader.read(self._folder)
            except self.reader.permitted as error:
                said = str(error) or "nothing"
        foreign = [event for event in events if not event.startswith(self.reader.allowed or "-")]
        assert not foreign, f"it did {foreign}"
        assert "\n" not in said
        assert len(said) < LONGEST, f"{len(said)} characters are no line"
        assert self._file.read_bytes() == data, "the file was changed"
        return bool(said)
