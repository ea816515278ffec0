"""The engine `torch` behind the contract of engines."""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microgpt.engines.array.batching import PaddedBatch, padded, parts
from microgpt.engines.array.matrices import Matrices
from microgpt.engines.contract import (
    Batch,
    Drawing,
    EngineConfig,
    Evaluating,
    Prompts,
    Tokens,
    Written,
    checked,
    checked_batch,
    checked_prefix,
    predictions,
    reusable,
)
from microgpt.engines.drawing import in_step, told
from microgpt.engines.torch.adam import adam
from microgpt.engines.torch.devices import DTYPES, at_once, computing, device_of, require_memory
from microgpt.engines.torch.net import Cache, logits, losses, net
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State

NUMPY: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}


class Ranks(Protocol):
    """The processes that share a batch; distributed.py has those of torchrun."""

    rank: int
    count: int
    local: int  # its number among those of this machine

    def add_up(self, total: Tensor) -> None:
        """Replace a tensor by its sum over the ranks."""
        ...


class Alone:
    """One process."""

    rank, count, local = 0, 1, 0

    def add_up(self, total: Tensor) -> None:
        """The sum over one rank is there already."""


class Snapshot(NamedTuple):
    """A state in native form. A step writes the next snapshot into spare memory, and one assignment makes it the
    present one: a step is whole or not done, whatever interrupts it."""

    numbers: Tensor  # (3, params): weights, Adam's m, Adam's v
    weights: Matrices[Tensor]
    step: int


