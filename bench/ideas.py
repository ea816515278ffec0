"""Which ideas of the last years make a small GPT better, at equal time: the rows and the table of docs/IDEAS.md.

    python bench/ideas.py [--budget 3 30 300] [--only rotary tied] [--texts names plays manual] [--seeds 5] [--table]

Rows go into bench/ideas.csv as they are measured; what stands there is not measured again. Each idea has the steps
that it can take in the base's time: the cost of its step beside the base's is measured first, in turns. Its learning
rate is tuned on a seed of its own. --table writes the table and the picture of docs/IDEAS.md.
"""

import hashlib
import math
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import product
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Regex, Tokenizer
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import Split as Cut
from tokenizers.trainers import BpeTrainer

import machine
from ideas_model import PASSED, Idea, Size, Stack
from microgpt.data.corpus import Corpus
from microgpt.data.reading import read, text_from
from microgpt.data.split import Part, Split
from microgpt.lab.pictures.canvas import HUES, QUIET, Plot, drawing, save, titled
from microgpt.lab.statistics.intervals import Estimate, mean

ROWS = Path(__file__).with_suffix(".csv")
PAGE = Path(__file__).parent.parent / "docs" / "IDEAS.md"
BEGIN, END = "<!-- the table: python bench/ideas.py --table -->", "<!-- end of the table -->"
TUNED_ON = 99  # the seed on which learning rates are tuned
SIZES = {3: Size(32, 2, 32, 16), 30: Size(64, 3, 64, 16), 300: Size(96, 4, 64, 16)}
STEPS = {  # of the base, which fill the budget on a quiet core of an AMD EPYC where one model is trained alone
    "windows": {3: 1000, 30: 1600, 300: 6800},
    "lines": {3: 1500, 30: 6000, 300: 28000},
}
TUNED = {3: 1.0, 30: 0.25, 300: 0.0}  # the share of the steps that learning rates are tried with; 0: as at 30 s
LOOKS = {3: 1, 30: 8, 300: 8}  # how often a training is evaluated; the lowest loss counts, as with --select best
SLOWER = 0.23  # the best rate falls with the steps to this power (docs/BENCHMARKS.md, the default recipe)
TEXTS = ("plays", "names", "manual")
MANUAL = "6be59e5d"  # of the SHA-256 of the text that is called so
TOLD = 60_000  # characters of the held-out part that are predicted, at most
JOINED = Idea(rotary=True, activation="relu2", tied=True)
BEST = Idea(rotary=True, activation="swiglu")
IDEAS = {
    "base": Idea(),
    "rotary": Idea(rotary=True),
    "bpe:512": Idea(tokens=512),
    "relu2": Idea(activation="relu2"),
    "tied": Idea(tied=True),
    "rotary+relu2+tied": JOINED,
    "rotary+relu2+tied+bpe:512": replace(JOINED, tokens=512),
    "bpe:256": Idea(tokens=256),
    "bpe:1024": Idea(tokens=1024),
    "muon": Idea(muon=True),
    "gelu": Idea(activation="gelu"),
    "swiglu": Idea(activation="swiglu"),
    "qk_norm": Idea(qk_norm=1.0),
    "qk_norm, scale x4": Idea(qk_norm=4.0),
    "value_residual": Idea(value_residual=True),
    "zero_out": Idea(zero_out=True),
    "softcap 15": Idea(softcap=15.0),
    "norm_head": Idea(norm_head=True),
    "ctx x2": Idea(ctx=2.0, batch=0.5),
    "batch x2": Idea(batch=2.0),
    "batch x0.5": Idea(batch=0.5),
    "warm-up 5 %": Idea(warmup=0.05),
    "cosine": Idea(schedule="cosine"),
    "cooldown 20 %": Idea(schedule="cooldown"),
    "weight_decay 0.1": Idea(weight_decay=0.1),
    "weight_decay 0.5": Idea(weight_decay=0.5),
    "dropout 0.1": Idea(dropout=0.1),
    "dropout 0.2": Idea(dropout=0.2),
    "constant, ema": Idea(schedule="constant", ema=True),
    "with replacement": Idea(replacement=True),
    "rotary+swiglu": BEST,
    "rotary+swiglu+bpe:512": replace(BEST, tokens=512),
    "rotary+swiglu+dropout 0.1": replace(BEST, dropout=0.1),
    "rotary+swiglu+dropout 0.1+bpe:512": replace(BEST, dropout=0.1, tokens=512),
    "rotary+swiglu+muon": replace(BEST, muon=True),
    "rotary+swiglu+muon+bpe:512": replace(BEST, muon=True, tokens=512),
}


