"""Random command lines, right and wrong ones, drawn from the verbs and flags that the program itself declares."""

import random
from typing import Final

import click

from microgpt.cli.app import VERBS, microgpt

WEIGHTS: Final = {
    "train": 30, "sample": 18, "prepare": 6, "runs": 8, "eval": 10, "export": 10, "studio": 3, "verify": 0.3,
    "bench": 0.2, "engines": 4, "plan": 10, "sweep": 3, "analyze": 8, "report": 2,
    "laws": 5, "predict": 4, "frontier": 4, "compare": 2, "suggest": 2,
}  # fmt: skip
ALWAYS: Final = {  # what keeps a command short; a flag that comes later overrides it
    "train": ("--data", "few.txt", "--steps", "3", "--emb", "4", "--head", "2", "--ctx", "8", "--engine", "array"),
    "sample": ("--count", "2"),
    "sweep": ("--jobs", "1", "--quiet"),
    "laws": ("--csv", "runs.csv", "--bootstrap", "100"),
    "predict": ("--csv", "runs.csv", "--bootstrap", "100"),
    "frontier": ("--csv", "runs.csv", "--bootstrap", "100"),
    "compare": ("--csv", "runs.csv", "--bootstrap", "100"),
    "suggest": ("--csv", "runs.csv", "--bootstrap", "100"),
    "studio": ("--no-browser", "--port", "-1"),  # it would serve for ever
    "verify": ("--engine", "array"),
    "bench": ("--engine", "array"),
    "prepare": ("--out", "made"),
}
ARGUMENTS: Final = {  # of verbs that have some; the first ones are right
    "sample": ("first", "second", "runs/first", "", "none", "few.txt", "broken", "/dev/null"),
    "eval": ("first", "second", "shared.safetensors", "none", "few.txt", "broken"),
    "export": (
        "first made.html",
        "second made.py",
        "first made.safetensors",
        "first made",
        "first",
        "",
        "first a.pickle",
    ),
    "studio": ("none", "first", "few.txt"),
    "prepare": ("few.txt", "names", "none.txt", "blank.txt", "utf16.txt", "few.txt few.txt", ""),
    "sweep": ("few.toml", "few.toml", "wrong.toml", "none.toml", "stepz", "steps --dry-run", "params --dry-run"),
    "analyze": ("steps --sweep few", "returns --sweep few", "params --sweep few", "steps", "stepz", ""),
    "predict": ("1e6 1e8", "1e7 1e9", "1e6", "x y", "-1 5", "nan 1e8", ""),
    "frontier": ("1e15", "1e16", "", "x", "-1", "inf"),
    "suggest": ("1e15", "1e12", "", "x", "-1", "inf", "5m"),
    "compare": ("seed=0 seed=1", "lr=0.01 lr=0.02", "x=1 x=1", "seed=0", "", "a b"),
}
RIGHT: Final = {
    "steps": ("1", "3", "30"), "batch": ("1", "4"), "emb": ("4", "8"), "head": ("1", "2"), "layer": ("1", "2"),
    "ctx": ("4", "8"), "ff": ("1", "4"), "lr": ("0.01", "1e-3", "1e300"), "warmup": ("0", "2"), "seed": ("0", "42"),
    "data": ("few.txt", "prose.txt", "few.txt", "names"), "documents": ("lines", "windows", "auto"),
    "engine": ("array", "array", "auto", "fused", "atomic", "torch"), "precision": ("64", "32", "auto", "bf16"),
    "threads": ("1", "2"), "device": ("cpu", "h200"), "recipe": ("default", "karpathy", "artistic"),
    "name": ("first", "other", "é"), "out": ("runs", "made"), "save_every": ("1", "2"), "eval_every": ("1", "5"),
    "keep": ("every:1", "every:2"), "samples": ("0", "2"), "temperature": ("0.5", "2"), "resume": ("first", "second"),
    "losses_file": ("made.csv",), "budget": ("0.2s",), "holdout": ("0", "0.3"), "select": ("best", "last"),
    "patience": ("1", "3"), "prompt": ("em", "", "É", "a" * 50), "prompt_file": ("few.txt", "-"), "count": ("1", "3"),
    "length": ("1", "40"), "top_k": ("0", "3"), "store": ("lab.db", "made.db"), "csv": ("runs.csv", "few.txt"),
    "plot": ("made.svg", "made.png"), "bootstrap": ("100",), "simulate": ("2",), "design": ("3x3x1",),
    "params": ("params", "1e6"), "tokens": ("tokens", "1e8", "characters", "bytes"), "loss": ("loss",),
    "sweep": ("few",), "seeds": ("1", "2"), "jobs": ("1", "2"), "executor": ("local", "ray"), "port": ("-1", "99999"),
    "register": ("made.json",), "score": ("made.json",), "level": ("0.5", "0.9"), "encoding": ("utf-8", "latin-1"),
    "vocabulary": ("27", "50257"), "gpus": ("1", "8"), "normalize": ("nfc", "none"), "initial_scale": ("0.1",),
}  # fmt: skip
WRONG: Final = (
    "", "-1", "0", "nan", "inf", "1e999", "-0", "many", "é", "\u202e", "x" * 3000, "../..", "/", "/dev/null",
    "/proc/self/mem", "none.txt", "blank.txt", "utf16.txt", "broken", "1.5", "--", "a\nb", "\udcff",
    "true", "[1]", "{}", "%s", "$HOME", "0x10",
)  # fmt: skip
LARGE: Final = ("99999999999999999999", "1e18", "100000000")  # for what is refused, and takes no time
LONG: Final = frozenset(  # flags that are left out: with them a command takes minutes, or all memory that there is
    {"full", "train", "no_browser", "stream"}
)
TIMED: Final = frozenset(
    {"steps", "batch", "samples", "count", "length", "seeds", "patience", "simulate", "bootstrap", "budget"}
)
UNKNOWN: Final = (
    ("trian",),
    ("--stepz", "3"),
    ("sample", "first", "--promt", "a"),
    ("",),
    ("-q",),
    ("few.txt",),
    ("help",),
)


