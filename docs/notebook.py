"""Pages as notebooks: `python docs/notebook.py` writes one for each of PAGES, `make docs` calls it."""

import json
import re
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGES = {
    HERE / "TUTORIAL.md": HERE / "tutorial.ipynb",
    HERE / "notebooks/own-text.md": HERE / "notebooks/own-text.ipynb",
    HERE / "notebooks/law.md": HERE / "notebooks/law.ipynb",
}
BLOCK = re.compile(r"^```python\n(.*?)\n```(?:\n\n```text\n(.*?)\n```)?", re.MULTILINE | re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """A page's blocks of code in their order, each with what it answers, or with nothing."""
    return [(code, answer or "") for code, answer in BLOCK.findall(page.read_text("utf-8"))]


def notebook(page: Path) -> str:
    """A page as a notebook, format 4.5, its answers as the outputs."""
    cells: list[dict[str, Any]] = []
    words, *parts = BLOCK.split(page.read_text("utf-8"))
    for text, code, answer in [(words, None, None), *zip(parts[2::3], parts[0::3], parts[1::3], strict=True)]:
        if code:
            output = {"output_type": "stream", "name": "stdout", "text": answer}
            cells += [
                {"cell_type": "code", "execution_count": None, "outputs": [output] if answer else [], "source": code}
            ]
        if text.strip():
            cells += [{"cell_type": "markdown", "source": text.strip()}]
    cells = [{"id": f"cell-{number}", "metadata": {}} | cell for number, cell in enumerate(cells)]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    whole = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(whole, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for source, target in PAGES.items():
        target.write_text(notebook(source), encoding="utf-8")
