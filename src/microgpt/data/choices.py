"""What can be chosen: built-in texts, kinds of documents, normalisations. Standard library only, for help pages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

Kind = Literal["lines", "paragraphs", "windows"]
KINDS: Final[tuple[Kind, ...]] = ("lines", "paragraphs", "windows")

Normalization = Literal["nfc", "none"]
NORMALIZATIONS: Final[tuple[Normalization, ...]] = ("nfc", "none")

STANDARD_INPUT: Final = "-"


@dataclass(frozen=True)
class Builtin:
    """A text that the package carries: its name, the kind of document it declares, the SHA-256 of its bytes."""

    name: str
    kind: Kind
    sha256: str

    @property
    def path(self) -> Path:
        return Path(__file__).with_name("builtin") / f"{self.name}.txt"


BUILTINS: Final[dict[str, Builtin]] = {
    builtin.name: builtin
    for builtin in (
        Builtin("names", "lines", "3b20b43df36ec7ee9c90f8ea2c6f1a5310ad2a8608b06f5208edbbf544f26c35"),
        Builtin("shakespeare", "windows", "6fde2f74b301fdac72514f6c897d87ea1b1cc370c2e418ba699b311dfb94a02b"),
    )
}
