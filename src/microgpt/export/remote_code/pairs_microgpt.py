"""Byte-pair tokens (Sennrich et al. 2016): a text is cut into pieces, a word with the space before it, and in each the
pairs are merged in the order in which they were learned."""

import re
from collections.abc import Sequence


class Pairs:
    """Every character is a token, then comes what each merge (a pair of token ids) makes: `texts` are their texts."""

    def __init__(self, characters: Sequence[str], merges: Sequence[Sequence[int]]) -> None:
        self.texts = list(characters)
        self.ids = {text: token for token, text in enumerate(self.texts)}
        self.ranks: dict[tuple[int, int], tuple[int, int]] = {}  # of a pair: its place, and the token that it makes
        for rank, (left, right) in enumerate(merges):
            text = self.texts[left] + self.texts[right]
            token = self.ids.setdefault(text, len(self.texts))
            self.texts += [text] if token == len(self.texts) else []
            self.ranks[left, right] = rank, token

    def encode(self, text: str) -> list[int]:
        """The token ids of a text, all of whose characters are known."""
        return [token for piece in re.findall(" ?[^ \n]+|[ \n]", text) for token in self.merged(piece)]

    def merged(self, piece: str) -> list[int]:
        """The tokens of one piece: the earliest merge first, of equals the leftmost."""
        tokens = [self.ids[character] for character in piece]
        while True:
            pairs = enumerate(zip(tokens, tokens[1:]))  # noqa: B905, RUF007 - what Python 3.9 has
            found = [(*self.ranks[pair], place) for place, pair in pairs if pair in self.ranks]
            if not found:
                return tokens
            _, token, place = min(found)
            tokens[place : place + 2] = [token]
