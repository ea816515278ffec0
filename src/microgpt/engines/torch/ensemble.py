"""Many models of one shape trained at once on one device, each as a run of the engine `torch` alone would train it.

They differ in their weights, their documents and their learning rates. A model whose loss or update is not finite is
out from that step on, as a single run would have stopped before it; the others never notice. To learn of it the device
is asked once in a call of `advance`: until then the lost model goes on, in memory of its own, and nobody looks.
"""

import os
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from microgpt.engines.array.batching import parts, rectangle
from microgpt.engines.base import Batch, EngineConfig, Precision, Tokens, checked, predictions, require
from microgpt.engines.torch.adam import adam
from microgpt.engines.torch.devices import DTYPES, MOST_ON_CARD, SHARE_OF_MEMORY, computing, device_of, memory
from microgpt.engines.torch.engine import NUMPY
from microgpt.engines.torch.stack import Lesson, backward, forward, losses, stack
from microgpt.errors import UsageError
from microgpt.model.cost import activation_bytes, state_bytes
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State

PRECISIONS: Final[tuple[Precision, ...]] = ("64", "32")
MOST: Final = 64  # models that train together on a processor: more are hardly faster, and end together
MOST_MODELS_ON_CARD: Final = 4096  # a card is not busy with fewer, and waits for each operation to be begun
IN_CACHE: Final = 1 << 23  # bytes of activations of all models on a processor: beyond it each costs more than alone
EVALUATED: Final = 1 << 14  # predictions of all models in a pass of the evaluation


class Steps(NamedTuple):
    """The documents of many steps of all models."""

    tokens: NDArray[np.int64]  # (steps, N, B, ctx + 1) filled up with the last token of the document
    counts: NDArray[np.int64]  # (steps, N, B) predictions of each document


def steps_of(model: ModelConfig, text: Tokens, starts: NDArray[Any], stops: NDArray[Any]) -> Steps:
    """The documents that begin and end at these places of a text, (steps, N, B) each, cropped to ctx predictions."""
    places = starts[..., None] + np.arange(model.ctx + 1)  # (steps, N, B, ctx + 1)
    return Steps(
        np.take(text, np.minimum(places, stops[..., None] - 1)).astype(np.int64),
        np.minimum(stops - starts - 1, model.ctx).astype(np.int64),
    )


def gathered(model: ModelConfig, batches: Sequence[Sequence[Batch]]) -> Steps:
    """The same of sequences: for each step, for each model, its batch. All batches have equally many documents."""
    documents = [checked(model, tokens) for step in batches for batch in step for tokens in batch]
    stops = np.cumsum([len(tokens) for tokens in documents]).reshape(len(batches), len(batches[0]), -1)
    lengths = np.array([len(tokens) for tokens in documents]).reshape(stops.shape)
    return steps_of(model, np.concatenate(documents), stops - lengths, stops)


