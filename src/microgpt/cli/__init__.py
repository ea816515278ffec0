"""The command line: a file for each verb. It prints, parses and explains; what it prints is computed elsewhere."""


def main() -> None:
    """The commands `microgpt` and `microgpt-symmetry`."""
    import sys

    from microgpt.cli.app import run

    sys.exit(run(sys.argv[1:]))
