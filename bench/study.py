"""The project's own study of scaling laws, all of it or a part, from one command that can be stopped and gone on with:

    python bench/study.py [--texts names shakespeare markov] [--sizes 6] [--jobs 1] [--out runs/study]

For each text: the sweep of sweeps/study-TEXT.toml; the laws of two forms, full and joint; the frontier of four times
the largest run's FLOP; four predictions of runs of that cost, written down before these are trained; their runs; the
score. A run that is in the store is never done again, and predictions that are written down are never changed. With
--sizes only so many of the smallest sizes are run: a smaller study, whose runs a larger one in the same OUT takes over
before it makes predictions of its own. Tables go to OUT/study.md and standard output, plots to docs/pictures.

The headline counts, for each text, the form that predicts its larger runs better from its smaller ones: a rule that
needs no run that was predicted. All six sizes are 6.6e14 FLOP, a good two hours of one quiet core, most of them for the
largest; --sizes 5 is a fifth of that.
"""

import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

import machine
from microgpt.data.markov import ENDLESS
from microgpt.lab.laws.form import FORMS
from microgpt.lab.laws.frontier import Optimum, frontier
from microgpt.lab.laws.plot import law_plot
from microgpt.lab.laws.points import Points, points
from microgpt.lab.laws.predict import predict
from microgpt.lab.laws.price import price
from microgpt.lab.laws.recipe import Recipe, recipe
from microgpt.lab.laws.register import Score, register, registered, score
from microgpt.lab.laws.summary import Fitting, Law, compare, law
from microgpt.lab.laws.table import table
from microgpt.lab.pictures.canvas import HUES, QUIET, Plot, drawing, save, titled
from microgpt.lab.store.store import Store
from microgpt.lab.sweep.coordinator import Done, sweep
from microgpt.lab.sweep.design import Design
from microgpt.lab.sweep.design_file import read_design
from microgpt.lab.sweep.executors import LocalProcesses
from microgpt.lab.sweep.plan import plan
from microgpt.lab.sweep.texts import Texts

ROOT = Path(__file__).parent.parent
WORK = 4.0  # how many times the largest run's FLOP the predicted runs take
LENGTHS = {  # of the predicted runs, in times of the longest fitted; the size makes up for the rest
    "names": (0.7, 1.0, 1.4, 2.0),  # twice is four epochs
    "shakespeare": (1.0, 2.0, 2.8, 4.0),  # four times is four epochs
    "markov": (1.0, 2.0, 2.8, 4.0),
}
TRIED = ("full", "joint")
SEED = 3  # of the predicted runs: none of those that were fitted
PARAMETERS = ("E", "A", "B", "alpha", "beta", "gamma", "size_exponent")


@dataclass(frozen=True)
class Study:
    """What came of one text: a law, its backtest and its scores by form, and which form the headline counts."""

    text: str
    runs: int
    seconds: float  # of training, in all
    laws: dict[str, Law]
    errors: dict[str, float]  # on larger runs, as a share of the loss
    scores: dict[str, list[Score]]
    budget: float
    best: list[Optimum]
    registered: str  # when the predictions were written down

    @property
    def headline(self) -> str:
        return min(self.errors, key=self.errors.__getitem__)


def carry_out(text: str, sizes: int, jobs: int, out: Path) -> Study:
    """Sweep, fit, predict, train, score: each step that is done already is only read."""
    design = read_design(ROOT / "sweeps" / f"study-{text}.toml")
    design = replace(design, levels=design.levels[:sizes])
    with Store.open(out / f"{text}.db", create=True) as store:
        train(design, store, jobs)
        fitted = store.records(design.name)
        runs = table(fitted)
        laws = {name: law(runs, Fitting(FORMS[name])) for name in TRIED}
        errors = {row["form"]: float(row["backtest_error"]) for row in compare(runs, forms=TRIED)}
        asked = [recipe(runs.records, size, tokens) for size, tokens in ahead(text, runs.points)]
        files = {name: out / f"predictions-{text}-{name}-{runs.sha256[:8]}.json" for name in TRIED}
        for name, path in files.items():
            if not path.exists():  # what is written down of these runs stays as it is
                write_down(path, laws[name], asked)
        train(further(design, asked), store, jobs)
        done = store.records(f"{design.name}-ahead")
    later = table(done)
    times = [record.finished for record in later.records]
    scores = {name: score(registered(path), later.points, times) for name, path in files.items()}
    budget = WORK * float(runs.points.flop.max())
    headline = min(errors, key=errors.__getitem__)
    best = frontier(laws[headline].ensemble, price(runs.points), budget)
    seconds = sum(record.seconds.get("total", 0.0) for record in [*fitted, *done])
    when = registered(files[headline])[0]["time"][:16]
    return Study(text, len(runs.points), seconds, laws, errors, scores, budget, best, when)


