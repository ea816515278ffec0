"""The sweep that chose the settings of the `default` recipe: norms and learning rate of the lowest held-out loss.

    python bench/default_recipe.py [--seeds 8]

Each row is a placement of the norms with a learning rate, trained as `microgpt` does by default, over seeds of weights
and order that all share one held-out set. Given are mean and standard deviation over seeds; the standard deviation of a
mean is that divided by the root of the seeds.
"""

import statistics
from collections.abc import Iterator
from itertools import product
from typing import Any

import machine
from microgpt.data.corpus import Corpus
from microgpt.data.reading import read
from microgpt.data.split import Split
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.records import Finished

RATES = (0.003, 0.005, 0.007, 0.01, 0.014, 0.02, 0.03)
NORMS = tuple(product((True, False), repeat=2))  # on the embeddings, before the head


def held_out_loss(split: Split, **settings: object) -> float:
    """The held-out loss at the end of one training of the default recipe."""
    for record in train(resolve("default", {**settings, "out": "", "samples": 0}), split=split):
        if isinstance(record, Finished):
            assert record.result.loss.holdout is not None
            return record.result.loss.holdout
    raise RuntimeError("the training did not finish")


def rows(seeds: int) -> Iterator[tuple[float, float, dict[str, Any]]]:
    """Mean and standard deviation of the held-out loss, and the setting."""
    request = resolve("default")
    split = Split.of(Corpus.of(read(request.data)), request.holdout, request.split_seed)
    for (embeddings, head), lr in product(NORMS, RATES):
        chosen = {"norm_embeddings": embeddings, "norm_head": head, "lr": lr}
        losses = [held_out_loss(split, seed=seed, **chosen) for seed in range(seeds)]
        yield statistics.mean(losses), statistics.stdev(losses), chosen


def main() -> None:
    seeds = machine.asked(__doc__, seeds=8).seeds
    print(machine.line())
    print(f"norm on embeddings  norm before head     lr   held-out loss over {seeds} seeds")
    for mean, spread, chosen in sorted(rows(seeds), key=lambda row: row[0]):
        norms = f"{'yes' if chosen['norm_embeddings'] else 'no':18}  {'yes' if chosen['norm_head'] else 'no':16}"
        print(f"{norms} {chosen['lr']:6}   {mean:.4f} ± {spread:.4f}")


if __name__ == "__main__":
    main()
