"""Every verb that reads or writes, as an ordinary user, where reading or writing is not permitted.

python -m trials denied
"""

import contextlib
import io
import random
import shutil
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from microgpt.cli.app import run
from trials import few
from trials.fault import ROOT, Fault, Outcome
from trials.forked import NOBODY, command, common_ground, warm
from trials.small import finish, request, stopped_at

TEXT: Final = ("--data", "few.txt")
TINY: Final = (*TEXT, "--steps", "5", "--emb", "4", "--head", "2", "--ctx", "8", "--engine", "array", "--quiet")

# In `shut` nothing can be written, `hidden` can't be looked into, and what is called closed can't be read.
WRITES: Final = (
    ("train", *TINY, "--out", "shut/runs"),
    ("train", *TINY, "--out", "shut"),
    ("train", *TINY, "--out", "open/runs", "--losses", "shut/losses.csv"),
    ("train", *TINY, "--out", "hidden/runs"),
    ("train", *TEXT, "--for", "2s", "--engine", "array", "--quiet", "--out", "shut/runs"),
    ("train", "--resume", "shut/half"),
    ("train", "--resume", "shut/run", "--steps", "20"),
    ("prepare", "few.txt", "--out", "shut/tokens"),
    ("prepare", "few.txt", "--out", "hidden/tokens"),
    ("export", "shut/run", "shut/model.html"),
    ("export", "shut/run", "shut/model.py"),
    ("export", "shut/run", "shut/model.safetensors"),
    ("export", "shut/run", "shut/model"),
    ("export", "shut/run", "hidden/model"),
    ("sweep", "few.toml", "--store", "shut/new.db", "--jobs", "1"),
    ("sweep", "few.toml", "--store", "shut/lab.db", "--jobs", "1"),
    ("sweep", "few.toml", "--store", "hidden/lab.db", "--jobs", "1"),
    ("analyze", "steps", "--store", "shut/lab.db", "--sweep", "few", "--plot", "shut/it.svg"),
    ("analyze", "steps", "--store", "shut/lab.db", "--sweep", "few", "--plot", "shut/it.png"),
    ("report", "--store", "shut/lab.db", "--out", "shut/report.html"),
    ("laws", "--csv", "points.csv", "--bootstrap", "100", "--plot", "shut/law.svg"),
    ("predict", "1e6", "1e8", "--csv", "points.csv", "--bootstrap", "100", "--register", "shut/said.json"),
)
READS: Final = (
    ("train", "--data", "closed.txt", "--out", "open/runs", "--quiet", "--steps", "5", "--engine", "array"),
    ("train", "--data", "hidden", "--out", "open/runs", "--quiet", "--steps", "5", "--engine", "array"),
    ("train", "--data", "hidden/few.txt", "--out", "open/runs", "--quiet", "--steps", "5", "--engine", "array"),
    ("train", "--resume", "closed-run"),
    ("train", "--resume", "hidden/run"),
    ("sample", "closed-run"),
    ("sample", "hidden/run"),
    ("sample", "hidden/run/weights.safetensors"),
    ("sample", "--out", "hidden"),
    ("sample", "shut/run", "--prompt-file", "closed.txt"),
    ("eval", "closed-run"),
    ("eval", "hidden/run"),
    ("eval", "shut/run", "--data", "closed.txt"),
    ("runs", "--out", "hidden"),
    ("export", "closed-run", "open/model.html"),
    ("prepare", "closed.txt", "--out", "open/tokens"),
    ("prepare", "hidden", "--out", "open/tokens"),
    ("sweep", "closed.toml", "--store", "open/lab.db"),
    ("sweep", "hidden/few.toml", "--store", "open/lab.db"),
    ("analyze", "steps", "--store", "closed.db"),
    ("analyze", "steps", "--store", "hidden/lab.db"),
    ("report", "--store", "closed.db", "--out", "open/report.html"),
    ("laws", "--store", "closed.db"),
    ("laws", "--csv", "closed.csv"),
    ("laws", "--csv", "hidden/points.csv"),
    ("predict", "1e6", "1e8", "--csv", "closed.csv"),
    ("predict", "1e6", "1e8", "--store", "closed.db"),
    ("predict", "--csv", "points.csv", "--score", "closed.json"),
    ("frontier", "1e12", "--csv", "closed.csv"),
    ("frontier", "1e12", "--store", "hidden/lab.db"),
    ("suggest", "1e12", "--store", "hidden/lab.db"),
    ("studio", "hidden/run", "--no-browser"),
)
ALLOWED: Final = (  # what only reads must work in a folder where nothing can be written
    ("sample", "shut/run"),
    ("eval", "shut/run"),
    ("runs", "--out", "shut"),
    ("analyze", "steps", "--store", "shut/lab.db", "--sweep", "few"),
    ("export", "shut/run", "open/model.html"),
)


