"""What a step costs: floating-point operations of useful work, and bytes.

Useful work is what the definition asks for, unpadded: an addition or a multiplication is one operation, and the
backward pass of a product takes two products of the same size (Kaplan et al. 2020, section 2.1). Norms, ReLU and
softmax are left out: they are O(emb) where the products are O(emb²).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from microgpt.model.ledger import ledger, params
from microgpt.model.settings import ModelConfig

ADAM_OPERATIONS = 12  # for each weight and step: two moments, two corrections, a root, a quotient, a product, a step


@dataclass(frozen=True)
class StepCost:
    """Operations of one step."""

    forward: int
    backward: int
    adam: int

    @property
    def total(self) -> int:
        return self.forward + self.backward + self.adam


def forward_flop(model: ModelConfig, predictions: int) -> int:
    """Operations to predict so many tokens of one sequence, each attending to itself and all before it."""
    looked_up = ("wpe",) if model.tied else ("wte", "wpe")
    products = sum(entry.size for entry in ledger(model) if entry.name not in looked_up)
    pairs = predictions * (predictions + 1) // 2
    attention = 2 * model.layer * model.emb * pairs  # one product for the scores, one for the mixture
    return 2 * (products * predictions + attention)


def flop_per_token(model: ModelConfig, *, whole_squares: bool = False) -> float:
    """Operations to learn from one token of a full sequence: forward and backward, without Adam's.

    With `whole_squares` attention counts every pair of positions, also those that the mask leaves out, as does whoever
    counts the products that are carried out: the 6 params + 12 layer · ctx · emb of Chowdhery et al. 2022, appendix B,
    but for the embeddings, which are looked up and not multiplied.
    """
    masked = model.layer * model.emb * model.ctx * (model.ctx - 1) if whole_squares else 0  # half of both products
    return 3 * (forward_flop(model, model.ctx) + 2 * masked) / model.ctx


def step_cost(model: ModelConfig, predictions: Iterable[int]) -> StepCost:
    """Cost of one step on a batch, given the number of predictions of each sequence (at most ctx)."""
    forward = sum(forward_flop(model, count) for count in predictions)
    return StepCost(forward, 2 * forward, ADAM_OPERATIONS * params(model))


def state_bytes(model: ModelConfig, bytes_each: int) -> int:
    """Bytes of weights, gradients and the two moments."""
    return 4 * bytes_each * params(model)


def activation_bytes(model: ModelConfig, bytes_each: int, batch: int = 1) -> int:
    """Bytes of what the backward pass needs of the forward pass, for full sequences.

    For each token and layer: two norms, query, key, value, answer, two residuals (8 emb), the MLP before and after
    ReLU (2 ff emb), and the attention of each head (head · ctx); once, the logits and the embeddings.
    """
    token = model.layer * ((8 + 2 * model.ff) * model.emb + model.head * model.ctx) + model.vocabulary + 3 * model.emb
    return batch * model.ctx * token * bytes_each
