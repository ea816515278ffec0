"""The sweep that chose the settings of the `default` recipe: norms and learning rate of the lowest held-out loss.

    python bench/default_recipe.py [--seeds 8] [--json]

Each row is a placement of the norms with a learning rate, trained as `microgpt` does by default, over seeds of weights
and order that all share one held-out set. Given are mean and standard deviation over seeds; the standard deviation of a
mean is that divided by the root of the seeds.
"""

import argparse
import json
import statistics
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import machine
from microgpt.data.corpus import Corpus
from microgpt.data.reading import read
from microgpt.data.split import Split
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.records import Finished

RATES = (0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.03)
NORMS = tuple(product((True, False), repeat=2))  # on the embeddings, before the head


@dataclass(frozen=True)
class Row:
    """The held-out losses of one setting, a seed each."""

    norm_embeddings: bool
    norm_head: bool
    lr: float
    losses: tuple[float, ...]

    @property
    def mean(self) -> float:
        return statistics.mean(self.losses)

    @property
    def spread(self) -> float:
        return statistics.stdev(self.losses)


def held_out_loss(split: Split, **settings: object) -> float:
    """The held-out loss at the end of one training of the default recipe."""
    for record in train(resolve("default", {**settings, "out": "", "samples": 0}), split=split):
        if isinstance(record, Finished):
            assert record.result.loss.holdout is not None
            return record.result.loss.holdout
    raise RuntimeError("the training did not finish")


def rows(seeds: int) -> Iterator[Row]:
    request = resolve("default")
    split = Split.of(Corpus.of(read(request.data)), request.holdout, request.split_seed)
    for (embeddings, head), lr in product(NORMS, RATES):
        chosen = {"norm_embeddings": embeddings, "norm_head": head, "lr": lr}
        yield Row(embeddings, head, lr, tuple(held_out_loss(split, seed=seed, **chosen) for seed in range(seeds)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured = sorted(rows(arguments.seeds), key=lambda row: row.mean)
    if arguments.json:
        table = [vars(row) | {"mean": row.mean, "spread": row.spread} for row in measured]
        print(json.dumps({"machine": machine.machine(), "rows": table}, indent=1))
        return
    print(machine.line())
    print(f"norm on embeddings  norm before head     lr   held-out loss over {arguments.seeds} seeds")
    for row in measured:
        norms = f"{'yes' if row.norm_embeddings else 'no':18}  {'yes' if row.norm_head else 'no':16}"
        print(f"{norms} {row.lr:6}   {row.mean:.4f} ± {row.spread:.4f}")


if __name__ == "__main__":
    main()
