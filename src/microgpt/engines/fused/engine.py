"""The engine `fused` behind the contract of engines: memory, sequences and calls for kernel.c."""

import copy
import ctypes
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from microgpt.engines.contract import (
    EPSILON_ADAM,
    EPSILON_NORM,
    ROTARY_BASE,
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
    checked_writing,
    refuse_logits,
    reusable,
)
from microgpt.engines.drawing import finished
from microgpt.engines.fused import MOST_THREADS
from microgpt.engines.fused.build import load
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Precision
from microgpt.model.state import State

DTYPES: Final[dict[str, np.dtype[Any]]] = {"32": np.dtype(np.float32), "64": np.dtype(np.float64)}
ALIGNMENT: Final = 64  # bytes of a line of the cache, and of the widest vector

_POINTER, _WHOLE, _REAL = ctypes.c_void_p, ctypes.c_int64, ctypes.c_double
FUNCTIONS: Final[dict[str, tuple[Any, list[Any]]]] = {  # what each returns and takes
    "kernel_slots": (_WHOLE, [_WHOLE]),
    "kernel_state_bytes": (_WHOLE, []),
    "kernel_workspace_bytes": (_WHOLE, [_WHOLE]),
    "kernel_activations_bytes": (_WHOLE, []),
    "kernel_import": (None, [_POINTER] * 4 + [_WHOLE]),
    "kernel_export": (_WHOLE, [_POINTER] * 4),
    "kernel_train": (_WHOLE, [_POINTER] * 5 + [_WHOLE, _POINTER, *[_REAL] * 3, _POINTER, _POINTER, _WHOLE]),
    "kernel_gradient": (ctypes.c_int32, [_POINTER] * 4 + [_WHOLE] + [_POINTER] * 3 + [_WHOLE]),
    "kernel_evaluate": (None, [_POINTER] * 4 + [_WHOLE] + [_POINTER] * 3 + [_WHOLE]),
    "kernel_next": (None, [_POINTER] * 3 + [_WHOLE, _WHOLE, _POINTER]),
    "kernel_writing_bytes": (_WHOLE, [_WHOLE]),
    "kernel_write": (
        ctypes.c_int32,
        [
            *[_POINTER] * 5,
            _WHOLE,
            _POINTER,
            _WHOLE,
            _POINTER,
            _REAL,
            _WHOLE,
            _REAL,
            _REAL,
            _WHOLE,
            *[_POINTER] * 3,
            _WHOLE,
        ],
    ),
}


def defines(model: ModelConfig, precision: Precision) -> dict[str, float]:
    """The constants that the kernel is compiled with."""
    return {
        "VOCABULARY": model.vocabulary,
        "EMB": model.emb,
        "HEAD": model.head,
        "LAYER": model.layer,
        "CTX": model.ctx,
        "WIDE": model.wide,
        "NORM_EMBEDDINGS": int(model.norm_embeddings),
        "NORM_HEAD": int(model.norm_head),
        "ROTARY": int(model.position == "rotary"),
        "SWIGLU": int(model.activation == "swiglu"),
        "ROTARY_BASE": ROTARY_BASE,
        "PRECISION": int(precision),
        "EPSILON_NORM": EPSILON_NORM,
        "EPSILON_ADAM": EPSILON_ADAM,
        "ALIGNMENT": ALIGNMENT,
        "MOST_THREADS": MOST_THREADS,
    }


def declared(library: ctypes.CDLL) -> ctypes.CDLL:
    """The library, told what its functions return and take."""
    for name, (returned, taken) in FUNCTIONS.items():
        function = getattr(library, name)
        function.restype, function.argtypes = returned, taken
    return library


def memory(size: int) -> NDArray[np.uint8]:
    """So many bytes of zeros, aligned. The system gives pages of zeros as they are touched, so unused ones are free."""
    room = np.zeros(size + ALIGNMENT, np.uint8)
    start = -room.ctypes.data % ALIGNMENT
    return room[start : start + size]


class Documents(NamedTuple):
    """Sequences one after another: document k has the tokens from starts[k] on, up to starts[k + 1]."""

    tokens: NDArray[np.int32]
    starts: NDArray[np.int64]


def flattened(model: ModelConfig, sequences: Sequence[Tokens]) -> Documents:
    """Sequences as the kernel takes them, or `UsageError` where one of them can't be.

    All are looked at in one go, for the kernel takes a thousand steps in milliseconds.
    """
    lengths = np.fromiter(map(len, sequences), np.int64, len(sequences))
    starts = np.zeros(len(sequences) + 1, np.int64)
    np.cumsum(lengths, out=starts[1:])
    if not len(sequences):
        return Documents(np.empty(0, np.int32), starts)
    tokens = np.concatenate(sequences)
    if lengths.min() < 2 or tokens.min() < 0 or tokens.max() >= model.vocabulary:
        for sequence in sequences:
            checked(model, sequence)
    return Documents(tokens.astype(np.int32), starts)


