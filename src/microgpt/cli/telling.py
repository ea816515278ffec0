"""Telling a training while it runs: a live line on a terminal, else a plain line every five seconds."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from microgpt.cli.streams import console, redraws
from microgpt.training.pace import describe
from microgpt.untrusted import visible

if TYPE_CHECKING:
    from microgpt.training.records import Progress

EVERY = 5.0  # seconds between plain lines


class Teller:
    """Tells of steps on standard error, for what is no terminal."""

    def __init__(self) -> None:
        self.next = 0.0

    def progress(self, done: "Progress", held_out: float | None) -> None:
        now = time.monotonic()
        if now >= self.next or done.step == done.steps:
            self.next = now + EVERY
            self.note(describe(done, held_out))

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def close(self) -> None: ...


class Quiet(Teller):
    """Tells nothing."""

    def note(self, text: str) -> None: ...


class Live(Teller):
    """For a terminal: a bar that moves (rich keeps NO_COLOR), with notes above it."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        columns = [BarColumn(bar_width=24), TextColumn("{task.description}", markup=False)]
        # Redirection would send to standard error what is printed on standard output.
        self.bar = Bar(
            *columns, console=console(err=True), transient=True, redirect_stdout=False, redirect_stderr=False
        )
        self.task = self.bar.add_task("", total=None)

    def progress(self, done: "Progress", held_out: float | None) -> None:
        self.bar.start()  # not before the headline is written
        self.bar.update(self.task, completed=done.step, total=done.steps, description=describe(done, held_out))

    def note(self, text: str) -> None:
        self.bar.console.print(visible(text), markup=False, highlight=False, soft_wrap=True)

    def close(self) -> None:
        self.bar.stop()


def teller(quiet: bool) -> Teller:
    """Who suits this standard error."""
    if quiet:
        return Quiet()
    return Live() if redraws() else Teller()


def copies(copied: int, written: int) -> str:
    """How many samples are learned by heart.

    >>> copies(4, 20)
    '4 of the 20 samples are copies of training lines; 16 are new'
    """
    are = "is a copy of a training line" if copied == 1 else "are copies of training lines"
    return f"{copied} of the {written} samples {are}; {written - copied} {'is' if written - copied == 1 else 'are'} new"


def beside_counts(
    loss: float, counts: float, kind: str, advice: str | None = None, mixed: tuple[float, float] | None = None
) -> str:
    """A held-out loss beside that of the best table of counts, from which no window hides anything; `mixed` are the
    share of a table in a run's predictions, and what they score.

    >>> beside_counts(1.9931, 1.9963, "lines", "try --for 60s")
    'the best table of counts scores 1.996; this model is 0.003 better'
    >>> beside_counts(1.9931, 1.9963, "lines", mixed=(0.5, 1.95))
    'mixed with a table of counts, a share of 0.5, it scores 1.950; the best table alone 1.996, which is 0.046 worse'
    """
    if mixed:
        share, together = mixed
        other = f"{abs(together - counts):.3f} " + ("worse" if together <= counts else "better")
        both = f"mixed with a table of counts, a share of {share:g}, it scores {together:.3f}"
        return f"{both}; the best table alone {counts:.3f}, which is {other}"
    sees = ", which also sees what stands before a window," if kind == "windows" else ""
    than = f"this model is {abs(loss - counts):.3f} " + ("better" if loss <= counts else "worse")
    return f"the best table of counts{sees} scores {counts:.3f}; {than}" + (
        f": {advice}" if advice and loss > counts else ""
    )


def separated(samples: Sequence[str]) -> str:
    """Samples one below the other, with a blank line between them where one has several lines."""
    return ("\n\n" if any("\n" in sample for sample in samples) else "\n").join(samples)
