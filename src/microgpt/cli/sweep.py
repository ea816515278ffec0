"""`microgpt sweep`"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from microgpt.cli.app import Stop, suggestion
from microgpt.cli.options import JSON, STORE, Command, TextCommand, option
from microgpt.cli.sweeping import Teller, lacking, of_ideas, print_estimate, teller
from microgpt.errors import UsageError
from microgpt.lab.sweep.design import BASE
from microgpt.model.settings import counted
from microgpt.training.request import DECLARED

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from microgpt.lab.cluster.asked import Asked
    from microgpt.lab.sweep.coordinator import SweepFinished
    from microgpt.lab.sweep.design import Design
    from microgpt.lab.sweep.executors import Executor
    from microgpt.lab.sweep.plan import Plan
    from microgpt.lab.sweep.texts import Texts


def _base(command: Command) -> Command:
    """A decorator: an option for each setting of `BASE`."""
    for name in reversed(BASE):
        command = option(DECLARED[name], otherwise="the sweep's")(command)
    return command


@click.command("sweep", cls=TextCommand)
@click.argument("what", metavar="steps|params|laws|ideas|FILE.toml")
@_base
@click.option(
    "--equal",
    type=click.Choice(["time", "steps"]),
    help="Of ideas: time, where one with slower steps gets fewer, as measured before the first run; or steps.  "
    "[default: time]",
)
@click.option(
    "--seeds", type=click.IntRange(1, 10_000), metavar="N", help="Runs of each level.  [default: 3, of ideas 5]"
)
@click.option("--jobs", type=click.IntRange(1, 1024), metavar="N", help="Runs at a time.  [default: one for each core]")
@STORE
@click.option(
    "--schedule",
    type=click.Choice(["trunk"]),
    help="trunk: one training at a constant rate for each size and seed, and a cooldown from it for each length.",
)
@click.option("--dry-run", is_flag=True, help="Print the plan and what it takes, and run nothing.")
@click.option("--original", is_flag=True, help="Use the recipe's learning rate for every size, as the original does.")
@click.option("--engine", default="auto", show_default=True, metavar="WORD", help="Engine that computes the runs.")
@click.option("--precision", default="auto", show_default=True, metavar="WORD", help="Bits of each number.")
@click.option("--executor", default="local", show_default=True, metavar="local|ray", help="Where runs are computed.")
@click.option(
    "--address", metavar="HOST:PORT", help="A Ray cluster this machine belongs to.  [default: start one here]"
)
@click.option(
    "--cores-per-run", type=click.IntRange(1, 1024), metavar="N", help="On Ray: cores for each run.  [default: 1]"
)
@click.option(
    "--gpus-per-run", type=click.FloatRange(0, 64), metavar="F", help="On Ray: GPUs for each run, or a fraction of one."
)
@click.option("--keep-runs", is_flag=True, help="Also write a run folder for each run, into runs/.")
@JSON
@click.option("--quiet", is_flag=True, help="No progress and no notes on standard error.")
def command(what: str, **given: Any) -> int:
    """Carry out a planned set of runs, and keep them in a store.

    steps and params are the original's two sweeps, laws is one to fit a law to; ideas holds changes of the model, each
    by itself, against a base; FILE.toml describes any other. Runs that are in the store are not run again: after
    Ctrl-C, a crash or a loss of power the same command goes on.
    """
    from microgpt.lab.sweep.plan import plan
    from microgpt.lab.sweep.texts import Texts

    asked = _asked(given)
    design, texts = _design(what, given), Texts()
    planned = plan(design, texts, **_computed(given["engine"], given["precision"]))
    jobs = given["jobs"] or _jobs(planned)
    if asked:
        _check_gpus(asked, planned)
    if given["schedule"]:
        _check_trunk(planned, given)
    if not given["quiet"] and (note := lacking()):
        click.echo(note, err=True)
    if given["dry_run"]:
        from microgpt.lab.sweep.estimate import estimate

        planned = _settled(planned, texts, _kept(given["store"]), given)
        print_estimate(planned, estimate(planned, texts, jobs), given["as_json"])
        return 0
    with Stop() as stop:
        stop.listen()
        end = _carry_out(planned, texts, lambda: _executor(asked, planned, jobs, given["keep_runs"]), given, stop)
        _print_end(end, given["store"], given["as_json"])
    return stop.code


def _carry_out(
    planned: "Plan", texts: "Texts", begin: "Callable[[], Executor]", given: dict[str, Any], stop: Stop
) -> "SweepFinished":
    from microgpt.lab.store.store import Store
    from microgpt.lab.sweep.coordinator import SweepFinished, sweep

    with Store.open(given["store"], create=True) as store:
        planned = _settled(planned, texts, store.sweeps(), given)
        tells: Teller = teller(given["quiet"])
        executor = begin()
        try:
            for record in sweep(planned, store, executor, texts, stop):
                tells.tell(record)
                if isinstance(record, SweepFinished):
                    return record
        finally:
            tells.close()
            executor.close()
    raise AssertionError("a sweep ends with a record or raises")


def _kept(store: str) -> "Mapping[str, Mapping[str, Any]]":
    """The plans of a store, which need not be there."""
    from microgpt.lab.store.store import Store

    path = Path(store)
    if not path.is_file() or not path.stat().st_size:
        return {}
    with Store.open(path) as opened:
        return opened.sweeps()


def _settled(
    planned: "Plan", texts: "Texts", kept: "Mapping[str, Mapping[str, Any]]", given: "Mapping[str, Any]"
) -> "Plan":
    """The plan with the steps of each idea, of which it is told; any other sweep as it is."""
    from microgpt.lab.sweep.equal_time import at_equal_time
    from microgpt.lab.sweep.ideas import SWEEPS
    from microgpt.lab.sweep.plan import UNTUNED

    name = planned.name.removesuffix(UNTUNED)
    if name not in SWEEPS.values():
        return planned
    if name == SWEEPS["time"]:
        planned = at_equal_time(planned, texts, kept.get(planned.name))
    for line in [] if given["quiet"] else of_ideas(planned):
        click.echo(line, err=True)
    return planned


def _design(what: str, given: dict[str, Any]) -> "Design":
    """The design that a word or a file means."""
    from dataclasses import replace

    from microgpt.lab.sweep.design_file import read_design
    from microgpt.lab.sweep.ideas import ideas
    from microgpt.lab.sweep.plan import BUILT_IN, based, branched, original

    asked = {name: given[name] for name in BASE if given[name] not in (None, ())}
    if given["equal"] and what != "ideas":
        raise UsageError(f"--equal is for the sweep ideas, found {what}; leave it out.")
    if what == "ideas":
        design = ideas(asked, given["equal"] or "time")
    elif what in BUILT_IN:
        design = based(BUILT_IN[what], asked)
    elif what.endswith(".toml"):
        design = based(read_design(Path(what)), asked)
    else:
        raise UsageError(f"There is no sweep {what!r}; a file ends in .toml. {suggestion(what, list(BUILT_IN))}")
    if given["seeds"]:
        design = replace(design, seeds=tuple(range(given["seeds"])))
    if given["original"]:
        design = original(design)
    return branched(design) if given["schedule"] else design


def _computed(engine: str, precision: str) -> dict[str, str]:
    """What was asked for by flag; a file may name an engine too."""
    return {name: value for name, value in (("engine", engine), ("precision", precision)) if value != "auto"}


def _jobs(planned: "Plan") -> int:
    """As many as there are cores; where a card computes, one, which has all of it."""
    from microgpt.engines import device
    from microgpt.machine import cores

    on_cards = all(device(level.asked.engine, "auto") != "cpu" for level in planned.levels)
    return 1 if on_cards else cores()


def _executor(asked: "Asked | None", planned: "Plan", jobs: int, keep_runs: bool) -> "Executor":
    """A cluster, or processes; where runs can share a trunk, such as take all of its branches. A run with a folder
    trains alone."""
    if asked:
        from microgpt.lab.cluster.executor import RayCluster

        return RayCluster(asked)
    from microgpt.lab.sweep.executors import LocalProcesses
    from microgpt.lab.sweep.groups import InGroups
    from microgpt.lab.sweep.trunk import trunk

    if not keep_runs and any(map(trunk, planned.levels)):
        return InGroups(jobs)
    return LocalProcesses(jobs, "runs" if keep_runs else "")


def _asked(given: dict[str, Any]) -> "Asked | None":
    """What is asked of a cluster; None for processes of this machine. Raises `EnvironmentFault` without Ray."""
    name, resources = given["executor"], (given["cores_per_run"], given["gpus_per_run"])
    if name not in ("local", "ray"):
        raise UsageError(f"--executor takes local or ray, found {name!r}. {suggestion(name, ['local', 'ray'])}")
    if name == "local":
        for flag, value in zip(
            ("address", "cores-per-run", "gpus-per-run"), (given["address"], *resources), strict=True
        ):
            if value:
                raise UsageError(f"--{flag} is for a cluster, which --executor local does not use; add --executor ray.")
        return None
    from microgpt.lab.cluster.asked import Asked, check_installed

    check_installed()
    if given["address"] and given["keep_runs"]:
        raise UsageError(
            "--keep-runs writes folders where runs are computed, with --address on many machines; leave it out."
        )
    asked_cores, gpus = resources
    out = "runs" if given["keep_runs"] else ""
    return Asked(given["address"] or "", given["jobs"] or 0, asked_cores or 1, gpus or 0.0, out, str(Path.cwd()))


def _check_gpus(asked: "Asked", planned: "Plan") -> None:
    from microgpt.engines import REGISTRY

    able = " or ".join(name for name, entry in REGISTRY.items() if entry.settle)
    others = ", ".join(
        sorted({level.asked.engine for level in planned.levels if not REGISTRY[level.asked.engine].settle})
    )
    if asked.gpus and others:
        raise UsageError(f"--gpus-per-run is for the engine {able}, found runs with {others}; add --engine {able}.")


def _check_trunk(planned: "Plan", given: dict[str, Any]) -> None:
    """Refuse a trunk where nobody would train one: what runs come to would be the same, and their price too."""
    from microgpt.lab.sweep.trunk import shares

    told = "--schedule trunk trains the lengths of a size one after another, "
    if given["executor"] == "ray":
        raise UsageError(told + "which --executor ray hands out as single runs; leave one out.")
    if given["keep_runs"]:
        raise UsageError(told + "and --keep-runs writes the folder of a training of its own; leave one out.")
    if min(shares(planned.levels)) == 1:
        raise UsageError(told + f"found no two lengths of a size in {planned.name}; leave it out.")


def _print_end(end: "SweepFinished", store: str, as_json: bool) -> None:
    from microgpt.lab.sweep.coordinator import SweepInterrupted

    counts = {"planned": end.planned, "done": end.done, "skipped": end.skipped, "failed": end.failed}
    if as_json:
        click.echo(json.dumps(counts | {"seconds": round(end.seconds, 3), "store": store}))
        return
    done = counted(end.done, "run")
    told = f"{done} done, {end.skipped:,} were there already, {end.failed:,} failed, of {end.planned:,}"
    if isinstance(end, SweepInterrupted):
        click.echo(f"stopped: {told}; the same command goes on from here", err=True)
        return
    click.echo(f"{store}: {told}, in {end.seconds:.1f} s")
