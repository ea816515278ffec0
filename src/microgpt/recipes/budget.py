"""From a time to a training: sizes from a measured table, steps from the speed of this machine.

A short measurement on the text itself tells how much useful work the machine does in a second; the table tells which
sizes learn most from so much of it; the rest of the time, less what the end takes, gives the steps. The time counts
from the start of the command: reading, compiling, measuring and the last held-out loss are in it.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from microgpt.data.byte_pairs import TooManyTokensError
from microgpt.data.choices import size_of
from microgpt.data.reading import Text
from microgpt.data.retokenize import retokenized
from microgpt.data.split import Split
from microgpt.data.tokenizer import Tokenizer
from microgpt.errors import DivergedError, UsageError
from microgpt.machine import cores
from microgpt.model.settings import SETTINGS, Settings, flag
from microgpt.recipes import beginning, resolve
from microgpt.recipes.command import command
from microgpt.recipes.rungs import Ladder, Rung, ladder
from microgpt.recipes.speed import Speed, measured
from microgpt.recipes.trials import Trial, TrialPlan, largest, search
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.loop import train
from microgpt.training.prepare import prepare, split_of, text_of
from microgpt.training.records import Finished
from microgpt.training.request import Request
from microgpt.training.session import Stop, never

LEAST: Final = 2.0  # seconds: below, reading and compiling leave nothing
NOMINAL: Final = 5e10  # operations a second and thread, before anything is measured
MEASURING: Final = 0.02  # share of the time that a measurement may take …
SHORTEST: Final = 0.1  # … but at least so many seconds …
LONGEST: Final = 5.0  # … and no more than so many, which tell as much
GUESSES: Final = 3  # of the sizes: each is measured, and its speed may speak for others
LOOKS: Final = 24  # held-out losses in a training
PATIENCE: Final = 8  # of them without a better one
LOOKING: Final = 0.05  # share of the time for held-out losses in mid-run, and as much again for the last one
HELD_OUT: Final = 100_000  # held-out tokens that are enough for an error of a hundredth
SPARE: Final = 0.05  # share of the time that is left free: machines are not steady
KINDS: Final = {"lines": "lines", "paragraphs": "paragraphs", "windows": "running text"}
LONGEST_LINE: Final = 64  # characters; longer ones make ctx dear
FEW: Final = 2  # times the usual passes over a text: where the time allows more, trials say whether they are of use
FIRST: Final = 8  # the share of the time that the first trial may take is one in so many
BEGUN: Final = 0.3  # the largest share of a table of counts beside a model that knows another text
FURTHER: Final = 2  # times the steps of the longest trial, whose loss still fell, that are taken untried

Tell = Callable[[str], object]


@dataclass(frozen=True, eq=False)
class Fitted:
    """A training that fits into a time: its request, its text, and the time of `time.perf_counter` at which its last
    step must be taken."""

    request: Request
    split: Split
    deadline: float
    most: int  # steps that a quicker machine may take in the time
    used_up: bool  # whether it is the text, not the time, that ends it
    speed: float  # operations of useful work a second
    tight: bool = False  # whether there was hardly any time left for steps

    @property
    def told(self) -> str:
        """What was chosen, and why it takes less than the time where it does."""
        corpus, settings = self.split.corpus, self.request.settings
        chosen = f"{corpus.name} is taken as {KINDS[corpus.kind]}, with {settings.steps:,} steps of emb {settings.emb} "
        chosen += f"and layer {settings.layer}"
        if self.tight:
            return f"{chosen}: the preparation left no time for more; a longer --for allows more"
        if self.used_up:
            no_use = (
                "the held-out loss hardly falls with more steps" if self.request.patience else "more steps seldom help"
            )
            return f"{chosen}: {no_use}, so it ends early"
        return chosen

    @property
    def command(self) -> str:
        """The same training without a clock."""
        return command(self.request)

    def taken(self, settings: Settings) -> str:
        """The command that is to be told after a training that came to these settings."""
        same = "the same" if settings == self.request.settings else "nearly the same (the machine's pace has changed)"
        return f"{same} without a clock: {command(replace(self.request, settings=settings))}"


def fit(
    given: Mapping[str, Any],
    seconds: float,
    *,
    began: float | None = None,
    text: Text | None = None,
    begin: Checkpoint | None = None,
    stop: Stop = never,
    tell: Tell = str,
) -> Fitted:
    """The training of `given` settings that makes the most of so many seconds from `began` on.

    What is given is kept; the rest is chosen, where the text is small by trials, which are told and which `stop` ends.
    `text` is the text where it is at hand already, `begin` a model whose weights come first: sizes and tokens are its
    own, and the learning rate is lower. Raises `UsageError` for a time that is too short or for given
    `steps`, and what `prepare` raises.
    """
    began = time.perf_counter() if began is None else began
    _check(given, seconds)
    given = {"threads": cores(), "recipe": "default", **given}
    if begin:
        given = beginning(begin, given)
    documents, split = _split(given, seconds, text, begin.tokenizer if begin else None)
    given = {**given, "documents": documents, "holdout": split.holdout}
    if split.is_running:  # which is 256 characters each
        given = {"samples": 5, **given}
    suited = ladder(split.corpus.kind, _symbols(split.characters or split))
    given = {"mix": min(suited.mix, BEGUN) if begin else suited.mix, **given}
    if "tokens" not in given:
        given, split = _in_tokens(given, split, suited.tokens)
    chosen = suited.rung(NOMINAL * given["threads"] * seconds)
    for _ in range(GUESSES):
        asked = _request(given, _sizes(suited, chosen, split))
        speed = measured(asked, split, min(LONGEST, max(SHORTEST, MEASURING * seconds)), stop)
        taken, chosen = chosen, suited.rung(speed.flop * seconds)
        if taken == chosen:
            break
    dataset, sizes = prepare(asked, split, begin).dataset, _sizes(suited, taken, split)
    sizes |= {name: getattr(asked.settings, name) for name in sizes}
    end = began + seconds * (1 - SPARE) - speed.evaluation * dataset.holdout_documents
    within = _Time(given, split, begin, dataset.holdout_documents, speed, seconds, end)
    usual = math.ceil(taken.epochs * dataset.documents / asked.settings.batch)
    return _planned(within, sizes, max(LOOKS, usual), stop, tell)


def _check(given: Mapping[str, Any], seconds: float) -> None:
    if not LEAST <= seconds < math.inf:
        raise UsageError(f"--for takes {LEAST:g} seconds or more, found {seconds:g}; --for 60s is a good start.")
    for name in ("steps", "select", "patience", "eval_every", "eval_documents"):
        if name in given:
            raise UsageError(f"--for chooses {flag(name)}, found {given[name]!r}; leave one of the two out.")


def _split(given: Mapping[str, Any], seconds: float, text: Text | None, known: Tokenizer | None) -> tuple[str, Split]:
    """The text as lines where they are short, else as running text: of paragraphs a small ctx would see the beginning
    alone; with what to ask for to have it so. No more is held out than can be evaluated in the time."""
    about_the_text = {name: value for name, value in _settings(given).items() if name not in SETTINGS}
    request = resolve(given["recipe"], about_the_text)
    text = text or text_of(request)
    split = split_of(replace(request, tokens="characters"), request.documents, text)  # which are quick to have
    kind = split.corpus.kind
    if request.documents == "auto" and kind != "windows" and (kind != "lines" or _longest(split) > LONGEST_LINE):
        kind = "windows"
    held_out = len(split.corpus.tokens) * split.holdout
    enough = HELD_OUT * max(1.0, seconds / 60)
    share = split.holdout if "holdout" in given or held_out <= 2 * enough else split.holdout * enough / held_out
    if (kind, share) == (split.corpus.kind, split.holdout):
        return request.documents, retokenized(split, request.tokens, known)
    return kind, split_of(replace(request, holdout=float(f"{share:.1g}")), kind, text, known)


def _longest(split: Split) -> int:
    """Tokens of nearly all lines: one in a thousand may be longer, and is cropped."""
    return int(np.quantile(split.training.stops - split.training.starts, 0.999))


def _symbols(split: Split) -> int:
    """How many characters there are to learn from."""
    return int((split.training.stops - split.training.starts).sum(dtype=np.int64))


def _in_tokens(given: Mapping[str, Any], split: Split, tokens: str) -> tuple[dict[str, Any], Split]:
    """What is given, and the split, in the tokens that suit it; in characters where the text has not as many pairs, or
    so many characters that few pairs would be learned."""
    if size_of(tokens) and split.corpus.tokenizer.bos > size_of(tokens) // 2:
        return {**given}, split
    try:
        split = split if split.corpus.counts is not None else retokenized(split, tokens)
    except TooManyTokensError:
        return {**given}, split
    return {**given, "tokens": tokens} if split.characters else {**given}, split


def _sizes(suited: Ladder, chosen: Rung, split: Split) -> dict[str, Any]:
    """The settings of a rung of the ladder that suits a text; of lines, nearly all fit into ctx."""
    names = ("emb", "head", "layer", "batch", "lr", "weight_decay")
    ctx = chosen.ctx if split.is_running else -(-min(_longest(split), LONGEST_LINE) // 4) * 4
    return {name: getattr(chosen, name) for name in names} | {"ctx": ctx, "beta1": 0.9, **suited.varies}


def _settings(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in given.items() if name != "recipe"}


def _request(given: Mapping[str, Any], chosen: Mapping[str, Any]) -> Request:
    """What is given over what is chosen. Heads that were chosen give way to an emb that was given, and so do rotary
    positions, which turn pairs of numbers."""
    settings = {**chosen, **_settings(given)}
    emb, paired = settings["emb"], settings.get("position") == "rotary"
    if "head" not in given:
        fitting = [head for head in range(1, settings["head"] + 1) if emb % head == 0]
        even = [head for head in fitting if emb // head % 2 == 0]
        settings["head"] = (even if paired and even else fitting)[-1]
    if paired and emb // settings["head"] % 2 and "position" not in given:
        settings["position"] = "learned"
    return resolve(given["recipe"], settings)


@dataclass(frozen=True, eq=False)
class _Time:
    """A time for a text: what is given, how much text there is, how fast the machine is, and until when steps are
    taken."""

    given: Mapping[str, Any]
    split: Split
    begin: Checkpoint | None
    held_out: int  # sequences
    speed: Speed
    seconds: float
    end: float

    def left(self) -> float:
        return self.end - time.perf_counter()

    @property
    def looked_at(self) -> int:
        """Held-out sequences of an evaluation in mid-run."""
        return min(self.held_out, int(LOOKING * self.seconds / LOOKS / self.speed.evaluation))

    def fill(self) -> int:
        """Steps of the measured size until the time is up."""
        return max(LOOKS, int((self.left() - LOOKS * self.looked_at * self.speed.evaluation) / self.speed.step))

    def request(self, plan: TrialPlan) -> Request:
        """The request of a plan, with its held-out losses."""
        chosen = {**plan.sizes, "steps": plan.steps, "warmup": plan.steps // 20}
        if self.looked_at:
            chosen |= {"eval_every": math.ceil(plan.steps / LOOKS), "select": "best", "patience": PATIENCE}
        if 0 < self.looked_at < self.held_out:
            chosen["eval_documents"] = self.looked_at
        return _request(self.given, chosen)

    def carried_out(self, plan: TrialPlan, seconds: float, stop: Stop) -> Trial | None:
        """A training that leaves no trace; None where it was stopped, went wrong, or took more than its time."""
        start = time.perf_counter()
        asked = replace(self.request(plan), out="", name="", keep="", samples=0)
        try:
            halt = lambda: stop() or time.perf_counter() > start + seconds  # noqa: E731
            *_, end = train(asked, stop=halt, split=self.split, begin=self.begin)
        except DivergedError:
            return None
        if not isinstance(end, Finished) or (loss := end.result.loss.holdout_per_character) is None:
            return None
        compiling = end.result.seconds.compile  # which a size needs but once
        return Trial(plan, loss, time.perf_counter() - start - compiling)


def _planned(within: _Time, sizes: dict[str, Any], usual: int, stop: Stop, tell: Tell) -> Fitted:
    """As many steps as the time allows. Where that is far more than is `usual` for the text, trials are asked first."""
    if within.left() < LOOKS * within.speed.step:
        end = time.perf_counter() + within.seconds  # for these few steps, which may be late
        return Fitted(
            within.request(TrialPlan(sizes, LOOKS)), within.split, end, LOOKS, False, within.speed.flop, tight=True
        )
    plan, most, used_up, best = TrialPlan(sizes, within.fill()), FEW * usual, False, None
    free = not {"emb", "head", "layer", "lr"} & within.given.keys()
    if plan.steps > most and within.looked_at:

        def run(plan: TrialPlan, seconds: float) -> Trial | None:
            if trial := within.carried_out(plan, seconds, stop):
                size = f"emb {plan.sizes['emb']}, layer {plan.sizes['layer']}"
                tell(f"tried {plan.steps:,} steps of {size}: held-out loss {trial.loss:.3f}")
            return trial

        most_seconds = f"for {within.left() / 2:,.0f} s at most; nothing is saved before"
        tell(f"trying how many steps and which size suit so small a text, {most_seconds}")
        first = TrialPlan(sizes, max(LOOKS, min(usual, plan.steps // FIRST)))
        best, falling = search(first, within.left() / 2, run, within.left, free)
        plan = best.plan if best else TrialPlan(sizes, min(plan.steps, usual))
        most = max(FURTHER * plan.steps, usual) if falling else plan.steps
        used_up = best is not None and not falling
        if best and falling:
            plan = replace(plan, steps=max(plan.steps, min(most, int(plan.steps * within.left() / best.seconds))))
    elif plan.steps > most:
        plan, most, used_up = replace(plan, steps=usual), usual, True
    elif free and (large := largest(replace(plan, steps=usual), plan.work)):
        plan = replace(large, steps=int(usual * plan.work / large.work))
    tight = best is not None and within.left() < best.seconds  # the machine stood still in a trial
    end = time.perf_counter() + best.seconds if best and tight else within.end
    return Fitted(within.request(plan), within.split, end, max(most, plan.steps), used_up, within.speed.flop, tight)
