"""The page that learns, in a real Chromium: its size, how long it takes to learn, and how fast it writes.

    python bench/page.py [--rounds 15]

It needs ziglang, playwright and a Chromium. All figures are of one core of a machine that does nothing else; a busy one
gives larger times.
"""

import shutil
import statistics
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

import machine
from microgpt.data.choices import BUILTINS
from microgpt.export.page import page_to_try

LEARNED = "() => document.getElementById('learned').textContent.startsWith('Learned')"
WRITTEN = """async () => {
  const start = performance.now();
  const texts = await microgpt.write({ count: 100000, seed: 1 });
  return texts.reduce((sum, text) => sum + text.length + 1, 0) / (performance.now() - start) * 1000;
}"""


def main() -> None:
    rounds = machine.asked(__doc__, rounds=15).rounds
    print(machine.line())
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        file = Path(folder, "try.html")
        start = time.perf_counter()
        file.write_bytes(page_to_try())
        print(f"try.html: {file.stat().st_size:,} bytes, made in {time.perf_counter() - start:.1f} s")
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        tab = opened.new_page()
        start = time.perf_counter()
        tab.goto(file.as_uri())
        tab.wait_for_selector("#samples li")
        first = time.perf_counter() - start
        tab.wait_for_function(LEARNED)
        print(f"opened: first letters after {first:.2f} s, 20,000 steps after {time.perf_counter() - start:.2f} s")
        tab.fill("#steps", "1000")
        tab.select_option("#with", "new")
        new = [1000 * tab.evaluate("async () => (await microgpt.learn()).seconds") for _ in range(rounds)]
        tab.select_option("#with", "own")
        own = [1000 * tab.evaluate("async () => (await microgpt.learn()).seconds") for _ in range(rounds)]
        for name, times in (("a new model, up to 256 tokens", new), ("the page's own", [*own])):
            print(f"1,000 steps, {name}: first {times[0]:.1f} ms, then {statistics.median(times[1:]):.1f} (median), "
                  f"{min(times[1:]):.1f} at best")  # fmt: skip
        long = Path(folder, "long.txt")
        long.write_bytes((BUILTINS["names"].path.read_bytes() * 47)[:9_900_000])
        tab.set_input_files("#file", long)
        start = time.perf_counter()
        tab.evaluate("() => microgpt.learn()")
        print(f"9.9 MB of names: read, cut and learned in {time.perf_counter() - start:.1f} s")
        speeds = [tab.evaluate(WRITTEN) for _ in range(max(3, rounds // 3))]
        print(
            f"written: {statistics.median(speeds) / 1e6:.2f} million tokens/s (median), {max(speeds) / 1e6:.2f} at best"
        )
        opened.close()


if __name__ == "__main__":
    main()
