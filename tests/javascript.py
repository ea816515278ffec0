"""The page's own scripts outside a page: node computes what they make of given values, or else a browser."""

import json
import shutil
import subprocess
from collections.abc import Sequence
from typing import Any

from microgpt.export.page import THREAD
from tests.browser import browser
from tests.conftest import SOURCE

DRIVER = """
const values = JSON.parse(require("fs").readFileSync(0, "utf8"));
const answer = async () => { %s };
answer().then((found) => process.stdout.write(JSON.stringify(found)));
"""


def computed(body: str, values: object, scripts: Sequence[str] = THREAD) -> Any:
    """What the body of a function returns, which may name what the scripts define, and `values`; all of it is JSON.
    Skips where there is neither node nor a browser."""
    node, text = shutil.which("node"), "\n".join((SOURCE / "export" / name).read_text("utf-8") for name in scripts)
    if node is None:
        with browser() as opened:
            return opened.new_page().evaluate(f"async (values) => {{ {text}\n{body} }}", values)
    done = subprocess.run(
        [node, "-e", text + DRIVER % body], input=json.dumps(values), capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)
