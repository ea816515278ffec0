"""`microgpt train`, which is also the bare command"""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microgpt import untrusted
from microgpt.cli.app import Stop
from microgpt.cli.options import FORCE, JSON, TextCommand, settings
from microgpt.cli.telling import Teller, beside_counts, copies, separated, teller
from microgpt.errors import UsageError
from microgpt.model.settings import Settings, counted
from microgpt.recipes import RECIPES
from microgpt.training.request import Request

if TYPE_CHECKING:
    from microgpt.training.checkpoint import Checkpoint
    from microgpt.training.records import Finished, Interrupted, Record, Result


BY_HEART = 0.4  # nats that the held-out loss may lie above the training loss


class RecipesCommand(TextCommand):
    """A command whose help ends with the recipes."""

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Recipes (nats per character, on two cores)"):
            formatter.write_dl([(recipe.name, recipe.told) for recipe in RECIPES.values()])


@click.command("train", cls=RecipesCommand)
@settings(Request, recipe=RECIPES)
@settings(Settings)
@click.option("--for", "budget", metavar="TIME", help="Choose sizes and steps to make the most of 60s, 10m or 1h.")
@click.option("--resume", metavar="RUN", help="Continue a run; a finished one needs more --steps.")
@click.option("--from", "begin", metavar="RUN", help="Begin with the weights of a run or a weights file.")
@click.option(
    "--losses", "losses_file", metavar="FILE.csv", help="Also write step, loss and learning rate to this file."
)
@FORCE
@JSON
@click.option("--quiet", is_flag=True, help="No progress and no notes on standard error.")
def command(
    budget: str | None,
    resume: str | None,
    begin: str | None,
    losses_file: str | None,
    force: bool,
    as_json: bool,
    quiet: bool,
    **given: Any,
) -> int:
    """Train a model on a text, and read what it writes.

    Text, sizes and settings come from a recipe; flags override it. The weights, the losses and the samples go into a
    run folder. Ctrl-C saves, and --resume goes on from there.
    """
    from microgpt.engines.ranks import joined

    chosen = {name: value for name, value in given.items() if value is not None and value != ()}
    with Stop() as stop, joined(chosen | {"resume": resume, "for": budget}) as followed:
        if followed is not None:  # one of several ranks, and not the one that leads
            return followed
        losses_to = partial(_losses_to, losses_file, chosen, [run for run in (resume, begin) if run], force)
        losses_to()
        tells = teller(quiet)
        if None not in (begin, resume):
            raise UsageError("--from begins a new run, and --resume goes on with one; leave one of the two out.")
        try:
            records = (
                _records(resume, begin, chosen, stop)
                if budget is None
                else _within(budget, resume, begin, chosen, tells, stop)
            )
            last = _follow(records, tells, stop, as_json, quiet, tell_looks=budget is None)
        finally:
            tells.close()
    if place := losses_to():
        _write_losses(place, last)
    return stop.code


def _records(resume: str | None, begin: str | None, chosen: dict[str, Any], stop: Stop) -> "Iterator[Record]":
    from microgpt.recipes import beginning, resolve
    from microgpt.training.loop import train

    if resume is None:
        first = _first(begin, chosen)
        recipe, given = chosen.pop("recipe", "default"), beginning(first, chosen) if first else chosen
        return train(resolve(recipe, given), stop=stop, begin=first)
    from microgpt.training.find import find
    from microgpt.training.resume import resume as go_on

    if "recipe" in chosen:
        raise UsageError("--resume keeps the settings of its run; leave --recipe out.")
    return go_on(find(resume, chosen.pop("out", "runs")), chosen, stop=stop)


def _first(run: str | None, chosen: dict[str, Any]) -> "Checkpoint | None":
    """The model whose weights come first."""
    if run is None:
        return None
    from microgpt.training import checkpoint as checkpoints
    from microgpt.training.find import find, weights_of

    return checkpoints.read(weights_of(find(run, chosen.get("out", "runs"))))


def _within(
    budget: str, resume: str | None, begin: str | None, chosen: dict[str, Any], tells: Teller, stop: Stop
) -> "Iterator[Record]":
    """The training that makes the most of a time, told as the command that asks for it."""
    import time

    from microgpt.recipes import seconds_of

    began, seconds = time.perf_counter(), seconds_of(budget)
    from microgpt.recipes.budget import fit
    from microgpt.training.loop import train
    from microgpt.training.records import Finished

    if resume is not None:
        raise UsageError("--for chooses sizes, and --resume keeps those of its run; leave one of the two out.")
    first = _first(begin, chosen)
    fitted = fit(chosen, seconds, began=began, begin=first, stop=stop, tell=tells.note)
    tells.note(f"at the {fitted.speed / 1e9:,.0f} GFLOP/s measured here, {fitted.told}")
    settings = fitted.request.settings
    within = {"deadline": fitted.deadline, "most": fitted.most}
    for record in train(fitted.request, stop=stop, split=fitted.split, begin=first, **within):  # type: ignore[arg-type]
        yield record
        if isinstance(record, Finished) and record.checkpoint.training:
            settings = record.checkpoint.training.request.settings  # with the steps as planned at last
    tells.note(fitted.taken(settings) + (f" --from {begin}" if begin else ""))
    if not stop():
        tells.note("microgpt sample --stream writes more; microgpt export page.html makes a page that writes")


