"""A study in a few plain sentences. Each says no more than its interval allows."""

import math
from collections.abc import Sequence
from typing import Final

from microgpt.data.choices import is_built_in
from microgpt.data.corpus import Corpus
from microgpt.data.counts import mark
from microgpt.data.dataset import Dataset
from microgpt.data.reading import read
from microgpt.data.split import Split
from microgpt.lab.audit import Finding
from microgpt.lab.report.study import Part
from microgpt.lab.statistics.ideas import IDEA, ideas_table
from microgpt.lab.statistics.returns import Return, drop, returns_of, verdict
from microgpt.lab.statistics.series import PARAMS, STEPS, Axis, Series, usable
from microgpt.lab.statistics.tables import level_estimate
from microgpt.lab.store.record import RunRecord
from microgpt.lab.sweep.plan import UNTUNED
from microgpt.model.settings import counted

LED: Final = {STEPS.name: "Trained longer", PARAMS.name: "Made larger"}


def sentences(parts: Sequence[Part], records: Sequence[RunRecord], mark: float | None = None) -> list[str]:
    """The whole study: what was run, what a loss means, what each axis gave, how much is noise. `mark` is the loss of
    the best table of counts, where it is known."""
    said = [_scale(records), _beside(records, mark)]
    for part in parts:
        for axis, lines in part.lines:
            if axis is IDEA:
                said.append(_ideas(part))
            elif lines and len(lines[0].levels) > 1:
                said.append(_axis(axis, lines[0], several=len(lines) > 1))
    return [sentence for sentence in [*said, _noise(parts)] if sentence]


def warned(findings: Sequence[Finding]) -> str:
    """How many findings there are, and how grave."""
    counts = {kind: sum(finding.severity == kind for finding in findings) for kind in ("serious", "warning", "note")}
    told = [
        f"{count} {kind if count == 1 or kind == 'serious' else kind + 's'}" for kind, count in counts.items() if count
    ]
    return f"The audit found: {', '.join(told)}." if told else "The audit found no problems."


def _scale(records: Sequence[RunRecord]) -> str:
    """What the numbers mean, where all runs share a text."""
    runs = [run for run in records if usable(run)]
    if not runs or len({run.data_sha256 for run in runs}) > 1:
        return ""
    return (
        f"On {runs[0].data}, guessing every token alike scores {runs[0].uniform:.3f} nats per character, letter "
        f"frequencies alone {runs[0].unigram:.3f}; lower is better. All losses are on documents that were not trained "
        "on."
    )


def mark_of(records: Sequence[RunRecord]) -> float | None:
    """The loss of the best table of counts, where all runs are on one part of one built-in text."""
    first, parts = records[0] if records else None, ("holdout", "split_seed")
    texts = {(run.data_sha256, run.kind, *map(run.settings.get, parts)) for run in records}
    if not first or len(texts) > 1 or not is_built_in(first.data) or not first.settings.get("holdout"):
        return None
    corpus = Corpus.of(read((first.data,)), first.kind)
    if corpus.sha256 != first.data_sha256:
        return None
    holdout, split_seed = map(first.settings.get, parts)
    split, ctx = Split.of(corpus, float(holdout or 0), int(split_seed or 0)), max(run.size[3] for run in records)
    found = mark(split, Dataset.of(split, ctx=ctx).held_out(), ctx)
    return found.loss if found else None


def _beside(records: Sequence[RunRecord], mark: float | None) -> str:
    """How many of the runs learned more than counting tells."""
    losses = [run.loss for run in records if usable(run) and run.role == "study"]
    better = sum(loss is not None and mark is not None and loss < mark for loss in losses)
    if mark is None or not losses:
        return ""
    return f"The best table of counts scores {mark:.3f}, and {better:,} of {counted(len(losses), 'run')} are better."


def _ideas(found: Part) -> str:
    """What the ideas came to, by their verdicts."""
    table = ideas_table(found.records, found.sweep.removesuffix(UNTUNED))
    verdicts = dict.fromkeys(row.verdict for row in table.rows)
    named = [f"{each}: {', '.join(row.idea for row in table.rows if row.verdict == each)}" for each in verdicts]
    return f"{table.title}, against their base: {'; '.join(named)}." if named else ""


def _axis(axis: Axis, line: Series, several: bool) -> str:
    """What the axis gave from its first level to its last, and which of its rows can be told from noise."""
    first, last = line.levels[0], line.levels[-1]
    total, _ = drop(first, last)
    between = "" if total.low is None or total.high is None else f" (90% interval {total.low:.3f} to {total.high:.3f})"
    means = f"from {level_estimate(first).mean:.3f} to {level_estimate(last).mean:.3f}"
    moved = {
        "learning efficiently": f"the held-out loss falls {means}, by {total.mean:.3f}{between}",
        "degradation or instability": f"the held-out loss rises {means}, by {-total.mean:.3f}",
        "diminishing returns": f"the held-out loss goes {means}, which can't be told from noise",
        "not measured": f"the held-out loss goes {means}; with one seed nobody can say whether that is noise",
    }[verdict(total)]
    span = f"from {first.value:,} to {last.value:,} {axis.unit}"
    which = f" ({line.label})" if several and line.label else ""
    return f"{LED[axis.name]}, {span}{which}, {moved}. {_rows(returns_of(line))}".strip()


def _rows(rows: Sequence[Return]) -> str:
    if len(rows) < 2 or any(row.verdict == "not measured" for row in rows):
        return ""
    unclear = [f"{row.from_level:,} to {row.to_level:,}" for row in rows if row.verdict == "diminishing returns"]
    if not unclear:
        return f"Between neighbouring levels, all {len(rows)} differences can be told from noise."
    named = ", ".join(unclear[:3]) + (f" and {len(unclear) - 3} more" if len(unclear) > 3 else "")
    return f"Between neighbouring levels, {len(unclear)} of {len(rows)} differences can't be told from noise: {named}."


def _noise(parts: Sequence[Part]) -> str:
    """How far two runs differ by their seed alone."""
    levels = [level for part in parts for _, lines in part.lines for line in lines for level in line.levels]
    known = [(each.count - 1, each.spread) for each in map(level_estimate, levels) if each.spread is not None]
    freedom = sum(count for count, _ in known)
    if not freedom:
        return ""
    pooled = math.sqrt(sum(count * spread * spread for count, spread in known) / freedom)
    return (
        f"Two runs that differ in nothing but their seed lie {2 * pooled / math.sqrt(math.pi):.4f} nats apart on "
        f"average (standard deviation of a run {pooled:.4f}); a smaller difference of two single runs says nothing."
    )