def train(design: Design, store: Store, jobs: int) -> None:
    """What the store lacks of a sweep."""
    texts, executor = Texts(), LocalProcesses(jobs)
    try:
        for record in sweep(plan(design, texts), store, executor, texts):
            if isinstance(record, Done) and record.record.seconds.get("total", 0) > 10:
                print(f"{design.name}: {record.record.params:,} parameters done", file=sys.stderr)
    finally:
        executor.close()


def ahead(text: str, known: Points) -> Iterator[tuple[float, float]]:
    """The sizes and tokens to predict."""
    size, tokens = float(known.params.max()), float(known.tokens.max())
    return ((size * WORK / times, tokens * times) for times in LENGTHS[text])


def write_down(path: Path, found: Law, asked: Sequence[Recipe]) -> None:
    """Predictions of the runs that are asked for, with the time and the hash of the runs they are made from."""
    unique = [float(found.fit.points.unique.max())] * len(asked)
    at = points([one.params for one in asked], [one.tokens for one in asked], [1.0] * len(asked), unique)
    register(path, predict(found.ensemble, found.backtest, at, found.level), found.table.sha256, datetime.now(UTC))


def further(design: Design, asked: Sequence[Recipe]) -> Design:
    """The predicted runs as a sweep of their own, each with the rate that its size was given beforehand."""
    levels = tuple(one.settings for one in asked)
    base = {"data": design.base["data"]}
    return Design(f"{design.name}-ahead", base=base, levels=levels, seeds=(SEED,), tuned=False)