@dataclass(frozen=True)
class Row:
    """One training. `rate` times the base's usual learning rate; `cost` of a step times the base's; `loss` in nats
    per held-out character, infinite where there was none."""

    budget: int
    text: str
    idea: str
    seed: int
    rate: float
    cost: float
    steps: int
    loss: float


@dataclass(frozen=True)
class Encoded:
    """A text as tokens. Lines: (lines, time + 1), each BOS line BOS and then PASSED. Windows: (tokens,)."""

    training: NDArray[np.int64]
    held_out: NDArray[np.int64]
    characters: NDArray[np.int64]  # of each token; BOS is one
    lines: bool

    def sequences(self, size: Size, seed: int, replacement: bool) -> Iterator[NDArray[np.int64]]:
        """The sequences of each step, (batch, time + 1), in an endless order of their own for each seed."""
        generator, left = np.random.default_rng(seed), np.empty(0, np.int64)
        last = len(self.training) - (0 if self.lines else size.ctx)
        while True:
            while len(left) < size.batch:
                if self.lines:
                    fresh = generator.permutation(last)
                else:  # windows of every pass begin somewhere else
                    fresh = generator.permutation(np.arange(generator.integers(size.ctx), last, size.ctx))
                fresh = generator.integers(last, size=size.batch) if replacement else fresh
                left = np.concatenate([left, fresh])
            chosen, left = left[: size.batch], left[size.batch :]
            yield self.training[chosen if self.lines else chosen[:, None] + np.arange(size.ctx + 1)]

    def told(self, size: Size) -> NDArray[np.int64]:
        """The held-out sequences, (sequences, time + 1); of running text, windows whose neighbours share a token."""
        if self.lines:
            return self.held_out
        places = np.arange(0, len(self.held_out) - 1, size.ctx)[:, None] + np.arange(size.ctx + 1)
        inside = places < len(self.held_out)
        return np.where(inside, self.held_out[np.minimum(places, len(self.held_out) - 1)], PASSED)


@cache
def pieces(name: str) -> tuple[list[str], list[str]]:
    """The training and the held-out part: lines, or one running text each."""
    if name == "manual":  # two chapters of Python's own reference, 113 kB
        text = topics["compound"] + topics["specialnames"]
        if (found := hashlib.sha256(text.encode()).hexdigest()[:8]) != MANUAL:
            print(f"manual: expected the text of CPython 3.11.7 ({MANUAL}), found {found}: its rows will not compare")
        whole = text_from(text)
    else:
        whole = read(({"plays": "shakespeare"}.get(name, name),))
    corpus = Corpus.of(whole, "lines" if name == "names" else "windows")
    split, signs = Split.of(corpus, 0.1, 0), corpus.tokenizer.characters

    def texts(part: Part) -> list[str]:
        slices = [corpus.tokens[a:b] for a, b in zip(part.starts, part.stops, strict=True)]
        return ["".join(signs[token] for token in (one[1:-1] if name == "names" else one)) for one in slices]

    return texts(split.training), [text[:TOLD] for text in texts(split.held_out)]


@cache
def encoded(name: str, tokens: int) -> Encoded:
    """A text in characters, or in byte-pair tokens learned from its training part (Sennrich et al. 2016)."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    training, held_out = pieces(name)
    lines, alphabet = name == "names", sorted(set("".join(training + held_out)))
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = Cut(Regex(r" ?[^ \n]+|[ \n]"), "isolated")
    size = tokens - lines if tokens else len(alphabet)
    trainer = BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(training, trainer)
    words = sorted(tokenizer.get_vocab().items(), key=lambda word: word[1])
    characters = np.array([len(word) for word, _ in words] + [1] * lines)
    first, second = ([each.ids for each in tokenizer.encode_batch(part)] for part in (training, held_out))
    if not lines:
        return Encoded(np.array(first[0]), np.array(second[0]), characters, lines)
    longest, bos = max(map(len, first + second)), len(words)
    rows = [np.array([[bos, *ids, bos] + [PASSED] * (longest - len(ids)) for ids in part]) for part in (first, second)]
    return Encoded(rows[0], rows[1], characters, lines)


def prepared(text: str, idea: Idea, budget: int) -> tuple[Encoded, Size]:
    data, size = encoded(text, idea.tokens), SIZES[budget]
    ctx = data.training.shape[1] - 1 if data.lines else round(size.ctx * idea.ctx)
    return data, replace(size, ctx=ctx, batch=round(size.batch * idea.batch))


def cut(sequences: NDArray[np.int64]) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens and targets of sequences (models, batch, time + 1), without the columns that nothing is predicted in."""
    used = (sequences != PASSED).any((0, 1)).sum()
    both = torch.from_numpy(sequences[:, :, :used])
    return both[:, :, :-1].clamp(min=0), both[:, :, 1:].contiguous()


