"""The command line: a file for each verb. It prints, parses and explains; what it prints is computed elsewhere."""

from collections.abc import Sequence


def main() -> None:
    """The commands `microgpt` and `microgpt-symmetry`."""
    import sys

    sys.exit(carry_out(sys.argv[1:]))


def carry_out(arguments: Sequence[str]) -> int:
    """Carry out the command line of a process; the exit code.

    Ctrl-C ends the process without a traceback also while it begins and while it leaves, where nobody hears of it.
    """
    import _signal  # type: ignore[import-not-found]  # built in; importing `signal` takes long enough to be interrupted

    if _signal.getsignal(_signal.SIGINT) is _signal.default_int_handler:
        _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    from microgpt.cli.app import run

    return run(arguments)
