"""Draws docs/pictures/your_text.svg: what `--for` learns from Shakespeare, and what it writes on the way.

    python bench/picture_text.py [--seconds 60] [--out FILE.svg]

The training is that of `microgpt --data shakespeare --for 60s`, which keeps its weights at each held-out loss. Some of
them write afterwards, so that writing takes no time from learning.
"""

import tempfile
import textwrap
import time
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path

import machine
import microgpt
from microgpt.recipes.budget import fit
from microgpt.training.loop import train
from microgpt.training.records import Evaluated, Finished, Started
from picture import BOTTOM, LEFT, PICTURES, RIGHT, TOP, WIDTH, Axis, framed, level, quiet

SHARES = (0, 0.2, 1)  # of the held-out losses, after which the model writes
PROMPT = "ROMEO:\n"
LENGTH, ROWS, COLUMNS = 400, 9, 41  # of a sample: characters, lines, characters in a line
LOW, HIGH = 1.25, 4.5  # of the loss axis
MARGIN, LINE = 48, 17  # pixels
HEIGHT = BOTTOM + MARGIN + 44 + LINE * ROWS
OWN = """
  .name { font-size: 11px; }
  .point { fill: #0969da; }
  @media (prefers-color-scheme: dark) { .point { fill: #58a6ff; } }
"""


@dataclass(frozen=True)
class Look:
    """A held-out loss, the seconds since the command was begun, and what these weights write, in lines."""

    seconds: float
    step: int
    loss: float
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Story:
    """A training within a time. `final` is the loss, on all held-out text, of the weights that were kept."""

    looks: tuple[Look, ...]
    params: int
    uniform: float
    unigram: float
    final: float


def tell(seconds: float) -> Story:
    """Train, and write with the weights of some steps."""
    with tempfile.TemporaryDirectory() as folder:
        began, looks = time.perf_counter(), list[Look]()
        fitted = fit({"data": ("shakespeare",), "out": folder, "samples": 0, "name": "run"}, seconds, began=began)
        request = replace(fitted.request, keep=f"every:{fitted.request.eval_every}")
        for record in train(request, split=fitted.split, deadline=fitted.deadline):
            passed = time.perf_counter() - began
            match record:
                case Started(params=params, uniform=uniform, unigram=unigram):
                    pass
                case Evaluated(step, held_out):
                    looks.append(Look(passed, step, held_out.per_character))
                case Finished(result):
                    final = result.loss.holdout_per_character
        looks.pop()  # the last is that of the kept weights, on all of the held-out text
        assert final is not None
        history = Path(folder) / "run" / "history"
        for place in {round(share * (len(looks) - 1)) for share in SHARES}:
            looks[place] = replace(looks[place], lines=written(history, looks[place].step))
    return Story(tuple(looks), params, uniform, unigram, final)


def written(history: Path, step: int) -> tuple[str, ...]:
    """What the weights of a step write after the prompt, in lines that fit into a column."""
    kept = next(path for path in history.iterdir() if int(path.stem.split("-")[1]) == step)
    (text,) = microgpt.load(kept).sample(PROMPT, count=1, seed=7, length=LENGTH)
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, COLUMNS, subsequent_indent="  ") or [""]]
    return tuple(lines[:ROWS])


def draw(story: Story) -> str:
    """The picture as SVG."""
    last = story.looks[-1]

    def x(seconds: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * seconds / last.seconds

    def y(loss: float) -> float:
        return TOP + (BOTTOM - TOP) * (HIGH - min(max(loss, LOW), HIGH)) / (HIGH - LOW)

    parts = [f'<text class="title" x="{LEFT}" y="30">One minute with plays of Shakespeare</text>']
    parts.append(quiet(f"{story.params:,} parameters", WIDTH - RIGHT, 30, "end"))
    parts.append(quiet("held-out loss: how surprising a character of unseen text is, in nats", LEFT, TOP - 12))
    parts.append(level("grid", BOTTOM))
    for tick in (2, 3, 4):
        parts += [level("grid", y(tick)), quiet(f"{tick}", LEFT - 8, y(tick) + 4, "end")]
    for text, loss in (("knows nothing", story.uniform), ("knows letter frequencies", story.unigram)):
        parts += [level("known", y(loss)), quiet(f"{text}: {loss:.2f}", WIDTH - RIGHT, y(loss) - 5, "end")]
    for second in range(0, int(last.seconds) + 1, 10):
        parts.append(
            quiet(f"{second} s" if second else "start", x(second), BOTTOM - 6, "middle" if second else "start")
        )
    points = " ".join(f"{x(look.seconds):.1f},{y(look.loss):.1f}" for look in story.looks)
    parts.append(f'<polyline class="mean" points="{points}"/>')
    for look in story.looks:
        parts.append(f'<circle class="point" cx="{x(look.seconds):.1f}" cy="{y(look.loss):.1f}" r="3"/>')
    kept = f"the weights that it keeps: {story.final:.2f} on all unseen text"
    parts.append(quiet(kept, WIDTH - RIGHT, min(y(2), y(last.loss) - 5) - 5, "end"))
    title = "Held-out loss over a minute of training, with samples written along the way"
    return framed(parts + _columns(story, x, y), HEIGHT, title, OWN)


def _columns(story: Story, x: Axis, y: Axis) -> list[str]:
    """What was written, in columns under the curve, each tied to its point."""
    parts, written = [], [look for look in story.looks if look.lines]
    wide = (WIDTH - LEFT - RIGHT) / len(written)
    for column, look in enumerate(written):
        left = LEFT + wide * column
        parts.append(
            f'<polyline class="look" fill="none" points="{x(look.seconds):.1f},{y(look.loss):.1f} '
            f'{x(look.seconds):.1f},{BOTTOM} {left + 60:.1f},{BOTTOM + MARGIN - 14}"/>'
        )
        parts.append(quiet(f"after {look.seconds:.0f} s, {look.step:,} steps", left, BOTTOM + MARGIN))
        for row, line in enumerate(look.lines):
            place = f'xml:space="preserve" x="{left:.1f}" y="{BOTTOM + MARGIN + 24 + LINE * row}"'
            parts.append(f'<text class="name" {place}>{escape(line)}</text>')
    return parts


def main() -> None:
    asked = machine.asked(__doc__, seconds=60.0, out=PICTURES / "your_text.svg")
    asked.out.write_text(draw(tell(asked.seconds)), encoding="utf-8")
    print(f"wrote {asked.out}")


if __name__ == "__main__":
    main()
