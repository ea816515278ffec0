"""A text as tokens: one flat array with BOS between documents. Independent of ctx, seeds and split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from microgpt.data.choices import Kind
from microgpt.data.documents import choose_kind, documents_of, find_lines
from microgpt.data.reading import Text
from microgpt.data.slices import Positions, Tokens, blocks, count, fitting, joined, position_type, translated
from microgpt.data.tokenizer import Tokenizer


@dataclass(frozen=True, eq=False)
class Corpus:
    """All documents of a text, tokenized.

    `tokens` (read-only) is, for lines and paragraphs, BOS document BOS document … BOS: neighbours share a BOS, and
    `edges`, shape (documents + 1,), are the places of BOS. For windows it is the running text without BOS, and
    `edges` is (0, tokens). `reason` says in one sentence why `kind` was chosen. `counts`, (vocabulary,), is how often
    each token occurs, where that is known of a text too long to be counted; from the first `learned_from` tokens of it
    its merges were learned.
    """

    name: str
    sources: tuple[str, ...]
    sha256: str
    kind: Kind
    reason: str
    notes: tuple[str, ...]
    tokenizer: Tokenizer
    tokens: Tokens
    edges: Positions
    counts: NDArray[np.int64] | None = None
    learned_from: int = 0

    @staticmethod
    def of(text: Text, kind: str = "auto") -> "Corpus":
        """Cuts a text into documents of a kind ("auto" chooses) and tokenizes it. Raises UsageError for a bad kind.

        The vocabulary is that of the documents, held out or not: a line break that only parts lines is not in it.
        """
        chosen, reason = choose_kind(text, kind)
        if chosen == "windows":
            characters, tokens = text.alphabet, text.symbols
            edges: Positions = np.array([0, len(tokens)], dtype=position_type(len(tokens)))
        else:
            cuts = text.cuts or documents_of(find_lines(text.symbols, text.alphabet), chosen)
            characters, tokens, edges = _wrapped(text, *cuts)
        tokens.flags.writeable = False
        tokenizer = Tokenizer(characters, text.normalize, text.unit, text.merges)
        counts = None if text.counts is None else np.append(text.counts, 0)  # no BOS in running text
        about = (text.name, text.sources, text.sha256, chosen, reason, text.notes)
        return Corpus(*about, tokenizer, tokens, edges, counts, text.learned_from)

    @property
    def documents(self) -> int:
        """How many documents there are, repeated ones counted; 1 for windows."""
        return len(self.edges) - 1

    def document(self, index: int) -> str:
        """The text of a document, in file order from 0."""
        return self.tokenizer.decode(self.tokens[self.edges[index] : self.edges[index + 1] + 1])


def _wrapped(text: Text, starts: Positions, stops: Positions) -> tuple[str, Tokens, Positions]:
    """The characters that occur in the documents, the documents with BOS around each, and the places of BOS."""
    size = int((stops - starts).sum()) + len(starts) + 1
    edges = np.zeros(len(starts) + 1, dtype=position_type(size))
    np.cumsum(stops - starts + 1, out=edges[1:])
    tokens = np.empty(size, dtype=text.symbols.dtype)
    place = 0
    # The character before each document (for the first perhaps the last of all) keeps the room for its BOS.
    for block in joined(text.symbols, starts - 1, stops):
        tokens[place : place + len(block)] = block
        place += len(block)
    tokens[edges] = bos = len(text.alphabet)
    used = count(blocks(tokens), bos + 1)[:bos] > 0
    if used.all():
        return text.alphabet, tokens, edges
    characters = "".join(character for character, keep in zip(text.alphabet, used, strict=True) if keep)
    return characters, translated(tokens, _renumbered(used)), edges


def _renumbered(used: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> Tokens:
    """From a place in the alphabet to a token id, where only used characters count; the last entry is BOS."""
    kept = np.append(used, True)
    return (np.cumsum(kept) - 1).astype(fitting(int(kept.sum()) - 1))
