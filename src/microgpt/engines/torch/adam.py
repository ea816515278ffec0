"""Adam on flat tensors, in PyTorch's fused kernel: one pass over weights, moments and gradient."""

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from microgpt.engines.contract import EPSILON_ADAM, EngineConfig


def adam(numbers: Tensor, gradient: Tensor, step: int, lr: float, config: EngineConfig) -> None:
    """Write into `numbers` (3, params), which are weights, m, v, what follows them after `step` steps.

    The formula is that of symmetry.py (Kingma & Ba 2015, algorithm 1): ε stands outside the root, and the moments that
    began at zero are made unbiased. The kernel counts the step up itself. Before it, weights decay as in variations.py.
    """
    weights, m, v = numbers
    if config.weight_decay:
        weights *= 1.0 - lr * config.weight_decay
    count = torch.tensor(float(step), device=numbers.device)  # float32 holds it exactly up to 2²⁴, far beyond 1 - β^t
    torch_adam(
        [weights],
        [gradient],
        [m],
        [v],
        [],
        [count],
        fused=True,
        amsgrad=False,
        beta1=config.beta1,
        beta2=config.beta2,
        lr=lr,
        weight_decay=0.0,
        eps=EPSILON_ADAM,
        maximize=False,
    )