def lay_out(place: Path, cases: Sequence[tuple[str, ...]]) -> None:
    """Files of the person who made them, of which others may see some."""
    closed = place / "closed-run"
    for name in ("shut", "hidden", "open"):
        (place / name).mkdir()
    few.text(place)
    (place / "few.toml").write_text(few.design_file(10, 20, seeds=2, lr="0.01"))
    finish(request(place, steps=5, out=str(place / "shut")))
    stopped_at(request(place, steps=8, save_every=4, name="half", out=str(place / "shut")), 4)
    few.carry_out(few.planned(place), place / "shut" / "lab.db")
    shutil.copy(ROOT / "tests" / "fixtures" / "chinchilla_points.csv", place / "points.csv")
    shutil.copytree(place / "shut" / "run", closed)
    shutil.copytree(place / "shut" / "run", place / "hidden" / "run")
    for source, name in (("few.txt", "few.txt"), ("few.toml", "few.toml"), ("shut/lab.db", "lab.db")):
        shutil.copy(place / source, place / "hidden" / name)
    for source, name in (("few.txt", "txt"), ("few.toml", "toml"), ("shut/lab.db", "db"), ("points.csv", "csv")):
        shutil.copy(place / source, place / f"closed.{name}")
    (place / "closed.json").write_text("{}")
    shutil.copytree(place / "shut", place / "open", dirs_exist_ok=True)
    rehearse(place, cases)
    shutil.rmtree(place / "open")
    (place / "open").mkdir()
    for path in [closed / "weights.safetensors", closed / "run.json", *place.glob("closed.*")]:
        path.chmod(0o000)
    (place / "shut").chmod(0o555)
    (place / "open").chmod(0o777)
    (place / "hidden").chmod(0o000)


def rehearse(place: Path, cases: Sequence[tuple[str, ...]]) -> None:
    """Let this process do once what its forks will do, so that these need no file of Python's that they can't read."""
    before = warnings.showwarning
    with contextlib.chdir(place), contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        for case in (case for case in cases if case[0] != "studio"):
            run([word.replace("shut/", "open/").replace("hidden/", "open/") if "/" in word else word for word in case])
    warnings.showwarning = before


def denied(trials: int, seed: int) -> Outcome:
    """Each command once, and what it said held against what it should."""
    warm()
    cases = [*((case, 5) for case in (*WRITES, *READS)), *((case, 0) for case in ALLOWED)]
    cases = random.Random(seed).sample(cases, min(trials, len(cases)))
    with common_ground() as place:
        lay_out(place, [case for case, _ in cases])
        try:
            wrong = [command(case, place, user=NOBODY).wrong(code) for case, code in cases]
        finally:
            (place / "shut").chmod(0o755)
            (place / "hidden").chmod(0o755)
    return Outcome.told(len(cases), wrong)


FAULTS = (
    Fault(
        8,
        "denied",
        "A folder that is read-only, or a file that can't be read",
        "an ordinary user calls each verb on it: exit code 5 and one line, or its work where it needs only to read",
        len(WRITES) + len(READS) + len(ALLOWED),
        denied,
    ),
)
