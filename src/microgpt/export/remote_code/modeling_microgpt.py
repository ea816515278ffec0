"""MicroGPT for transformers: GPT-2 (Radford et al. 2019) with RMSNorm (Zhang & Sennrich 2019), ReLU, and no biases.

By its configuration it has rotary positions (Su et al. 2021), squared ReLU (So et al. 2021) and a head that is the
embedding (Press & Wolf 2017).

Shapes: B documents, T positions, P positions of keys (those of a cache and T), V vocabulary, H heads, S numbers of a
head, emb = H·S, wide = ff·emb.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from transformers import Cache, DynamicCache, GenerationMixin, PreTrainedModel
from transformers.generation import StoppingCriteria, StoppingCriteriaList
from transformers.modeling_outputs import CausalLMOutputWithPast

from .configuration_microgpt import MicrogptConfig

EPSILON = 1e-5
ROTARY_BASE = 10_000.0
CACHE = "cache" if "cache" in CausalLMOutputWithPast.__dataclass_fields__ else "past_key_values"  # by its version
Turns = tuple[Tensor, Tensor]  # cosines and sines of the angles of positions, (B, 1, T, S/2) each


def rmsnorm(x: Tensor) -> Tensor:
    """y = x / sqrt(mean(x²) + ε) (Zhang & Sennrich 2019, eq. 4), without a gain."""
    return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + EPSILON)


def turns_of(positions: Tensor, size: int, like: Tensor) -> Turns:
    """Of positions (B, T), the angles position · base^(-2i/S), in the precision and on the device of `like`. They are
    computed in float64 on the processor: not every device has it."""
    each = ROTARY_BASE ** (-2.0 * torch.arange(size // 2, dtype=torch.float64, device="cpu") / size)  # (S/2,)
    angles = positions.cpu()[:, None, :, None] * each  # (B, 1, T, S/2)
    return angles.cos().to(like), angles.sin().to(like)


def turned(x: Tensor, turns: Turns) -> Tensor:
    """Queries or keys (B, H, T, S), whose numbers i and i + S/2 are the axes of a plane, turned (Su et al. 2021, eq.
    34)."""
    (cos, sin), (a, b) = turns, x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Layer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: MicrogptConfig, index: int) -> None:
        super().__init__()
        self.index = index
        emb, wide = config.emb, config.ff * config.emb
        self.head, self.activation = config.head, config.activation
        self.attn_wq = nn.Linear(emb, emb, bias=False)
        self.attn_wk = nn.Linear(emb, emb, bias=False)
        self.attn_wv = nn.Linear(emb, emb, bias=False)
        self.attn_wo = nn.Linear(emb, emb, bias=False)
        self.mlp_fc1 = nn.Linear(emb, wide, bias=False)
        self.mlp_fc2 = nn.Linear(wide, emb, bias=False)

    def forward(self, x: Tensor, mask: Tensor, turns: Turns | None, past: Cache | None) -> Tensor:
        """x and the result (B, T, emb); `mask` (B, 1, T, P) is true where a position looks, `turns` are given where
        positions are rotary, and `past` grows by the keys and values of x."""
        x = x + self.attention(rmsnorm(x), mask, turns, past)
        hidden = torch.relu(self.mlp_fc1(rmsnorm(x)))  # (B, T, wide)
        return x + self.mlp_fc2(hidden.square() if self.activation == "relu2" else hidden)

    def attention(self, x: Tensor, mask: Tensor, turns: Turns | None, past: Cache | None) -> Tensor:
        """softmax(query · key / sqrt(S)) · value in each head (Vaswani et al. 2017, eq. 1)."""
        query, key, value = (self.split(linear(x)) for linear in (self.attn_wq, self.attn_wk, self.attn_wv))
        if turns:
            query, key = turned(query, turns), turned(key, turns)
        if past is not None:
            key, value = past.update(key, value, self.index)  # (B, H, P, S) each
        scores = query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5  # (B, H, T, P)
        weights = torch.softmax(scores.masked_fill(~mask, -torch.inf), -1)
        return self.attn_wo((weights @ value).transpose(1, 2).flatten(2))

    def split(self, x: Tensor) -> Tensor:
        """(B, T, emb) as heads (B, H, T, S)."""
        return x.unflatten(-1, (self.head, -1)).transpose(1, 2)


class ContextFull(StoppingCriteria):
    """A document ends where ctx is full: so many tokens after the BOS that begins it."""

    def __init__(self, ctx: int) -> None:
        self.ctx = ctx

    def __call__(self, input_ids: Tensor, scores: Any, **others: Any) -> Tensor:
        return torch.full(input_ids.shape[:1], input_ids.shape[1] > self.ctx, device=input_ids.device)


class MicrogptForCausalLM(PreTrainedModel, GenerationMixin):
    """Scores every token as the next one."""

    config_class = MicrogptConfig
    _tied_weights_keys = {"lm_head.weight": "wte.weight"}  # noqa: RUF012 - where tie_word_embeddings says so

    def __init__(self, config: MicrogptConfig) -> None:
        super().__init__(config)
        self.wte = nn.Embedding(config.vocab_size, config.emb)
        self.wpe = nn.Embedding(config.ctx, config.emb) if config.position == "learned" else None
        self.layers = nn.ModuleList(Layer(config, index) for index in range(config.layer))
        self.lm_head = nn.Linear(config.emb, config.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.wte

    def set_input_embeddings(self, value: nn.Embedding) -> None:
        self.wte = value

    def get_output_embeddings(self) -> nn.Module:
        return self.lm_head

    def set_output_embeddings(self, new_embeddings: nn.Linear) -> None:
        self.lm_head = new_embeddings

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        return_dict: bool | None = None,
        use_cache: bool | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
    ) -> CausalLMOutputWithPast | tuple[Tensor, ...]:
        """Logits (B, T, V) of at most ctx positions, and with labels (B, T) the mean of -log p(next token), in nats,
        over those that are not -100. A cache (`past_key_values`, or by the library's newer name `cache`) has the keys
        and values of the tokens before, which count, and `attention_mask` (B, P) is of all. Raises ValueError beyond
        ctx; `generate` never gets there with running text."""
        past = past_key_values if cache is None else cache
        past = DynamicCache() if past is None and use_cache else past
        begun = 0 if past is None else past.get_seq_length()
        keys = begun + input_ids.shape[-1]
        if keys > self.config.ctx:
            found = f"found {keys}; give fewer"
            raise ValueError(f"expected at most {self.config.ctx} tokens, BOS and padding included (ctx), {found}.")
        real = input_ids.new_ones(len(input_ids), keys) if attention_mask is None else attention_mask  # 0 where padded
        positions = (real.cumsum(-1) - 1).clamp(min=0)[:, begun:]  # (B, T)
        x = self.wte(input_ids)  # (B, T, emb)
        x = x if self.wpe is None else x + self.wpe(positions)  # (B, T, emb)
        turns = turns_of(positions, self.config.emb // self.config.head, x) if self.wpe is None else None
        x = rmsnorm(x) if self.config.norm_embeddings else x
        mask = causal_mask(real, input_ids.shape[-1])  # (B, 1, T, P)
        for layer in self.layers:
            x = layer(x, mask, turns, past)
        logits = self.lm_head(rmsnorm(x) if self.config.norm_head else x)  # (B, T, V)
        loss = None
        if labels is not None:  # cross_entropy leaves out what is -100
            loss = functional.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        output = CausalLMOutputWithPast(loss=loss, logits=logits, **{CACHE: past})
        return output.to_tuple() if return_dict is False else output

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        past_key_values: Cache | None = None,
        cache: Cache | None = None,
        **others: Any,
    ) -> dict[str, Any]:
        """The tokens to read for the next one: those that are not in the cache. Running text goes on from the latter
        half of a full ctx, and lets it fill again; all positions move then, and a new cache begins. (In a prompt beyond
        ctx the halves begin elsewhere than for `microgpt sample`.) Raises ValueError where the cache has more."""
        length, ctx = input_ids.shape[1], self.config.ctx
        if self.config.kind == "windows" and length > ctx:
            length = ctx // 2 + 1 + (length - ctx - 1) % (ctx - ctx // 2)
        mask = None if attention_mask is None else attention_mask[:, -length:]
        past, start = past_key_values if cache is None else cache, input_ids.shape[1] - length
        if past is not None and getattr(past, "start", 0) != start:
            past = DynamicCache()
            past.start = start  # the first token that it has
        new = length if past is None else length - past.get_seq_length()
        if new < 1:
            found = f"found {length} of which {length - new} are cached"
            raise ValueError(f"expected all tokens of the text, those in the cache and at least one more, {found}.")
        return {"input_ids": input_ids[:, -new:], "attention_mask": mask, CACHE: past}

    def generate(self, *inputs: Any, stopping_criteria: Any = None, **settings: Any) -> Any:
        """As in transformers; and a document ends where ctx is full, as in training, whatever length is asked for."""
        if self.config.kind != "windows":
            stopping_criteria = StoppingCriteriaList([*(stopping_criteria or []), ContextFull(self.config.ctx)])
        return super().generate(*inputs, stopping_criteria=stopping_criteria, **settings)


def causal_mask(real: Tensor, queries: int) -> Tensor:
    """Where the last T positions may look, (B, 1, T, P): at what is not padding (B, P) up to themselves, and always at
    themselves, so that a softmax over nothing can't make NaN."""
    keys = torch.arange(real.shape[-1], device=real.device)  # (P,)
    own = keys[-queries:, None]  # (T, 1)
    return ((keys < own) & real.bool()[:, None, None, :]) | (keys == own)
