"""What the trials came to, kept in results.json, and the table of docs/RELIABILITY.md that is made of it."""

import json
import re
from dataclasses import asdict, dataclass
from itertools import takewhile, zip_longest
from pathlib import Path
from typing import Final

from trials.fault import ROOT, Fault, Outcome

RESULTS: Final = Path(__file__).with_name("results.json")
DOCUMENT: Final = ROOT / "docs" / "RELIABILITY.md"
NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")
BEGIN, END = "<!-- the table: python -m trials -->", "<!-- end of the table -->"


@dataclass(frozen=True)
class Result:
    """The last full form of a fault that was carried out, and where."""

    name: str
    trials: int
    survived: int
    figures: str
    seconds: float
    machine: str


def keep(fault: Fault, outcome: Outcome, seconds: float, machine: str) -> None:
    """Put a result in place of the one before it."""
    known = load()
    known[fault.name] = Result(
        fault.name, outcome.trials, outcome.survived, outcome.figures, round(seconds, 1), machine
    )
    text = json.dumps({name: asdict(known[name]) for name in sorted(known)}, indent=1, ensure_ascii=False)
    RESULTS.write_text(text + "\n", encoding="utf-8")


def load() -> dict[str, Result]:
    """All results that are kept, by the fault's name."""
    if not RESULTS.exists():
        return {}
    return {name: Result(**entry) for name, entry in json.loads(RESULTS.read_text(encoding="utf-8")).items()}


def write(faults: list[Fault]) -> None:
    """Put the table where the document has its two marks."""
    text = DOCUMENT.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    DOCUMENT.write_text(f"{before}{BEGIN}\n{table(faults, load())}{END}{after}", encoding="utf-8")


def table(faults: list[Fault], results: dict[str, Result]) -> str:
    """The table in Markdown, a row for faults of one number and one proof, with what it was measured on under it."""
    lines = ["| # | fault | a trial, survived when | survived | and |", "|--:|---|---|--:|---|"]
    groups: dict[tuple[int, str], list[Fault]] = {}
    for fault in faults:
        groups.setdefault((fault.number, fault.proof), []).append(fault)
    for (number, proof), group in groups.items():
        rows = [(fault.title[0].upper() + fault.title[1:], results.get(fault.name)) for fault in group]
        titles = _together([title for title, _ in rows])
        survived = "<br>".join(_survived(result) for _, result in rows)
        figures = _at_once([result.figures if result else "" for _, result in rows])
        lines.append(f"| {number} | {titles} | {proof} | {survived} | {figures} |")
    measured = [results[fault.name] for fault in faults if fault.name in results]
    commits: dict[str, set[str]] = {}
    for result in measured:
        where, _, commit = result.machine.rpartition(", commit ")
        commits.setdefault(where, set()).add(commit)
    minutes = sum(result.seconds for result in measured) / 60
    told = "".join(f"- {where}, commits {', '.join(sorted(found))}\n" for where, found in sorted(commits.items()))
    under = f"A number alone says that all trials were survived. Measured in {minutes:.0f} minutes of trials on:"
    return "\n".join(lines) + f"\n\n{under}\n\n{told}"


def _together(titles: list[str]) -> str:
    """Titles with the words that they begin with said once."""
    words = [title.split() for title in titles]
    same = [each[0] for each in takewhile(lambda each: len(set(each)) == 1, zip(*words, strict=False))]
    rest = "<br>".join(" ".join(each[len(same) :]) for each in words)
    return " ".join([*same, rest]).rstrip()


def _at_once(figures: list[str]) -> str:
    """Figures of one wording with the words said once, each number as 1/2/3; others line by line."""
    words = [NUMBER.split(text) for text in figures]
    if any(each != words[0] for each in words):
        return "<br>".join(figures)
    numbers = [
        same[0] if len({*same}) == 1 else "/".join(same) for same in zip(*map(NUMBER.findall, figures), strict=True)
    ]
    return "".join(map("".join, zip_longest(words[0], numbers, fillvalue="")))


def _survived(result: Result | None) -> str:
    if result is None:
        return "not run"
    return f"{result.survived:,}" + ("" if result.survived == result.trials else f" of {result.trials:,}")
