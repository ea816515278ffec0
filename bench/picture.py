"""Draws docs/pictures/learning.svg: a thousand steps of symmetry.py, and what it writes on the way.

python bench/picture.py [--out FILE.svg]
"""

import copy
import gc
import math
import random
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import machine
import microgpt
from microgpt import symmetry

PICTURES = Path(__file__).parents[1] / "docs" / "pictures"
LOOKS = (0, 30, 100, 300, 1000)  # steps after which the model writes
ROWS = 7  # names in a column
WIDTH, HEIGHT = 960, 520
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 64, 330  # of the curve
STYLE = """
  text { font-family: ui-sans-serif, system-ui, sans-serif; font-size: 14px; fill: #24292f; }
  .title { font-size: 18px; font-weight: 600; }
  .quiet { fill: #57606a; font-size: 12px; }
  .name { font-family: ui-monospace, Menlo, Consolas, monospace; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .known { stroke: #bf8700; stroke-width: 1.5; stroke-dasharray: 5 4; }
  .each { fill: #54aeff; fill-opacity: 0.35; }
  .mean { stroke: #0969da; stroke-width: 2.5; fill: none; }
  .look { stroke: #8250df; stroke-width: 1; stroke-dasharray: 2 3; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; } .quiet { fill: #8d96a0; } .grid { stroke: #30363d; }
    .known { stroke: #d29922; } .mean { stroke: #58a6ff; } .look { stroke: #a371f7; }
  }
"""

Axis = Callable[[float], float]


@dataclass(frozen=True)
class Story:
    """The losses of a training, names written on the way, and what a model without attention would score."""

    losses: list[float]
    written: dict[int, list[str]]
    uniform: float
    unigram: float
    seconds: dict[str, float]  # of the same training on each engine


def tell(config: symmetry.Config) -> Story:
    """Train as `python symmetry.py` does, with looks from streams of their own."""
    stream = random.Random(config.seed)
    documents = symmetry.read(None)
    stream.shuffle(documents)
    characters = sorted(set("".join(documents)))
    bos = len(characters)
    model = symmetry.initial(config, bos + 1, lambda: stream.gauss(0, 0.08))

    def look() -> list[str]:
        own = random.Random(7)
        return ["".join(characters[token] for token in symmetry.generate(model, own)) for _ in range(ROWS)]

    losses, written, seconds = [], {0: look()}, 0.0
    tokens = [[bos, *map(characters.index, document), bos] for document in documents]
    gc.disable()
    start = time.perf_counter()
    for step, loss in enumerate(symmetry.train(model, tokens), 1):
        seconds += time.perf_counter() - start
        losses.append(loss)
        if step in LOOKS:
            written[step] = look()
        start = time.perf_counter()
    gc.enable()
    ladder = {"atoms": seconds, "arrays": seconds_on("array"), "one kernel": seconds_on("fused")}
    return Story(losses, copy.deepcopy(written), math.log(bos + 1), unigram(tokens), ladder)


def seconds_on(engine: str) -> float:
    """The median time of the same training on another engine, compiled before."""
    results = [microgpt.train(recipe="karpathy", engine=engine, samples=0).result for _ in range(5)]
    return statistics.median(result.seconds.train for result in results if result)


def unigram(documents: list[list[int]]) -> float:
    """The loss, in nats, of predicting each token by its frequency alone."""
    counts = Counter(token for document in documents for token in document[1:])
    total = sum(counts.values())
    return -sum(count / total * math.log(count / total) for count in counts.values())


def draw(story: Story) -> str:
    """The picture as SVG."""
    low, high = 1.5, 4.0
    steps = len(story.losses)

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * math.sqrt(step / steps)  # the beginning is where most happens

    def y(loss: float) -> float:
        return TOP + (BOTTOM - TOP) * (high - min(max(loss, low), high)) / (high - low)

    parts = [f'<text class="title" x="{LEFT}" y="30">A GPT of 4,192 atoms learns names</text>']
    taken = ", ".join(f"{second:.2g} s in {name}" for name, second in story.seconds.items())
    parts.append(quiet(f"these steps took {taken}", WIDTH - RIGHT, 30, "end"))
    for tick in (1.5, 2.0, 2.5, 3.0, 3.5, 4.0):
        parts += [level("grid", y(tick)), quiet(f"{tick:.1f}", LEFT - 8, y(tick) + 4, "end")]
    parts.append(quiet("training loss, nats per token", LEFT, TOP - 12))
    for text, loss in (("knows nothing", story.uniform), ("knows letter frequencies", story.unigram)):
        parts += [level("known", y(loss)), quiet(text, WIDTH - RIGHT, y(loss) - 5, "end")]
    for step, loss in enumerate(story.losses, 1):
        parts.append(f'<circle class="each" cx="{x(step):.1f}" cy="{y(loss):.1f}" r="1.6"/>')
    parts.append(f'<polyline class="mean" points="{_means(story.losses, x, y)}"/>')
    title = f"Training loss over {steps} steps, with names written along the way"
    return framed(parts + _columns(story, x), HEIGHT, title)


def framed(parts: Sequence[str], height: int, title: str, style: str = "") -> str:
    """Parts as a whole SVG, with its title for whoever can't see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{title}">'
    return "\n".join([head, f"<style>{STYLE}{style}</style>", *parts, "</svg>\n"])


def quiet(text: str, x: float, y: float, anchor: str = "start") -> str:
    """A small text."""
    return f'<text class="quiet" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def level(kind: str, y: float) -> str:
    """A line across the curve."""
    return f'<line class="{kind}" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'


def _means(losses: list[float], x: Axis, y: Axis) -> str:
    """Points of the running mean over the last tenth of the steps so far, at least 10."""
    points = []
    for step in range(1, len(losses) + 1):
        recent = losses[max(0, step - max(10, step // 10)) : step]
        points.append(f"{x(step):.1f},{y(sum(recent) / len(recent)):.1f}")
    return " ".join(points)


def _columns(story: Story, x: Axis) -> list[str]:
    """What was written, in columns under the curve, each tied to its step."""
    parts = []
    wide = (WIDTH - LEFT - RIGHT) / len(story.written)
    for column, (step, names) in enumerate(story.written.items()):
        middle = LEFT + wide * (column + 0.5)
        parts.append(
            f'<polyline class="look" fill="none" points="{x(step):.1f},{TOP} {x(step):.1f},{BOTTOM} '
            f'{middle:.1f},{BOTTOM + 28}"/>'
        )
        label = "before the first step" if step == 0 else f"after {step:,} steps"
        parts.append(quiet(label, middle, BOTTOM + 44, "middle"))
        for row, name in enumerate(names):
            place = f'x="{middle:.1f}" y="{BOTTOM + 68 + 18 * row}"'
            parts.append(f'<text class="name" {place} text-anchor="middle">{escape(name) or "·"}</text>')
    return parts


def main() -> None:
    out: Path = machine.asked(__doc__, out=PICTURES / "learning.svg").out
    out.write_text(draw(tell(symmetry.Config())), encoding="utf-8")
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
