"""Data-parallel training by several ranks, which torchrun has started: on one machine or on many.

Rank 0 leads: it alone reads the text, decides how many steps to take and when to stop, writes and prints. The others
follow: they wait for a command of rank 0, which is the name of a runner's method with its arguments, and carry it out
beside it. In it each rank computes its share of the batch, and the sum of the gradients over the ranks reaches all of
them with the same bits; so all take the same step, and the weights never need to be compared.

Commands go over gloo, gradients too on processors, and over NCCL on NVIDIA's cards. A rank that dies closes its
connections, which the others notice at once; one that is silent for `PATIENCE` counts as dead. Between commands, while
rank 0 saves or samples, it says every few seconds that it is alive.
"""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray

import microgpt
from microgpt.engines.contract import Batch, Drawing, Engine, EngineConfig, Evaluating, Prompts, Tokens, Written
from microgpt.engines.ranks import RankLost, report
from microgpt.engines.torch.engine import TorchEngine, TorchRunner
from microgpt.errors import STOPS, EnvironmentFault, UsageError
from microgpt.model.settings import ModelConfig
from microgpt.model.state import State

MEETING: Final = 300.0  # seconds that ranks may come one after another: a cold disk brings torch slowly
PATIENCE: Final = 25.0  # seconds of silence after which a rank counts as dead; torchrun may take 30 more to end all
SIGN_OF_LIFE: Final = 5.0  # seconds between two commands at most
PAUSE: Final = 0.5  # seconds that rank 0 has to say its last line
LOST: Final = (
    "another rank of this training was lost, or could not be reached; what was saved last is whole, and --resume goes "
    "on from it, on any number of ranks."
)
ABSENT: Final = (
    "expected to reach the other ranks, found that they don't answer; on several machines, GLOO_SOCKET_IFNAME names "
    "the network interface that leads to the others, and no firewall may stand between them."
)
LEADERS: Final = ("data", "name", "out")  # what only rank 0 reads: ranks may differ in it

COMPUTED: Final[dict[str, Callable[..., object]]] = {  # what every rank computes its share of
    "advance": TorchRunner.advance,
    "gradient": TorchRunner.gradient,
    "losses": TorchRunner.losses,
}

_team: "Team | None" = None


class Team:
    """The ranks of this training, as one of them sees it."""

    def __init__(self) -> None:
        self.rank, self.count = dist.get_rank(), dist.get_world_size()
        self.local = int(os.environ.get("LOCAL_RANK", "0"))
        self._speaking = threading.Lock()
        self._ended = threading.Event()
        self._broken = False  # whether a command ended in the midst, so that the ranks are no longer in step
        self._commands = dist.new_group(backend="gloo", timeout=timedelta(seconds=PATIENCE))
        self._gradients = self._commands  # on cards, the group that adds up gradients

    def agree(self, asked: Mapping[str, Any]) -> None:
        """Raise `UsageError` unless every rank was asked for the same, by the same version of this package."""
        mine = {name: value for name, value in asked.items() if name not in LEADERS}
        found: list[Any] = [None] * self.count
        with _lost():
            dist.all_gather_object(found, mine | {"version of microgpt": microgpt.__version__})
        for rank, theirs in enumerate(found):
            if odd := sorted(name for name in theirs | found[0] if theirs.get(name) != found[0].get(name)):
                values = [repr(each.get(odd[0], "nothing")) for each in (found[0], theirs)]
                raise UsageError(
                    f"expected the same command on every rank, found {odd[0]} {values[0]} on rank 0 and {values[1]} "
                    f"on rank {rank}; start all ranks with the same flags."
                )
        if self.rank == 0:
            threading.Thread(target=self._live, daemon=True).start()

    @contextlib.contextmanager
    def send(self, command: str, *arguments: Any) -> Iterator[None]:
        """Rank 0: give a command, which is carried out here in the context."""
        with self._speaking:
            self._tell(command, *arguments)
            try:
                yield
            except UsageError:  # every rank refused it alike
                raise
            except BaseException:
                self._broken = True
                self._ended.set()
                raise

    def add_up(self, total: torch.Tensor) -> None:
        """Replace a tensor by its sum over the ranks; every rank gets the same bits."""
        with _lost():
            dist.all_reduce(total, group=self._commands if total.device.type == "cpu" else self._gradients)

    def opens(self, config: EngineConfig) -> TorchEngine:
        """This rank's engine; on cards, also the connections among them."""
        engine = TorchEngine(config, ranks=self)
        if engine.device.type == "cuda" and self._gradients is self._commands:
            torch.cuda.set_device(engine.device)
            with _lost():
                self._gradients = dist.new_group(backend="nccl", timeout=timedelta(seconds=PATIENCE))
        return engine

    def follow(self) -> int:
        """The other ranks: carry out commands until rank 0 dismisses them; the exit code. Signals are rank 0's."""
        for number in STOPS:
            signal.signal(number, signal.SIG_IGN)
        runner: TorchRunner | None = None
        while True:
            command, *arguments = self._receive()
            match command:
                case "alive":
                    continue
                case "dismiss":
                    return self.leave(*arguments)
                case "open":
                    config, state = arguments
                    runner = self.opens(config).open(state)
                case _:
                    assert runner is not None  # rank 0 opens before it asks for more
                    with contextlib.suppress(UsageError):  # rank 0 meets the same, and tells it
                        COMPUTED[command](runner, *arguments)

    def leave(self, code: int, told: str = "") -> int:
        """The other ranks: the exit code. After an error rank 0 leaves first, for torchrun reports who did; on another
        machine, torchrun hears from here what rank 0 told."""
        if code:
            with contextlib.suppress(RankLost):
                self._receive()  # ends when rank 0's connections close
            time.sleep(PAUSE)
            report(told)
        return code

    def dismiss(self, code: int, told: str) -> None:
        """Rank 0: let the others go, with this exit code and the error behind it."""
        self._ended.set()
        if self._broken:
            return  # they hear it from the connections that close
        with contextlib.suppress(RankLost), self.send("dismiss", code, told):
            pass

    def _tell(self, *command: Any) -> None:
        with _lost():
            dist.broadcast_object_list([command], src=0, group=self._commands)

    def _receive(self) -> tuple[Any, ...]:
        heard: list[Any] = [None]
        with _lost():
            dist.broadcast_object_list(heard, src=0, group=self._commands)
        command: tuple[Any, ...] = heard[0]
        return command

    def _live(self) -> None:
        """Say that rank 0 is alive while it has nothing to ask, until it dismisses the others or one is lost."""
        with contextlib.suppress(RankLost):
            while not self._ended.wait(SIGN_OF_LIFE):
                with self._speaking:
                    if not self._ended.is_set():
                        self._tell("alive")