def told(studies: Sequence[Study]) -> str:
    """All tables, in Markdown."""
    heads = [one.scores[one.headline] for one in studies]
    scores = [score for found in heads for score in found]
    inside = sum(score.inside for score in scores)
    width = float(np.median([(score.high - score.low) / 2 for score in scores]))
    close = f"{inside} of {len(scores)} predicted runs inside; median half-width {width:.4f} nats."
    parts = [machine.line(), _laws(studies), _floor(studies), _predictions(studies), close, _frontiers(studies)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _laws(studies: Sequence[Study]) -> str:
    rows = []
    for one in studies:
        for name, found in one.laws.items():
            said = found.to_dict()
            cells = [_span(said[key], *said["intervals"][key]) if key in said else "" for key in PARAMETERS]
            error = f"{one.errors[name]:.2%}{' *' if name == one.headline else ''}"
            rows.append([one.text, name, str(one.runs), *cells, f"{said['run_spread']:.4f}", error])
    return _markdown(["text", "form", "runs", *PARAMETERS, "sd of a run", "error on larger runs"], rows)


def _floor(studies: Sequence[Study]) -> str:
    """E against the truth, where there is one: on average, and on the very windows that are held out."""
    rows = []
    for one in (one for one in studies if one.text == "markov"):
        average, held_out = floors()
        for name, found in one.laws.items():
            low, high = found.spans["E"]
            inside = "yes" if low <= held_out <= high else "no"
            said = f"{found.fit.values['E']:.4f} ({low:.4f} to {high:.4f})"
            cells = [said, f"{average:.4f}", f"{held_out:.4f}", inside]
            rows.append([name, *cells, f"{found.fit.points.loss.min():.4f}"])
    heads = ["form", "E on markov", "true floor", "of the held-out text", "inside", "lowest loss of a run"]
    return _markdown(heads, rows) if rows else ""


def floors() -> tuple[float, float]:
    """What a perfect model of markov's ctx loses on average, and on the held-out windows of the study."""
    texts = Texts()
    level = plan(read_design(ROOT / "sweeps" / "study-markov.toml"), texts).levels[0]
    ctx = level.settings.ctx
    windows = np.stack([window for window in texts.shared(level).held_out if len(window) == ctx + 1])
    return ENDLESS.floor(ctx), ENDLESS.best_loss(windows)


def _predictions(studies: Sequence[Study]) -> str:
    rows = []
    for one in studies:
        for name, scores in one.scores.items():
            for found in scores:
                truth = "no run yet" if found.found is None else f"{found.found:.4f}"
                said = f"{found.loss:.4f} ({found.low:.4f} to {found.high:.4f})"
                inside = "yes" if found.inside else "no"
                form = f"{name}{' *' if name == one.headline else ''}"
                cells = [f"{found.params:,.0f}", f"{found.tokens:,.0f}", said, truth, inside]
                rows.append([one.text, form, one.registered, *cells])
    return _markdown(["text", "form", "written down", "params", "tokens", "said", "found", "inside"], rows)


def _frontiers(studies: Sequence[Study]) -> str:
    rows = []
    for one in studies:
        for best in one.best:
            if best.params is None or best.tokens is None or best.loss is None:
                rows.append([one.text, f"{one.budget:.3g}", best.method, "can't be read off", "", ""])
                continue
            span = "" if best.low is None or best.high is None else f" ({best.low:,.0f} to {best.high:,.0f})"
            cells = [f"{best.params:,.0f}{span}", f"{best.tokens:,.0f}", f"{best.loss:.4f}"]
            rows.append([one.text, f"{one.budget:.3g}", best.method, *cells])
    return _markdown(["text", "FLOP", "method", "best size", "tokens", "loss"], rows)


def _span(value: float, *bounds: float | None) -> str:
    low, high = ("not determined" if bound is None else f"{bound:.4g}" for bound in bounds)
    return f"{value:.4g} ({low} to {high})"


def _markdown(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def picture(studies: Sequence[Study]) -> Plot:
    """Each prediction's interval about zero, and where its run came out."""
    rows = [(k, one.text, score) for k, one in enumerate(studies) for score in one.scores[one.headline]]
    with drawing(0.6 + 0.22 * len(rows)) as (figure, axes):
        titled(axes, "Runs of four times the compute: found minus said, nats")
        axes.axvline(0, color=QUIET, linewidth=0.9)
        for y, (k, _, found) in enumerate(rows):
            axes.plot([found.low - found.loss, found.high - found.loss], [y, y], color=HUES[k], linewidth=4, alpha=0.35)
            if found.error is not None:
                axes.plot(found.error, y, "o", color=HUES[k], markersize=4)
        axes.set_yticks(range(len(rows)))
        axes.set_yticklabels(
            [f"{text}  {one.params:,.0f} × {one.tokens:.1e}".replace("e+0", "e") for _, text, one in rows]
        )
        axes.invert_yaxis()
    return Plot(figure, "Bars: 90% of runs, written down before. Dots: the runs. Left: parameters × tokens.")


def draw(studies: Sequence[Study], folder: Path) -> None:
    """A picture of each text's law, and one of all predictions."""
    for one in studies:
        save(law_plot(one.laws[one.headline]), folder / f"study-{one.text}.svg")
    save(picture(studies), folder / "study-predictions.svg")


def main() -> int:
    chosen = machine.asked(
        __doc__, texts=list(LENGTHS), sizes=6, jobs=1, out=Path("runs/study"), pictures=ROOT / "docs" / "pictures"
    )
    start = time.perf_counter()
    chosen.out.mkdir(parents=True, exist_ok=True)
    studies = [carry_out(text, chosen.sizes, chosen.jobs, chosen.out) for text in chosen.texts]
    found = told(studies)
    (chosen.out / "study.md").write_text(found)
    draw(studies, chosen.pictures)
    trained = sum(one.seconds for one in studies)
    print(f"{found}\n{trained / 60:.1f} minutes of runs; this time {(time.perf_counter() - start) / 60:.1f} minutes")
    return 0


if __name__ == "__main__":
    sys.exit(main())
