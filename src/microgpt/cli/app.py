"""The verbs, how a wrong one is met, and how an error becomes one line and an exit code."""

import difflib
import importlib
import os
import signal
import sys
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType, TracebackType
from typing import Any

import click
from click.shell_completion import CompletionItem

from microgpt import __version__
from microgpt.cli import streams
from microgpt.errors import STOPS, EnvironmentFault, MicrogptError, file_message

MOST_SUGGESTIONS = 3
INTERRUPTED = 128 + signal.SIGINT
SOON = 0.01  # seconds until a signal that was lost comes again


@dataclass(frozen=True)
class Verb:
    """One verb: the module that holds its command, the group that help lists it in, and its line there."""

    module: str
    group: str
    line: str


VERBS = {
    "train": Verb("train", "Start", "Train a model on a text, and read what it writes. The bare command trains."),
    "sample": Verb("sample", "Start", "Write text with a trained model."),
    "prepare": Verb("prepare", "Start", "Write a long text as token files, to train on it without loading it."),
    "runs": Verb("runs", "Look", "List the saved runs."),
    "eval": Verb("evaluate", "Look", "Measure the held-out loss of a run, or its loss on another text."),
    "export": Verb("export", "Look", "Export a run's model to share: a web page, a program, .onnx or a folder."),
    "studio": Verb("studio", "Look", "Open the local web page: see a model learn, and look inside."),
    "verify": Verb("verify", "Measure", "Prove that all engines compute the same function."),
    "bench": Verb("bench", "Measure", "Measure the speed of the engines on this machine."),
    "engines": Verb("engines", "Measure", "Say which engines this machine can run, and why not."),
    "plan": Verb("plan", "Measure", "Estimate what a larger training would take: time, memory, devices."),
    "sweep": Verb("sweep", "Study", "Carry out a planned set of runs, and keep them in a store."),
    "analyze": Verb("analyze", "Study", "Tables of a store: loss against steps, against size, return on investment."),
    "report": Verb("report", "Study", "Write one page about a store: tables, plots, curves, samples."),
    "laws": Verb("laws", "Study", "Fit a scaling law to a store or a CSV file."),
    "predict": Verb("predict", "Study", "Predict the loss of a size and a length with a law."),
    "frontier": Verb("frontier", "Study", "Find the best size and length for a compute budget."),
    "compare": Verb("compare", "Study", "Measure how many times less compute one recipe needs than another."),
    "suggest": Verb("suggest", "Study", "Choose the next runs, within a cost, that narrow an interval of a law most."),
}


