"""Telling a sweep: its plan, and its progress as a table that moves on a terminal, else a line now and then."""

import json
import time
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli import telling
from microgpt.cli.streams import console, redraws
from microgpt.cli.telling import EVERY
from microgpt.model.settings import counted
from microgpt.training.pace import duration
from microgpt.training.request import BEFORE
from microgpt.untrusted import visible

if TYPE_CHECKING:
    from rich.table import Table

    from microgpt.lab.sweep.coordinator import Status, SweepRecord
    from microgpt.lab.sweep.estimate import Row, TimeEstimate
    from microgpt.lab.sweep.plan import Plan

SHOWN = ("steps", "emb", "head", "layer", "ctx", "batch", "lr", "seed")  # of a level, in columns of their own
MOST_WORKERS = 16  # shown in the live table
NEEDED_LATER = {"scipy": "SciPy", "matplotlib": "matplotlib"}  # by what looks at the store


class Teller(telling.Teller):
    """For what is no terminal: what is worth a line of its own, and the progress every five seconds."""

    def __init__(self) -> None:
        self.next = time.monotonic() + EVERY

    def tell(self, record: "SweepRecord") -> None:
        from microgpt.lab.sweep.coordinator import Status

        if line := note(record):
            self.note(line)
        elif isinstance(record, Status):
            self.status(record)

    def status(self, status: "Status") -> None:
        now = time.monotonic()
        if now >= self.next:
            self.next = now + EVERY
            self.note(progress(status))


class Quiet(Teller):
    """Tells nothing."""

    def note(self, text: str) -> None: ...


class Live(Teller):
    """For a terminal: a table of the workers that moves, with notes above it."""

    def __init__(self) -> None:
        from rich.live import Live as Moving

        super().__init__()
        self.moving = Moving(
            console=console(err=True),
            transient=True,
            refresh_per_second=8,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self.moving.start()

    def note(self, text: str) -> None:
        self.moving.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def status(self, status: "Status") -> None:
        now = time.monotonic()
        if now >= self.next:
            self.next = now + 1 / 8
            self.moving.update(_table(status))

    def close(self) -> None:
        self.moving.stop()


def teller(quiet: bool) -> Teller:
    """Who suits this standard error."""
    if quiet:
        return Quiet()
    return Live() if redraws() else Teller()


def note(record: "SweepRecord") -> str:
    """What a record is worth saying, or nothing."""
    from microgpt.lab.sweep.coordinator import Done, Planned, Retried, Tuned

    match record:
        case Planned(runs, skipped, jobs):
            there = f", of which {skipped:,} are in the store" if skipped else ""
            return f"{counted(runs, 'run')} to begin with{there}; {jobs} at a time"
        case Tuned(group, choice):
            edge = "; it is the last one tried, and a better one may lie beyond" if choice.at_edge else ""
            return f"learning rate for {group.name}: {choice.rate:g}{edge}"
        case Done(run) if run.status == "failed":
            return f"failed: {described(run.settings)}: {run.error}"
        case Retried(spec, reason):
            return f"tried again: {described(vars(spec.settings))}: {reason}"
    return ""


def progress(status: "Status") -> str:
    """`12 done, 0 failed, 8 to go, 3 s left`."""
    left = "" if status.seconds_left is None else f", {duration(status.seconds_left)} left"
    return f"{status.done:,} done, {status.failed:,} failed, {status.waiting:,} to go{left}"


def described(settings: Any) -> str:
    """A run in a few words."""
    varied = [f", {name} {settings[name]}" for name, value in BEFORE.items() if settings.get(name, value) != value]
    told = "steps {steps}, emb {emb}, head {head}, layer {layer}, lr {lr:g}, seed {seed}".format(**settings)
    return told + "".join(varied)


def of_ideas(plan: "Plan") -> list[str]:
    """What a plan of ideas settled before it runs: steps that take as long as the base's, and which ideas can't be."""
    from microgpt.lab.sweep.equal_time import by_idea
    from microgpt.lab.sweep.ideas import IDEAS, SWEEPS

    levels = by_idea(plan)
    base = levels[""].settings.steps
    lengths = {name: levels[name].settings.steps for name in IDEAS if name in levels}
    told = [
        f"{name}: can't be with the base's settings or text, and is left out" for name in IDEAS if name not in levels
    ]
    if plan.name.startswith(SWEEPS["steps"]):
        return told
    return told + [
        f"{name}: {counted(steps, 'step')}, since each takes {base / steps:.2f} times as long as the base's"
        for name, steps in lengths.items()
    ]


def lacking() -> str:
    """A note of what is not installed that a sweep does without, but a look at its store does not; or nothing."""
    missing = [name for module, name in NEEDED_LATER.items() if find_spec(module) is None]
    if not missing:
        return ""
    return (
        f"for `microgpt analyze` and `microgpt report` later, install {' and '.join(missing)}: pip install "
        "'microgpt-symmetry[lab]'"
    )


def _table(status: "Status") -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False)
    for number, spec in enumerate(status.working[:MOST_WORKERS], 1):
        table.add_row(f"worker {number}", Text(described(vars(spec.settings)) if spec else "idle"))
    table.add_row("all", progress(status))
    return table


