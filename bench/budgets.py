"""The sweep behind `--for`: which tokens and sizes learn most from a text in a given amount of computing.

    python bench/budgets.py [--most 2.5e12] [--texts plays german] [--table] [--picture 10]

A training costs FLOP of useful work (model/cost.py); two cores of a laptop give about 2.5e11 a second. So the question
is put without a clock: of each text, the held-out loss in nats per character that each size reaches with the work of
3, 10, 60 and 600 s; of the model alone, and mixed with the table of counts. Rows go into bench/budgets.csv as they are
measured; what stands there is not measured again. `--table` prints, for each text and amount, the best rows;
`--picture` draws docs/pictures/texts.svg of those of so many seconds, or of fewer where a text is used up sooner.

The texts are 500 B to 5 MB in nine languages and a programming language: the built-in ones, tests' fixtures, Python's
standard library, and Debian's collections of sayings (apt-get install fortunes fortunes-br fortunes-cs fortunes-de
fortunes-es fortunes-it fortunes-ru fortunes-zh). A text that is not installed is left out.
"""

import math
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from itertools import groupby, product
from pathlib import Path

import machine
from microgpt.data.corpus import Corpus
from microgpt.data.dataset import Dataset
from microgpt.data.reading import read, text_from
from microgpt.data.retokenize import retokenized
from microgpt.data.split import Split
from microgpt.errors import DataError
from microgpt.model.cost import forward_flop
from microgpt.recipes import resolve
from microgpt.training.loop import train
from microgpt.training.records import Finished
from picture import PICTURES, RIGHT, TOP, WIDTH, framed, quiet

TABLE = Path(__file__).with_suffix(".csv")
FIXTURES = Path(__file__).parent.parent / "tests" / "fixtures"
SAYINGS = Path("/usr/share/games/fortunes")
SECONDS = {3: 7e11, 10: 2.5e12, 60: 1.5e13, 600: 1.5e14}  # of work, and what they give
LOOKS = 20
MOST_EPOCHS = 400
FILES = {  # by their size in characters
    "lyrics": [FIXTURES / "lyrics_pt.txt"],  # 2.5 thousand, Portuguese
    "chat": [FIXTURES / "chat.txt"],  # 4 thousand
    "food": [SAYINGS / "food"],  # 34 thousand, English, as are the next
    "art": [SAYINGS / "art"],  # 85 thousand
    "computers": [SAYINGS / "computers"],  # 240 thousand
    "brazilian": [SAYINGS / "brasil"],  # 250 thousand
    "spanish": [SAYINGS / "es"],  # 0.9 million
    "chinese": [SAYINGS / "chinese"],  # 1.1 million
    "czech": [SAYINGS / "cs"],  # 1.3 million
    "italian": [SAYINGS / "it"],  # 1.6 million
    "russian": [SAYINGS / "ru"],  # 2.0 million
    "german": [SAYINGS / "de"],  # 2.9 million
    "python": [Path(sysconfig.get_paths()["stdlib"])],  # 5 million
}
LINES = ("names", "places_ja")
TEXTS = ("note", *list(FILES)[:7], "plays", *list(FILES)[7:], *LINES)
MOST_CHARACTERS = 5_000_000
NOT = (".dat", ".u8")


@dataclass(frozen=True)
class Row:
    """One training. `model` is the lowest of its held-out losses, seen at the share `best_at` of its steps; `mixed` is
    that of these weights and the table together, `counts` that of the best table, all in nats per character."""

    text: str
    characters: int
    seconds: int
    tokens: str
    emb: int
    layer: int
    ctx: int
    batch: int
    lr: float
    weight_decay: float
    seed: int
    steps: int
    epochs: float
    model: float
    mixed: float
    counts: float
    best_at: float

    @property
    def asked(self) -> tuple[object, ...]:
        sizes = self.emb, self.layer, self.ctx, self.batch, self.lr, self.weight_decay
        return self.text, self.seconds, self.tokens, *sizes, self.seed


def characters_of(name: str) -> str | None:
    """A text as it is read; None where it is not installed."""
    if name in ("plays", "note", "names"):
        whole = read(("names" if name == "names" else "shakespeare",))
        text = "".join(whole.alphabet[symbol] for symbol in whole.symbols)
        return text[:500] if name == "note" else text
    if name == "places_ja":
        return (FIXTURES / "places_ja.txt").read_text()
    found: list[Path] = []
    for place in FILES[name]:
        plain = sorted(place.glob("*.py" if name == "python" else "*")) if place.is_dir() else [place]
        found += [
            file for file in plain if file.is_file() and not file.is_symlink() and file.suffix not in (".dat", ".u8")
        ]
    told = "\n".join(_decoded(file.read_bytes()) for file in found)
    return told.replace("\r", "")[:MOST_CHARACTERS] or None


