"""A report as one HTML page that needs nothing else: no network, no script. All text is escaped; only the pictures are
markup, and those this program has drawn."""

import re
from collections.abc import Iterable, Sequence
from html import escape
from importlib import resources
from typing import Final

from microgpt.lab.audit import Finding, sentence
from microgpt.lab.report.contents import Picture, Report, Section, Writing
from microgpt.lab.statistics.render import Table, plain
from microgpt.outputs import GENERATOR

MOST_ROWS: Final = 200  # of a table on the page
LONG: Final = 24  # characters of a sample that needs a wide column
POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'"  # even if something slipped through, it could do nothing
)


def page(report: Report) -> str:
    """The whole page."""
    style = resources.files("microgpt.lab.report").joinpath("page.css").read_text(encoding="utf-8")
    sections = "\n".join(map(_section, report.sections))
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
{GENERATOR}
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<title>{_text(report.title)}</title>
<style>
{style}</style>
</head>
<body>
<header><h1>{_text(report.title)}</h1><p class="quiet">{_text(report.subtitle)}</p></header>
<main>
{sections}
</main>
<footer></footer>
</body>
</html>
"""


def _section(section: Section) -> str:
    parts = [
        f"<h2>{_text(section.title)}</h2>",
        *(f"<p>{_prose(paragraph)}</p>" for paragraph in section.paragraphs),
        _list(map(_finding, section.findings), '<ul class="findings">', "</ul>"),
        _list(map(_picture, section.pictures), '<div class="pictures">', "</div>"),
        *map(_table, section.tables),
        _writings(section.writings),
        _commands(section.commands),
    ]
    return "<section>\n" + "\n".join(filter(None, parts)) + "\n</section>"


def _finding(finding: Finding) -> str:
    head = f"<b>{finding.severity}: {_text(finding.kind)}</b>"
    return f'<li class="{finding.severity}">{head}{_prose(sentence(finding))}</li>'


def _picture(picture: Picture) -> str:
    svg = picture.svg.replace("<svg", f'<svg role="img" aria-label="{_text(picture.caption)}"', 1)
    told = f"<b>{_text(picture.caption)}.</b> {_text(picture.note)}<br><code>{_text(picture.command)}</code>"
    return f"<figure>{svg}<figcaption>{told}</figcaption></figure>"


def _table(table: Table) -> str:
    classes = [' class="number"' if column.number else ' class="wide"' for column in table.columns]
    heads = "".join(
        f"<th{kind}>{_text(column.title)}</th>" for kind, column in zip(classes, table.columns, strict=True)
    )
    rows = [
        "".join(f"<td{kind}>{_text(cell)}</td>" for kind, cell in zip(classes, row, strict=True))
        for row in _cells(table)
    ]
    note = table.note + (f" The first {MOST_ROWS} of {len(table.rows):,} rows." if len(table.rows) > MOST_ROWS else "")
    body = "\n".join(f"<tr>{row}</tr>" for row in rows)
    told = f'<p class="note">{_text(note)}</p>' if note else ""
    table_of_rows = f"<table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    return f'<h3>{_text(table.title)}</h3>\n<div class="scroll">{table_of_rows}</div>\n{told}'


def _cells(table: Table) -> Sequence[Sequence[str]]:
    return Table(table.title, table.kind, table.rows[:MOST_ROWS], table.columns).cells


def _writings(writings: Sequence[Writing]) -> str:
    longest = max((len(sample) for writing in writings for sample in writing.samples), default=0)
    kind = "writings long" if longest > LONG else "writings"
    return _list(map(_writing, writings), f'<h3>What they write</h3>\n<div class="{kind}">', "</div>")


def _writing(writing: Writing) -> str:
    samples = "".join(f"<li>{_text(sample) or '&nbsp;'}</li>" for sample in writing.samples)
    return f"<div><h4>{_text(writing.title)}</h4><ul>{samples}</ul></div>"


def _commands(commands: Sequence[str]) -> str:
    lines = "\n".join(map(_text, commands))
    return f'<p class="quiet label">Made by</p>\n<pre><code>{lines}</code></pre>' if commands else ""


def _list(parts: Iterable[str], before: str, after: str) -> str:
    inside = "\n".join(parts)
    return f"{before}\n{inside}\n{after}" if inside else ""


def _prose(text: str) -> str:
    """A sentence, with what stands between backticks set as code."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", _text(text))


def _text(text: str) -> str:
    """Text that can be nothing but text, in an element and in a quoted attribute."""
    return escape(plain(text), quote=True)
