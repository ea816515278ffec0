"""What the site has besides docs/: the pages at the root, the sources that pages link to, the library, the annotated
symmetry.py, and a page that trains. A hook of mkdocs; nothing it makes asks another host for anything."""

import ast
import html
import math
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from griffe import Extension, Object
from latex2mathml.converter import convert
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

ROOT: Final = Path(__file__).parents[2]
HERE: Final = Path(__file__).parent
AT_THE_ROOT: Final = {
    "index.md": "README.md",
    "CHANGELOG.md": "CHANGELOG.md",
    "SECURITY.md": "SECURITY.md",
    "CONTRIBUTING.md": "CONTRIBUTING.md",
}
LANGUAGES: Final = {".py": "python", ".c": "c", ".js": "javascript", ".toml": "toml", ".cff": "yaml", ".csv": "text"}
LINK: Final = re.compile(r"\]\(([^)#\s]+)(#[^)\s]*)?\)")
SYMMETRY: Final = ROOT / "src/microgpt/symmetry.py"
LIBRARY: Final = ("train", "load", "resume", "runs", "Run")

sources: dict[str, Path] = {}  # pages that show a source, by their place in the site


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that stand elsewhere, and those of the sources that any page links to."""

    def add(place: str, text: str | bytes) -> None:
        files.append(File.generated(config, place, content=text))

    for place, name in AT_THE_ROOT.items():
        add(place, _relinked((ROOT / name).read_text("utf-8"), ROOT, ""))
    for page in [file for file in files.documentation_pages() if file.abs_src_path]:
        path = Path(page.abs_src_path)
        page.content_string = _relinked(path.read_text("utf-8"), path.parent, page.src_uri)
    add("library.md", "# The library\n\n" + "\n".join(f"::: microgpt.library.{name}\n" for name in LIBRARY))
    add("symmetry.md", annotated())
    for name in ("site.css", "site.js", "alive.js", "try.md"):
        add(name, (HERE / name).read_text("utf-8"))
    if (page := ROOT / "build/try.html").is_file():
        add("try-page.html", page.read_bytes())
    else:
        raise PluginError("build/try.html: expected the page that trains, found none; `make site` makes it first.")
    for place, path in sorted(sources.items()):
        add(place, _shown(path))
    return files


def _relinked(text: str, folder: Path, page: str) -> str:
    """Links as they are from a page of the site: to a page, or to one that shows a source."""

    def link(found: re.Match[str]) -> str:
        target, fragment = found[1], found[2] or ""
        path = (folder / target).resolve()
        if "://" in target or not path.is_relative_to(ROOT) or not path.exists():
            return found[0]  # of which mkdocs warns
        name = path.relative_to(ROOT).as_posix()
        place = next((place for place, source in AT_THE_ROOT.items() if source == name), name.removeprefix("docs/"))
        if not (ROOT / "docs" / place).exists() and place not in AT_THE_ROOT:
            place = f"source/{name}.md"
            sources[place] = path
        return f"]({posixpath.relpath(place, posixpath.dirname(page) or '.')}{fragment})"

    text = re.sub(r"<details>(?=<summary>)", '<details markdown="1">', text)
    return LINK.sub(link, text)


def _shown(path: Path) -> str:
    """A page of a source, or of the files of a folder."""
    name = path.relative_to(ROOT).as_posix()
    if path.is_dir():
        lines = "".join(f"- `{each.name}`\n" for each in sorted(path.iterdir()) if each.suffix in LANGUAGES)
        return f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n{lines}"
    text, language = path.read_text("utf-8"), LANGUAGES.get(path.suffix, "text")
    if path.suffix == ".md":
        return text
    return f"---\nsearch: {{exclude: true}}\n---\n# {name}\n\n`````{language}\n{text}\n`````\n"


def on_page_content(content: str, page: Any, config: Any, files: Files) -> str:
    """Formulas as MathML, which every browser shows by itself."""

    def formula(found: re.Match[str]) -> str:
        block = found[1] == "div"
        latex = html.unescape(found[2]).strip()[2:-2]
        return convert(latex, display="block" if block else "inline")

    return re.sub(r'<(span|div) class="arithmatex">(.*?)</\1>', formula, content, flags=re.S)


def on_post_page(output: str, page: Any, config: Any) -> str:
    """Names for who only hears the page: the theme's search has none, and a heading of a table is one or isn't."""
    search = 'data-md-component="search" role="dialog"'
    named = output.replace(search, f'{search} aria-label="Search"')
    return named.replace("<th></th>", "<td></td>")


class Doctests(Extension):
    """Examples of docstrings as code, which a page would take for quotations."""

    def on_instance(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring:
            examples = r"(?:^>>> .*\n(?:^\S.*\n?)*)+"
            obj.docstring.value = re.sub(
                examples, lambda found: f"```pycon\n{found[0].rstrip()}\n```\n", obj.docstring.value + "\n", flags=re.M
            )


# The annotated page


def annotated() -> str:
    """symmetry.py, each piece beside what is written of it in symmetry.md; and below the table its operations drawn."""
    notes = _notes((HERE / "symmetry.md").read_text("utf-8"))
    pieces = dict(_pieces(SYMMETRY.read_text("utf-8")))
    if missing := set(pieces) ^ set(notes):
        raise PluginError(f"symmetry.md: expected a note for each piece of symmetry.py, found no pair for {missing}")
    parts = ["---\nhide: [toc]\n---\n# The page, annotated\n"]
    for name, code in pieces.items():
        shown = highlight(code, PythonLexer(stripnl=False), HtmlFormatter(nowrap=False, cssclass="highlight"))
        note = f'<div class="note" markdown="1">\n\n{notes[name]}\n</div>'
        parts.append(f'<div class="pair" markdown="1">\n{note}\n<div class="code">{shown}</div>\n</div>\n')
        if name == "table":
            parts.append('<div class="operations">' + "".join(map(_operation, _table())) + "</div>\n")
            parts.append('<div id="alive"></div>\n<script type="module" src="alive.js"></script>\n')
    return "\n".join(parts)


def _notes(text: str) -> dict[str, str]:
    """What is written below each heading, by its name."""
    _, *parts = re.split(r"^## (.*)$", text, flags=re.M)
    return dict(zip(parts[::2], (part.strip() + "\n" for part in parts[1::2]), strict=True))


def _pieces(text: str) -> Iterator[tuple[str, str]]:
    """The definitions of the page in order, and the table of operations; what stands before one belongs to it."""
    lines, ends = text.splitlines(keepends=True), []
    for node in ast.parse(text).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            ends.append((node.name, node.end_lineno or 0))
        elif isinstance(node, ast.ImportFrom) and node.module == "typing":
            ends.append(("head", node.end_lineno or 0))
        elif isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "relu":
            ends.append(("table", node.end_lineno or 0))
    ends[-1] = ends[-1][0], len(lines)
    for (name, end), (_, begin) in zip(ends, [("", 0), *ends], strict=False):
        yield name, "".join(lines[begin:end]).strip("\n") + "\n"


def _table() -> Iterator[tuple[str, str, str, str, str]]:
    """The rows of operations: name, symbol, value and both slopes."""
    for node in ast.walk(ast.parse(SYMMETRY.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "op":
            row = [str(ast.literal_eval(each)) for each in node.args]
            yield row[0], row[1], row[2], row[3], row[4] if len(row) > 4 else ""


def _operation(row: tuple[str, str, str, str, str]) -> str:
    """An operation: its formula, its slopes, and both as curves over a, with b = 2."""
    name, symbol, value, da, db = row
    slopes = f"<dt>∂y/∂a</dt><dd>{html.escape(da)}</dd>" + (f"<dt>∂y/∂b</dt><dd>{html.escape(db)}</dd>" if db else "")
    curves = [[(a, _at(text, a, value)) for a in (i / 20 for i in range(-60, 61))] for text in (value, da)]
    given = " (b = 2)" if db else ""
    return (
        f'<figure class="operation"><figcaption><b>{html.escape(name)}</b> {html.escape(symbol)}</figcaption>'
        f"<dl><dt>y</dt><dd>{html.escape(value)}</dd>{slopes}</dl>"
        f'<svg viewBox="-3 -3 6 6" role="img" aria-label="{html.escape(name)}: value over a{given}, and slope">'
        '<path class="axis" d="M-3 0H3M0 -3V3"/>'
        f"{_curve(curves[0], 'value')}{_curve(curves[1], 'slope')}</svg></figure>"
    )


def _at(text: str, a: float, value: str, b: float = 2.0) -> float:
    try:
        y = eval(value, {"math": math}, {"a": a, "b": b})
        return float(eval(text, {"math": math}, {"a": a, "b": b, "y": y}))
    except (ArithmeticError, ValueError):
        return math.nan


def _curve(points: list[tuple[float, float]], name: str) -> str:
    """The finite points within the picture as lines."""
    parts, pen = [], False
    for x, y in points:
        inside = math.isfinite(y) and abs(y) <= 3.05
        if inside:
            parts.append(f"{'L' if pen else 'M'}{x:.2f} {-y:.3f}")
        pen = inside
    return f'<path class="{name}" d="{"".join(parts)}"/>'
