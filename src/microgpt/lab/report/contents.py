"""The report of a store as data: sections of sentences, tables, pictures and samples. page.py sets them as HTML."""

import itertools
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Final

from microgpt.lab.audit import Finding
from microgpt.lab.pictures.canvas import Plot, embed, write_svg
from microgpt.lab.pictures.plots import curves_plot, ideas_plot, loss_plot, returns_plot
from microgpt.lab.report.study import Part, part, slopes, varied
from microgpt.lab.report.summary import sentences, warned
from microgpt.lab.statistics.ideas import IDEA, ideas_table
from microgpt.lab.statistics.render import Column, Table
from microgpt.lab.statistics.returns import Slope
from microgpt.lab.statistics.series import PARAMS, STEPS, Axis, Series, reader, size_name
from microgpt.lab.statistics.tables import returns_table, size_table, steps_table
from microgpt.lab.store.record import RunRecord
from microgpt.lab.sweep.design import BASE
from microgpt.lab.sweep.ideas import SWEEPS
from microgpt.lab.sweep.plan import BUILT_IN, UNTUNED
from microgpt.model.settings import counted, flag
from microgpt.training.request import DECLARED

if TYPE_CHECKING:
    from microgpt.lab.store.record import Curve

Curves = Mapping[str, "Curve"]  # training losses by a run's identity
TITLES: Final = {
    "steps": "Longer training",
    "params": "Larger models",
    "laws": "Sizes crossed with lengths",
    SWEEPS["time"]: "Ideas at equal time",
    SWEEPS["steps"]: "Ideas at equal steps",
}
SHOWN_SAMPLES: Final = 5
MOST_COLUMNS: Final = 8


@dataclass(frozen=True)
class Picture:
    """An SVG for a page, what it shows, how to read its marks, and the command that makes it again."""

    svg: str
    caption: str
    note: str
    command: str


@dataclass(frozen=True)
class Writing:
    """What one model wrote."""

    title: str
    samples: tuple[str, ...]


@dataclass(frozen=True)
class Section:
    """A part of the report. What is empty is left out; `laws` is given as one of these."""

    title: str
    paragraphs: Sequence[str] = ()
    findings: Sequence[Finding] = ()
    pictures: Sequence[Picture] = ()
    tables: Sequence[Table] = ()
    writings: Sequence[Writing] = ()
    commands: Sequence[str] = ()


@dataclass(frozen=True)
class Report:
    """A title, what is said under it, and the sections."""

    title: str
    subtitle: str
    sections: Sequence[Section]


@dataclass(frozen=True)
class Setting:
    """One setting of the runs: its value, or all that it took."""

    setting: str
    values: str


def report(
    records: Sequence[RunRecord],
    store: str,
    curves: Curves | None = None,
    laws: Section | None = None,
    mark: float | None = None,
) -> Report:
    """The report of all sweeps in a store. `store` is how its file is called in the commands, `mark` the loss of the
    best table of counts, where it is known."""
    store = shlex.quote(store)
    names = sorted({name for sweeps in {run.sweeps for run in records} for name in sweeps}, key=_order)
    parts = [part(name, [run for run in records if name in run.sweeps], varied(name)) for name in names]
    findings = list({repr(found): found for each in parts for found in each.findings}.values())
    slope = slopes(records)
    found = [
        Section("In short", [*sentences(parts, records, mark), warned(findings)]),
        *([Section("Beware", findings=findings)] if findings else []),
        *(_sweep(each, store, curves or {}, slope) for each in parts),
        *([laws] if laws else []),
        _settings(records),
        _citing(records, store, names),
    ]
    done = sum(run.status == "done" for run in records)
    texts = ", ".join(sorted({run.data for run in records})) or "no text"
    subtitle = (
        f"{done:,} finished runs on {texts}, last on {max((run.finished[:10] for run in records), default='no day')}"
    )
    return Report("How it learns", subtitle, [section for section in found if section != Section(section.title)])


def _order(name: str) -> tuple[int, str]:
    """The built-in sweeps first, in their order."""
    built_in = name.removesuffix(UNTUNED)
    return list(TITLES).index(built_in) if built_in in TITLES else len(TITLES), name


def _sweep(found: Part, store: str, curves: Curves, slope: Slope | None) -> Section:
    """The pictures, tables and samples of one sweep."""
    pictures: list[Picture] = []
    tables: list[Table] = []
    for axis, lines in found.lines:
        if not lines:
            continue
        sweep = shlex.quote(found.sweep)
        asked = f"microgpt analyze {axis.name} --sweep {sweep} --store {store}"
        if axis is IDEA:
            tables.append(ideas := ideas_table(found.records, found.sweep.removesuffix(UNTUNED)))
            again = f"{asked} --plot ideas.svg"
            pictures.append(_picture(ideas_plot(ideas.rows), f"{found.sweep}-{axis.name}", "What ideas bring", again))
            continue
        gains = returns_table(lines, axis, slope)
        tables.append(steps_table(lines) if axis is STEPS else size_table(lines))
        caption = f"Held-out loss against {axis.unit}"
        pictures.append(_picture(loss_plot(lines), f"{found.sweep}-{axis.name}", caption, f"{asked} --plot loss.svg"))
        if gains.rows:
            tables.append(gains)
            again = f"microgpt analyze returns --sweep {sweep} --store {store} --plot returns.svg"
            caption = f"What the next {axis.unit} bring"
            pictures.append(_picture(returns_plot(gains.rows), f"{found.sweep}-{axis.name}-returns", caption, again))
    drawn = _curves(found, curves)
    if drawn:
        again = f"microgpt report --store {store}"
        pictures.append(_picture(curves_plot(drawn), f"{found.sweep}-curves", "Training losses", again))
    return Section(_heading(found.sweep), (), (), pictures, tables, _writings(found), [_again(found, store)])