class Verbs(click.Group):
    """Verbs that are imported when they are called. Words that begin with a dash go to `train`."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(f"microgpt.cli.{VERBS[cmd_name].module}").command
        assert isinstance(command, click.Command)
        command.help = command.help or _written_help(cmd_name)
        return command

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        own = {name for parameter in self.get_params(ctx) for name in parameter.opts}
        if (not args and not ctx.resilient_parsing) or (args and args[0].startswith("-") and args[0] not in own):
            args = ["train", *args]  # but where a shell asks how the command line may begin
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        found = super().shell_complete(ctx, incomplete)
        train = self.get_command(ctx, "train") if incomplete.startswith("-") else None
        return [*found, *(train.shell_complete(ctx, incomplete) if train else [])]

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS:
            hint = f"Did you mean --data {args[0]}?" if Path(args[0]).exists() else suggestion(args[0], list(VERBS))
            raise click.UsageError(f"There is no verb {args[0]!r}. {hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for group in dict.fromkeys(verb.group for verb in VERBS.values()):
            rows = [(name, verb.line) for name, verb in VERBS.items() if verb.group == group]
            with formatter.section(group):
                formatter.write_dl(rows)


def _written_help(verb: str) -> str | None:
    """The help text of a verb from its source: `python -OO` keeps no docstrings."""
    import ast

    tree = ast.parse(Path(__file__).with_name(f"{VERBS[verb].module}.py").read_text("utf-8"))
    functions = (part for part in tree.body if isinstance(part, ast.FunctionDef))
    return next(ast.get_docstring(function) for function in functions if function.name == "command")


def suggestion(word: str, known: Sequence[str]) -> str:
    """The nearest known words as a question, or all of them."""
    near = difflib.get_close_matches(word, known, MOST_SUGGESTIONS)
    return f"Did you mean {' or '.join(near)}?" if near else f"There are: {', '.join(known)}."


@click.command(
    cls=Verbs,
    help="MicroGPT: The Art of Symmetry. Train a small GPT, read what it writes, and see how it learns.",
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="`microgpt VERB --help` lists the flags of a verb; the bare command takes those of train.",
)
@click.version_option(__version__, prog_name="microgpt")
def microgpt() -> None:
    """The command line as a whole."""


def run(arguments: Sequence[str]) -> int:
    """Carry out a command line; the exit code. Every failure is one line on standard error."""
    debug = "--debug" in arguments
    arguments = [argument for argument in arguments if argument != "--debug"]
    warnings.showwarning = lambda message, *_, **__: click.echo(f"warning: {message}", err=True)
    with streams.ready() as out:
        try:
            with _Interruptible():
                code: Any = microgpt.main(args=list(arguments), prog_name="microgpt", standalone_mode=False)
                out.flush()
            if out.lost and not code:  # told only now where work outlasted it
                raise streams.Unwritable
            return code if isinstance(code, int) else 0
        except _Interruption as interruption:
            return interruption.code
        except (KeyboardInterrupt, click.Abort):
            return INTERRUPTED
        except streams.Unwritable:
            return explain(out.lost) if out.lost and not isinstance(out.lost, BrokenPipeError) else 0
        except Exception as error:
            if debug:
                raise
            return explain(error)


def explain(error: Exception) -> int:
    """Say in one line what went wrong; the exit code."""
    if isinstance(error, click.ClickException):
        where = getattr(getattr(error, "ctx", None), "command_path", "microgpt")
        message, code = f"{error.format_message()} Try: {where} --help", 2
    elif isinstance(error, MicrogptError):
        message, code = str(error), error.exit_code
    elif isinstance(error, MemoryError):
        message, code = "There is not enough memory for this; smaller sizes or a smaller batch need less.", 5
    elif isinstance(error, OSError):
        message, code = file_message(error.filename or "standard output", error), EnvironmentFault.exit_code
    else:
        message, code = f"unexpected {type(error).__name__}: {error}. With --debug it shows where.", 1
    click.echo(f"microgpt: {' '.join(message.split())}", err=True)
    return code


class _Interruption(BaseException):
    """One of STOPS, where there is nothing to save; on its way out what was begun is tidied up."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class _Interruptible:
    """Raises `_Interruption` where one of STOPS comes. The second one ends the process by itself.

    A signal that is ignored, as SIGHUP is under nohup, stays ignored. The exception gets through also where it is lost
    on its way: some libraries print it and make an error of their own of it while they are imported, and Python lets no
    exception out of a finaliser.
    """

    def __enter__(self) -> None:
        self._heard: list[int] = []
        self._handlers: dict[int, Any] = {}
        self._hook, self._print = sys.unraisablehook, sys.excepthook
        if threading.current_thread() is not threading.main_thread():  # which alone hears signals
            return
        sys.unraisablehook, sys.excepthook = self._once_more, self._print_others
        for number in STOPS:
            if (handler := signal.getsignal(number)) != signal.SIG_IGN:
                self._handlers[number] = handler
                signal.signal(number, self._leave)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: object) -> None:
        sys.unraisablehook, sys.excepthook = self._hook, self._print
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._heard and (error is None or isinstance(error, Exception)):
            raise _Interruption(STOPS[self._heard[0]]) from None

    def _leave(self, number: int, frame: FrameType | None) -> None:
        if _is_within(frame, self._once_more.__code__):  # where what is raised would be lost again
            self._send_soon(number)
            return
        self._heard.append(number)
        _end_compilers()  # before a second signal can end this process alone
        for each in self._handlers:
            signal.signal(each, signal.SIG_DFL)
        raise _Interruption(STOPS[number])

    def _once_more(self, lost: "sys.UnraisableHookArgs") -> None:
        if lost.exc_type is not _Interruption:
            self._hook(lost)
            return
        signal.signal(self._heard[-1], self._leave)
        self._send_soon(self._heard[-1])

    def _print_others(self, kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if kind is not _Interruption:
            self._print(kind, error, trace)

    def _send_soon(self, number: int) -> None:
        def send() -> None:  # on Windows os.kill would end the process
            signal.raise_signal(number) if sys.platform == "win32" else os.kill(os.getpid(), number)

        threading.Timer(SOON, send).start()


def _is_within(frame: FrameType | None, code: CodeType) -> bool:
    while frame and frame.f_code is not code:
        frame = frame.f_back
    return frame is not None


class Stop:
    """Turns STOPS into a request to stop, which long work polls, from `listen` on. The second one leaves at once.

    Before that there is nothing to save, and the first one ends the command. Meanwhile the streams may fail: what is
    saved is worth more than what is told.

    Python runs its signal handlers between two instructions, so not within a long call of an engine. But it notes each
    signal in a pipe at once, and a thread that reads there is heard whenever the engine's call has let go of the
    interpreter.
    """

    def __init__(self) -> None:
        self.code = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Stop":
        _outlast_streams(True)
        return self

    def listen(self) -> None:
        """Only note signals from now on."""
        if self._before:
            return
        heard, self._noted = os.pipe()
        if sys.platform != "win32":  # where a wakeup descriptor may block
            os.set_blocking(self._noted, False)
        self._pipe_before = signal.set_wakeup_fd(self._noted, warn_on_full_buffer=False)
        self._before = {number: signal.getsignal(number) for number in STOPS}
        for number, handler in self._before.items():
            if handler != signal.SIG_IGN:
                signal.signal(number, lambda *_: None)
        threading.Thread(target=self._read, args=(heard,), daemon=True).start()

    def __exit__(self, *error: object) -> None:
        _outlast_streams(False)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._before:
            signal.set_wakeup_fd(self._pipe_before)
            os.close(self._noted)  # ends the thread

    def __call__(self) -> bool:
        return self.code != 0

    def _read(self, heard: int) -> None:
        while number := os.read(heard, 1):
            if number[0] not in STOPS:
                continue
            if self.code:
                _end_compilers(for_good=True)
                os._exit(self.code)
            self.code = STOPS[number[0]]
        os.close(heard)


def _outlast_streams(patient: bool) -> None:
    if isinstance(sys.stdout, streams.Stream):
        sys.stdout.patient = patient


def _end_compilers(for_good: bool = False) -> None:
    """A compiler has a session of its own, and would outlive this process."""
    if compiler := sys.modules.get("microgpt.engines.fused.toolchain"):
        compiler.end_all(for_good)
