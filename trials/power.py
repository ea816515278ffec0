"""What a disk may hold after a loss of power: a model of a file system that keeps no promise but those of fsync.

After each call, whatever was not synced may be there or not, call by call: names (created, renamed, removed) are
synced with their folder, bytes with their file, and neither with the other. Of a write that was not synced some
sectors of 512 bytes may be there and others not. What was never written is zeros. Calls on one name stay in order.
"""

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from trials.recording import Call

SECTOR: Final = 512  # bytes that are written whole or not at all
RANDOM: Final = 6  # random states after each call, besides those that are made on purpose

Image = dict[str, bytes | None]  # what stands in the folder by its path: bytes of a file, None for a folder


@dataclass(frozen=True)
class Change:
    """Something that is on disk or not: a name bound in a folder (`file` None: unbound; `source` is the name that it
    had before), or bytes of a file (`data` None: cut to `place`)."""

    number: int
    folder: int = -1  # of a name; -1 for bytes
    name: str = ""
    source: str = ""
    file: int = -1
    place: int = 0
    data: bytes | None = None

    @property
    def of_name(self) -> bool:
        return self.folder >= 0


@dataclass
class Disk:
    """The changes so far, and which of them are synced. File 0 is the folder itself."""

    root: str
    changes: list[Change] = field(default_factory=list)
    synced: set[int] = field(default_factory=set)
    files: dict[int, bool] = field(default_factory=lambda: {0: True})  # and whether each is a folder
    marks: list[str] = field(default_factory=list)
    _names: dict[tuple[int, str], int] = field(default_factory=dict)
    _descriptors: dict[int, int] = field(default_factory=dict)

    def follow(self, call: Call) -> None:
        """Take in one call."""
        match call.kind:
            case "mark":
                self.marks.append(call.data.decode())
            case "open":
                self._descriptors[call.descriptor] = self._find(call.path)
            case "create":
                self._descriptors[call.descriptor] = self._bind(call.path, self._new(folder=False))
            case "make folder":
                self._bind(call.path, self._new(folder=True))
            case "write":
                self._change(file=self._descriptors[call.descriptor], place=call.place, data=call.data)
            case "cut":
                self._change(file=self._descriptors[call.descriptor], place=call.place)
            case "sync":
                self._sync(self._descriptors[call.descriptor])
            case "rename":
                self._rename(call.path, call.target)
            case "remove":
                folder, name = self._split(call.path)
                del self._names[folder, name]
                self._change(folder=folder, name=name)

    @property
    def loose(self) -> list[Change]:
        """What is not synced, in order."""
        return [change for change in self.changes if change.number not in self.synced]

    def now(self) -> "Disk":
        """The same, which stays as it is."""
        return Disk(self.root, [*self.changes], {*self.synced}, {**self.files})

    def image(self, kept: set[int], torn: Mapping[int, Sequence[bytes | None]] | None = None) -> Image:
        """What the disk holds if of all that is not synced only the changes `kept` have reached it."""
        names: dict[tuple[int, str], int] = {}
        dropped: set[tuple[int, str]] = set()
        contents = {file: bytearray() for file, is_folder in self.files.items() if not is_folder}
        for change in self.changes:
            there = change.number in self.synced or change.number in kept
            if not change.of_name:
                if there:
                    _write(contents[change.file], change, (torn or {}).get(change.number))
                continue
            touched = {(change.folder, change.name), (change.folder, change.source or change.name)}
            if not there or touched & dropped:  # what a dropped change made can't be renamed or removed
                dropped |= touched
            else:
                _bound(names, change)
        return dict(_tree(names, contents, 0, ""))

    def whole(self) -> Image:
        """What the process itself sees."""
        return self.image({change.number for change in self.changes})

    def _new(self, *, folder: bool) -> int:
        self.files[len(self.files)] = folder
        return len(self.files) - 1

    def _change(self, **what: object) -> None:
        self.changes.append(Change(len(self.changes), **what))  # type: ignore[arg-type]

    def _bind(self, path: str, file: int) -> int:
        folder, name = self._split(path)
        self._names[folder, name] = file
        self._change(folder=folder, name=name, file=file)
        return file

    def _rename(self, path: str, target: str) -> None:
        (folder, source), (there, name) = self._split(path), self._split(target)
        assert folder == there, "renames within one folder are all that is modelled"
        file = self._names[folder, name] = self._names.pop((folder, source))
        self._change(folder=folder, name=name, source=source, file=file)

    def _sync(self, file: int) -> None:
        if self.files[file]:
            self.synced |= {change.number for change in self.changes if change.folder == file}
        else:
            self.synced |= {change.number for change in self.changes if not change.of_name and change.file == file}

    def _split(self, path: str) -> tuple[int, str]:
        above, _, name = path.rstrip("/").rpartition("/")
        return self._find(above), name

    def _find(self, path: str) -> int:
        file = 0
        for name in path.removeprefix(self.root).strip("/").split("/"):
            file = self._names[file, name] if name else file
        return file


