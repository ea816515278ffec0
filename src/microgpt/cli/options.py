"""Options made from the fields of the configuration, so that a setting is declared once."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import click

from microgpt.model.settings import flag

Command = TypeVar("Command", bound=Callable[..., Any])

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object on standard output.")
FORCE = click.option("--force", is_flag=True, help="Replace even a file that this program did not write.")
RUN = click.argument("run", required=False)
STORE = click.option("--store", default="lab.db", show_default=True, metavar="FILE", help="The store of runs.")
OUT = click.option("--out", default="runs", show_default=True, help="Folder of the run folders.")


class TextCommand(click.Command):
    """A command whose --data takes the words that follow it too, as a shell makes many of *.txt.

    Where it takes a RUN as well, a single word after --data TEXT is that, as ever.
    """

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, list(args))
        except click.UsageError:
            if (spread := list(_spread(args))) == args:
                raise
        ctx.params.clear()  # what was found so far would stay
        return super().parse_args(ctx, spread)


def _spread(args: list[str]) -> Iterator[str]:
    """The same words with a --data before each that follows the first of one."""
    values = 0  # of the last --data
    for place, word in enumerate(args):
        if word == "--":
            yield from args[place:]
            return
        if word.startswith("-") and word != "-":
            values = 1 if word == "--data" else 2 if word.startswith("--data=") else 0
        elif values:
            values += 1
            if values > 2:
                yield "--data"
        yield word


def settings(kind: type, **choices: Iterable[str]) -> Callable[[Command], Command]:
    """A decorator: an option for every setting of a frozen configuration that has a flag. What is not given stays
    None. `choices` are those that another room knows of."""
    fields = [field for field in dataclasses.fields(kind) if field.metadata.get("flag")]

    def decorate(command: Command) -> Command:
        for field in reversed(fields):
            command = option(field, choices.get(field.name, ()))(command)
        return command

    return decorate


def option(
    field: "dataclasses.Field[Any]", choices: Iterable[str] = (), otherwise: str = ""
) -> Callable[[Command], Command]:
    """One field as an option: `norm_head` becomes --norm-head/--no-norm-head, `steps` becomes -s, --steps. Its default
    is told by the help or, in words, by `otherwise`."""
    name, default = flag(field.name), field.default
    names = [field.name, *filter(None, [field.metadata.get("short")]), name]
    shown = field.metadata["help"]
    shown += f"  [default: {otherwise}]" if otherwise else "" if "default:" in shown else _default(default)
    if isinstance(default, bool):
        return click.option(field.name, f"{name}/--no-{name[2:]}", default=None, help=shown)
    if isinstance(default, tuple):
        return click.option(*names, multiple=True, metavar="TEXT", help=shown)
    kind, metavar = {int: (int, "N"), float: (float, "X")}.get(field.metadata.get("kind", str), (str, "WORD"))
    metavar = "|".join(choices or field.metadata["choices"]) or metavar
    return click.option(*names, type=kind, default=None, metavar=metavar, help=shown)


def _default(default: Any) -> str:
    if isinstance(default, bool):
        return f"  [default: {'on' if default else 'off'}]"
    if isinstance(default, tuple):
        return f"  [default: {', '.join(default)}]"
    return f"  [default: {default}]" if default not in ("", None) else ""