def _follow(
    records: "Iterator[Record]", tells: Teller, stop: Stop, as_json: bool, quiet: bool, tell_looks: bool
) -> "Finished | Interrupted":
    """Tell what happens; the last record. Held-out losses in mid-run have lines of their own where `tell_looks`."""
    from microgpt.training.records import Evaluated, Finished, Interrupted, Note, Progress, Sampled, Started

    ended: Finished | Interrupted | None = None
    held_out: float | None = None
    for record in records:
        match record:
            case Started():  # from here on a stop saves
                stop.listen()
                if not (as_json and quiet):
                    click.echo(record.headline, err=as_json)
            case Note(text, warning):
                tells.note(f"warning: {text}" if warning else text)
            case Progress():
                tells.progress(record, held_out)
            case Evaluated(step, measured):
                held_out, se = measured.per_character, measured.per_character_se
                if tell_looks:
                    error = "" if se is None else f" ± {se:.4f}"
                    tells.note(f"step {step}  held-out loss {held_out:.4f}{error}")
            case Sampled(samples=samples) if samples:
                tells.close()
            case Finished():
                ended = record
                _print_result(record, as_json)
            case Interrupted():
                ended = record
                tells.close()
                _print_interrupted(record)
    assert ended is not None  # the loop ends with one or raises
    return ended


def _print_result(ended: "Finished", as_json: bool) -> None:
    result, training = ended.result, ended.checkpoint.training
    if as_json:
        click.echo(json.dumps(result.to_dict(), allow_nan=False))
        return
    if result.samples:
        click.echo(separated(result.samples))
    click.echo(_summary(result, ended.checkpoint.kind, training.request.mix if training else 0.0))


def _summary(result: "Result", kind: str, mix: float) -> str:
    """What the training came to, in two to four lines."""
    loss, lines = result.loss, []
    letters = "letter" if loss.characters_per_token == 1 else "token"
    known = f"{letters} frequencies alone score {loss.unigram_per_character:.3f}, "
    known += f"guessing every token alike {loss.uniform_per_character:.3f}"
    if loss.holdout_per_character is not None:
        error = f" ± {loss.holdout_per_character_se:.3f}" if loss.holdout_per_character_se is not None else ""
        lines.append(f"held-out loss {loss.holdout_per_character:.3f}{error} nats per character; {known}")
        if loss.counts is not None:
            mixed = None if loss.mixed is None else (mix, loss.mixed)
            lines.append(beside_counts(loss.holdout_per_character, loss.counts, kind, _advice(result), mixed))
    elif loss.mean_last_100 is not None:
        found = loss.mean_last_100 / loss.characters_per_token
        lines.append(f"training loss {found:.3f} nats per character over the last 100 steps; {known}")
    if result.samples and result.samples_copied is not None:
        lines.append(copies(result.samples_copied, len(result.samples)))
    if result.run:
        took = result.seconds.train
        time = f"{took * 1e3:.1f} ms" if took < 0.1 else f"{took:.2f} s"
        steps = (f"{result.steps_taken:,} of " if result.steps_taken < result.steps else "") + counted(
            result.steps, "step"
        )
        lines.append(f"{result.run}  ({steps} in {time} on {result.engine})")
    return "\n" + "\n".join(lines)


def _advice(result: "Result") -> str:
    """What helps a model that is worse than counts."""
    loss = result.loss
    lost, learned = loss.holdout_per_character, loss.mean_last_100
    if lost is None or learned is None or lost - learned / loss.characters_per_token < BY_HEART:
        return "try more --steps with a larger --emb, or --for with more time"
    return "it learns the text by heart, so try fewer --steps, a smaller --emb or more text"


def _print_interrupted(record: "Interrupted") -> None:
    where = f"; go on with: microgpt --resume {record.run}" if record.run else ""
    click.echo(f"stopped after step {record.step}, and saved{where}", err=True)


def _losses_to(file: str | None, chosen: dict[str, Any], runs: list[str], force: bool) -> Path | None:
    """Where --losses is to be written, once that is sure not to cost anything that is read."""
    if file is None:
        return None
    from microgpt import outputs
    from microgpt.training import checkpoint as checkpoints
    from microgpt.training.find import find, weights_of
    from microgpt.training.prepare import is_gone

    if chosen.get("out") == "":
        raise UsageError("--losses copies the table of a run folder; leave --out as it is.")
    reads: list[str | Path] = [*chosen.get("data", ())]
    for run in runs:
        reads.append(path := find(run, chosen.get("out", "runs")))
        training = checkpoints.describe(weights_of(path)).training
        own = training.provenance.sources if training else ()
        reads += [source for source in own if not is_gone(source, own)]
    return outputs.destination(file, (".csv",), flag="--losses", reads=reads, force=force)


def _write_losses(place: Path, last: "Finished | Interrupted") -> None:
    """Every step's loss and learning rate: a copy of the run folder's table."""
    from microgpt import outputs
    from microgpt.training.records import Finished
    from microgpt.training.tables import LOSSES, TABLE_LIMIT

    run = last.result.run if isinstance(last, Finished) else last.run
    assert run is not None  # _losses_to refuses --losses without a folder
    outputs.write(place, untrusted.read(untrusted.inside(Path(run), LOSSES.file), TABLE_LIMIT))
