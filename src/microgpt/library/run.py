"""A run as the library has it: a model that writes, is measured, compared, looked into and exported."""

import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any, Final, overload

import numpy as np
from numpy.typing import NDArray

from microgpt.data.counts import Table, mark, some, told
from microgpt.data.split import Split
from microgpt.engines.contract import Runner
from microgpt.errors import MicrogptError, UsageError
from microgpt.export import export
from microgpt.library.given import Sources, in_memory, stream
from microgpt.library.measuring import check_alike, to_measure
from microgpt.model import ledger
from microgpt.model.settings import ModelConfig, Settings, plain, shown
from microgpt.training import evaluate
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import open_own
from microgpt.training.evaluate import Comparison, HeldOut
from microgpt.training.mixing import Mixed, mixed
from microgpt.training.prepare import dataset_of
from microgpt.training.records import Result
from microgpt.training.run_folder import RunFolder
from microgpt.training.sample import Predicting, Samples, Sampling, Writer
from microgpt.training.tables import LOSSES

_OPENING: Final = threading.Lock()  # one thread opens a run, which may compile


class Run:
    """A model that was trained: it writes, and can be measured. `train` and `load` make one.

    Any number of threads may use one: each call reads the same weights with a key/value cache of its own.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        path: Path | None = None,
        losses: NDArray[np.float64] | None = None,
        result: Result | None = None,
        split: Split | None = None,
    ) -> None:
        self.checkpoint, self.path = checkpoint, path
        self._losses, self._result, self._split = losses, result, split
        self._opened: Runner | None = None
        self._table: Table | None = None
        self._mix = checkpoint.training.request.mix if checkpoint.training else 0.0

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_opened": None}  # a copy, in another process too, opens an engine of its own

    def __repr__(self) -> str:
        model, told = self.model, [f"{self.params:,} params", f"step {self.step:,}"]
        if self.settings:
            told[1] += f" of {self.settings.steps:,}"
        if self.result and self.result.loss.holdout_per_character is not None:
            told.append(f"held-out loss {self.result.loss.holdout_per_character:.3f}")
        elif len(self.losses):
            told.append(f"loss {self.losses[-100:].mean():.3f}")
        sizes = f"emb={model.emb}, head={model.head}, layer={model.layer}, ctx={model.ctx}, ff={model.ff}"
        return f"<Run {self.path or 'in memory'}: {', '.join(told)}; {sizes}>"

    @property
    def model(self) -> ModelConfig:
        """Sizes, and where the norms stand.

        >>> train(steps=20, emb=32).model.emb
        32
        """
        return self.checkpoint.model

    @property
    def settings(self) -> Settings | None:
        """All settings of the training; None for a file that was made to be shared.

        >>> train(steps=20, lr=0.02).settings.lr
        0.02
        """
        return self.checkpoint.training.request.settings if self.checkpoint.training else None

    @property
    def params(self) -> int:
        """How many numbers the model learned.

        >>> train(steps=20).params
        4192
        """
        return ledger.params(self.model)

    @property
    def weights(self) -> dict[str, NDArray[Any]]:
        """Every matrix by name, (outputs, inputs), read-only.

        >>> train(steps=20).weights["wte"].shape
        (27, 16)
        """
        return ledger.tensors(self.model, self.checkpoint.state.weights)

    @property
    def result(self) -> Result | None:
        """All that the training had to say at its end; None for an unfinished one, or a lone weights file.

        >>> train(steps=20, holdout=0.01).result.loss.holdout is not None
        True
        """
        if self._result is None and self.path and self.path.is_dir() and RunFolder(self.path).status == "finished":
            self._result = Result.from_dict(RunFolder(self.path).read_report())
        return self._result

    @property
    def step(self) -> int:
        """Steps taken.

        >>> train(steps=20).step
        20
        """
        return self.checkpoint.state.step

    @property
    def mix(self) -> float:
        """The share of a table of counts in what this run predicts and writes; it may be set, and 0 is the model alone.

        Other shares need the training text at hand. Raises `UsageError` for what is no share.

        >>> run = train(steps=20)
        >>> run.mix = 0.5
        >>> len(run.sample(count=2))
        2
        """
        return self._mix

    @mix.setter
    def mix(self, share: float) -> None:
        share = plain(float, share)
        if type(share) is not float or not 0 <= share <= 1:
            raise UsageError(f"--mix takes a share from 0 to 1, found {shown(share)}; 0.5 is usual.")
        self._mix = share

    @property
    def uniform(self) -> float:
        """Loss, in nats per token, of a model that knows nothing: what to compare a loss with.

        >>> f"{train(steps=20).uniform:.4f}"
        '3.2958'
        """
        return float(np.log(self.model.vocabulary))

    @property
    def counts(self) -> float | None:
        """Loss of the best table of counts of the training text: the mark to beat. None where it was not found, as for
        an unfinished run; `evaluate(counts=True)` finds it.

        >>> 1.9 < train(steps=20, holdout=0.01).counts < 2.1
        True
        """
        return self.result.loss.counts if self.result else None

    @property
    def losses(self) -> NDArray[np.float64]:
        """Loss of every step in nats per character, (steps,); empty for a lone weights file.

        >>> train(steps=20).losses.shape
        (20,)
        """
        if self._losses is None:
            rows = LOSSES.read(self.path, self.step)[0] if self.path and self.path.is_dir() else np.empty((0, 3))
            self._losses = rows[:, 1].copy()
        return self._losses

    @overload
    def sample(
        self,
        prompt: str = "",
        count: int = 5,
        *,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        length: int = 256,
        stop: Sequence[str] = (),
        new: bool = False,
    ) -> list[str]: ...

    @overload
    def sample(
        self,
        prompt: list[str] | tuple[str, ...],
        count: int = 5,
        *,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        length: int = 256,
        stop: Sequence[str] = (),
        new: bool = False,
    ) -> list[list[str]]: ...

    def sample(
        self,
        prompt: str | list[str] | tuple[str, ...] = "",
        count: int = 5,
        *,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        length: int = 256,
        stop: Sequence[str] = (),
        new: bool = False,
    ) -> list[str] | list[list[str]]:
        """Texts that the model writes after a prompt; the same for the same seed, fresh ones without. Of several
        prompts a list for each, the same as if it were asked for alone.

        `temperature` 0 takes the likeliest token. `top_k` draws from the so many most probable ones, `top_p` from the
        fewest that make up such a share, `min_p` from those with such a share or more of the likeliest one's
        probability. `length` ends running text, and each text that is to `stop` it a sample, before it. `new` rejects
        what stands in the training text. Raises `DataError` for a prompt with unknown characters.

        >>> run = train(steps=20)
        >>> [[text[:2] for text in texts] for texts in run.sample(["ma", "jo"], count=2)]
        [['ma', 'ma'], ['jo', 'jo']]
        """
        prompts = prompt if isinstance(prompt, list | tuple) else [prompt]
        asked = [Sampling(count, temperature, top_k, one, length, top_p, min_p, stop) for one in prompts]
        told = [list(self.write(sampling, seed=seed, new=new, look_up=new).texts) for sampling in asked]
        return told if isinstance(prompt, list | tuple) else told[0]

    def stream(
        self,
        prompt: str = "",
        *,
        temperature: float | None = None,
        top_k: int = 0,
        top_p: float = 1.0,
        min_p: float = 0.0,
        seed: int | None = None,
        length: int = 256,
        stop: Sequence[str] = (),
    ) -> Iterator[str]:
        """One sample while it is written: the prompt, if there is one, then a token at a time.

        They join to the first text that `sample` gives for the same arguments. Raises as `sample` does.

        >>> run = train(steps=20)
        >>> "".join(run.stream("ma", seed=1)) == run.sample("ma", count=1, seed=1)[0]
        True
        """
        sampling = Sampling(1, temperature, top_k, prompt, length, top_p, min_p, stop)
        return filter(None, next(self.writer.samples(sampling, stream(seed))))

    def next(self, text: str = "") -> dict[str, float]:
        """The probability of each token to come next after a text, by its own text, the likeliest first; "" is the end
        of a document, which running text has none of. Raises as `sample` does.

        >>> f"{sum(train(steps=20).next('ma').values()):.6f}"
        '1.000000'
        """
        return self.writer.next(Sampling(prompt=text).prompt)

    def write(
        self,
        sampling: Sampling,
        *,
        seed: int | None = None,
        new: bool = False,
        look_up: bool = True,
        tell: Callable[[Sequence[str]], None] = lambda texts: None,
        keep: bool = True,
    ) -> Samples:
        """Samples with what is to be said of them: how many are copies, where the training text is still at hand.

        Texts are told as they are drawn, some at once, and without `keep` only told. `new` rejects copies, and raises
        `DataError` or `UsageError` where the text is not at hand; `look_up=False` spares reading it.

        >>> from microgpt.training.sample import Sampling
        >>> train(steps=20).write(Sampling(count=3), seed=1).written
        3
        """
        known = self._known(needed=new) if look_up or new else None
        return self.writer.write(sampling, stream(seed), stands_in_text=known, new=new, tell=tell, keep=keep)

    def copies(self, texts: Sequence[str]) -> int | None:
        """How many texts stand in the training text; None where that is not at hand, and for running text. Raises
        `UsageError` for what is no list of strings.

        >>> train(steps=20).copies(["emma", "xqzw"])
        1
        """
        if isinstance(texts, str):
            raise UsageError(f"copies takes a list of texts, found the string {shown(texts)}; put it into a list.")
        known = self._known(needed=False)
        return None if known is None else sum(map(known, texts))

    @property
    def writer(self) -> Writer:
        """What draws the text of samples, for one thread. Raises `DataError` or `UsageError` where it is mixed with a
        table and the training text is not at hand.

        >>> train(steps=20).writer.kind
        'lines'
        """
        predicting: Predicting = (runner := self.runner)
        if self.mix:
            predicting = Mixed(runner, self._counted(), self.mix, self.model.ctx)
        return Writer(predicting, self.checkpoint.tokenizer, self.checkpoint.kind, self.model.ctx)

    def _counted(self) -> Table:
        """The table of counts that this run is mixed with, made once."""
        with _OPENING:
            try:
                self._table = self._table or Table(dataset_of(self.checkpoint, self._split).split)
            except MicrogptError as error:
                alone = "its counts are a part of this run; --mix 0 writes with the model alone"
                raise type(error)(f"{str(error).removesuffix('.')}; {alone}.") from None
        return self._table

    def _known(self, needed: bool) -> Callable[[str], bool] | None:
        """What tells whether a sample stands in the training text: as a document or, of running text, anywhere in it.
        Where it is not `needed` it is None for running text, for it would nearly always say no."""
        if self.checkpoint.kind == "windows" and not needed:
            return None
        try:
            return dataset_of(self.checkpoint, self._split).contains
        except MicrogptError:
            if needed:
                raise
            return None

    def evaluate(
        self,
        data: Sources | None = None,
        *,
        text: str | None = None,
        documents: Sequence[str] | None = None,
        encoding: str = "utf-8",
        stride: int | None = None,
        counts: bool = False,
    ) -> HeldOut:
        """The held-out loss and that of each document, on what this run held out or on another text, also in memory.

        The run's own text, which may have moved, is known by its hash: what was held out of it is measured, if anything
        was. Of running text, `stride` has each window bring so many predictions, so that all but the first few see
        ctx - stride tokens or more. With `counts` the `mark` of the best table of counts is found, where the training
        text is at hand, and with a `mix` what model and table score together. Raises `DataError` where the text has
        changed since the training, or has unknown characters.

        >>> held_out = train(steps=20, holdout=0.01).evaluate()
        >>> held_out.documents, held_out.losses.shape
        (299, (299,))
        """
        tokenizer, kind, ctx = self.checkpoint.tokenizer, self.checkpoint.kind, self.model.ctx
        stride = None if stride is None else plain(int, stride)
        if stride is not None and not (type(stride) is int and 1 <= stride <= ctx):
            raise UsageError(
                f"--stride takes 1 to {ctx:,}, the ctx of this run, found {shown(stride)}; half of ctx is usual."
            )
        given = in_memory(text, documents, tokenizer.normalize)
        sequences, own = to_measure(self.checkpoint, self._split, data, given, encoding)
        runner, stride = self.runner, stride if kind == "windows" else None
        if stride is None:
            losses = evaluate.losses_of(runner, sequences)
        else:
            losses = evaluate.strided_losses(runner, sequences, ctx, stride)
        found = replace(evaluate.summarized(losses, sequences, tokenizer, kind, ctx), stride=stride)
        if counts and not (own and not own.holdout_documents):  # else it would be told the text that it counted
            with contextlib.suppress(MicrogptError):  # the training text is not at hand
                split = own.split if own else replace(dataset_of(self.checkpoint, self._split).split, characters=None)
                found = replace(found, mark=mark(split, sequences, ctx))
                few = some(sequences, ctx)
                if self.mix and (stride is None or len(few) == len(sequences)):
                    losses = losses if len(few) == len(sequences) else evaluate.losses_of(runner, few)
                    together = mixed(losses, told(split, sequences, ctx), self.mix)
                    found = replace(found, mixed=evaluate.summarized(together, few, tokenizer, kind, ctx))
        return found

    def compare(self, other: "Run", level: float = 0.9) -> Comparison:
        """This run's held-out loss less another's, with an interval over the documents that both held out.

        They must have held out the same ones, of one vocabulary: raises `UsageError` otherwise, and as `evaluate` does.

        >>> train(steps=300).compare(train(steps=20)).high < 0
        True
        """
        if not isinstance(other, Run):
            raise UsageError(f"compare takes another Run, found {shown(other)}; load(…) makes one.")
        level = plain(float, level)
        if type(level) is not float or not 0 < level < 1:
            raise UsageError(f"level takes a number between 0 and 1, found {shown(level)}; 0.9 is usual.")
        check_alike(*((run.checkpoint, run._split) for run in (self, other)))
        return evaluate.compare(self.evaluate(), other.evaluate(), self.checkpoint.kind, level)

    def export(self, path: str | PathLike[str], *, force: bool = False) -> None:
        """Write the model to share, by the ending of the path: .safetensors, .py, .html, .onnx, or a folder for
        transformers; `force` replaces a file that this program did not write. A model can repeat its training text:
        share it only where that may be read.

        >>> train(steps=20).export("page.html")
        """
        export(self.checkpoint, path if isinstance(path, str) else Path(path), force=force, result=self.result)

    @property
    def runner(self) -> Runner:
        """What computes, for one thread: another on the same weights each time it is asked for.

        >>> train(steps=20).runner.next([26]).shape
        (27,)
        """
        with _OPENING:
            self._opened = self._opened or open_own(self.checkpoint)
        return self._opened.reader()
