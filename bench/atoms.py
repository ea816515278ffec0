"""The speed of symmetry.py against the textbook formulation, and what each of its ideas gives.

    python bench/atoms.py [--steps 40] [--rounds 3]

Every row trains the same model on the same documents, and its losses are checked against the golden run. An idea's row
is symmetry.py with that idea undone, or with an idea that was tried and dropped for the little it gave. Each row has a
process of its own, and rows take turns, so that noise falls on all alike; given is the median over steps, with the
quartiles.
"""

import gc
import itertools
import json
import random
import statistics
import subprocess
import sys
import time
import types
from collections.abc import Iterator
from pathlib import Path

import machine
import textbook

ROOT = Path(__file__).parent.parent
SYMMETRY = ROOT / "src" / "microgpt" / "symmetry.py"
GOLDEN = ROOT / "tests" / "fixtures" / "golden" / "golden_karpathy_1000.json"

TABLE_ROW = "exec(MACRO.format(method=method, value=value, da=da, db=db), space"

UNDONE = {
    "slots for what an atom holds": [('    __slots__ = ("data", "grad", "a", "da", "b", "db")\n', "")],
    "history in the atom, not in tuples of pairs": [
        ('    __slots__ = ("data", "grad", "a", "da", "b", "db")\n', '    __slots__ = ("data", "grad", "history")\n'),
        ("        self.a, self.da, self.b, self.db = a, da, b, db\n", "        self.history = ((a, da), (b, db))\n"),
        (
            "        a, b, atom.a = atom.a, atom.b, False\n"
            "        a.grad += atom.da * atom.grad  # the chain rule, once towards each parent\n"
            "        b.grad += atom.db * atom.grad\n"
            "        lost = lost or (a.a is False or b.a is False) and atom.grad != 0\n",
            "        for parent, slope in atom.history: parent.grad += slope * atom.grad\n",
        ),
        ("lost = 1.0, loss.a is False\n", "lost = 1.0, False\n"),
    ],
    "a tape, not a sort": [
        ("    for atom in reversed(TAPE):\n", "    for atom in _sorted(loss):\n"),
        (
            "# ── II.",
            "def _sorted(loss):\n"
            "    order, seen, stack = [], set(), [(loss, False)]\n"
            "    while stack:\n"
            "        atom, done = stack.pop()\n"
            "        if done: order.append(atom)\n"
            "        elif atom not in seen and atom.a is not None:\n"
            "            seen.add(atom)\n"
            "            stack += [(atom, True), (atom.b, False), (atom.a, False)]\n"
            "    return reversed(order)\n\n# ── II.",
        ),
    ],
    "dot by reduce and map, not by sum": [
        ("    return reduce(add, map(mul, u, v))\n", "    return sum(a * b for a, b in zip(u, v))\n")
    ],
    "operations generated, not interpreted": [
        ("    a = self.data; b = other.data; y = {value}\n", "    a = self.data; b = other.data; y = value_(a, b)\n"),
        ("Val(y, self, {da}, other, {db})", "Val(y, self, da_(a, b, y), other, db_(a, b, y))"),
        (
            f"    {TABLE_ROW} := globals().copy())\n",
            "    space = globals().copy()\n"
            "    space['value_'] = eval(f'lambda a, b: {value}', space)\n"
            "    space['da_'] = eval(f'lambda a, b, y: {da}', space)\n"
            "    space['db_'] = eval(f'lambda a, b, y: {db}', space)\n"
            f"    {TABLE_ROW})\n",
        ),
    ],
}


def load(changes: list[tuple[str, str]]) -> types.ModuleType:
    """symmetry.py with some of its lines changed; each must be there just once."""
    source = SYMMETRY.read_text()
    for old, new in changes:
        if source.count(old) != 1:
            raise SystemExit(f"bench/atoms.py: symmetry.py has changed, this line isn't there just once: {old!r}")
        source = source.replace(old, new)
    module = types.ModuleType("symmetry")
    module.__dict__["__file__"] = str(SYMMETRY)
    sys.modules["symmetry"] = module  # dataclasses look their module up
    exec(compile(source, "symmetry.py", "exec"), module.__dict__)
    return module