class TorchRunner(Evaluating):
    """A state on a device."""

    def __init__(
        self, config: EngineConfig, state: State, device: torch.device, ranks: Ranks, passing: int, compiled: bool
    ) -> None:
        self._config, self._model, self._device, self._ranks = config, state.model, device, ranks
        self._dtype, self._passing = DTYPES[config.precision], passing
        self._losses = torch.compile(losses, dynamic=True) if compiled else losses
        self._cached: list[int] = []
        with self._computing():
            kind: dict[str, Any] = {"dtype": self._dtype, "device": device}
            self._total = torch.zeros(params(self._model) + 1, **kind)  # the gradient and, behind it, the loss
            self._snapshots = self._snapshot(state, kind), self._snapshot(state, kind)
            self._forget()

    def advance(self, batches: Sequence[Batch], learning_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        losses_done: list[float] = []
        self._cached = []
        sound = [checked_batch(self._model, batch) for batch in batches]
        with self._computing():
            for batch, lr in zip(sound, learning_rates.tolist(), strict=True):
                self._backward(batch)
                after = self._updated(lr)
                loss, finite = self._outcome(after)
                if not finite:
                    break
                self._snapshots = after, self._snapshots[0]
                losses_done.append(loss)
        return np.array(losses_done, np.float64)

    def state(self) -> State:
        now = self._snapshots[0]
        weights, adam_m, adam_v = now.numbers.to("cpu", copy=True).numpy()
        return State(self._model, weights, adam_m, adam_v, now.step)

    def gradient(self, batch: Batch) -> tuple[float, NDArray[Any]]:
        with self._computing():
            self._backward(checked_batch(self._model, batch))
            total: NDArray[Any] = self._total.to("cpu", copy=True).numpy()
        return float(total[-1]), total[:-1]

    def losses(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        counts = np.array([predictions(self._model, checked(self._model, tokens)) for tokens in sequences], np.int64)
        stops = np.cumsum(counts)
        total = np.zeros(int(counts.sum()))
        mine = range(self._ranks.rank, len(sequences), self._ranks.count)
        with self._computing(), torch.no_grad():
            for part in parts(self._model, [sequences[i] for i in mine], self._passing):
                rows = [mine[i] for i in part]
                block = padded(self._model, [sequences[i] for i in rows], NUMPY[self._dtype], len(rows))
                with self._narrow():
                    found = losses(self._model, self._snapshots[0].weights, *self._tokens(block))  # (B, T)
                for i, row in zip(rows, found.cpu().numpy(), strict=True):
                    total[stops[i] - counts[i] : stops[i]] = row[: counts[i]]
            self._ranks.add_up(torch.from_numpy(total))
        return total

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        tokens = checked_prefix(self._model, prefix)
        kept = reusable(self._cached, tokens)
        self._cached = tokens[:kept]
        with self._computing(), torch.no_grad():
            found = self._following(np.array([tokens[kept:]]), self._cache._replace(filled=kept))
            probabilities: NDArray[np.float64] = torch.softmax(torch.from_numpy(found[0]), -1).numpy()
        self._cached = tokens
        return probabilities

    def write(
        self,
        prompts: Prompts,
        uniforms: NDArray[np.float64],
        drawing: Drawing,
        sizes: NDArray[np.int64] | None = None,
    ) -> Iterator[Written]:
        with self._computing(), torch.no_grad():
            found = in_step(self._model, _Steps(self), prompts, uniforms, drawing, sizes)
        return told(*found)

    def reader(self) -> "TorchRunner":
        other = copy.copy(self)
        with self._computing():
            other._forget()
        return other

    def _forget(self) -> None:
        """A key/value cache of this runner's own, with nothing in it."""
        self._cache, self._cached = self._empty(1), []

    def _empty(self, documents: int) -> Cache:
        """A key/value cache for so many documents."""
        shape = self._model.layer, documents, self._model.head, self._model.ctx, self._model.head_size
        numbers = torch.empty((2, *shape), dtype=self._dtype, device=self._device)
        return Cache(numbers[0], numbers[1], 0)

    def _following(self, tokens: NDArray[np.int64], cache: Cache) -> NDArray[np.float64]:
        """The logits (B, V) after tokens (B, T) that follow the cached ones."""
        with self._narrow():
            new = torch.tensor(tokens, device=self._device)
            found: NDArray[np.float64] = (
                logits(self._model, self._snapshots[0].weights, new, cache)[:, -1].cpu().double().numpy()
            )
        return found

    def _snapshot(self, state: State, kind: dict[str, Any]) -> Snapshot:
        numbers = torch.empty(3, len(state.weights), **kind)
        for row, part in zip(numbers, (state.weights, state.adam_m, state.adam_v), strict=True):
            row.copy_(torch.tensor(part))
        return Snapshot(numbers, net(self._model, numbers[0], self._total[:-1]), state.step)

    def _computing(self) -> AbstractContextManager[None]:
        return computing(self._device, self._config.threads)

    def _narrow(self) -> AbstractContextManager[Any]:
        """Matrix products in bfloat16 where that is asked for; sums, norms and weights stay in float32."""
        narrow = self._config.precision == "bf16"
        context: AbstractContextManager[Any] = torch.autocast(self._device.type, torch.bfloat16, enabled=narrow)
        return context

    def _backward(self, batch: Batch) -> None:
        """The gradient of a batch and its loss, over all ranks, into `total`. Each rank takes every so manieth
        document and divides by the whole batch, so that the sum over ranks is the mean over documents."""
        self._total.zero_()
        mine = batch[self._ranks.rank :: self._ranks.count]
        for part in parts(self._model, mine, self._passing):
            block = padded(self._model, [mine[i] for i in part], NUMPY[self._dtype], len(batch))
            with self._narrow():
                found = self._losses(self._model, self._snapshots[0].weights, *self._tokens(block))  # (B, T)
            loss = (found * torch.tensor(block.loss_weights, device=self._device)).sum()
            loss.backward()
            self._total[-1] += loss.detach()
        self._ranks.add_up(self._total)

    def _tokens(self, block: PaddedBatch) -> tuple[Tensor, Tensor]:
        """Inputs and targets on the device, (B, T) each. They are copied: a text may be memory that is read-only."""
        return torch.tensor(block.inputs, device=self._device), torch.tensor(block.targets, device=self._device)

    def _updated(self, lr: float) -> Snapshot:
        """The snapshot after Adam's step, in the spare memory."""
        now, spare = self._snapshots
        with torch.no_grad():
            spare.numbers.copy_(now.numbers)
            adam(spare.numbers, self._total[:-1], now.step, lr, self._config)
        return spare._replace(step=now.step + 1)

    def _outcome(self, after: Snapshot) -> tuple[float, bool]:
        """The loss, and whether it and the snapshot are finite: the one time in a step that the device is waited for.

        The extremes show whatever is not finite, NaN too, in a twentieth of the time of asking each number.
        """
        loss, low, high = torch.stack([self._total[-1], *torch.aminmax(after.numbers)]).tolist()
        return loss, all(map(math.isfinite, (loss, low, high)))


class _Steps:
    """Documents that a runner writes at once."""

    def __init__(self, runner: TorchRunner) -> None:
        self._runner = runner

    def begin(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        self._cache = self._runner._empty(len(tokens))
        return self._after(tokens)

    def step(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        return self._after(tokens[:, None])

    def keep(self, rows: NDArray[np.int64]) -> None:
        key, value, filled = self._cache
        chosen = torch.from_numpy(rows).to(key.device)
        self._cache = Cache(key[:, chosen], value[:, chosen], filled)

    def _after(self, tokens: NDArray[np.int64]) -> NDArray[np.float64]:
        found = self._runner._following(tokens, self._cache)
        self._cache = self._cache._replace(filled=self._cache.filled + tokens.shape[1])
        return found


class TorchEngine:
    """PyTorch: float64, float32, or bfloat16 products with float32 weights; on a processor or a card.

    `passing` is how many predictions go through the model at once, by default what the device's memory allows; larger
    batches are added up from several passes. `compiled` has torch.compile fuse the passes: on a processor it takes
    longer to compile than most trainings last, so it is off unless asked for.
    """

    def __init__(
        self, config: EngineConfig, ranks: Ranks | None = None, passing: int | None = None, compiled: bool = False
    ) -> None:
        self.config, self._ranks = config, ranks or Alone()
        self.device = device_of(config, self._ranks.local)
        self._passing, self._compiled = passing, compiled

    def ready(self, model: ModelConfig) -> None:
        """Refuse, before a run folder is made, what can't fit on the card."""
        require_memory(model, self.device, self.config.precision)

    def open(self, state: State) -> TorchRunner:
        passing = self._passing or at_once(state.model, self.device, self.config.precision)
        return TorchRunner(self.config, state, self.device, self._ranks, passing, self._compiled)
