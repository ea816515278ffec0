"""Rows 18, 19 and 20: the smallest texts, the longest documents, and characters that a model does not know."""

import itertools
import json
import random
import tempfile
import unicodedata
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from trials.divergence import kinds
from trials.fault import Fault, Outcome, no_linux
from trials.forked import command
from trials.measured import measured
from trials.small import finish, request

SMALLEST: Final = {  # what each is, and its text
    "one character": "a\n",
    "one character, often": "aaa\naa\na\naaaaaaaaaaaaaaaaaaaaaaa\n",
    "one document": "solitary\n",
    "documents of length 1": "a\nb\nc\na\n",
    "documents of length 1, all equal": "z\nz\nz\n",
    "one document of length 1 among others": "abcabc\na\n",
    "one character beyond the usual": "\U0001f600\n",
}
MEGABYTE: Final = 1_000_000
MOST_BYTES: Final = 4.5  # of memory for a byte of text, with 60 MB for Python and NumPy
LETTERS: Final = "abcdé漢"  # of every long document, so that a kernel is compiled for one vocabulary
SHORT: Final = "--steps 3 --emb 4 --head 2 --ctx 8 --samples 0 --engine array --holdout 0 --json --quiet"


def trained(text: str, folder: Path, **settings: Any) -> dict[str, Any]:
    """What a short training on a text tells of itself. Raises what it raises."""
    path = folder / "odd.txt"
    path.write_text(text, encoding="utf-8")
    asked = replace(request(folder, out="", holdout=0.0, **{"steps": 6, "samples": 2} | settings), data=(str(path),))
    end = finish(asked)
    told = end.result.to_dict()
    if not (np.isfinite(end.losses).all() and len(end.losses) == told["steps"] and end.checkpoint.state.finite):
        raise ArithmeticError(f"losses {end.losses}")
    return told


def smallest(count: int, seed: int) -> Outcome:
    """Each of the smallest texts, as documents and as running text, on each engine; or so many of them."""
    every = list(itertools.product(SMALLEST, ("lines", "paragraphs", "windows"), kinds()))
    chosen = every if count >= len(every) else random.Random(seed).sample(every, count)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        for name, documents, (engine, precision) in chosen:
            try:
                settings = {"documents": documents, "batch": 3, "engine": engine, "precision": precision}
                trained(SMALLEST[name], Path(folder), **settings)
            except Exception as error:
                wrong.append(f"{name} as {documents} on {engine} {precision}: {type(error).__name__}: {error}")
    return Outcome.told(len(chosen), wrong)


def cropped(count: int, seed: int) -> Outcome:
    """Documents of any length: what ctx leaves out is what the JSON counts."""
    stream, wrong = random.Random(seed), []
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(count):
            ctx, lengths = stream.choice((1, 4, 17)), [stream.randrange(1, 200) for _ in range(stream.randrange(1, 9))]
            documents = [LETTERS, *("".join(stream.choices(LETTERS, k=length)) for length in lengths)]
            engine, precision = stream.choice(list(kinds()))
            settings = {"ctx": ctx, "engine": engine, "precision": precision, "documents": "lines", "steps": 2}
            told = trained("\n".join(documents), Path(folder), **settings)
            expected = sum(
                max(0, length + 1 - ctx) for length in map(len, documents)
            )  # BOS at its end is predicted too
            if told["cropped_tokens"] != expected or told["documents"] != len(documents):
                wrong.append(f"{lengths} with ctx {ctx}: {told['cropped_tokens']}, expected {expected}")
    return Outcome.told(count, wrong)


