"""Files, requests and cached code that were damaged or made to harm, by the thousand.

Every reader of untrusted bytes is tried in the same way: readers/reader.py says what a trial is, and the short
form of each line is tests/hostile. A trial is lost by any exception but the reader's own refusal, by a second of
computing, by a gigabyte of memory, by code that ran, by a file that was opened to write, and by a message of two lines.
"""

import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from microgpt.engines.fused.build import reason_unavailable
from trials.fault import Fault, Outcome, by_tests
from trials.readers.every import EVERY
from trials.readers.reader import Bench
from trials.side_by_side import side_by_side

Part = tuple[int, int, float]
NUMBERS = {"text": 16, "encodings": 16, "store": 28}  # rows of their own; the others are of 14
TITLES = {
    "checkpoint": "a hostile checkpoint",
    "merges": "hostile merges in a checkpoint",
    "model": "a hostile checkpoint, then listed and sampled",
    "report": "a damaged run.json",
    "losses": "a damaged losses.csv",
    "evaluations": "a damaged evaluations.csv",
    "looks": "a damaged looks.json",
    "samples": "a damaged samples.txt",
    "text": "invalid UTF-8, UTF-16, NUL bytes in a text",
    "encodings": "the same in 18 other encodings",
    "token-header": "a damaged header of token files",
    "token-merges": "damaged merges of token files",
    "token-array": "a damaged array of tokens",
    "prompt": "a damaged file with a prompt",
    "design": "a damaged design of a sweep (TOML)",
    "points": "a damaged CSV of runs",
    "predictions": "a damaged file of predictions",
    "store": "a damaged store: flipped bytes, foreign values",
}


def _tried(name: str) -> Callable[[int, int], Outcome]:
    def try_it(trials: int, seed: int) -> Outcome:
        parts = side_by_side(partial(_part, name), trials, seed)
        refused, lost = sum(part[0] for part in parts), sum(part[1] for part in parts)
        slowest = max(part[2] for part in parts)
        return Outcome(trials, trials - lost, f"{refused:,} refused, the others read; slowest {slowest:.2f} s")

    return try_it


def _part(name: str, trials: int, seed: int) -> Part:
    """How many were refused, how many lost, and the seconds of the slowest."""
    refused, lost, slowest = 0, 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(EVERY[name], Path(folder))
        for number in range(seed, seed + trials):
            data, began = bench.mutated(number), time.thread_time()
            try:
                refused += bench.refuses(data)
            except Exception as error:
                lost += 1
                print(f"{name} {number}: {error!r}", flush=True)
            slowest = max(slowest, time.thread_time() - began)
    return refused, lost, slowest


def _kernels(trials: int, seed: int) -> Outcome:
    return Outcome(trials, sum(side_by_side(_damaged_kernels, trials, seed)))


def _damaged_kernels(trials: int, seed: int) -> int:
    from trials.readers.kernels import Cache

    with tempfile.TemporaryDirectory() as folder:
        cache = Cache(Path(folder))
        return sum(cache.survives(number) for number in range(seed, seed + trials))


def _requests(trials: int, seed: int) -> Outcome:
    from trials.readers.of_requests import asked, filled_studio
    from trials.serving import visit

    with tempfile.TemporaryDirectory() as folder, visit(filled_studio(Path(folder))) as there:
        return _counted(trials, seed, lambda number: asked(there, random.Random(number)))


def _raw(trials: int, seed: int) -> Outcome:
    from trials.readers.of_requests import port_of, raw
    from trials.serving import listening

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "runs").mkdir()
        with listening(Path(folder) / "runs") as address:
            return _counted(trials, seed, lambda number: raw(port_of(address), number))


def _counted(trials: int, seed: int, trial: Callable[[int], None]) -> Outcome:
    lost = 0
    for number in range(seed, seed + trials):
        try:
            trial(number)
        except Exception as error:
            lost += 1
            print(f"{number}: {error!r}", flush=True)
    return Outcome(trials, trials - lost)


READ = "refused in one line or read rightly, in a second and a gigabyte, without code that runs or a file that changes"
READERS = tuple(
    Fault(NUMBERS.get(name, 14), f"hostile-{name}", TITLES[name], READ, reader.trials, _tried(name))
    for name, reader in EVERY.items()
)
KERNEL = Fault(
    12,
    "kernels",
    "a truncated or flipped kernel in the cache",
    "compiled anew before it is loaded",
    1_000,
    _kernels,
    lambda: reason_unavailable() or "",
)
REQUESTS = Fault(
    30,
    "requests",
    "requests of any value to every route of the studio",
    "a sentence, no fault of the server",
    5_000,
    _requests,
)
RAW = Fault(
    30, "raw-requests", "malformed HTTP to a studio that listens", "refused, no fault of the server", 5_000, _raw
)
TEXTS = "tests/hostile/test_texts.py::test_"
VERSIONS = "tests/hostile/test_versions.py"
SECURITY = "tests/studio/test_security.py"

FAULTS = (
    *READERS,
    KERNEL,
    REQUESTS,
    RAW,
    by_tests(
        15,
        "empty-texts",
        "an empty file, blank lines alone, too few documents",
        "exit 3 that names the file",
        f"{TEXTS}a_text_without_ink_is_refused_by_name",
        f"{TEXTS}fewer_documents_than_the_split_needs_are_refused_by_name",
    ),
    by_tests(
        16,
        "offsets",
        "invalid UTF-8, UTF-16, NUL bytes by command",
        "exit 3 with the byte offset, in one line",
        f"{TEXTS}what_is_no_utf_8_is_refused_with_its_byte",
    ),
    by_tests(
        17,
        "marks",
        "a byte-order mark, CR LF, CR",
        "vocabulary, losses and weights as those of the clean file",
        f"{TEXTS}a_byte_order_mark_and_foreign_line_breaks_train_to_the_same_weights",
    ),
    by_tests(
        28, "versions", "files of an older and of a newer version", "read; or refused with the hash unchanged", VERSIONS
    ),
    by_tests(
        30,
        "paths",
        "wrong Host, Origin, token; 10,000 paths; a huge body",
        "403, 404, 405, 413: nothing leaves",
        SECURITY,
    ),
)