def _picture(plot: Plot, name: str, caption: str, command: str) -> Picture:
    return Picture(embed(write_svg(plot.figure, name)), caption, plot.note, command)


def _heading(sweep: str) -> str:
    built_in = sweep.removesuffix(UNTUNED)
    title = TITLES.get(built_in, f"Sweep {sweep}")
    return title if built_in == sweep else f"{title}, with one learning rate for all"


def _again(found: Part, store: str) -> str:
    """The command that makes the runs of a sweep."""
    built_in = found.sweep.removesuffix(UNTUNED)
    seeds = max((len(level.losses) for _, lines in found.lines for line in lines for level in line.levels), default=0)
    words = [built_in if built_in in TITLES else shlex.quote(f"{found.sweep}.toml")]
    if built_in == SWEEPS["steps"]:
        words = ["ideas", "--equal steps"]
    words += _flags(found, words[0]) if words[0] in BUILT_IN else []
    words += ["--original"] if built_in != found.sweep else []
    words += [f"--seeds {seeds}"] if seeds else []
    return f"microgpt sweep {' '.join(words)} --store {store}"


def _flags(found: Part, name: str) -> list[str]:
    """The settings that the runs of a built-in sweep share in place of its own, as flags."""
    design = BUILT_IN[name]
    varied = {*design.axes, *(key for level in design.levels for key in level)}
    run = next((line.levels[0].first for _, lines in found.lines for line in lines), None)
    if run is None:
        return []
    own = {**{key: DECLARED[key].default for key in BASE}, **design.base, "data": "names"}
    asked = {**run.settings, "data": run.data}
    return [
        f"{flag(key)} {shlex.quote(str(asked[key]))}" for key in BASE if key not in varied and asked[key] != own[key]
    ]


def _axis_and_line(found: Part) -> tuple[Axis, Series] | None:
    """The series whose samples and curves are shown: of sizes where there are several, the longest trained."""
    of_axis = {axis.name: (axis, lines) for axis, lines in found.lines if lines}
    if PARAMS.name in of_axis:
        axis, lines = of_axis[PARAMS.name]
        return axis, max(lines, key=lambda line: (len(line.levels), line.levels[0].first.steps))
    return next(((axis, lines[0]) for axis, lines in of_axis.values()), None)


def _writings(found: Part) -> list[Writing]:
    """The samples of the first seed of each level, side by side."""
    chosen = _axis_and_line(found)
    levels = chosen[1].levels if chosen else ()
    every = [Writing(_title(chosen[0], level.first), level.first.samples[:SHOWN_SAMPLES]) for level in levels if chosen]
    return [writing for writing in every if writing.samples][:MOST_COLUMNS]


def _curves(found: Part, curves: Curves) -> Curves:
    chosen = _axis_and_line(found)
    if chosen is None:
        return {}
    axis, line = chosen
    firsts = [level.first for level in line.levels]
    return {_title(axis, run): curves[run.identity] for run in firsts if run.identity in curves}


def _title(axis: Axis, run: RunRecord) -> str:
    if axis is IDEA:
        return str(IDEA.key(run)) or "base"
    return counted(run.steps, "step") if axis is STEPS else size_name(run)


def _settings(records: Sequence[RunRecord]) -> Section:
    """Every setting, with the values that the reported runs have."""
    runs = [run for run in records if run.role == "study"]
    names = list(dict.fromkeys(itertools.chain.from_iterable(run.settings for run in runs)))
    around, others = ("data", "engine", "precision", "machine"), [name for name in names if name != "seed"]
    facts, settings = attrgetter(*around), reader(others)
    kinds = {(facts(run), settings(run)): run for run in runs}.values()  # one of each: a large store is read once
    values = {name: sorted({run.settings.get(name) for run in kinds}, key=repr) for name in names}
    values |= {"seed": sorted({run.seed for run in runs}, key=repr)} if runs else {}
    values |= {name: sorted({getattr(run, name) for run in kinds}) for name in around}
    rows = [Setting(name, _listed(found)) for name, found in values.items()]
    columns = [
        Column("setting", lambda row: row.setting, number=False),
        Column("values", lambda row: row.values, number=False),
    ]
    return Section("Settings", tables=[Table("Settings of the runs", Setting, rows, columns)] if rows else [])


def _listed(values: Sequence[object]) -> str:
    ordered = sorted(values) if all(isinstance(value, int | float) for value in values) else values  # type: ignore[type-var]
    told = [f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value) for value in ordered]
    return "  ".join(told) if len(told) <= 12 else f"{'  '.join(told[:5])}  …  {told[-1]}  ({len(told)} values)"


def _citing(records: Sequence[RunRecord], store: str, names: Sequence[str]) -> Section:
    """What to write under a table taken from here."""
    versions = sorted({f"{run.version}, commit {run.commit or 'not known'}" for run in records})
    texts = sorted({f"{run.data}, SHA-256 {run.data_sha256}" for run in records})
    year = max((run.finished for run in records), default="")[:4]
    cited = f"MicroGPT: The Art of Symmetry, in Python. Version {'; '.join(versions)}. {year}.".replace(" .", "")
    paragraphs = [cited, *(f"Data: {text}." for text in texts)] if records else []
    commands = [f"microgpt report --store {store}", f"microgpt analyze runs --csv --store {store}"]
    return Section("How to cite this, and make it again", paragraphs, commands=commands if names else [])