def long_line(megabytes: int, seed: int) -> Outcome:
    """A line of so many megabytes between short ones, for every verb that reads a text."""
    with tempfile.TemporaryDirectory() as name:
        folder, part = Path(name), "abcdefghijklmnopqrstuvwxyz " * 1000
        finish(request(folder, steps=3, data=(_written(folder / "small.txt", part[:500]),)))
        size = len(part) * (megabytes * MEGABYTE // len(part))
        _written(folder / "big.txt", part, size // len(part))
        line, lines = size - 1, ["anna", "bob", "carla"]  # a blank at its end is no part of a document
        out = sum(max(0, len(one) + 1 - 8) for one in lines) + line + 1 - 8
        whole = sum(map(len, lines)) + 3 + line + 1 + 1 - 8  # with its line breaks and its blank
        wanted = {"lines": (out, 4), "paragraphs": (whole, 1), "windows": (0, None), "auto": (0, None)}
        wrong, peaks = [], []
        for kind, (left_out, documents) in wanted.items():
            ended = measured(folder, "train", "--data", "big.txt", *SHORT.split(), "--documents", kind)
            peaks.append(ended.peak)
            found = json.loads(ended.out) if ended.code == 0 else {}
            if found.get("cropped_tokens") != left_out or documents not in (None, found.get("documents")):
                wrong.append(f"{kind}: exit {ended.code}, {found.get('cropped_tokens')} cropped, expected {left_out}")
        for verb, expected in (
            (["eval", "run", "--data", "big.txt", "--json"], 0),
            (["sample", "run", "--prompt-file", "big.txt"], 3),
            (["prepare", "big.txt", "--out", "tokens"], 0),
        ):
            ended = measured(folder, *verb)
            peaks.append(ended.peak)
            if ended.code != expected:
                wrong.append(f"{verb[0]}: exit {ended.code}, expected {expected}")
        limit = MOST_BYTES * size / MEGABYTE + 60
        wrong += [f"a peak of {peak:.0f} MB" for peak in peaks if peak > limit]
    return Outcome.told(len(peaks), wrong, f"at most {max(peaks):.0f} MB for a line of {size / MEGABYTE:.0f} MB")


def _written(path: Path, part: str, times: int = 1) -> str:
    with path.open("w", encoding="utf-8") as file:
        file.write("anna\nbob\n")
        for _ in range(times):
            file.write(part)
        file.write("\ncarla\n")
    return str(path)


def unknown(count: int, seed: int) -> Outcome:
    """Characters that a model does not know, given to each verb that takes a text for it."""
    stream, wrong = random.Random(seed), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        known = set(finish(request(folder, steps=3)).checkpoint.tokenizer.characters)
        for trial in range(count):
            strange = {_character(stream, known) for _ in range(stream.randrange(1, 7))}
            letters = [*strange, *stream.choices(sorted(known), k=3)]
            stream.shuffle(letters)
            text = "".join(letters)[:7]
            strange &= set(text)
            if strange and (told := _met(trial, text, strange, folder)):
                wrong.append(f"{text!r}: {told}")
    return Outcome.told(count, wrong)


def _met(trial: int, text: str, strange: set[str], folder: Path) -> str:
    """What is wrong with how a verb, another for each trial, met a text with strange characters."""
    (folder / "text.txt").write_text(text, encoding="utf-8")
    verbs = (
        ["sample", "run", f"--prompt={text}"],
        ["sample", "run", "--stream", f"--prompt={text}"],
        ["sample", "run", "--json", "--prompt-file", "text.txt"],
        ["eval", "run", "--data", "text.txt"],
        ["eval", "run", "--json", "--data", "text.txt"],
    )
    ended = command(verbs[trial % len(verbs)], folder)
    if not ended.refused(3) or ended.out:
        return f"exit {ended.code}: {ended.err[-200:]}"
    missing = {one for one in strange if repr(one) not in ended.lines[0]}
    return f"{missing} are not listed: {ended.lines[0]}" if missing else ""


def _character(stream: random.Random, known: set[str]) -> str:
    """A character that is unknown, visible, and stays as it is in NFC."""
    while True:
        found = chr(stream.randrange(0x21, stream.choice((0x250, 0x3000, 0x110000))))
        plain = unicodedata.category(found)[0] in "LNPS" and unicodedata.normalize("NFC", found) == found
        if plain and found not in known and found not in "'\\":
            return found


FAULTS = (
    Fault(
        18,
        "smallest-texts",
        "one character, one document, documents of length 1",
        "each as lines, paragraphs and running text, on each engine and precision: trains, all losses finite, writes",
        168,  # with all four engines
        smallest,
    ),
    Fault(
        19,
        "long-documents",
        "documents longer than ctx",
        "the tokens that ctx leaves out are counted in the JSON, exactly, on every engine",
        100,
        cropped,
    ),
    Fault(
        19,
        "long-line",
        "a line of 100 MB",
        "train with each kind of document, eval, sample and prepare: the count in the JSON is exact, and the peak of "
        "memory is below 4.5 bytes for each of the text",
        100,  # megabytes
        long_line,
        no_linux,
    ),
    Fault(
        20,
        "unknown-characters",
        "a prompt or a text with unknown characters",
        "sample and eval, each way that a text reaches them: exit 3 in one line that lists every one, nothing printed",
        300,
        unknown,
    ),
)