def trained(text: str, idea: Idea, budget: int, steps: int, trainings: Sequence[tuple[int, float]]) -> list[float]:
    """The lowest held-out loss of each training (seed, rate), in nats per character; infinite where it has none."""
    data, size = prepared(text, idea, budget)
    seeds = [seed for seed, _ in trainings]
    stack = Stack(idea, size, len(data.characters), seeds, [rate * 0.5 / size.emb for _, rate in trainings])
    streams = [data.sequences(size, seed, idea.replacement) for seed in seeds]
    looks, lowest = LOOKS[budget], torch.full((len(seeds),), math.inf, dtype=torch.float64)
    for step in range(1, steps + 1):
        stack.step(*cut(np.stack([next(stream) for stream in streams])), steps)
        if step * looks // steps > (step - 1) * looks // steps:
            lowest = lowest.fmin(evaluated(stack, data, size))
    return lowest.tolist()


def evaluated(stack: Stack, data: Encoded, size: Size) -> torch.Tensor:
    told, nats, characters = data.told(size), torch.zeros(stack.models, dtype=torch.float64), 0
    with torch.no_grad():
        for start in range(0, len(told), 64):
            part = told[start : start + 64]
            nats += stack.losses(*cut(np.stack([part] * stack.models))).double().sum((1, 2))
            characters += data.characters[part[:, 1:][part[:, 1:] != PASSED]].sum()
    return nats / characters


def cost(text: str, idea: Idea, budget: int, rounds: int = 9) -> float:
    """What a step takes, times the base's: the median of rounds in which they take turns, in processor time."""
    if idea == Idea():
        return 1.0
    sides = []
    for each in (Idea(), idea):
        data, size = prepared(text, each, budget)
        streams = [data.sequences(size, seed, False) for seed in range(5)]
        sides.append((Stack(each, size, len(data.characters), range(5), [1e-3] * 5), streams))
    found = []
    for _ in range(rounds + 1):
        taken = []
        for stack, streams in sides:
            began = time.process_time()
            for _ in range(6):
                stack.step(*cut(np.stack([next(stream) for stream in streams])), 1000)
            taken.append(time.process_time() - began)
        found.append(taken[1] / taken[0])
    return float(f"{statistics.median(found[1:]):.2f}")  # the first warms up


def of(rows: list[Row], budget: int, text: str, name: str) -> list[Row]:
    return [row for row in rows if (row.budget, row.text, row.idea) == (budget, text, name)]


def best_rate(rows: list[Row], step: float = 2.0) -> float:
    """The bottom of the parabola, over the rate's logarithm, through the best rate tried and its two neighbours."""
    tried = {row.rate: row.loss for row in rows if row.seed == TUNED_ON}
    best = min(tried, key=tried.__getitem__)
    low, high = (tried.get(rate, math.inf) - tried[best] for rate in (best / step, best * step))
    aside = (low - high) / (low + high) / 2 if math.isfinite(low + high) else 0.0
    return float(f"{best * step**aside:.2g}")


def measure(budget: int, text: str, name: str, seeds: int) -> None:
    """The trainings of an idea that are not among the rows yet."""
    idea, rows = IDEAS[name], of(machine.kept(ROWS, Row), budget, text, name)
    price = rows[0].cost if rows else cost(text, idea, budget)
    steps = round(STEPS["lines" if text == "names" else "windows"][budget] / price)

    def run(trainings: Sequence[tuple[int, float]], steps: int) -> None:
        have = {(row.seed, row.rate) for row in rows}
        left = [training for training in trainings if training not in have]
        for (seed, rate), loss in zip(left, trained(text, idea, budget, steps, left) if left else [], strict=True):
            rows.append(Row(budget, text, name, seed, rate, price, steps, loss))
            machine.keep(ROWS, rows[-1])
            print(rows[-1], machine.load(), flush=True)

    if short := round(steps * TUNED[budget]):
        run([(TUNED_ON, rate) for rate in (0.25, 0.5, 1.0)], short)
        for _ in range(2):  # a best rate at the edge asks for one more
            tried = {row.rate: row.loss for row in rows if row.seed == TUNED_ON}
            best = min(tried, key=tried.__getitem__)
            if best in (min(tried), max(tried)):
                run([(TUNED_ON, best * 2 if best == max(tried) else best / 2)], short)
    shorter = (
        [] if short else of(machine.kept(ROWS, Row), 30, text, name) or of(machine.kept(ROWS, Row), 30, text, "base")
    )
    rate = best_rate(shorter or rows)
    rate = float(f"{rate * (TUNED[budget] or 0.06) ** SLOWER:.2g}")
    run([(seed, rate) for seed in range(seeds)], steps)


