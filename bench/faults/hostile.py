"""Read mutated checkpoints, and watch for crashes, code that runs, and time.

python -m bench.faults.hostile --inputs 100000
"""

import argparse
import json
import random
import tempfile
import time
from pathlib import Path

from tests.training.small import finish, request
from tests.training.test_hostile import mutated, refused


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--inputs", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    start = time.perf_counter()
    slowest, count = 0.0, 0
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        finish(request(place, "karpathy", steps=5))
        sound = (place / "runs" / "run" / "weights.safetensors").read_bytes()
        for seed in range(arguments.seed, arguments.seed + arguments.inputs):
            data, began = mutated(sound, random.Random(seed), 1 + seed % 8), time.perf_counter()
            count += refused(place / "it", data)  # which fails on a crash, on code that runs, and after a second
            slowest = max(slowest, time.perf_counter() - began)
    told = {"inputs": arguments.inputs, "refused": count, "crashes": 0, "executions": 0, "slowest_seconds": slowest}
    print(json.dumps(told | {"seconds": round(time.perf_counter() - start, 1)}, indent=1))


if __name__ == "__main__":
    main()
