"""Published tables, from CSV to exponents with intervals, beside the published figures.

    python bench/published.py [--draws 1000]

Each table is a file of tests/fixtures, with its source beside it. The same comes from the commands that are printed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import machine
from microgpt.lab.laws.asked import form
from microgpt.lab.laws.csv_file import Columns, read_csv
from microgpt.lab.laws.frontier import frontier
from microgpt.lab.laws.price import price
from microgpt.lab.laws.summary import Fitting, law

FOLDER = Path(__file__).parents[1] / "tests" / "fixtures"


@dataclass(frozen=True)
class Published:
    """A table, how it is fitted, and what was published of it. `budget` is a FLOP for which a best size was."""

    name: str
    flop: bool
    drop_highest: int
    held: tuple[str, ...]
    values: dict[str, float]
    budget: float | None = None
    best: float | None = None

    @property
    def command(self) -> str:
        said = ["--flop flop"] * self.flop + [f"--drop-highest {self.drop_highest}"] * bool(self.drop_highest)
        said += [f"--fix {text}" for text in self.held]
        return " ".join([f"microgpt laws --csv tests/fixtures/{self.name}", *said])


TABLES = (
    Published(
        "chinchilla_points.csv", True, 5, (),
        {"E": 1.8172, "A": 482.01, "B": 2085.43, "alpha": 0.3478, "beta": 0.3658},
    ),
    Published("c4_points.csv", False, 0, ("alpha=beta",), {"E": 1.87, "A": 521, "B": 1488, "beta": 0.353}),
    Published("llama3_points.csv", True, 0, (), {"size_exponent": 0.47}, 3.8e25, 402e9),
)  # fmt: skip


def rows(table: Published, draws: int) -> list[dict[str, Any]]:
    """Each published figure beside ours, with its interval at 90%."""
    found = read_csv(FOLDER / table.name, Columns(flop="flop" if table.flop else None), table.drop_highest)
    fitted = law(found, Fitting(form("full", table.held), draws))
    told = fitted.to_dict()
    said: list[dict[str, Any]] = []
    for name, value in table.values.items():
        low, high = fitted.spans[name]
        said.append({"figure": name, "published": value, "ours": told[name], "low": low, "high": high})
    if table.budget:
        best = frontier(fitted.ensemble, price(found.points, None, "FLOP"), table.budget, fitted.level)
        said += [
            {"figure": f"best size, {row.method}", "published": table.best, "ours": row.params, "low": row.low,
             "high": row.high}
            for row in best
        ]  # fmt: skip
    return said


def main() -> None:
    draws = machine.asked(__doc__, draws=1000).draws
    print(machine.line())
    for table in TABLES:
        print(table.command)
        for row in rows(table, draws):
            span = "no interval" if row["low"] is None else f"{row['low']:.4g} to {row['high']:.4g}"
            ours = "none" if row["ours"] is None else f"{row['ours']:.5g}"
            print(f"  {row['figure']:22} published {row['published']:<9.5g} ours {ours:<10} {span}")


if __name__ == "__main__":
    main()