def gain(rows: list[Row], budget: int, text: str, name: str) -> Estimate | None:
    """How much lower than the base's its loss is, nats per character, over the seeds that both have."""
    sides = []
    for each in ("base", name):
        found = of(rows, budget, text, each)
        rate = found[-1].rate if found else 0.0  # the tuned one is the last that was measured
        sides.append({row.seed: row.loss for row in found if row.seed != TUNED_ON and row.rate == rate})
    pairs = [sides[0][seed] - loss for seed, loss in sides[1].items() if seed in sides[0]]
    return mean(pairs) if pairs else None


def verdict(name: str, gains: dict[tuple[int, str], Estimate]) -> str:
    """What the rule of docs/IDEAS.md says of an idea; of several together, nothing."""
    if "+" in name:
        return ""
    sure = [budget for (budget, _), one in gains.items() if one.mean >= 0.01 and (one.low or 0) > 0]
    worse = [f"{text} {budget} s" for (budget, text), one in gains.items() if one.mean < -0.005 and (one.high or 0) < 0]
    if not any(sure.count(budget) >= 2 for budget in sure):
        return "no"
    return f"yes, not for {', '.join(worse)}" if worse else "yes"


def table(rows: list[Row]) -> str:
    """A row for each idea, in thousandths of a nat; and the losses of the base."""
    places = [(budget, text) for budget in SIZES for text in TEXTS if of(rows, budget, text, "base")]
    heads = ["idea", "step", *(f"{text} {budget} s" for budget, text in places), "enters"]
    base = [statistics.mean(r.loss for r in of(rows, *place, "base") if r.seed != TUNED_ON) for place in places]
    lines = [heads, ["---"] * len(heads), ["base: loss", "1", *(f"{loss:.3f}" for loss in base), ""]]
    for name in list(IDEAS)[1:]:
        gains = {place: one for place in places if (one := gain(rows, *place, name))}
        costs = [row.cost for row in rows if row.idea == name]
        cells = [cell(gains[place]) if place in gains else "" for place in places]
        if gains:
            lines.append([f"`{name}`", f"{min(costs):.2f}–{max(costs):.2f}", *cells, verdict(name, gains)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def cell(one: Estimate) -> str:
    half = "" if one.low is None else f" ± {1000 * (one.mean - one.low):.0f}"
    return f"{1000 * one.mean:+.0f}{half}{'' if one.count == 5 else f' ({one.count})'}".replace("-", "−")


def picture(rows: list[Row]) -> Plot:
    """A panel for each text: gains with their intervals, a colour for each budget."""
    measured = {row.idea for row in rows}
    names = [name for name in list(IDEAS)[1:] if name in measured]
    with drawing(0.9 + 0.23 * len(names)) as (figure, axes):
        titled(axes, "Gain at equal time, thousandths of a nat per character")
        figure.delaxes(axes)
        for axes, text in zip(figure.subplots(1, len(TEXTS), sharey=True), TEXTS, strict=True):
            axes.grid(visible=True)
            axes.axvline(0, color=QUIET, linewidth=0.9)
            for (k, budget), (y, name) in product(enumerate(SIZES), enumerate(names)):
                if one := gain(rows, budget, text, name):
                    span = [1000 * (one.mean if end is None else end) for end in (one.low, one.high)]
                    axes.plot(span, [y + 0.22 * (k - 1)] * 2, color=HUES[k], linewidth=1.5)
                    axes.plot(1000 * one.mean, y + 0.22 * (k - 1), "o", color=HUES[k], markersize=3)
            axes.set_xscale("symlog", linthresh=10)
            axes.set_xticks([-100, -10, 0, 10, 100], ["−100", "", "0", "", "100"])
            axes.set_title(text, fontsize=9)
            axes.set_yticks(
                range(len(names)), [name.replace("d+", "d\n+").replace("u+", "u\n+") for name in names], fontsize=7
            )
        axes.invert_yaxis()
    hues = "blue 3 s, orange 30 s, green 300 s"
    note = f"Dots: means over seeds; {hues}. Lines: 90 % intervals. Right of 0 is better. To ±10 the scale is linear,"
    return Plot(figure, f"{note} beyond it logarithmic.")


def main() -> None:
    arguments = machine.asked(__doc__, budget=[3], only=list(IDEAS), texts=list(TEXTS), seeds=5, table=False)
    if arguments.table:
        rows = machine.kept(ROWS, Row)
        before, rest = PAGE.read_text().split(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{table(rows)}\n{END}{rest.split(END)[1]}")
        save(picture(rows), PAGE.parent / "pictures" / "ideas.svg")
        return
    torch.set_num_threads(1)
    print(machine.line(), machine.load())
    for budget, name, text in product(arguments.budget, arguments.only, arguments.texts):
        if text != "names" or IDEAS[name].ctx == 1:  # the context of a name is all of it
            measure(budget, text, name, arguments.seeds)


if __name__ == "__main__":
    main()
