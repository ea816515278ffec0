"""What can be chosen: built-in texts, kinds of documents, normalisations. Standard library only, for help pages."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from microgpt.errors import DataError, UsageError

Kind = Literal["lines", "paragraphs", "windows"]
KINDS: Final[tuple[Kind, ...]] = ("lines", "paragraphs", "windows")

Normalization = Literal["nfc", "none"]
NORMALIZATIONS: Final[tuple[Normalization, ...]] = ("nfc", "none")

Unit = Literal["characters", "bytes"]  # what one token stands for
UNITS: Final[tuple[Unit, ...]] = ("characters", "bytes")
BPE: Final = "bpe:"  # and the number of tokens, BOS not among them: byte pairs
FEWEST_TOKENS: Final = 2
MOST_TOKENS: Final = 1 << 16

STANDARD_INPUT: Final = "-"


class Unasked(tuple[str, ...]):
    """Sources that a file names and no person: regular files alone are read for them, and not many bytes."""


IN_MEMORY: Final = "text in memory"  # the source of a text that the library was given as a string


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

MARKOV: Final = "markov"  # the endless source: a text that is made and not shipped
MARKOV_LENGTH: Final = 2_000_000  # characters of `markov`; those of `markov:1e7` are 10,000,000
MARKOV_KIND: Final[Kind] = "windows"
MOST_MADE: Final = 1_000_000_000  # characters: minutes to make
NAMES: Final = (*BUILTINS, MARKOV)


def size_of(tokens: str) -> int:
    """The number N of tokens that `bpe:N` means; 0 for characters and bytes. Raises `UsageError` for anything else."""
    if tokens in UNITS:
        return 0
    digits = tokens.removeprefix(BPE) if tokens.startswith(BPE) else ""
    size = int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 16 else 0
    if not FEWEST_TOKENS <= size <= MOST_TOKENS or str(size) != digits:
        raise UsageError(
            f"--tokens takes characters, bytes, or bpe:N for N tokens of byte pairs, {FEWEST_TOKENS} to "
            f"{MOST_TOKENS:,}, found {tokens[:80]!r}; bpe:512 would do."
        )
    return size


def is_built_in(source: str) -> bool:
    """Whether a source is a text of the package's own, from whatever folder it is read."""
    return source in NAMES or source.startswith(f"{MARKOV}:")


def kind_of(source: str) -> Kind | None:
    """The kind of document that a built-in text declares; None for what a person brings."""
    return BUILTINS[source].kind if source in BUILTINS else MARKOV_KIND if is_built_in(source) else None


def made_length(source: str) -> int | None:
    """How many characters of the endless source `markov` or `markov:N` means; None for any other text. Raises
    `DataError` for an N that is no whole number of 1 to MOST_MADE."""
    if source in BUILTINS or not is_built_in(source):
        return None
    asked = source.removeprefix(MARKOV).removeprefix(":") if source != MARKOV else str(MARKOV_LENGTH)
    try:
        length = float(asked.replace(",", "_"))
    except ValueError:
        length = 0.0
    if not (1 <= length <= MOST_MADE and length.is_integer()):
        raise DataError(
            f"{source}: expected markov:N with a whole number of 1 to {MOST_MADE:,} characters, found {asked!r}; try "
            f"markov:1e7, or ./{source} for a file of that name"
        )
    return int(length)
