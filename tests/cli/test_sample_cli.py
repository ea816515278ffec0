"""`microgpt sample` as a person or a script meets it: streams, prompts from files, prompts that can't be."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from microgpt.library import load, train
from tests.command import microgpt, refused, spawned, succeeded

PROSE = "it was the best of times,\nit was the worst of times,\n\n" * 30
SIZES = {"steps": 20, "emb": 8, "head": 2, "engine": "array"}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with three finished runs: `lines`, `paragraphs` and `windows`."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "prose.txt").write_text(PROSE)
    train(**SIZES, name="lines", out=folder / "runs")
    for kind in ("paragraphs", "windows"):
        train(folder / "prose.txt", **SIZES, documents=kind, holdout=0.0, ctx=32, name=kind, out=folder / "runs")
    return folder


@pytest.mark.parametrize(("kind", "between"), [("lines", "\n"), ("paragraphs", "\n\n"), ("windows", "\n\n")])
def test_a_stream_is_the_text_that_comes_without_it(home: Path, kind: str, between: str) -> None:
    texts = load(home / "runs" / kind).sample("it", count=3, seed=7, temperature=1.0, length=60)
    flags = ("sample", kind, "--prompt", "it", "--count", "3", "--seed", "7", "--temperature", "1", "--length", "60")
    whole, streamed = (succeeded(microgpt(*flags, *more, cwd=home)) for more in ((), ("--stream",)))
    assert streamed.stdout == between.join(texts) + "\n"
    assert streamed.stderr == whole.stderr
    assert streamed.stdout == whole.stdout


@pytest.mark.parametrize("kind", ["lines", "windows"])
def test_a_stop_and_few_tokens_to_draw_from(home: Path, kind: str) -> None:
    flags = ("sample", kind, "--count", "20", "--seed", "7", "--temperature", "2", "--length", "60")
    drawing = ("--top-p", "0.9", "--min-p", "0.01", "--stop", "e", "--stop", "of t")
    whole, streamed = (succeeded(microgpt(*flags, *drawing, *more, cwd=home)) for more in ((), ("--stream",)))
    assert whole.stdout == streamed.stdout
    texts = load(home / "runs" / kind).sample(
        count=20, seed=7, temperature=2.0, length=60, top_p=0.9, min_p=0.01, stop=("e", "of t")
    )
    assert whole.stdout == ("\n" if kind == "lines" else "\n\n").join(texts) + "\n"
    assert not any("e" in text for text in texts)


def stream(home: Path, *flags: str) -> "subprocess.Popen[bytes]":
    """A stream of a minute."""
    flags = flags or ("windows", "--stream", "--count", "1", "--length", "1000000", "--seed", "1")
    command = [sys.executable, "-m", "microgpt", "sample", *flags]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=home)


@pytest.mark.parametrize("flags", [(), ("lines", "--count", "1000000", "--seed", "1")], ids=["stream", "samples"])
def test_ctrl_c_in_mid_stream_ends_with_its_code_and_a_line_break(home: Path, flags: tuple[str, ...]) -> None:
    process = stream(home, *flags)
    assert process.stdout
    begun = os.read(process.stdout.fileno(), 8)  # it is flushed long before the end
    assert begun
    process.send_signal(signal.SIGINT)
    rest, told = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (begun + rest).endswith(b"\n")
    assert 1 < len(begun + rest) < 1_000_000
    assert told.strip() == b""


def test_a_closed_pipe_ends_a_stream_silently(home: Path) -> None:
    process = stream(home)
    assert process.stdout
    assert process.stderr
    os.read(process.stdout.fileno(), 8)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 0


def test_a_prompt_of_several_lines_comes_from_a_file_or_standard_input(home: Path) -> None:
    prompt = "best of times,\nit was"
    (home / "prompt.txt").write_bytes(b"\xef\xbb\xbf" + prompt.replace("\n", "\r\n").encode() + b"\r\n")
    flags = ("sample", "windows", "--count", "1", "--seed", "3", "--length", "50")
    given = succeeded(microgpt(*flags, "--prompt", prompt, cwd=home))
    assert given.stdout.startswith(prompt)
    assert len(given.stdout) == 51
    assert succeeded(microgpt(*flags, "--prompt-file", "prompt.txt", cwd=home)).stdout == given.stdout
    piped = succeeded(spawned(*flags, "--prompt-file", "-", cwd=home, stdin=prompt + "\n"))
    assert piped.stdout == given.stdout


def test_one_line_break_at_the_end_of_a_prompt_file_is_dropped_and_no_more(home: Path) -> None:
    flags = ("sample", "windows", "--count", "1", "--seed", "3", "--length", "9", "--prompt-file", "-")
    assert succeeded(spawned(*flags, cwd=home, stdin="times,\n\n")).stdout.startswith("times,\n")


def test_a_prompt_longer_than_the_model_is_told(home: Path) -> None:
    done = succeeded(microgpt("sample", "windows", "--prompt", "it was " * 6, "--seed", "1", cwd=home))
    assert done.stderr == "the prompt has 42 characters; the model sees the last 32 of them (its ctx)\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["lines", "--stream", "--json"], 2, "--stream"),
        (["lines", "--stream", "--new"], 2, "--stream"),
        (["lines", "--top-p", "0"], 2, "--top-p must be a number above 0, up to 1, found 0.0"),
        (["lines", "--min-p", "nan"], 2, "--min-p must be a number from 0 to 1, found nan"),
        (["lines", "--stop", ""], 2, "--stop must be text of a character or more"),
        (["lines", "--prompt", "", "--prompt-file", "latin.txt"], 2, "--prompt-file"),
        (["lines", "--prompt-file", "nowhere.txt"], 3, "nowhere.txt"),
        (["lines", "--prompt-file", "latin.txt"], 3, "latin.txt: expected a prompt in UTF-8, found 0xe9 at byte 3"),
        (["lines", "--prompt-file", "huge.txt"], 3, "at most 1,048,576 bytes"),
        (["lines", "--prompt", "a\nb", "--stream"], 3, "trained on lines"),
        (["lines", "--prompt", "É—漢"], 3, "'É' (nearest known: 'e'), '—', '漢'; leave them out"),
        (["lines", "--prompt", "a" * 16, "--stream"], 2, "at most 15 characters"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(home: Path, arguments: list[str], code: int, said: str) -> None:
    (home / "latin.txt").write_bytes("café\n".encode("latin-1"))
    (home / "huge.txt").write_bytes(b"a" * ((1 << 20) + 1))
    done = microgpt("sample", *arguments, "--seed", "1", cwd=home)
    assert said in refused(done, code)
    assert (done.stdout, done.stderr.count("\n")) == ("", 1)


def test_an_evaluation_text_with_unknown_characters_is_refused_with_the_nearest_ones(home: Path) -> None:
    (home / "other.txt").write_text("Anna\nzoë\n")
    line = refused(microgpt("eval", "lines", "--data", "other.txt", cwd=home), 3)
    assert "'A' (nearest known: 'a'), 'ë' (nearest known: 'e'); leave them out" in line
