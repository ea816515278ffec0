"""A finding as data, and as sentences for someone who sees such a thing for the first time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from microgpt.model.settings import counted

Severity = Literal["serious", "warning", "note"]
MOST_NAMED = 3  # rows in a sentence


@dataclass(frozen=True)
class Finding:
    """What was found, how grave it is, in which rows, with the numbers that show it.

    serious: the tables can't be believed as they stand; warning: they say less than they seem to; note: good to know.
    """

    kind: str
    severity: Severity
    rows: tuple[str, ...] = ()
    numbers: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {**vars(self), "rows": list(self.rows), "numbers": dict(self.numbers)}


class _Count(int):
    """A number that a sentence has as `3`, as `{runs}` asks for it, or as `3 runs`, as `{runs:run}` does."""

    def __format__(self, noun: str) -> str:
        return counted(int(self), noun) if noun else str(int(self))


# What it is, why it matters, what to do. `where` names the rows; the other names are those of the numbers.
SENTENCES: Final[dict[str, str]] = {
    "not held out": (
        "{runs} of {of:finished run} held nothing out, so nobody knows how they do on text they were not trained on; "
        "the tables leave them out. Give the sweep a --holdout, 0.1 say."
    ),
    "failed runs": (
        "{failed} of {of:run} failed ({where}), the first with: {error} The means count only the runs that survived, "
        "and so "
        "look better than they should. Lower the learning rate of those levels, or report them as failing."
    ),
    "mixed data": (
        "The runs are on {count} different texts ({values}). Losses on different texts can't be compared, so each text "
        "has rows of its own; analyse one sweep at a time with --sweep."
    ),
    "mixed engines": (
        "The runs come from {count} combinations of engine and precision ({values}). They compute the same function "
        "but round differently; each has rows of its own. Sweep again with one --engine and --precision."
    ),
    "mixed held-out sets": (
        "The runs of one text were measured on {count} different held-out sets ({values}). Their losses differ by "
        "which documents were held out; keep --holdout and --split-seed the same in one sweep."
    ),
    "mixed schedules": (
        "The runs have {count} learning-rate schedules ({values}). Each gives a length another loss, so each has rows "
        "of its own, and a law describes only one; take one sweep at a time with --sweep."
    ),
    "mixed versions": (
        "The runs were made by {count} versions of the program ({values}). If what they compute has changed, so have "
        "the rows; to be sure, sweep again into a new store."
    ),
    "learned nothing": (
        "{runs:run} ({where}) did worse than letter frequencies alone ({unigram:.3f} nats per "
        "token). Nothing was learned there, or it broke on the way; look at the learning rate."
    ),
    "near uniform": (
        "{runs:run} ({where}) ended near {uniform:.3f} nats, the logarithm of {vocabulary} tokens: what a guess among "
        "all of them costs. Nothing was learned there, or the column is not of the end of the run."
    ),
    "unreadable rows": (
        "Of {of:row} {rows} can't be read, and these are left out here: {where} A law refuses them: correct them, or "
        "take "
        "them out."
    ),
    "units": "{said}",
    "reading": "{said}",
    "dead axis": (
        "{axis} makes no difference: the losses at {where} are equal to the last digit, seed by seed. That is no "
        "result; it is a sign that the setting never reached the training. Check the axis of the sweep."
    ),
    "flat axis": (
        "Along {axis} no difference can be told from noise, from the first level to the last ({where}). Either it "
        "does nothing here, or it takes more seeds or a wider range to see it."
    ),
    "dead seed": (
        "All seeds give the very same loss ({where}). Then they are one run counted several times, and every interval "
        "is "
        "wrong. Check that the seed is an axis of the sweep."
    ),
    "rising loss": (
        "The loss rises where it should fall, beyond noise and by {rise:.4f} nats at most, at {where}. More steps or "
        "parameters should do no harm: look for a learning rate that is too high there, for overfitting, or for "
        "a broken run."
    ),
    "few levels": (
        "The sweep has only {levels} of the 4 levels along {axis} that it takes to see how a curve bends, and to fit "
        "a law ({where}). Add levels, best at equal ratios."
    ),
    "narrow range": (
        "Along {axis} the levels span a factor of {factor:.1f} ({where}); over less than 10 nearly every curve looks "
        "straight, and nothing can be said of what lies beyond. Widen the sweep."
    ),
    "few seeds": (
        "Fewer than 3 seeds were run for {levels} of the levels, the fewest {least} ({where}). One seed gives "
        "no interval and two a very wide one; take 3 seeds or more, as `sweep --seeds 3` does."
    ),
    "epochs": (
        "{runs:run} saw the same documents more than 4 times, at most {epochs:.1f} times ({where}). Repeated text "
        "teaches less than new text, so these rows say nothing of how more data would do; use a larger text."
    ),
    "learning rate not tuned": (
        "The learning rate was not tuned for each size ({where}). A size that got a bad one looks like a bad size; "
        "`microgpt sweep params` tunes it on seeds of their own."
    ),
    "learning rate at the edge": (
        "The best learning rate lies at the edge of what was tried ({where}), so a better one may lie beyond. Widen "
        "the grid of rates there and tune again."
    ),
}


def sentence(finding: Finding) -> str:
    """What was found, why it matters and what to do."""
    named = "; ".join(finding.rows[:MOST_NAMED])
    more = len(finding.rows) - MOST_NAMED
    where = f"{named}; and {more} more" if more > 0 else named
    series = finding.numbers.get("series", 1)
    where += f"; in {series} series" if series > 1 else ""
    told = {name: _Count(value) if type(value) is int else value for name, value in finding.numbers.items()}
    return SENTENCES[finding.kind].format(where=where, **told)