class LeadingRunner(Evaluating):
    """Rank 0's runner: what it is asked for, it asks of all."""

    def __init__(self, team: Team, config: EngineConfig, state: State) -> None:
        self._team, self._model = team, state.model
        with team.send("open", config, state):
            self._runner = team.opens(config).open(state)

    def advance(self, batches: Sequence[Batch], learning_rates: NDArray[np.float64]) -> NDArray[np.float64]:
        with self._team.send("advance", batches, learning_rates):
            return self._runner.advance(batches, learning_rates)

    def gradient(self, batch: Batch) -> tuple[float, NDArray[Any]]:
        with self._team.send("gradient", batch):
            return self._runner.gradient(batch)

    def losses(self, sequences: Sequence[Tokens]) -> NDArray[np.float64]:
        with self._team.send("losses", sequences):
            return self._runner.losses(sequences)

    def state(self) -> State:
        return self._runner.state()

    def next(self, prefix: Sequence[int]) -> NDArray[np.float64]:
        return self._runner.next(prefix)

    def write(
        self,
        prompts: Prompts,
        uniforms: NDArray[np.float64],
        drawing: Drawing,
        sizes: NDArray[np.int64] | None = None,
    ) -> Iterator[Written]:
        return self._runner.write(prompts, uniforms, drawing, sizes)

    def reader(self) -> "LeadingRunner":
        """Itself: the ranks carry out one command at a time."""
        return self


class LeadingEngine:
    """The engine `torch` on all ranks, as rank 0 sees it."""

    def __init__(self, team: Team, config: EngineConfig) -> None:
        self._team, self.config = team, config
        self._engine = TorchEngine(config, ranks=team)  # what can't be is refused before the others hear of it
        if ":" in config.device:
            raise UsageError(f"--device {config.device} names one card, found {team.count} ranks; use --device cuda.")
        if self._engine.device.type == "mps":
            raise UsageError(f"--device mps computes in one process, found {team.count} ranks; use cpu or cuda.")

    def ready(self, model: ModelConfig) -> None:
        """What rank 0's card can't hold, the others' can't either."""
        self._engine.ready(model)

    def open(self, state: State) -> LeadingRunner:
        return LeadingRunner(self._team, self.config, state)


def make(config: EngineConfig) -> Engine:
    """The engine of this process: on its own or, where ranks have joined, of all of them."""
    return LeadingEngine(_team, config) if _team else TorchEngine(config)


@contextlib.contextmanager
def join() -> Iterator[Team]:
    """Meet the other ranks, where torchrun says. Raises `EnvironmentFault` where they can't be reached."""
    global _team
    try:
        with _leaving_at_once():
            dist.init_process_group("gloo", timeout=timedelta(seconds=MEETING))
            _team = Team()
    except RuntimeError:
        raise EnvironmentFault(f"rank {_rank()}: {ABSENT}") from None
    try:
        yield _team
    finally:
        _team = None
        with contextlib.suppress(RuntimeError):
            dist.destroy_process_group()


@contextlib.contextmanager
def _leaving_at_once() -> Iterator[None]:
    """Each of STOPS ends this process: while it waits for others, within a long call, there is nothing to save."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in STOPS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _lost() -> Iterator[None]:
    """A connection that broke, or a silence, as one plain line."""
    try:
        yield
    except RuntimeError:  # gloo's, NCCL's and the meeting place's errors are of this kind
        raise RankLost(f"rank {_rank()}: {LOST}") from None


def _rank() -> str:
    return os.environ.get("RANK", "?")