def command(stream: random.Random) -> list[str]:
    """A command line."""
    if stream.random() < 0.04:
        return list(stream.choice(UNKNOWN))
    verb = stream.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    if stream.random() < 0.02:
        return [verb, "--help"]
    declared = microgpt.get_command(click.Context(microgpt), verb)  # type: ignore[attr-defined]  # a group
    flags = [each for each in declared.params if isinstance(each, click.Option) and each.name not in LONG]
    words = [*stream.choice(ARGUMENTS.get(verb, ("",))[: None if stream.random() < 0.4 else 2]).split()]
    words = [*words, *ALWAYS.get(verb, ())]
    wrong = stream.random() < 0.35
    for flag in stream.sample(flags, min(len(flags), stream.choice((0, 1, 1, 2, 2, 3, 5)))):
        words += _flag(flag, stream, wrong and stream.random() < 0.5)
    if wrong and stream.random() < 0.2:
        words.insert(stream.randrange(len(words) + 1), stream.choice([*WRONG, "--no-such-flag", "--json=1"]))
    return [*([] if verb == "train" and stream.random() < 0.3 and words[0][0] == "-" else [verb]), *words]


def _flag(flag: click.Option, stream: random.Random, wrong: bool) -> list[str]:
    name = stream.choice([*flag.opts, *flag.secondary_opts])
    if flag.is_flag or flag.name == "port":
        return [] if flag.name == "port" else [name]
    known = flag.type.choices if isinstance(flag.type, click.Choice) else RIGHT.get(str(flag.name), ("1",))
    if not wrong:
        return [name, stream.choice(list(known))]
    if stream.random() < 0.05:
        return [name]  # without its value
    return [name, stream.choice(WRONG if flag.name in TIMED else (*WRONG, *LARGE))]


assert set(WEIGHTS) == set(VERBS), "a verb is missing in the soak's grammar"
