"""The losses of docs/SCALING.md, swept anew: which of them the code as it is does not give.

    python bench/scaling_page.py [--only batch heads] [--store page.db] [--within 0.00005]

Each loss of a section of the page, and its half interval, must be one of its sweeps. On the machine of the page they
come out to the last digit; on another one float32 rounds differently, and --within 0.001 is what to ask. The exit code
is 1 where one differs. About two minutes on two cores; what a store holds already is not swept again.
"""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from microgpt.lab.statistics.series import PARAMS, STEPS, Axis, series
from microgpt.lab.statistics.tables import size_table, steps_table
from microgpt.lab.store.store import Store

ROOT = Path(__file__).parent.parent
FIGURE = re.compile(r"(?<![-+.\d])(2\.\d{4})(?: ± (0\.\d{4}))?")


@dataclass(frozen=True)
class Part:
    """A stretch of the page from one text to another, and the sweeps whose losses stand there, by their arguments."""

    begin: str
    end: str
    axis: Axis
    sweeps: tuple[tuple[str, ...], ...]


PARTS = {
    "steps": Part("**Longer training**", "**Larger models**", STEPS, (("steps",), ("steps", "--original"))),
    "params": Part("**Larger models**", "What they teach", PARAMS, (("params",), ("params", "--original"))),
    "heads": Part("It finds that more heads", "[sweeps/batch.toml]", PARAMS, (("sweeps/heads.toml",),)),
    "batch": Part("pairs its axes", "| key | means |", STEPS, (("sweeps/batch.toml",),)),
}


def told(part: Part, page: str) -> list[tuple[str, str]]:
    """The losses of a part of the page, each with its half interval or nothing."""
    return FIGURE.findall(page[page.index(part.begin) :].split(part.end)[0])


def swept(part: Part, store: Path) -> list[tuple[float, float]]:
    """Loss and half interval of every level of a part's sweeps, which are carried out where they are not there."""
    found = []
    for what, *flags in part.sweeps:
        asked = [str(ROOT / what) if "." in what else what, *flags, "--seeds", "8", "--store", str(store), "--quiet"]
        subprocess.run([sys.executable, "-m", "microgpt", "sweep", *asked], check=True, stdout=subprocess.DEVNULL)
        name = Path(what).stem + "".join(flags).replace("--", "-")
        with Store.open(store) as opened:
            lines = series(opened.records(name, "study"), part.axis)
        table = steps_table(lines) if part.axis is STEPS else size_table(lines)
        found += [(row.loss, (row.high - row.low) / 2) for row in table.rows]
    return found


def stale(part: Part, page: str, found: Sequence[tuple[float, float]], within: float) -> list[str]:
    """The figures of the page that no level gives, each with what the level of the nearest loss does."""
    wrong = []
    for loss, half in told(part, page):
        near = min(found, key=lambda level: abs(level[0] - float(loss)))
        off = (abs(near[0] - float(loss)), abs(near[1] - float(half)) if half else 0.0)
        if max(off) > within + 1e-9:
            wrong.append(f"{loss}{f' ± {half}' if half else ''}: now {near[0]:.4f} ± {near[1]:.4f}")
    return wrong


def main() -> None:
    import machine

    asked = machine.asked(__doc__, only=list(PARTS), store="", within=0.00005)
    page = (ROOT / "docs" / "SCALING.md").read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder:
        store = Path(asked.store or f"{folder}/page.db")
        wrong = {name: stale(PARTS[name], page, swept(PARTS[name], store), asked.within) for name in asked.only}
    for name, lines in wrong.items():
        print(f"{name}: {len(lines)} of {len(told(PARTS[name], page))} losses differ", *lines, sep="\n  ")
    sys.exit(any(wrong.values()))


if __name__ == "__main__":
    main()