def _bound(names: dict[tuple[int, str], int], change: Change) -> None:
    if change.source:
        names.pop((change.folder, change.source), None)
    if change.file < 0:
        names.pop((change.folder, change.name), None)
    else:
        names[change.folder, change.name] = change.file


def _write(content: bytearray, change: Change, pieces: Sequence[bytes | None] | None) -> None:
    if change.data is None:
        del content[change.place :]
        content.extend(bytes(change.place - len(content)))
        return
    place = change.place
    for whole, piece in zip(_sectors(change), pieces or _sectors(change), strict=True):
        if piece is not None:
            content.extend(bytes(max(0, place - len(content))))
            content[place : place + len(piece)] = piece
        place += len(whole)


def _sectors(change: Change) -> list[bytes]:
    """The bytes of a write, divided where sectors of the disk end."""
    data, first = change.data or b"", SECTOR - change.place % SECTOR
    return [data[:first], *(data[place : place + SECTOR] for place in range(first, len(data), SECTOR))]


def _tree(
    names: dict[tuple[int, str], int], contents: dict[int, bytearray], folder: int, above: str
) -> Iterator[tuple[str, bytes | None]]:
    for (parent, name), file in sorted(names.items()):
        if parent == folder and file in contents:
            yield above + name, bytes(contents[file])
        elif parent == folder:
            yield above + name, None
            yield from _tree(names, contents, file, f"{above}{name}/")


State = tuple[Callable[[], Image], int]  # what makes an image, and how many marks there were by then


def deaths(calls: Iterable[Call], root: str, seed: int = 0) -> Iterator[State]:
    """What a process that dies leaves after each of its calls: all that it wrote; and in the midst of each write."""
    disk, stream = Disk(root), random.Random(seed)
    yield disk.now().whole, 0
    for call in calls:
        changes, marks = len(disk.changes), len(disk.marks)
        disk.follow(call)
        if call.kind == "write":
            cut_short = disk.now()
            cut_short.changes[-1] = replace(disk.changes[-1], data=call.data[: stream.randrange(len(call.data))])
            yield cut_short.whole, marks
        if (len(disk.changes), len(disk.marks)) != (changes, marks):
            yield disk.now().whole, len(disk.marks)


def losses(calls: Iterable[Call], root: str, seed: int = 0) -> Iterator[State]:
    """What a loss of power may leave after each call."""
    disk, stream = Disk(root), random.Random(seed)
    for call in calls:
        disk.follow(call)
        now, loose = disk.now(), disk.loose
        for kept in _choices(loose, stream):
            yield partial(now.image, kept), len(disk.marks)
            if torn := _torn(loose, kept, stream):
                yield partial(now.image, kept, torn), len(disk.marks)


def _choices(loose: list[Change], stream: random.Random) -> Iterator[set[int]]:
    """Which of the changes that are not synced have reached the disk: none, all, names or bytes alone, all but one,
    one alone, those before a moment, and some at random."""
    numbers = [change.number for change in loose]
    yield set()
    yield set(numbers)
    yield {change.number for change in loose if change.of_name}
    yield {change.number for change in loose if not change.of_name}
    for place, number in enumerate(numbers):
        yield {*numbers} - {number}
        yield {number}
        yield {*numbers[:place]}
    for _ in range(RANDOM if numbers else 0):
        yield {number for number in numbers if stream.random() < 0.5}


def _torn(loose: list[Change], kept: set[int], stream: random.Random) -> dict[int, list[bytes | None]]:
    """Tear every other write that was kept and not synced: to its first sectors, or to any."""
    torn: dict[int, list[bytes | None]] = {}
    for change in loose:
        if change.number in kept and change.data and len(_sectors(change)) > 1 and stream.random() < 0.5:
            sectors = _sectors(change)
            first = stream.randrange(len(sectors))
            any_of_them = stream.random() < 0.5
            torn[change.number] = [
                sector if (stream.random() < 0.5 if any_of_them else place < first) else None
                for place, sector in enumerate(sectors)
            ]
    return torn


def digest(image: Image) -> bytes:
    """What tells two images apart."""
    whole = hashlib.sha256()
    for path in sorted(image):
        data = image[path]
        whole.update(f"{path}\0{-1 if data is None else len(data)}\0".encode() + (data or b""))
    return whole.digest()
