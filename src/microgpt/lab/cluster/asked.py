"""What is asked of a Ray cluster, what must be there before it can be asked, and who is let in."""

import importlib.metadata
import os
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from microgpt import untrusted
from microgpt.errors import EnvironmentFault, UsageError

FIRST_WITH_TOKENS: Final = (2, 52)  # the version of Ray that can ask each client for a token
LONGEST_TOKEN: Final = 4096  # bytes of a file that holds one

# Ray's own names for what every cluster of ours has: no word to its makers, and no other cluster found by accident.
QUIET: Final = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_ADDRESS": "", "RAY_LOG_TO_STDERR": "0"}


@dataclass(frozen=True)
class Asked:
    """Where runs are computed, and with what. Raises `UsageError`.

    Without an `address` a cluster of this machine is started and ended. `jobs` of 0 is as many as it has room for.
    Each run holds `cores` and `gpus`: a share of one, or a whole number of them. `out` is where run folders are
    written, if at all; workers begin in the folder `home`, where there is one of that name.
    """

    address: str = ""
    jobs: int = 0
    cores: int = 1
    gpus: float = 0.0
    out: str = ""
    home: str = ""

    def __post_init__(self) -> None:
        host, _, port = self.address.rpartition(":")
        number = int(port) if port.isascii() and port.isdigit() and len(port) < 6 else 0
        if self.address and not (host and "/" not in host and 0 < number < 1 << 16):
            raise UsageError(f"--address takes HOST:PORT of a Ray cluster, found {self.address!r}; Ray's port is 6379.")
        if self.gpus > 1 and self.gpus != int(self.gpus):
            raise UsageError(f"--gpus-per-run takes a share of one GPU or a whole number, found {self.gpus:g}.")

    @property
    def host_and_port(self) -> tuple[str, int]:
        """The two parts of an address."""
        host, _, port = self.address.rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def each(self) -> str:
        """What a run holds, in words."""
        gpus = f" and {self.gpus:g} GPU" if self.gpus else ""
        return f"{self.cores} core{'s' if self.cores > 1 else ''}{gpus}"


def check_installed() -> None:
    """Raise `EnvironmentFault` where Ray is not installed, or is too old to ask for a token."""
    try:
        version = importlib.metadata.version("ray") if find_spec("ray") else ""
    except importlib.metadata.PackageNotFoundError:
        version = ""
    if not version:
        raise EnvironmentFault(
            "--executor ray: Ray is not installed; pip install 'microgpt-symmetry[ray]' installs it. Without "
            "--executor ray this machine's cores are used."
        )
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < FIRST_WITH_TOKENS:
        least = ".".join(map(str, FIRST_WITH_TOKENS))
        raise EnvironmentFault(
            f"--executor ray: expected Ray {least} or newer, which asks each client for a token, found {version}; pip "
            "install --upgrade 'microgpt-symmetry[ray]' installs it."
        )


def check_token(environment: Mapping[str, str] = os.environ) -> None:
    """Raise `EnvironmentFault` where this person has no token of a cluster. Ray looks in the same places."""
    if environment.get("RAY_AUTH_TOKEN"):
        return
    named = environment.get("RAY_AUTH_TOKEN_PATH")
    path = Path(named) if named else Path.home() / ".ray" / "auth_token"
    if (named or path.exists()) and read_token(path):
        return
    raise EnvironmentFault(
        "--address: expected the token of the cluster in RAY_AUTH_TOKEN, in the file that RAY_AUTH_TOKEN_PATH names, "
        f"or in ~/.ray/auth_token, found none{f' in {named}' if named else ''}; copy it from the first machine."
    )


def read_token(path: Path) -> str:
    """The token that a file holds; empty where it holds none or is not there."""
    if not path.is_file():
        return ""
    return untrusted.read(path, LONGEST_TOKEN).decode("utf-8", "replace").strip()


def environment(address: str) -> dict[str, str]:
    """What a process that talks to Ray has in its environment; what is empty is to be removed.

    Whoever would join must show a token. A cluster of our own has a fresh one, which only this environment holds, and
    listens on 127.0.0.1 alone: Ray does so where it takes the system for one on which it makes no clusters.
    """
    if address:
        return QUIET | {"RAY_AUTH_MODE": "token"}
    own = {"RAY_AUTH_TOKEN": secrets.token_hex(32), "RAY_AUTH_TOKEN_PATH": ""}
    return QUIET | own | {"RAY_AUTH_MODE": "token", "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