def _shares(counts: NDArray[np.int64], ctx: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """(…, B, ctx) of each prediction in the loss of its model."""
    each = 1.0 / (counts.shape[-1] * counts[..., None])
    return np.where(np.arange(ctx) < counts[..., None], each, 0.0).astype(dtype)


def models_at_once(model: ModelConfig, batch: int, config: EngineConfig) -> int:
    """How many models train together well: as many as memory holds, and a step of them is quicker than one by one."""
    device, size = device_of(config), 8 if config.precision == "64" else 4
    activations = activation_bytes(model, size, batch)
    on_card = device.type != "cpu"
    good = MOST_ON_CARD // (batch * model.ctx) if on_card else IN_CACHE // activations
    held = memory(device) // SHARE_OF_MEMORY // (2 * state_bytes(model, size) + model.head * activations)
    return max(1, min(MOST_MODELS_ON_CARD if on_card else MOST, good, held))


class Ensemble:
    """N states of one model on a device.

    Raises `UsageError` where the states differ in shape or steps, or the configuration asks for what can't be;
    `EnvironmentFault` where the device's memory does not hold them.
    """

    def __init__(self, config: EngineConfig, states: Sequence[State]) -> None:
        require("torch, several models at once,", config, PRECISIONS, most_threads=os.cpu_count() or 1, any_device=True)
        if len({(state.model, state.step) for state in states}) != 1:
            raise UsageError("Models that train together need one shape and one number of steps; train these apart.")
        self._config, self._model, self._step = config, states[0].model, states[0].step
        self._device, self._dtype = device_of(config), DTYPES[config.precision]
        self._passing = EVALUATED if self._device.type == "cpu" else MOST_ON_CARD
        self._lost = np.zeros(len(states), np.bool_)
        with computing(self._device, config.threads):
            self._open(states)

    @property
    def models(self) -> int:
        """How many there are."""
        return len(self._lost)

    def advance(self, steps: Steps, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Take one Adam step for each of `steps`, with learning rates (steps, N); the losses (steps, N), each before
        its update. From the step on whose update is not finite, a model's losses are NaN."""
        checked(self._model, steps.tokens.reshape(-1))
        with computing(self._device, self._config.threads), torch.inference_mode():
            found = self._advance(steps, np.where(self._lost, 0.0, rates)).cpu().double().numpy()  # (2, steps, N)
        sound = np.logical_and.accumulate(np.isfinite(found).all(axis=0), axis=0) & ~self._lost
        self._give_up(~sound[-1])
        return np.where(sound, found[0], np.nan)

    def gradient(self, batches: Sequence[Batch]) -> tuple[NDArray[np.float64], NDArray[Any]]:
        """The loss of each model's batch (N,) and the gradients (N, params). Nothing changes."""
        with computing(self._device, self._config.threads), torch.inference_mode():
            (lesson,) = self._lessons(gathered(self._model, [batches]))
            loss = self._backward(lesson)
            return loss.cpu().double().numpy(), self._gradient.to("cpu", copy=True).numpy()

    def evaluate(self, sequences: Sequence[Tokens]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """For each model and sequence, the summed -log p(next token) in nats, (N, n), and the numbers of predictions
        (n,)."""
        counts = np.array([predictions(self._model, checked(self._model, tokens)) for tokens in sequences], np.int64)
        sums = np.zeros((self.models, len(sequences)))
        with computing(self._device, self._config.threads), torch.inference_mode():
            for part in parts(self._model, sequences, max(1, self._passing // self.models)):
                sums[:, part] = self._sums([sequences[i] for i in part])
        return sums, counts

    def states(self) -> list[State | None]:
        """The state of each model now, a copy, in the ledger's layout; None for one that diverged."""
        _, adam_m, adam_v, weights = self._numbers.to("cpu", copy=True).numpy()  # (N, params) each
        return [
            None if lost else State(self._model, weights[n], adam_m[n], adam_v[n], self._step)
            for n, lost in enumerate(self._lost)
        ]

    def _open(self, states: Sequence[State]) -> None:
        """Memory on the device. Adam's direction stands before its moments, as if it were weights of its own."""
        kind: dict[str, Any] = {"dtype": self._dtype, "device": self._device}
        size = params(self._model)
        self._numbers = torch.zeros(4, len(states), size, **kind)  # direction, m, v, weights
        for n, state in enumerate(states):
            for row, part in zip(self._numbers[1:, n], (state.adam_m, state.adam_v, state.weights), strict=True):
                row.copy_(torch.tensor(part))
        self._gradient = torch.zeros(len(states), size, **kind)
        self._weights, self._gradients = (stack(self._model, part) for part in (self._numbers[3], self._gradient))
        self._vectors, self._d_vectors = (part.view(-1, self._model.emb) for part in (self._numbers[3], self._gradient))
        self._first_rows = torch.arange(len(states), device=self._device).view(-1, 1, 1) * (size // self._model.emb)
        self._small = torch.full((size,), 0.25 / size, **kind)

    def _advance(self, steps: Steps, rates: NDArray[np.float64]) -> Tensor:
        """The losses of the steps, and numbers that are finite where a step is, (2, steps, N)."""
        told = torch.empty(2, *rates.shape, dtype=self._dtype, device=self._device)
        each = torch.tensor(rates, dtype=self._dtype).to(self._device).unsqueeze(2)  # (steps, N, 1)
        for step, lesson in enumerate(self._lessons(steps)):
            told[0, step] = self._backward(lesson)
            self._update(each[step])
            told[1, step] = self._finite()
        return told

    def _lessons(self, steps: Steps) -> Iterator[Lesson]:
        """What is read in each step: the documents as long as the longest of its own, the tokens as rows."""
        tokens, shares = (
            self._there(steps.tokens),
            self._there(_shares(steps.counts, self._model.ctx, NUMPY[self._dtype])),
        )
        rows, targets = tokens[..., :-1] + self._first_rows, tokens[..., 1:]  # (steps, N, B, ctx)
        for step, longest in enumerate(steps.counts.max(axis=(1, 2)).tolist()):
            shape = (*steps.counts.shape[1:], longest)
            row, target, share = (part[step, ..., :longest] for part in (rows, targets, shares))
            yield Lesson(row.reshape(-1), target.reshape(-1, 1), share.reshape(-1, 1), shape)

    def _sums(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        """For each model and sequence the summed loss, (N, B)."""
        block = rectangle(self._model, sequences, NUMPY[self._dtype], len(sequences))
        inputs, targets, real = map(self._there, (block.inputs, block.targets, block.shares > 0.0))  # (B, T) each
        shape = (self.models, *block.inputs.shape)
        rows, targets, real = (inputs + self._first_rows).reshape(-1), targets.expand(shape), real.expand(shape)
        lesson = Lesson(rows, targets.reshape(-1, 1), real.reshape(-1, 1), shape)
        told = -forward(self._model, self._weights, self._vectors, lesson).log_p.gather(1, lesson.targets)
        sums: NDArray[np.float64] = told.view(shape).where(real, 0.0).cpu().numpy().sum(axis=2, dtype=np.float64)
        return sums

    def _there(self, array: NDArray[Any]) -> Tensor:
        """A copy on the device."""
        return torch.from_numpy(np.ascontiguousarray(array)).to(self._device)

    def _backward(self, lesson: Lesson) -> Tensor:
        """The losses (N,); the gradients go into the ensemble's own memory."""
        kept = forward(self._model, self._weights, self._vectors, lesson)
        loss = losses(kept, lesson)
        backward(self._model, self._weights, self._gradients, self._d_vectors, lesson, kept)
        return loss

    def _update(self, rates: Tensor) -> None:
        """Adam's step for every model at its own rate (N, 1): the kernel takes one rate for all, so it walks a way of
        its own at rate 1, from zero, and each model follows at its rate."""
        direction, weights = self._numbers[0].zero_(), self._numbers[3]
        adam(self._numbers[:3], self._gradient, self._step, 1.0, (self._config.beta1, self._config.beta2))
        weights.addcmul_(direction, rates)
        self._step += 1

    def _finite(self) -> Tensor:
        """(N,) finite where all of a model is: a sum of so small shares can't overflow by itself.

        Where v is finite, so is m: the squares of what v gathers are what m gathers.
        """
        return torch.mv(self._numbers[2:].flatten(0, 1), self._small).view(2, -1).sum(0)

    def _give_up(self, lost: NDArray[np.bool_]) -> None:
        """Models that are lost compute on with zeros, which are quick, and harm nobody."""
        if (lost & ~self._lost).any():
            self._numbers[:, torch.from_numpy(lost).to(self._device)] = 0.0
        self._lost = lost
