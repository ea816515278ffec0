"""`microgpt engines`"""

import json

import click

from microgpt.cli.options import JSON


@click.command("engines")
@JSON
def command(as_json: bool) -> None:
    """Say which engines this machine can run, and why not."""
    import dataclasses

    from microgpt.engines import available

    found = available()
    if as_json:
        click.echo(json.dumps({"engines": [dataclasses.asdict(engine) for engine in found]}))
        return
    for engine in found:
        click.echo(f"{engine.name:8} {'yes' if engine.usable else 'no':4} {engine.reason}".rstrip())
