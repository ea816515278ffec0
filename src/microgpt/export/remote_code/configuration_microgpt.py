"""The sizes of a MicroGPT model, where its norms stand, and what else it varies by."""

from typing import Any

from transformers import PretrainedConfig


class MicrogptConfig(PretrainedConfig):
    """`kind` is what the model was trained on: lines, paragraphs (documents, which BOS begins and ends) or windows
    (running text, in which BOS never occurs). BOS is the last token id. `position` is learned or rotary, `activation`
    relu or relu2, its square."""

    model_type = "microgpt"
    attribute_map = {  # noqa: RUF012 - the library's own name and form; a map of ctx would make it warn of writing on
        "hidden_size": "emb",
        "num_attention_heads": "head",
        "num_hidden_layers": "layer",
    }

    def __init__(
        self,
        vocab_size: int = 27,
        emb: int = 16,
        head: int = 4,
        layer: int = 1,
        ctx: int = 16,
        ff: int = 4,
        norm_embeddings: bool = True,
        norm_head: bool = False,
        position: str = "learned",
        activation: str = "relu",
        tie_word_embeddings: bool = False,
        kind: str = "lines",
        initializer_range: float = 0.08,
        **others: Any,
    ) -> None:
        self.vocab_size, self.emb, self.head, self.layer = vocab_size, emb, head, layer
        self.ctx, self.ff = ctx, ff
        self.norm_embeddings, self.norm_head = norm_embeddings, norm_head
        self.position, self.activation = position, activation
        self.kind = kind
        self.initializer_range = initializer_range
        super().__init__(tie_word_embeddings=tie_word_embeddings, **others)
