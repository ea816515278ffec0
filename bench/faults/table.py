"""What the trials came to, kept in results.json, and the table of docs/RELIABILITY.md that is made of it."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from bench.faults.fault import ROOT, Fault, Outcome

RESULTS: Final = Path(__file__).with_name("results.json")
DOCUMENT: Final = ROOT / "docs" / "RELIABILITY.md"
BEGIN, END = "<!-- the table: python -m bench.faults -->", "<!-- end of the table -->"


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
    """The table in Markdown, with what it was measured on under it."""
    lines = ["| # | fault | a trial, survived when | survived | and |", "|--:|---|---|--:|---|"]
    above = ""
    for fault in faults:
        if result := results.get(fault.name):
            lost = "" if result.survived == result.trials else f" of {result.trials:,}"
            rest = f"{result.survived:,}{lost} | {result.figures}"
        else:
            rest = "not run |"
        proof = "as above" if fault.proof == above else fault.proof
        above = fault.proof
        lines.append(f"| {fault.number} | {fault.title[0].upper()}{fault.title[1:]} | {proof} | {rest} |")
    commits: dict[str, set[str]] = {}
    for machine in (results[fault.name].machine for fault in faults if fault.name in results):
        where, _, commit = machine.rpartition(", commit ")
        commits.setdefault(where, set()).add(commit)
    minutes = sum(results[fault.name].seconds for fault in faults if fault.name in results) / 60
    told = "".join(f"- {where}, commits {', '.join(sorted(found))}\n" for where, found in sorted(commits.items()))
    under = f"A number alone says that all trials were survived. Measured in {minutes:.0f} minutes of trials on:"
    return "\n".join(lines) + f"\n\n{under}\n\n{told}"