def print_estimate(plan: "Plan", known: "TimeEstimate", as_json: bool) -> None:
    """The plan and what it takes, on standard output."""
    if as_json:
        click.echo(json.dumps(_estimated(plan, known)))
        return
    sizes = f"{'steps':>9} {'emb':>4} {'head':>4} {'layer':>5} {'ctx':>4} {'batch':>5} {'lr':>7} {'params':>10}"
    costs = f"{'epochs':>6} {'FLOP a run':>10} {'memory':>8} {'time a run':>10}"
    click.echo(f"{sizes} {'runs':>5} {'tuning':>6} {costs}")
    firsts = [row.spec.scientific for row in known.rows]
    others = [name for name in firsts[0] if name not in SHOWN and len({each[name] for each in firsts}) > 1]
    for row, each in zip(known.rows, firsts, strict=True):
        told = ", ".join(f"{name} {each[name]}" for name in others)
        click.echo(f"{_line(row, 'tuned' if plan.tuning else f'{row.spec.settings.lr:g}')}  {told}".rstrip())
    if plan.left_out:
        click.echo(f"{counted(plan.left_out, 'combination')} left out, because of conditions or invalid settings.")
    more = f", {known.tuning:,} of them to tune learning rates (perhaps a few more)" if known.tuning else ""
    click.echo(
        f"{counted(known.runs, 'run')}{more}; {known.flop:.3g} FLOP, {_bytes(known.memory)}, "
        f"about {_time(known.seconds)} with {known.jobs} at a time"
    )


def _line(row: "Row", lr: str) -> str:
    s = row.spec.settings
    sizes = f"{s.steps:9,} {s.emb:4} {s.head:4} {s.layer:5} {s.ctx:4} {s.batch:5} {lr:>7} {row.params:10,}"
    costs = f"{row.epochs:6.2f} {row.flop:10.2e} {_bytes(row.memory):>8} {_time(row.seconds):>10}"
    return f"{sizes} {row.runs - row.tuning:5} {row.tuning:6} {costs}"


def _estimated(plan: "Plan", known: "TimeEstimate") -> dict[str, Any]:
    rows = [
        {name: value for name, value in vars(row).items() if name != "spec"} | {"settings": row.spec.scientific}
        for row in known.rows
    ]
    totals = {name: getattr(known, name) for name in ("runs", "tuning", "flop", "memory", "start", "seconds", "jobs")}
    return totals | {"left_out": plan.left_out, "rows": rows}


def _bytes(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _time(seconds: float) -> str:
    if seconds < 1:
        return f"{seconds * 1e3:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 10 else duration(seconds)
