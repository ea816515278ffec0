"""The library: train a model, load one, let it write, measure it. It works in a notebook and off the main thread.

>>> run = train(steps=20, engine="array")
>>> run.step, len(run.losses), bool(run.losses[0] > run.uniform - 1)
(20, 20, True)
>>> len(run.sample(count=3, seed=1))
3
"""

import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from os import PathLike, fspath
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from microgpt import recipes
from microgpt.data.reading import read, read_bytes
from microgpt.engines import choose, create
from microgpt.engines.base import EngineConfig, Runner
from microgpt.errors import DataError, EnvironmentFault, UsageError
from microgpt.model.ledger import params
from microgpt.model.settings import ModelConfig, Settings
from microgpt.training import checkpoint as checkpoints
from microgpt.training import evaluate, find, loop
from microgpt.training import resume as resuming
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.evaluate import HeldOut
from microgpt.training.prepare import dataset_of, engine_config, settled
from microgpt.training.records import Finished, Interrupted, Record, Result
from microgpt.training.sample import Samples, Sampling, Writer
from microgpt.training.session import never
from microgpt.training.tables import LOSSES

Source = str | PathLike[str]
Listener = Callable[[Record], object]


class Run:
    """A model that was trained: it writes, and can be measured. `train` and `load` make one."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        path: Path | None = None,
        losses: NDArray[np.float64] | None = None,
        result: Result | None = None,
    ) -> None:
        self.checkpoint, self.path, self.result = checkpoint, path, result
        self._losses = losses

    def __repr__(self) -> str:
        model, told = self.model, [f"{params(self.model):,} params", f"step {self.step:,}"]
        if self.settings:
            told[1] += f" of {self.settings.steps:,}"
        if self.result and self.result.loss.holdout is not None:
            told.append(f"held-out loss {self.result.loss.holdout:.3f}")
        elif len(self.losses):
            told.append(f"loss {self.losses[-100:].mean():.3f}")
        sizes = f"emb={model.emb}, head={model.head}, layer={model.layer}, ctx={model.ctx}, ff={model.ff}"
        return f"<Run {self.path or 'in memory'}: {', '.join(told)}; {sizes}>"

    @property
    def model(self) -> ModelConfig:
        """Sizes, and where the norms stand."""
        return self.checkpoint.model

    @property
    def settings(self) -> Settings | None:
        """All settings of the training; None for a file that was made to be shared."""
        return self.checkpoint.training.request.settings if self.checkpoint.training else None

    @property
    def step(self) -> int:
        """Steps taken."""
        return self.checkpoint.state.step

    @property
    def uniform(self) -> float:
        """Loss of a model that knows nothing: what to compare a loss with."""
        return float(np.log(self.model.vocabulary))

    @property
    def losses(self) -> NDArray[np.float64]:
        """Loss of every step in nats per token, (steps,); empty for a lone weights file."""
        if self._losses is None:
            rows = LOSSES.read(self.path, self.step)[0] if self.path and self.path.is_dir() else []
            self._losses = np.array([loss for _, loss, _ in rows])
        return self._losses

    def sample(
        self,
        prompt: str = "",
        count: int = 5,
        *,
        temperature: float | None = None,
        top_k: int = 0,
        seed: int | None = None,
        length: int = 256,
        new: bool = False,
    ) -> list[str]:
        """Texts that the model writes after a prompt; the same for the same seed, fresh ones without. `temperature` 0
        takes the likeliest token; left out it is 0.5, of running text 0.8.

        `top_k` draws from the so many most probable tokens alone, `length` ends running text, `new` rejects what
        stands in the training text. Raises `DataError` for a prompt with unknown characters.

        >>> run = train(steps=20)
        >>> [text[:2] for text in run.sample("ma", count=2)]
        ['ma', 'ma']
        """
        sampling = Sampling(count, temperature, top_k, prompt, length)
        return list(self.write(sampling, seed=seed, new=new, look_up=new).texts)

    def stream(
        self,
        prompt: str = "",
        *,
        temperature: float | None = None,
        top_k: int = 0,
        seed: int | None = None,
        length: int = 256,
    ) -> Iterator[str]:
        """One sample while it is written: the prompt, if there is one, then a character at a time.

        They join to the first text that `sample` gives for the same arguments. Raises as `sample` does.

        >>> run = train(steps=20)
        >>> "".join(run.stream("ma", seed=1)) == run.sample("ma", count=1, seed=1)[0]
        True
        """
        sampling = Sampling(1, temperature, top_k, prompt, length)
        return filter(None, next(self.writer.samples(sampling, _stream(seed))))

    def write(self, sampling: Sampling, *, seed: int | None = None, new: bool = False, look_up: bool = True) -> Samples:
        """Samples with what is to be said of them: how many are copies, where the training text is still at hand.

        `new` rejects copies, and raises `DataError` or `UsageError` where the text is not; `look_up=False` spares
        reading it.
        """
        known = self._known(needed=new) if look_up or new else None
        return self.writer.write(sampling, _stream(seed), stands_in_text=known, new=new)

    def copies(self, texts: Sequence[str]) -> int | None:
        """How many texts stand in the training text; None where that is not at hand, and for running text."""
        known = self._known(needed=False)
        return None if known is None else sum(map(known, texts))

    @property
    def writer(self) -> Writer:
        """What draws the text of samples."""
        return Writer(self.runner, self.checkpoint.tokenizer, self.checkpoint.kind, self.model.ctx)

    def _known(self, needed: bool) -> Callable[[str], bool] | None:
        """What tells whether a sample is a training document; None for running text, which has none."""
        if self.checkpoint.kind == "windows":
            return None
        try:
            return dataset_of(self.checkpoint).contains
        except (DataError, UsageError):
            if needed:
                raise
            return None

    def evaluate(self, data: Source | Sequence[Source] | None = None) -> HeldOut:
        """The held-out loss, on what this run held out or on another text.

        Raises `DataError` where the text has changed since the training, or has unknown characters.

        >>> train(steps=20, holdout=0.01).evaluate().documents
        299
        """
        tokenizer, kind, ctx = self.checkpoint.tokenizer, self.checkpoint.kind, self.model.ctx
        if data is None:
            sequences = dataset_of(self.checkpoint).held_out()
        else:
            names = _sources(data)
            text = read_bytes(names) if tokenizer.unit == "bytes" else read(names, normalize=tokenizer.normalize)
            sequences = evaluate.sequences_of(text, tokenizer, kind, ctx)
        if not sequences:
            raise UsageError("this run held nothing out; give a text with --data.")
        return evaluate.held_out_loss(self.runner, sequences, tokenizer, kind, ctx)

    @cached_property
    def runner(self) -> Runner:
        """The model opened on the engine of its training or, where this machine lacks that, on `array`."""
        training = self.checkpoint.training
        if training is None:
            name, config = choose("auto"), EngineConfig()
        else:
            request = settled(training.request)
            name, config = request.engine, engine_config(request)
        try:
            return create(name, config).open(self.checkpoint.state)
        except EnvironmentFault:
            return create("array", EngineConfig()).open(self.checkpoint.state)


def train(
    data: Source | Sequence[Source] = "names",
    *,
    recipe: str = "default",
    progress: Listener | None = None,
    stop: Callable[[], bool] = never,
    **settings: Any,
) -> Run:
    """Train a model on a text: a built-in one, a file, a folder, or several.

    `settings` are the flags of `microgpt train` with underscores: steps, lr, emb, norm_head, holdout, engine, …
    Nothing is printed: `progress` is called with every record. Nothing is written, unless `name` or `out` asks for a
    run folder. `stop` is asked several times a second, from the thread that trains; once true, the run ends there.

    >>> train(steps=20, emb=8, head=2).model.emb
    8
    """
    if not {"name", "out"} & settings.keys():
        settings["out"] = ""
    settings |= {key: fspath(value) for key, value in settings.items() if key == "out"}
    request = recipes.resolve(recipe, settings | {"data": _sources(data)})
    return _finished(loop.train(request, stop=stop), progress)


def resume(
    run: Source,
    *,
    progress: Listener | None = None,
    stop: Callable[[], bool] = never,
    **changes: Any,
) -> Run:
    """Go on with an unfinished run in its folder, or extend a finished one to more `steps` in a new folder."""
    return _finished(resuming.resume(find.find(fspath(run)), changes, stop=stop), progress)


def load(run: Source | None = None) -> Run:
    """A run by its name in `runs/`, its folder, or a weights file; without one, the run that finished last."""
    path = find.find(None if run is None else fspath(run))
    return Run(checkpoints.read(find.weights_of(path)), path=path)


def _finished(records: Any, progress: Listener | None) -> Run:
    """The run at the end of its records."""
    for record in records:
        if progress:
            progress(record)
        if isinstance(record, Finished):
            path = Path(record.result.run) if record.result.run else None
            run = Run(record.checkpoint, path=path, losses=record.losses, result=record.result)
        elif isinstance(record, Interrupted):
            run = Run(record.checkpoint, path=Path(record.run) if record.run else None, losses=record.losses)
    return run


def _stream(seed: int | None) -> random.Random:
    """The stream of a seed, or a fresh one."""
    return random.Random(secrets.randbits(64) if seed is None else seed)


def _sources(data: Source | Sequence[Source]) -> tuple[str, ...]:
    return (fspath(data),) if isinstance(data, str | PathLike) else tuple(fspath(source) for source in data)


__all__ = ["Run", "load", "resume", "train"]
