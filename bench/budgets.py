"""The sweep behind `--for`: which size learns most from a text in a given amount of computing.

    python bench/budgets.py [--most 1e12] [--texts shakespeare lyrics_pt] [--table]

A training costs FLOP of useful work (model/cost.py); a machine gives so many a second. So the question is put without a
clock: of each text, the held-out loss that each size reaches with 1e10, 1e11, … FLOP. Rows go into bench/budgets.csv as
they are measured; what stands there is not measured again. `--table` prints, for each text and amount, the best rows.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby, product
from pathlib import Path

import machine
from microgpt.data.choices import BUILTINS
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.reading import read, text_from
from microgpt.data.split import Split
from microgpt.model.cost import forward_flop
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.records import Finished

TABLE = Path(__file__).with_suffix(".csv")
FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
SIZES = ((16, 4, 1), (32, 4, 1), (32, 4, 2), (48, 4, 2), (48, 4, 3), (64, 4, 3), (96, 4, 3), (96, 4, 4), (128, 4, 4))
RATES = (0.25, 0.5, 1.0)  # times the emb'th part of 1: emb 64 is tried with 0.004, 0.008 and 0.016
BATCHES = (4, 16)
FLOP = (1e10, 1e11, 1e12, 8e12)
EVALUATIONS = 12


@dataclass(frozen=True)
class Row:
    """One training. `best` is the lowest of its held-out losses, seen at the share `best_at` of its steps."""

    text: str
    tokens: int
    flop: float
    emb: int
    head: int
    layer: int
    ctx: int
    batch: int
    lr: float
    steps: int
    params: int
    last: float
    best: float
    best_at: float
    epochs: float

    @property
    def asked(self) -> tuple[str, float, int, int, int, int, float]:
        return self.text, self.flop, self.emb, self.layer, self.ctx, self.batch, self.lr


@cache
def split_of(name: str) -> Split:
    """A text: a built-in one, the first so many lines or thousand characters of one, or a fixture."""
    stem, _, size = name.partition("-")
    whole = read((stem if stem in BUILTINS else str(FIXTURES / f"{stem}.txt"),))
    text = "".join(whole.alphabet[symbol] for symbol in whole.symbols)
    lines = stem in LINES
    if size:  # every so many'th name, for they are sorted by frequency; or the beginning of a play
        text = "\n".join(text.splitlines()[:: 30_000 // int(size)]) if lines else text[: int(size) * 1000]
    return Split.of(Corpus.of(text_from(text), "lines" if lines else "windows"), 0.1, 0)


LINES = ("names", "places_ja")
TEXTS = {
    "places_ja": (8,),
    "lyrics_pt": (32, 64),
    "chat": (32, 64),
    "names-1000": (16,),
    "names": (16,),
    "shakespeare-30": (32, 64),
    "shakespeare-100": (32, 64),
    "shakespeare-300": (64,),
    "shakespeare": (32, 64),
}


def trained(name: str, flop: float, size: tuple[int, int, int], ctx: int, batch: int, rate: float) -> Row | None:
    """One training, or None where so little computing makes too few steps of this size, or one epoch is too long."""
    (emb, head, layer), split = size, split_of(name)
    model = resolve("default", {"emb": emb, "head": head, "layer": layer, "ctx": ctx}).settings.model(
        split.corpus.tokenizer.vocabulary
    )
    dataset = Dataset.of(split, ctx=ctx)
    predictions = dataset.tokens_in_epoch / dataset.documents
    steps = int(flop / (3 * batch * forward_flop(model, round(predictions))))
    epochs = steps * batch / dataset.documents
    if not 200 <= steps <= 200_000 or epochs > 300:
        return None
    lr = float(f"{rate / emb:.2g}")
    asked = {
        "emb": emb, "head": head, "layer": layer, "ctx": ctx, "batch": batch, "lr": lr, "steps": steps,
        "beta1": 0.9, "warmup": steps // 20, "samples": 0, "out": "", "engine": "fused", "select": "best",
        "eval_every": max(1, steps // EVALUATIONS), "eval_documents": 500,
    }  # fmt: skip
    for record in train(resolve("default", asked), split=split):
        if isinstance(record, Finished):
            result = record.result
            assert result.loss.holdout is not None
            last = result.loss.mean_last_100 or math.nan
            at = result.selected_step / steps
            return Row(
                name, dataset.tokens_in_epoch, flop, emb, head, layer, ctx, batch, lr, steps, result.params, last,
                result.loss.holdout, at, epochs,
            )  # fmt: skip
    raise RuntimeError("the training did not finish")


def plan(texts: list[str], most: float) -> Iterator[tuple[str, float, tuple[int, int, int], int, int, float]]:
    for flop in FLOP:
        for name in texts:
            for ctx, size, batch, rate in product(TEXTS[name], SIZES, BATCHES, RATES):
                if flop <= most and not dull(flop, size[0], batch, rate):
                    yield name, flop, size, ctx, batch, rate


def dull(flop: float, emb: int, batch: int, rate: float) -> bool:
    """What did worse on every text with a tenth as much computing, and would cost minutes now."""
    if flop <= 1e10:
        return False
    if flop <= 1e11:
        return rate == 1.0 or emb > 64
    return rate == 1.0 or batch == 4 or not 32 <= emb <= (64 if flop <= 1e12 else 96)


def main() -> None:
    arguments = machine.asked(__doc__, most=1e12, texts=list(TEXTS), table=False)
    rows: list[Row] = machine.kept(TABLE, Row)
    if not arguments.table:
        done = {row.asked for row in rows}
        for name, flop, size, ctx, batch, rate in plan(arguments.texts, arguments.most):
            if (name, flop, size[0], size[2], ctx, batch, float(f"{rate / size[0]:.2g}")) in done:
                continue
            if row := trained(name, flop, size, ctx, batch, rate):
                machine.keep(TABLE, row)
                rows.append(row)
                print(row, flush=True)
    print(machine.line())
    print(best(rows))


def best(rows: list[Row], count: int = 4) -> str:
    """For each text and amount of computing the few best rows."""
    lines = []
    order = sorted(rows, key=lambda row: (list(TEXTS).index(row.text), row.flop, row.best))
    for (name, flop), group in groupby(order, key=lambda row: (row.text, row.flop)):
        for row in list(group)[:count]:
            size = f"emb {row.emb:3} layer {row.layer} ctx {row.ctx:2} batch {row.batch:2} lr {row.lr:<7g}"
            lines.append(
                f"{name:16} {flop:.0e}  {row.best:.4f}  {size} {row.steps:6,} steps  {row.epochs:6.1f} epochs  "
                f"best at {row.best_at:.2f}  {row.params:,} params"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