class _Interruptible(threading.Thread):
    """A call of the kernel in a thread of its own: Python's main thread hears signals while it waits for another, but
    not within a call. It waits for `done`, for a `join` that is interrupted takes the thread for ended."""

    def __init__(self, compute: Callable[[], bool]) -> None:
        super().__init__(daemon=True)
        self._compute, self.done = compute, threading.Event()

    def run(self) -> None:
        try:
            self.finite = self._compute()
        finally:
            self.done.set()


class FusedRunner(Evaluating):
    """A state in the kernel's own layout.

    `stop` may be set to another value than 0 from anywhere, a signal's handler for one: `advance` then returns after
    the last whole step, `gradient`, `evaluate` and `write` raise `KeyboardInterrupt`.
    """

    def __init__(self, config: EngineConfig, state: State, library: ctypes.CDLL) -> None:
        self._config, self._model, self._dtype = config, state.model, DTYPES[config.precision]
        self._kernel = library
        self._state = memory(library.kernel_state_bytes())
        self._own_memory()
        with np.errstate(over="ignore"):  # what is beyond float32 is infinite there, and no step is taken from it
            parts = [np.array(part, self._dtype, order="C") for part in (state.weights, state.adam_m, state.adam_v)]
        library.kernel_import(self._state.ctypes.data, *(part.ctypes.data for part in parts), state.step)

    def _own_memory(self) -> None:
        """Memory to work on, and to be stopped by, that no other runner or thread has."""
        self.stop = ctypes.c_int32(0)
        self._workspace: NDArray[np.uint8] = memory(0)
        self._writing: NDArray[np.uint8] = memory(0)
        self._activations: NDArray[np.uint8] = memory(0)
        self._cached: list[int] = []
        self._slots = 0

    def advance(self, batches: Sequence[Batch], learning_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        if len(batches) != len(learning_rates):
            raise ValueError(f"expected a learning rate for each of {len(batches)} steps, found {len(learning_rates)}")
        sizes = np.fromiter(map(len, batches), np.int64, len(batches))
        if not sizes.all():
            checked_batch(self._model, [])
        tokens, starts = flattened(self._model, list(chain.from_iterable(batches)))
        bounds = np.zeros(len(batches) + 1, np.int64)
        np.cumsum(sizes, out=bounds[1:])
        self._cached = []
        losses = np.empty(len(batches), np.float64)
        rates = np.ascontiguousarray(learning_rates, np.float64)
        slots = self._kernel.kernel_slots(int(sizes.max(initial=1)))
        done = self._kernel.kernel_train(
            self._state.ctypes.data,
            self._room(slots),
            tokens.ctypes.data,
            starts.ctypes.data,
            bounds.ctypes.data,
            len(batches),
            rates.ctypes.data,
            self._config.beta1,
            self._config.beta2,
            self._config.weight_decay,
            losses.ctypes.data,
            ctypes.addressof(self.stop),
            self._config.threads,
        )
        return losses[:done]

    def state(self) -> State:
        weights, adam_m, adam_v = (np.empty(params(self._model), self._dtype) for _ in range(3))
        parts = weights.ctypes.data, adam_m.ctypes.data, adam_v.ctypes.data
        step: int = self._kernel.kernel_export(self._state.ctypes.data, *parts)
        return State(self._model, weights, adam_m, adam_v, step)

    def gradient(self, batch: Batch) -> tuple[float, NDArray[Any]]:
        if not len(batch):
            checked_batch(self._model, batch)
        tokens, starts = flattened(self._model, batch)
        loss, gradient = np.zeros(1), np.empty(params(self._model), self._dtype)
        finished = self._kernel.kernel_gradient(
            self._state.ctypes.data,
            self._room(self._kernel.kernel_slots(len(batch))),
            tokens.ctypes.data,
            starts.ctypes.data,
            len(batch),
            loss.ctypes.data,
            gradient.ctypes.data,
            ctypes.addressof(self.stop),
            self._config.threads,
        )
        if not finished:
            raise KeyboardInterrupt
        return float(loss[0]), gradient

    def losses(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        tokens, starts = flattened(self._model, sequences)
        totals, target_logits = np.zeros(len(tokens)), np.empty(len(tokens))  # zero: no prediction
        self._kernel.kernel_evaluate(
            self._state.ctypes.data,
            self._room(self._config.threads),
            tokens.ctypes.data,
            starts.ctypes.data,
            len(sequences),
            totals.ctypes.data,
            target_logits.ctypes.data,
            ctypes.addressof(self.stop),
            self._config.threads,
        )
        if self.stop.value:
            raise KeyboardInterrupt
        told = totals != 0
        with np.errstate(all="ignore"):
            losses: NDArray[np.float64] = np.log(totals[told]) - target_logits[told]
        return losses

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        tokens = checked_prefix(self._model, prefix)
        known = reusable(self._cached, tokens)
        self._cached = tokens[:known]
        if not self._activations.size:
            self._activations = memory(self._kernel.kernel_activations_bytes())
        numbers, logits = np.array(tokens, np.int32), np.empty(self._model.vocabulary)
        arguments = self._activations.ctypes.data, numbers.ctypes.data, known, len(tokens), logits.ctypes.data
        self._kernel.kernel_next(self._state.ctypes.data, *arguments)
        self._cached = tokens
        with np.errstate(all="ignore"):
            powers = np.exp(logits - logits.max())
            probabilities: NDArray[np.float64] = powers / powers.sum()
        return probabilities

    def write(
        self,
        prompts: Prompts,
        uniforms: NDArray[np.float64],
        drawing: Drawing,
        sizes: NDArray[np.int64] | None = None,
    ) -> Iterator[Written]:
        each, numbers = checked_writing(self._model, prompts, uniforms, drawing, sizes)
        if not numbers.size:
            yield Written(np.empty(numbers.shape, np.int32), np.zeros(len(prompts), np.int64))
            return
        starts = np.zeros(len(prompts) + 1, np.int64)
        np.cumsum(np.fromiter(map(len, prompts), np.int64, len(prompts)), out=starts[1:])
        tokens = np.fromiter(chain.from_iterable(prompts), np.int32, int(starts[-1]))
        threads, stop = self._config.threads, self.stop
        self._room(threads)
        if not self._writing.size:
            self._writing = memory(self._kernel.kernel_writing_bytes(threads))
        workspace, writing = self._workspace, self._writing
        written, counts = np.empty(numbers.shape, np.int32), np.full(len(prompts), -1, np.int64)

        def compute() -> bool:
            finite: int = self._kernel.kernel_write(
                self._state.ctypes.data,
                workspace.ctypes.data,
                writing.ctypes.data,
                tokens.ctypes.data,
                starts.ctypes.data,
                len(prompts),
                numbers.ctypes.data,
                numbers.shape[1],
                each.ctypes.data,
                drawing.temperature,
                drawing.top_k,
                drawing.top_p,
                drawing.min_p,
                -1 if drawing.end is None else drawing.end,
                written.ctypes.data,
                counts.ctypes.data,
                ctypes.addressof(stop),
                threads,
            )
            return bool(finite)

        call = _Interruptible(compute)
        try:
            call.start()
            call.done.wait()
        except BaseException:
            stop.value = 1
            self._own_memory()  # the other is the thread's, however long it takes to hear
            if call.is_alive():
                call.done.wait()
            yield finished(written, counts)
            raise
        if not call.finite:
            raise refuse_logits()
        yield finished(written, counts)
        if stop.value:
            raise KeyboardInterrupt

    def reader(self) -> "FusedRunner":
        other = copy.copy(self)
        other._own_memory()
        return other

    def _room(self, slots: int) -> int:
        """The address of a workspace with so many slots or more."""
        if slots > self._slots:
            self._workspace, self._slots = memory(self._kernel.kernel_workspace_bytes(slots)), slots
        return self._workspace.ctypes.data


class FusedEngine:
    """One C kernel, compiled for the model's sizes on first use; float64 or float32."""

    def __init__(self, config: EngineConfig) -> None:
        self.config = config
        self._loaded: dict[tuple[tuple[str, float], ...], ctypes.CDLL] = {}

    def ready(self, model: ModelConfig) -> None:
        """Compile the kernel for these sizes, or find it in the cache."""
        self.library(defines(model, self.config.precision))

    def open(self, state: State) -> FusedRunner:
        return FusedRunner(self.config, state, self.library(defines(state.model, self.config.precision)))

    def library(self, sizes: Mapping[str, float]) -> ctypes.CDLL:
        """The kernel for these sizes, which is looked up and verified once for an engine."""
        key = tuple(sizes.items())
        if key not in self._loaded:
            self._loaded[key] = declared(load(sizes))
        return self._loaded[key]