def training(symmetry: types.ModuleType) -> Iterator[float]:
    """The golden run `karpathy`."""
    stream = random.Random(42)
    documents = symmetry.read(None)
    stream.shuffle(documents)
    characters = sorted(set("".join(documents)))
    bos = len(characters)
    model = symmetry.initial(symmetry.Config(), bos + 1, lambda: stream.gauss(0, 0.08))
    tokens = [[bos, *map(characters.index, document), bos] for document in documents[:1000]]
    yield from symmetry.train(model, tokens)


DROPPED = {
    "zero gradients passed over": [
        ("    for atom in reversed(TAPE):\n", "    for atom in reversed(TAPE):\n        if not atom.grad: continue\n")
    ],
    "atoms made without __init__": [
        (
            "    TAPE.append(atom := Val(y, self, {da}, other, {db}))\n",
            "    TAPE.append(atom := new(Val)); atom.data = y; atom.grad = 0.0\n"
            "    atom.a = self; atom.da = {da}; atom.b = other; atom.db = {db}\n",
        ),
        (f"{TABLE_ROW} := globals().copy())\n", f"{TABLE_ROW} := {{**globals(), 'new': Val.__new__}})\n"),
    ],
}

COLLECTOR, TEXTBOOK = "without: the collector is off", "the textbook formulation"
CHANGES = {f"without: {idea}": changes for idea, changes in UNDONE.items()}
CHANGES |= {f"tried, dropped: {idea}": changes for idea, changes in DROPPED.items()}
ROWS = ["symmetry.py", *CHANGES, COLLECTOR, TEXTBOOK]


def measure(name: str, steps: int) -> dict[str, list[float]]:
    """Train one row in this process; give the seconds and the loss of each step but the first, which draws weights."""
    if name not in (COLLECTOR, TEXTBOOK):
        gc.disable()
    symmetry = load(CHANGES.get(name, []))
    losses = textbook.losses(symmetry.read(None), 1000) if name == TEXTBOOK else training(symmetry)
    next(losses)
    taken: dict[str, list[float]] = {"seconds": [], "losses": []}
    for _ in range(steps):
        start = time.perf_counter()
        taken["losses"].append(next(losses))
        taken["seconds"].append(time.perf_counter() - start)
    return taken


def in_turns(rounds: int, steps: int) -> dict[str, dict[str, list[float]]]:
    """Every row in a process of its own, round after round."""
    taken: dict[str, dict[str, list[float]]] = {name: {"seconds": [], "losses": []} for name in ROWS}
    for _, name in itertools.product(range(rounds), ROWS):
        command = [sys.executable, __file__, "--row", name, "--steps", str(steps)]
        done = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        taken[name]["seconds"] += done["seconds"]
        taken[name]["losses"] = done["losses"]
    return taken


def report(taken: dict[str, dict[str, list[float]]]) -> None:
    """A line for each row."""
    golden = json.loads(GOLDEN.read_text())["losses"][1:]
    own = 1e3 * statistics.median(taken["symmetry.py"]["seconds"])
    for name, row in taken.items():
        low, middle, high = (1e3 * seconds for seconds in statistics.quantiles(row["seconds"], n=4))
        error = max(abs(a - b) for a, b in zip(row["losses"], golden, strict=False))
        spread = f"{middle:6.1f} ({low:.1f} to {high:.1f})"
        print(f"{name:52} {spread:25} {middle / own:5.2f}   {error:.0e}")


def main() -> None:
    arguments = machine.asked(__doc__, steps=40, rounds=3, row="")  # the row of the process that measures it
    if arguments.row:
        print(json.dumps(measure(arguments.row, arguments.steps)))
        return
    print(machine.line())
    print(f"{'':52} ms a step (quartiles)     times   largest error of a loss")
    report(in_turns(arguments.rounds, arguments.steps))


if __name__ == "__main__":
    main()
