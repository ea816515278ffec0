"""The pages of the documents cut into blocks, and a shell that does what they say in a fresh clone.

A block of `sh`, `python`, `sql`, `toml` or `csv` is carried out; a block of `text` is what the block above it answers.
In a page's source a comment right above a block may say otherwise: `<!-- not run: why -->`, or
`<!-- in the test: A becomes B -->`, several parted by `;`.
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = {path.name: path for path in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])}
NUMBER = re.compile(r"(?:(?<!\w)[-+])?\d(?:[\d,.]*\d)?(?:e[-+]?\d+)?")


@dataclass(frozen=True)
class Block:
    """A fenced block. `before` is the page's text between the block above and this one, `left` why it is not run."""

    language: str
    text: str
    before: str
    left: str

    @property
    def changed(self) -> str:
        """The text with what the test changes in it."""
        text = self.text
        for change in re.findall(r"<!-- in the test: (.*?) -->", self.before, re.S):
            for old, new in (part.split(" becomes ") for part in change.split("; ")):
                assert old in text, f"the page changes {old!r}, which its block doesn't have"
                text = text.replace(old, new)
        return text


def blocks(page: str) -> list[Block]:
    """All fenced blocks of a page that name a language."""
    words, *parts = re.split(r"^```(\w+)\n(.*?)^```$", PAGES[page].read_text("utf-8"), flags=re.M | re.S)
    befores = [words, *parts[2::3]]
    found = [re.search(r"<!-- not run: ([^>]*?) -->\s*\Z", before) for before in befores]
    return [
        Block(language, text, before, " ".join(left[1].split()) if left else "")
        for language, text, before, left in zip(parts[0::3], parts[1::3], befores, found, strict=False)
    ]


def commands(text: str) -> list[str]:
    """The lines of a block of `sh`, without comments, those that go on in the next put together."""
    lines = text.replace("\\\n", " ").splitlines()
    return [line for line in (re.sub(r"(^|\s+)# .*", "", line).strip() for line in lines) if line]


def wording(text: str) -> str:
    """A text without its figures, its line breaks and its colours."""
    return " ".join(NUMBER.sub("#", re.sub(r"\x1b\[[\d;]*m", "", text)).split())


def compare(shown: str, found: str) -> None:
    """Each line that a page shows must be in what was printed; figures may differ, and `…` stands for anything."""
    printed = wording(found)
    for line in shown.splitlines():
        pattern = ".*?".join(map(re.escape, wording(line).split("…")))
        assert re.search(pattern, printed), f"the page shows\n{line}\nand the command printed\n{found}"


def clone(folder: Path) -> Path:
    """A clone as a stranger gets it, of the files as they are now; skips where this is no git repository."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("needs git, and a repository to clone")
    subprocess.run(["git", "clone", "--quiet", ROOT, folder], check=True)
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--modified", "--deleted", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    for name in set(listed.stdout.split("\0")) - {""}:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)
    who = ["-c", "user.name=a test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "add", "--all"], cwd=folder, check=True)
    subprocess.run(["git", *who, "commit", "--quiet", "--allow-empty", "-m", "As it is now"], cwd=folder, check=True)
    return folder


def installed(folder: Path) -> None:
    """What `make run` leaves in a clone, without the minute that pip takes: it uses this environment's packages."""
    venv.create(folder / ".venv", symlinks=True)
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder / ".venv")}))
    (site / "clone.pth").write_text(f"{folder / 'src'}\n{sysconfig.get_path('purelib')}\n")
    for script in Path(sysconfig.get_path("scripts")).iterdir():
        if script.name in ("microgpt", "torchrun", "ray"):
            copy = folder / ".venv" / "bin" / script.name
            copy.write_text(re.sub(r"\A#!.*", f"#!{folder / '.venv/bin/python'}", script.read_text()))
            copy.chmod(0o755)
    for mark in ("made", "ready-to-run", "ready-to-test"):
        (folder / ".venv" / mark).touch()


def missing(extras: str) -> str:
    """The first of some extras whose packages are not at hand, or an empty word."""
    for extra in extras.split(","):
        for wanted in distribution("microgpt-symmetry").requires or []:
            if wanted.endswith(f"extra == '{extra}'") and not wanted.startswith("microgpt-symmetry"):
                try:
                    distribution(re.split(r"[\s<>=;\[]", wanted)[0])
                except PackageNotFoundError:
                    return extra
    return ""


class Shell:
    """A bash that keeps its folder and its variables from one block to the next, and knows no `microgpt` at first."""

    def __init__(self, folder: Path, kept: Path) -> None:
        if sys.platform == "win32" or shutil.which("bash") is None or shutil.which("make") is None:
            pytest.skip("needs bash and make")
        ours = {Path(sys.executable).parent, Path(sysconfig.get_path("scripts"))}
        path = [place for place in os.get_exec_path() if Path(place) not in ours]
        self.environment = {
            name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "BASH_ENV")
        } | {"PATH": os.pathsep.join(path)}
        self.kept = kept
        kept.mkdir(exist_ok=True)
        (kept / "variables").write_text("")
        (kept / "folder").write_text(str(folder))

    @property
    def folder(self) -> Path:
        """Where it is."""
        return Path((self.kept / "folder").read_text().strip())

    def run(self, text: str) -> subprocess.CompletedProcess[str]:
        """Carry out a block, up to its first error; what it prints comes back as one text."""
        keep = f"code=$?; export -p > {self.kept}/variables; pwd > {self.kept}/folder; exit $code"
        script = f". {self.kept}/variables\ntrap '{keep}' EXIT\nset -eo pipefail\n{text}"
        return subprocess.run(
            ["bash", "-c", script],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            text=True,
            cwd=self.folder,
            env=self.environment,
            timeout=3000,
        )
