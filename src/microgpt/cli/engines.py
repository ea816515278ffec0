"""`microgpt engines`"""

import json
from typing import Any

import click

from microgpt.cli.options import JSON, settings
from microgpt.model.settings import Architecture, Settings


@click.command("engines")
@click.option("--show-kernel", is_flag=True, help="Print the C program of the fused engine for the sizes below.")
@click.option("--vocabulary", default=27, show_default=True, help="Vocabulary size of the kernel.")
@click.option("--precision", default="32", show_default=True, help="Bits of each number in the kernel.")
@settings(Architecture)
@JSON
def command(show_kernel: bool, vocabulary: int, precision: str, as_json: bool, **sizes: Any) -> None:
    """Say which engines this machine can run, and why not."""
    import dataclasses

    from microgpt.engines import available

    if show_kernel:
        given = {name: size for name, size in sizes.items() if size is not None}
        compiled, text = _kernel(vocabulary, precision, given)
        told = {"command": compiled, "kernel": text}
        click.echo(json.dumps(told) if as_json else f"/* {compiled} */\n\n{text}", nl=as_json)
        return
    found = available()
    if as_json:
        click.echo(json.dumps({"engines": [dataclasses.asdict(engine) for engine in found]}))
        return
    for engine in found:
        click.echo(f"{engine.name:8} {'yes' if engine.usable else 'no':4} {engine.reason}".rstrip())


def _kernel(vocabulary: int, precision: str, sizes: dict[str, Any]) -> tuple[str, str]:
    """The command that compiles a kernel, and what is compiled."""
    from microgpt.engines import check
    from microgpt.engines.contract import EngineConfig
    from microgpt.engines.fused.build import command_line, source
    from microgpt.engines.fused.engine import defines

    config = EngineConfig(precision)  # type: ignore[arg-type]  # `check` refuses what it can't be
    check("fused", config)
    constants = defines(Settings(**sizes).model(vocabulary), config.precision)
    return command_line(constants), source(constants)
