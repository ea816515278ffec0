"""Adam on flat tensors, in PyTorch's fused kernel: one pass over weights, moments and gradient."""

import torch
from torch import Tensor
from torch.optim.adam import adam as torch_adam

from microgpt.engines.contract import EPSILON_ADAM


def adam(numbers: Tensor, gradient: Tensor, step: int, lr: float, betas: tuple[float, float]) -> None:
    """Write into `numbers` (3, params), which are weights, m, v, what follows them after `step` steps.

    The formula is that of symmetry.py (Kingma & Ba 2015, algorithm 1): ε stands outside the root, and the moments that
    began at zero are made unbiased. The kernel counts the step up itself.
    """
    weights, m, v = numbers
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
        beta1=betas[0],
        beta2=betas[1],
        lr=lr,
        weight_decay=0.0,
        eps=EPSILON_ADAM,
        maximize=False,
    )
