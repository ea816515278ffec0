"""`microgpt verify`"""

import json
import math

import click

from microgpt.cli.options import JSON


@click.command("verify")
@click.option("--full", is_flag=True, help="All sizes: this takes some minutes.")
@click.option("--engine", "engines", multiple=True, metavar="WORD", help="Only these engines.  [default: all]")
@JSON
def command(full: bool, engines: tuple[str, ...], as_json: bool) -> int:
    """Prove that all engines compute the same function.

    Each engine is compared with atomic: same weights, same documents, then the relative errors of the loss, of the
    gradient, and after ten training steps. The atoms' own gradients are compared with central differences.
    Exit code 1 when one is out of tolerance.
    """
    import dataclasses

    from microgpt.engines import choose
    from microgpt.engines.parity import verify

    checks = []
    for check in verify([choose(name) for name in engines], full):
        checks.append(check)
        if not as_json:
            tenth = "        " if check.ten_step_error is None else f"{check.ten_step_error:8.0e}"
            click.echo(
                f"{'ok  ' if check.ok else 'FAIL'} {check.engine:7} {check.precision:>3}  "
                f"loss {check.loss_error:6.0e}  gradient {check.gradient_error:6.0e}  ten steps {tenth}   "
                f"{check.recipe}{check.problem and '  ← ' + check.problem}"
            )
    ok = all(check.ok for check in checks)
    if as_json:
        rows = [{name: _finite(value) for name, value in dataclasses.asdict(check).items()} for check in checks]
        click.echo(json.dumps({"ok": ok, "checks": rows}, allow_nan=False))
    else:
        failed = sum(not check.ok for check in checks)
        click.echo(
            f"{len(checks)} checks, {failed} out of tolerance" if failed else f"{len(checks)} checks, all within"
        )
    return 0 if ok else 1


def _finite(value: object) -> object:
    """JSON knows no infinity, which an error is where zeros don't coincide; `problem` tells then."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
