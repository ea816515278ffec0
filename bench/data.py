"""Times of the data room: `python bench/data.py [--megabytes 100]`.

Reading and tokenizing the built-in names (split and shuffle apart); the best tables of counts of texts and of their
beginnings, with their marks; learning and encoding byte pairs; and generated texts read, tokenized, split and counted
in a process of their own, with the peak of its memory. Numpy is loaded beforehand.
"""

import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import machine
from microgpt.data.byte_pairs import Encoder, cut, learn
from microgpt.data.corpus import Corpus
from microgpt.data.counts import forget, mark
from microgpt.data.dataset import Dataset
from microgpt.data.reading import read, text_from
from microgpt.data.split import Split

REPEATS = 51
COUNTED = 9  # times that a table of counts is found
MEGABYTE = 1_000_000


def milliseconds(work: Callable[[], object], repeats: int = REPEATS) -> dict[str, float]:
    """Median, 5th and 95th percentile of the time of one call."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append((time.perf_counter() - begin) * 1e3)
    low, *_, high = statistics.quantiles(times, n=20)
    return {"median": statistics.median(times), "p5": low, "p95": high}


def names() -> dict[str, dict[str, float]]:
    """The stages of the built-in names, in milliseconds."""
    corpus = Corpus.of(read(["names"]))
    split = Split.of(corpus, 0.1, 0)
    dataset = Dataset.of(split, ctx=16)
    return {
        "read and tokenize": milliseconds(lambda: Corpus.of(read(["names"]))),
        "split": milliseconds(lambda: Split.of(corpus, 0.1, 0)),
        "sequences of 1,000 steps": milliseconds(lambda: dataset.sequences_of(0, 1000, 1)),
    }


def marks() -> Iterator[str]:
    """The best table of counts of each built-in text and of beginnings of it, in nats per character, found anew."""
    for name in ("names", "shakespeare"):
        whole = read([name])
        for size in (500, 20_000, len(whole)):
            corpus = Corpus.of(text_from(str(whole)[:size]), whole.declared_kind or "auto")
            dataset = Dataset.of(Split.of(corpus, 0.1, 0), ctx=16)
            held_out, times = dataset.held_out(), []
            for _ in range(COUNTED):
                forget()
                begin = time.perf_counter()
                found = mark(dataset.split, held_out, 16)
                times.append(time.perf_counter() - begin)
            yield f"{name}, {size:,} characters: {found}; {statistics.median(times) * 1e3:.1f} ms"


def byte_pairs(megabytes: int) -> str:
    """1,024 tokens of the built-in plays, and so many megabytes of these, in parts, told in them. It is in this process
    and comes last: a new one begins with the peak of the one that starts it. Seconds are the processor's."""
    text = str(read(["shakespeare"]))
    characters = "".join(sorted(set(text)))
    begin = time.process_time()
    encoder = Encoder(characters, learn(cut([text]), characters, 1024), 1024)
    learned, base, begin = time.process_time() - begin, peak(), time.process_time()
    parts = (text for _ in range(megabytes * MEGABYTE // len(text) + 1))
    tokens = sum(map(len, encoder.encode(parts)))
    seconds = time.process_time() - begin
    return f"learned in {learned:.2f} s; {tokens:,} tokens in {seconds:.2f} s, peak {base:.0f}, then {peak():.0f} MB"


def generate(shape: str, size: int, path: Path) -> None:
    """Writes a text of `size` bytes: prose in paragraphs, a list of short words, one long line, or Japanese."""
    stream = random.Random(0)
    letters = "あいうえおかきくけこ日本語漢字。" if shape == "japanese" else "etaoinshrdlu"
    words = ["".join(stream.choices(letters, k=stream.randint(2, 9))) for _ in range(5000)]
    joint = {"list": "\n", "line": " "}.get(shape)
    part = (joint or " ").join(stream.choices(words, k=100_000)) + (joint or "\n\n")
    if joint is None:
        part = part.replace(words[0], words[0] + "\n").replace(words[1], words[1] + ".\n\n")
    data = part.encode()
    with path.open("wb") as file:
        for _ in range(size // len(data)):
            file.write(data)


def peak() -> float:
    """Peak resident memory of this process so far, in megabytes."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEGABYTE


def measure(path: str) -> dict[str, float | str | int]:
    """One text, in this process."""
    base, begin = peak(), time.perf_counter()
    text = read([path])
    read_seconds, after_reading = time.perf_counter() - begin, peak()
    begin = time.perf_counter()
    corpus = Corpus.of(text)
    tokenize_seconds, after_tokenizing = time.perf_counter() - begin, peak()
    begin = time.perf_counter()
    dataset = Dataset.of(Split.of(corpus, 0.1, 0), ctx=64)
    dataset.sequences(0, 32)
    split_seconds, after_splitting = time.perf_counter() - begin, peak()
    held_out, begin = dataset.held_out(), time.perf_counter()
    found = mark(dataset.split, held_out, 64)
    return {
        "kind": corpus.kind,
        "characters": len(text),
        "documents": dataset.documents,
        "read_seconds": read_seconds,
        "tokenize_seconds": tokenize_seconds,
        "split_seconds": split_seconds,
        "counts_seconds": time.perf_counter() - begin,
        "counts": str(found),
        "numpy_megabytes": base,
        "read_megabytes": after_reading,
        "tokenize_megabytes": after_tokenizing,
        "split_megabytes": after_splitting,
        "counts_megabytes": peak(),
    }


def large(megabytes: int) -> dict[str, dict[str, float | str | int]]:
    """Each shape of generated text in a fresh process, since a peak never falls."""
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "text.txt"
        for shape in ("prose", "list", "line", "japanese"):
            generate(shape, megabytes * MEGABYTE, path)
            command = [sys.executable, __file__, "--measure", str(path)]
            results[shape] = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return results


def main() -> None:
    arguments = machine.asked(__doc__, megabytes=100, measure="")
    if arguments.measure:
        print(json.dumps(measure(arguments.measure)))
        return
    print(machine.line())
    for stage, times in names().items():
        print(f"names, {stage}: {times['median']:.2f} ms (5% {times['p5']:.2f}, 95% {times['p95']:.2f})")
    for shape, row in large(arguments.megabytes).items():
        print(
            f"{arguments.megabytes} MB {shape} as {row['kind']}, {row['documents']:,} documents: "
            f"read {row['read_seconds']:.2f} s, tokenize {row['tokenize_seconds']:.2f} s, "
            f"split {row['split_seconds']:.2f} s, count {row['counts_seconds']:.2f} s; peak "
            f"{row['numpy_megabytes']:.0f} MB with numpy, then {row['read_megabytes']:.0f}, "
            f"{row['tokenize_megabytes']:.0f}, {row['split_megabytes']:.0f}, {row['counts_megabytes']:.0f} MB\n"
            f"  {row['counts']}"
        )
    for row in marks():
        print(row)
    print(f"1,024 byte pairs, {arguments.megabytes} MB: {byte_pairs(arguments.megabytes)}")


if __name__ == "__main__":
    main()
