"""The studio as the command line starts it, in a process that tells what it holds whenever it gets SIGUSR1.

python -m trials.soak_server FILE --out runs ...
"""

import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path

from trials.soak import look


def main() -> None:
    """A line of JSON for each signal goes into the file that is named first; the rest are flags of the studio."""
    from microgpt.cli import carry_out

    told, looks = Path(sys.argv[1]), [0]

    def tell(*_: object) -> None:
        looks[0] += 1
        with told.open("a") as file:
            file.write(json.dumps(asdict(look(looks[0]))) + "\n")

    signal.signal(signal.SIGUSR1, tell)
    sys.exit(carry_out(["studio", "--no-browser", "--port", "0", *sys.argv[2:]]))


if __name__ == "__main__":
    main()