def _decoded(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return data.decode("latin-1")


@cache
def split_of(name: str, tokens: str = "characters") -> Split | None:
    """A text in tokens; None where it is not installed, or too small for so many."""
    if tokens != "characters":
        whole = split_of(name)
        try:
            return whole and retokenized(whole, tokens)
        except DataError:
            return None
    text = characters_of(name)
    kind = "lines" if name in LINES else "windows"
    return text and Split.of(Corpus.of(text_from(text), kind), 0.1, 0)


def trained(asked: Row) -> Row | None:
    """One training, or None where so little computing makes too few steps of this size, or an epoch is too long."""
    split = split_of(asked.text, asked.tokens)
    if split is None:
        return None
    chosen = {
        "emb": asked.emb, "layer": asked.layer, "ctx": asked.ctx, "batch": asked.batch, "lr": asked.lr,
        "weight_decay": asked.weight_decay, "seed": asked.seed, "beta1": 0.9, "position": "rotary",
        "activation": "swiglu",
    }  # fmt: skip
    model = resolve("default", chosen).settings.model(split.corpus.tokenizer.vocabulary)
    dataset = Dataset.of(split, ctx=asked.ctx)
    predictions = dataset.tokens_in_epoch / dataset.documents
    most = math.ceil(MOST_EPOCHS * dataset.documents / asked.batch)
    steps = min(most, int(SECONDS[asked.seconds] / (3 * asked.batch * forward_flop(model, round(predictions)))))
    if steps < 100:
        return None
    chosen |= {
        "steps": steps, "warmup": steps // 20, "samples": 0, "out": "", "engine": "fused", "threads": 2,
        "select": "best",
        "eval_every": max(1, steps // LOOKS), "eval_documents": 600, "patience": 8, "mix": 0.5, "tokens": asked.tokens,
        "documents": split.corpus.kind,
    }  # fmt: skip
    for record in train(resolve("default", chosen), split=split):
        if isinstance(record, Finished):
            loss = record.result.loss
            assert loss.holdout_per_character is not None and loss.mixed is not None and loss.counts is not None  # noqa: PT018
            characters = split.characters or split
            return replace(
                asked, characters=int((characters.training.stops - characters.training.starts).sum()), steps=steps,
                epochs=steps * asked.batch / dataset.documents, model=loss.holdout_per_character, mixed=loss.mixed,
                counts=loss.counts, best_at=record.result.selected_step / steps,
            )  # fmt: skip
    raise RuntimeError("the training did not finish")


def plan(texts: list[str], most: float) -> Iterator[Row]:
    """What is tried: around what did best with less computing, and on neighbouring texts."""
    for seconds, name in product(SECONDS, texts):
        if SECONDS[seconds] > most or split_of(name) is None:
            continue
        for tokens, emb, layer, batch, lr, decay in candidates(name, seconds):
            ctx = 64 if name not in LINES else 16 if name == "names" else 8
            yield Row(name, 0, seconds, tokens, emb, layer, ctx, batch, lr, decay, 0, 0, 0, 0, 0, 0, 0)


def candidates(name: str, seconds: int) -> Iterator[tuple[str, int, int, int, float, float]]:
    """Tokens, emb, layer, batch, learning rate and weight decay. What is used up in 3 s is not tried for longer."""
    place = TEXTS.index(name)
    if name in LINES:
        for emb, layer in ((32, 2), (64, 3))[: 1 if name == "places_ja" else 2]:
            yield from (("characters", emb, layer, 16, 0.3 / emb, decay) for decay in (0.05, 0.5))
    elif place < TEXTS.index("food"):  # up to 5 thousand characters
        for emb, layer in ((32, 2), (64, 2)) if seconds == 3 else ():
            yield from (("characters", emb, layer, 4, 0.2 / emb, decay) for decay in (0.5, 2.0))
    elif place < TEXTS.index("computers"):  # up to 100 thousand
        for tokens, (emb, layer) in product(("characters", "bpe:256"), ((32, 2), (64, 2), (96, 3))):
            if tokens == "characters" or seconds == 3:  # pairs did worse
                yield tokens, emb, layer, 16, 0.3 / emb, 1.0 if emb > 32 else 0.5
    else:
        sizes = {3: ((48, 2), (64, 2)), 10: ((64, 2), (96, 2)), 60: ((96, 3), (128, 3)), 600: ((128, 4), (192, 4))}
        middling = place < TEXTS.index("spanish") or name == "chinese"  # up to 300 thousand, or of so many characters
        for tokens, (emb, layer) in product(("bpe:512", "characters" if middling else "bpe:1024"), sizes[seconds]):
            if middling or seconds == 3 or tokens == "bpe:1024":
                yield tokens, emb, layer, 16, 0.4 / emb, 0.5 if middling else 0.3


def draw(rows: list[Row], seconds: int) -> str:
    """For each text its table of counts, the model, and both together, as SVG."""
    found = [
        min((row for row in rows if row.text == name and row.seconds <= seconds), key=_mixed, default=None)
        for name in TEXTS
    ]
    best = [row for row in found if row]
    line, left = 26, 190
    height = TOP + line * len(best) + 40
    low, high = 0.9, max(max(row.model, row.counts) for row in best) + 0.1

    def x(loss: float) -> float:
        return left + (WIDTH - left - RIGHT) * (loss - low) / (high - low)

    parts = [f'<text class="title" x="{left}" y="26">What {seconds} seconds learn, and what counting tells</text>']
    for tick in (1.0, 1.5, 2.0, 2.5, 3.0, 3.5):
        if tick < high:
            parts.append(
                f'<line class="grid" x1="{x(tick):.1f}" x2="{x(tick):.1f}" y1="{TOP - 14}" y2="{height - 34}"/>'
            )
            parts.append(quiet(f"{tick:.1f}", x(tick), height - 20, "middle"))
    parts.append(quiet("held-out loss, nats per character", WIDTH - RIGHT, height - 4, "end"))
    key = (("each", "model alone"), ("count", "table of counts"), ("both", "half and half"))
    for place, (kind, name) in enumerate(key):
        at = left + 150 * place
        parts += [_dot(kind, at + 6, TOP - 24), quiet(name, at + 16, TOP - 20)]
    for number, row in enumerate(best):
        y = TOP + line * number
        parts.append(f'<text x="{left - 12}" y="{y + 5}" text-anchor="end">{row.text}</text>')
        parts.append(quiet(f"{row.characters:,}", 8, y + 4))
        parts.append(f'<line class="grid" x1="{x(row.mixed):.1f}" x2="{x(row.model):.1f}" y1="{y}" y2="{y}"/>')
        parts += [_dot("each", x(row.model), y), _dot("count", x(row.counts), y), _dot("both", x(row.mixed), y)]
    return framed(parts, height, "Held-out loss of a model, of a table of counts, and of both, on each text", OWN)


OWN = """
  .each { fill-opacity: 1; } .count { fill: #bf8700; } .both { fill: #1a7f37; }
  @media (prefers-color-scheme: dark) { .count { fill: #d29922; } .both { fill: #3fb950; } }
"""


def _mixed(row: Row) -> float:
    return row.mixed


def _dot(kind: str, x: float, y: float) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="5"/>'


def main() -> None:
    arguments = machine.asked(__doc__, most=2.5e12, texts=list(TEXTS), table=False, picture=0)
    rows: list[Row] = machine.kept(TABLE, Row)
    if arguments.picture:
        (PICTURES / "texts.svg").write_text(draw(rows, arguments.picture), encoding="utf-8")
        return
    if not arguments.table:
        done = {row.asked for row in rows}
        for asked in plan(arguments.texts, arguments.most):
            asked = replace(asked, lr=float(f"{asked.lr:.2g}"))
            if asked.asked not in done and (row := trained(asked)):
                machine.keep(TABLE, row)
                rows.append(row)
                print(row, flush=True)
    by_text = sorted(rows, key=lambda row: (TEXTS.index(row.text), row.seconds, row.mixed))
    for (name, seconds), found in groupby(by_text, key=lambda row: (row.text, row.seconds)):
        print(f"\n{name}, {seconds} s")
        for row in list(found)[:4]:
            print(
                f"  {row.tokens:10} emb {row.emb:3}, layer {row.layer}, lr {row.lr:.2g}, decay {row.weight_decay:g}: model "
                f" {row.model:.3f} (best at {row.best_at:.0%} of {row.epochs:.0f} epochs), mixed {row.mixed:.3f}, "
                f"counts {row.counts:.3f}"
            )


if __name__ == "__main__":
    main()
