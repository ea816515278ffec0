"""One Run in many threads at once, as a service has it: every answer is the one that a single thread gets."""

import json
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_info

from microgpt import library
from microgpt.library import Run
from trials.small import NAMES

THREADS = 8


@pytest.fixture(autouse=True)
def busy() -> Iterator[None]:
    """Threads take turns a hundred times as often as they do."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(5e-5)
    yield
    sys.setswitchinterval(before)


def small(engine: str, precision: str = "auto") -> Run:
    return library.train(documents=NAMES * 3, steps=30, holdout=0.2, engine=engine, precision=precision, samples=0)


def wrong(run: Run, times: int) -> int:
    """How many answers in eight threads differ from those of one."""
    alone = library.Run(run.checkpoint, split=run._split)
    expected = [alone.sample(["", "em"], count=3, seed=seed) for seed in range(THREADS)]
    loss = alone.evaluate()
    ready = threading.Barrier(THREADS)

    def ask(seed: int) -> int:
        ready.wait()
        return sum(
            (run.sample(["", "em"], count=3, seed=seed) != expected[seed])
            + ("".join(run.stream(seed=seed)) != expected[seed][0][0])
            + (run.evaluate() != loss)
            for _ in range(times)
        )

    with ThreadPoolExecutor(THREADS) as pool:
        return sum(pool.map(ask, range(THREADS)))


@pytest.mark.parametrize("engine", ["array", "auto"])
def test_a_run_serves_many_threads(engine: str) -> None:
    blas = [library["num_threads"] for library in threadpool_info()]
    assert wrong(small(engine), times=5) == 0
    assert [library["num_threads"] for library in threadpool_info()] == blas


@pytest.mark.long
@pytest.mark.parametrize(
    ("engine", "precision", "times"), [("auto", "32", 1000), ("array", "64", 100), ("torch", "32", 30)]
)
def test_a_run_serves_many_threads_for_long(engine: str, precision: str, times: int) -> None:
    if engine == "torch":
        pytest.importorskip("torch")
    assert wrong(small(engine, precision), times) == 0


@pytest.mark.long
def test_a_small_service_answers_eight_clients() -> None:
    run = small("auto")
    expected = {seed: run.sample("e", count=5, seed=seed) for seed in range(THREADS)}
    loss = run.evaluate().loss
    with served(run) as address, ThreadPoolExecutor(THREADS) as clients:

        def ask(number: int) -> bool:
            with urllib.request.urlopen(f"{address}/sample?seed={number % THREADS}", timeout=60) as answer:
                found = json.load(answer)
            return bool(found == {"texts": expected[number % THREADS], "loss": loss})

        assert all(clients.map(ask, range(400)))


class served:  # noqa: N801 - a context manager
    """A Starlette server with a Run; its plain functions run in Starlette's pool of threads."""

    def __init__(self, run: Run) -> None:
        import uvicorn
        from starlette.applications import Starlette
        from starlette.requests import Request
        from starlette.responses import JSONResponse
        from starlette.routing import Route

        def sample(request: Request) -> JSONResponse:
            texts = run.sample("e", count=5, seed=int(request.query_params["seed"]))
            return JSONResponse({"texts": texts, "loss": run.evaluate().loss})

        config = uvicorn.Config(Starlette(routes=[Route("/sample", sample)]), port=0, log_level="warning")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run)

    def __enter__(self) -> str:
        self.thread.start()
        wait_for(lambda: self.server.started)
        return f"http://127.0.0.1:{self.server.servers[0].sockets[0].getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self.server.should_exit = True
        self.thread.join()


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
