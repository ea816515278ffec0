"""A split of characters in other tokens: bytes, or byte pairs that are learned from its training part alone."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from microgpt.data.byte_pairs import Encoder, cut, learn
from microgpt.data.choices import size_of
from microgpt.data.corpus import Corpus
from microgpt.data.slices import Tokens, blocks, fitting, joined, position_type
from microgpt.data.split import Part, Split
from microgpt.data.symbols import codes_of, text_of
from microgpt.data.token_folder import BYTES
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import DataError, UsageError


def retokenized(split: Split, tokens: str, known: Tokenizer | None = None) -> Split:
    """The split in the tokens that `--tokens` names; what is trained on and what is held out stay the same text.

    They are those of `known`, if it has such tokens, and of the characters that only this text has; else merges are
    learned from the training part. Raises `UsageError` for a text that was prepared as token files, `DataError` for a
    number that the text can't have, or too short a text.
    """
    corpus = split.corpus
    alike = known and (known.merges if size_of(tokens) else known.tokens == tokens)
    grown = known.grown(corpus.tokenizer.characters) if known and alike else None
    if tokens == "characters":
        return _renumbered(split, grown) if grown and corpus.counts is None else split
    if corpus.counts is not None:
        found = f"{', '.join(corpus.sources)} has the tokens that it was prepared with ({corpus.tokenizer.tokens})"
        raise UsageError(f"--tokens {tokens}: {found}; leave it out, or prepare the text so.")
    tokenizer = grown or _tokenizer(split, tokens)
    if split.is_running:
        return _running(split, tokenizer)
    made = encoded(corpus, tokenizer)

    def part(old: Part) -> Part:
        """The same documents, by their places among all."""
        begins, ends = (np.searchsorted(corpus.edges, places) for places in (old.starts, old.stops - 1))
        return Part(made.edges[begins], made.edges[ends] + 1)

    return replace(split, corpus=made, training=part(split.training), held_out=part(split.held_out), characters=split)


def _renumbered(split: Split, tokenizer: Tokenizer) -> Split:
    """The same characters under the ids of a tokenizer that has more of them."""
    corpus = split.corpus
    if tokenizer == corpus.tokenizer:
        return split
    table = np.append(tokenizer.encode(corpus.tokenizer.characters), tokenizer.bos).astype(fitting(tokenizer.bos))
    tokens = table[corpus.tokens]
    tokens.flags.writeable = False
    return replace(split, corpus=replace(corpus, tokenizer=tokenizer, tokens=tokens))


def vocabulary_of(tokens: str, characters: Tokenizer) -> int:
    """How many tokens `--tokens` means on a text of these characters, BOS among them, before any merge is learned."""
    return (size_of(tokens) or (len(BYTES) if tokens == "bytes" else characters.bos)) + 1


def encoded(corpus: Corpus, tokenizer: Tokenizer) -> Corpus:
    """A corpus of characters, all of them known, in the tokens of another tokenizer."""
    bos, made = tokenizer.bos, bytearray()  # which grows in place, where a list of arrays would be held twice
    for part in _encoded(corpus, tokenizer):
        made += part.astype(fitting(bos), copy=False).data
    tokens: Tokens = np.frombuffer(made, fitting(bos))
    tokens.flags.writeable = False
    kind = position_type(len(tokens) + 1)
    edges = np.array([0, len(tokens)], kind) if corpus.kind == "windows" else np.flatnonzero(tokens == bos).astype(kind)
    return replace(corpus, tokenizer=tokenizer, tokens=tokens, edges=edges)


def _text(corpus: Corpus, tokens: Iterator[Tokens], mark: str) -> Iterator[str]:
    """Tokens of a corpus of characters as text, with a mark for BOS."""
    codes = codes_of(corpus.tokenizer.characters + mark)
    return (text_of(codes[block]) for block in tokens)


def _mark_beside(characters: str) -> str:
    """A character that is none of these."""
    known = {*characters}
    return next(chr(code) for code in range(0x10FFFF, 0, -1) if chr(code) not in known)


def _encoded(corpus: Corpus, tokenizer: Tokenizer) -> Iterator[Tokens]:
    if tokenizer.unit == "bytes":
        return _in_bytes(corpus, tokenizer.bos)
    mark = _mark_beside(corpus.tokenizer.characters + tokenizer.characters)
    encoder = Encoder(tokenizer.characters, tokenizer.merges, tokenizer.bos, mark)
    return encoder.encode(_text(corpus, blocks(corpus.tokens), mark))


def _in_bytes(corpus: Corpus, bos: int) -> Iterator[Tokens]:
    """The bytes of each character, and BOS."""
    each = [np.frombuffer(one.encode("utf-8", "surrogatepass"), np.uint8) for one in corpus.tokenizer.characters]
    flat: NDArray[np.uint16] = np.concatenate([*each, [bos]]).astype(np.uint16)
    sizes = np.array([*map(len, each), 1])
    starts = np.cumsum(sizes) - sizes
    for block in blocks(corpus.tokens):
        length = sizes[block]
        shifts = starts[block] - (np.cumsum(length) - length)  # from a place among these bytes to its place in `flat`
        yield flat[np.arange(int(length.sum())) + np.repeat(shifts, length)]


def _tokenizer(split: Split, tokens: str) -> Tokenizer:
    corpus, part = split.corpus, split.training
    if tokens == "bytes":
        return Tokenizer(BYTES, unit="bytes")
    mark = _mark_beside(corpus.tokenizer.characters)
    running = blocks(corpus.tokens[: part.stops[0]])
    seen = running if split.is_running else joined(corpus.tokens, part.starts, part.stops)
    pieces = cut(_text(corpus, seen, mark), mark)
    return replace(corpus.tokenizer, merges=learn(pieces, corpus.tokenizer.characters, size_of(tokens)))


def _running(split: Split, tokenizer: Tokenizer) -> Split:
    """Each part alone, so that no token stands across the cut."""
    corpus, cutting = split.corpus, int(split.training.stops[0])
    sides = [corpus.tokens[:cutting], corpus.tokens[cutting:]] if len(split.held_out) else [corpus.tokens]
    made = [encoded(replace(corpus, tokens=side), tokenizer).tokens for side in sides]
    if (least := min(map(len, made))) < 2:
        raise DataError(
            f"{', '.join(corpus.sources)}: expected at least 2 tokens on each side of the split, found {least}; give "
            f"more text, or fewer tokens than --tokens {tokenizer.tokens}."
        )
    whole = np.concatenate(made)
    whole.flags.writeable = False
    ends = np.array([0, *np.cumsum([*map(len, made)])], position_type(len(whole)))
    last = 2 if len(made) == 2 else 1
    made_of = replace(corpus, tokenizer=tokenizer, tokens=whole, edges=ends[[0, -1]])
    training, held_out = Part(ends[:1], ends[1:2]), Part(ends[1:last], ends[2 : last + 1])
    return replace(split, corpus=made_of, training=training, held_out=held_out, characters=split)
