"""Text to token ids and back: each character of the training text is a token, then come those that merges make, and
BOS is the last."""

import unicodedata
from typing import Any

from transformers import PreTrainedTokenizer

from .pairs_microgpt import Pairs


class MicrogptTokenizer(PreTrainedTokenizer):
    """BOS begins and ends a document, and pads; running text (`kind` windows) has none. No text gives BOS: not even
    the characters `<bos>`. Raises ValueError for characters that are not in the vocabulary."""

    vocab_files_names = {}  # noqa: RUF012 - all is in tokenizer_config.json
    model_input_names = ["input_ids", "attention_mask"]  # noqa: RUF012 - the library's own name and form

    def __init__(
        self,
        characters: list[str] | str = "",
        kind: str = "lines",
        normalize: str = "none",
        merges: list[list[int]] | None = None,
        **others: Any,
    ) -> None:
        self.pairs, self.known = Pairs(characters, merges or []), set(characters)
        self.bos = "<bos>"
        while self.bos in self.pairs.ids:  # a word of the text
            self.bos = f"<{self.bos}>"
        self.tokens = [*self.pairs.texts, self.bos]
        self.ids = {token: number for number, token in enumerate(self.tokens)}
        self.kind, self.normalize = kind, normalize
        ends = dict.fromkeys(("bos_token", "eos_token", "pad_token"), self.bos)
        settings = {**ends, "split_special_tokens": True, **others}
        told = {"characters": list(characters), "merges": merges or []}
        super().__init__(**told, kind=kind, normalize=normalize, **settings)

    @property
    def vocab_size(self) -> int:
        return len(self.tokens)

    def get_vocab(self) -> dict[str, int]:
        return dict(self.ids)

    def save_vocabulary(self, save_directory: str, filename_prefix: str | None = None) -> tuple[str, ...]:
        return ()

    def _tokenize(self, text: str, **others: Any) -> list[str]:
        text = unicodedata.normalize("NFC", text) if self.normalize == "nfc" else text
        if unknown := sorted(set(text) - self.known):
            raise ValueError(f"expected only characters of the training text, found others: {unknown[:10]}.")
        return [self.tokens[token] for token in self.pairs.encode(text)]

    def _convert_token_to_id(self, token: str) -> int:
        return self.ids[token]

    def _convert_id_to_token(self, index: int) -> str:
        return self.tokens[index]

    def convert_tokens_to_string(self, tokens: list[str]) -> str:
        return "".join(tokens)

    @staticmethod
    def clean_up_tokenization(out_string: str) -> str:
        """The text as it is: what the library takes away before a comma was written so."""
        return out_string

    def build_inputs_with_special_tokens(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None
    ) -> list[int]:
        begin = [] if self.kind == "windows" else [self.ids[self.bos]]
        return [*begin, *token_ids_0, *(token_ids_1 or [])]

    def get_special_tokens_mask(
        self, token_ids_0: list[int], token_ids_1: list[int] | None = None, already_has_special_tokens: bool = False
    ) -> list[int]:
        given = [*token_ids_0, *(token_ids_1 or [])]
        tokens = given if already_has_special_tokens else self.build_inputs_with_special_tokens(given)
        return [int(token == self.ids[self.bos]) for token in tokens]
