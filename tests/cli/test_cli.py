"""The command line as a person or a script meets it: a process, its output, its exit code."""

import json
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from microgpt.cli.app import run
from tests.command import SMALL, microgpt, refused, spawned, succeeded
from trials.waiting import PATIENCE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished run, `first`."""
    folder = tmp_path_factory.mktemp("home")
    succeeded(microgpt(*SMALL, "--name", "first", cwd=folder))
    return folder


# Completion


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("tr", "train"), ("--em", "--emb"), ("--steps 3 --lay", "--layer"), ("sample --top", "--top-p")],
)
def test_a_shell_completes_verbs_and_flags(typed: str, offered: str, tmp_path: Path) -> None:
    words = f"microgpt {typed}"
    asked = {"_MICROGPT_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - 1)}
    assert f"plain,{offered}" in succeeded(spawned(cwd=tmp_path, **asked)).stdout.split()


# Training


def test_the_bare_command_trains_and_names_the_training_as_the_original_does(tmp_path: Path) -> None:
    done = succeeded(spawned(*SMALL, cwd=tmp_path))
    head = done.stdout.splitlines()[0]
    assert head == "MicroGPT: 1328 params, training for 20 steps (lr=0.01, emb=8, head=2, layer=1, ctx=16, ff=4)"
    assert "held-out loss" in done.stdout
    assert re.search(r"\nthe best table of counts scores 1\.996; this model is \d\.\d+ worse: try more", done.stdout)
    assert re.search(r"step 20/20  loss [\d.]+  [\d,.]+ steps/s  0 s left", done.stderr)


def test_the_originals_flags_and_short_forms_work_unchanged(tmp_path: Path) -> None:
    long = microgpt("--steps", "3", "--ctx", "8", "--emb", "12", "--head", "3", "--layer", "2", cwd=tmp_path)
    assert "training for 3 steps (lr=0.01, emb=12, head=3, layer=2, ctx=8, ff=4)" in succeeded(long).stdout
    flags = ("-s", "3", "-l", "0.02", "-e", "12", "--head", "3", "-y", "2", "-c", "8", "-f", "2")
    short = microgpt(*flags, cwd=tmp_path)
    assert "training for 3 steps (lr=0.02, emb=12, head=3, layer=2, ctx=8, ff=2)" in succeeded(short).stdout


def test_json_is_one_object_of_the_result(tmp_path: Path) -> None:
    told = json.loads(succeeded(microgpt(*SMALL, "--json", cwd=tmp_path)).stdout)
    assert {"run", "recipe", "seconds", "loss", "resumed_from"} < set(told)  # tests/training has them all
    assert (told["params"], told["documents"], told["vocabulary"], len(told["samples"])) == (1328, 26919, 27, 3)


def test_quiet_leaves_only_results(tmp_path: Path) -> None:
    assert succeeded(microgpt(*SMALL, "--quiet", cwd=tmp_path)).stderr == ""
    done = succeeded(microgpt(*SMALL, "--quiet", "--json", cwd=tmp_path))
    assert done.stderr == ""
    assert json.loads(done.stdout)["steps"] == 20


def test_a_recipe_fills_in_what_no_flag_says(tmp_path: Path) -> None:
    done = succeeded(microgpt("--recipe", "artistic", "--steps", "2", "--head", "2", cwd=tmp_path))
    assert "(lr=0.005, emb=16, head=2" in done.stdout


def test_a_text_can_come_through_a_pipe(tmp_path: Path) -> None:
    names = "".join(f"{a}{b}\n" for a in "abcdef" for b in "uvwxyz")
    told = json.loads(succeeded(spawned("--data", "-", *SMALL, "--json", cwd=tmp_path, stdin=names)).stdout)
    assert told["vocabulary"] == 13


def test_losses_go_where_they_are_asked_to(tmp_path: Path) -> None:
    succeeded(microgpt(*SMALL, "--losses", "out.csv", "--name", "a", cwd=tmp_path))
    assert (tmp_path / "out.csv").read_text() == (tmp_path / "runs" / "a" / "losses.csv").read_text()
    assert (tmp_path / "out.csv").read_text().startswith("step,loss,lr\n1,")


def test_a_closed_pipe_ends_silently(tmp_path: Path) -> None:
    command = f"{sys.executable} -m microgpt train --help | true"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.stderr == ""


# Stopping


def start(cwd: Path, *arguments: str) -> "subprocess.Popen[str]":
    """A long training that has taken steps."""
    command = [sys.executable, "-m", "microgpt", "--steps", "1000000", *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=cwd)
    assert process.stderr
    while not process.stderr.readline().startswith("step "):
        assert process.poll() is None
    return process


@pytest.mark.parametrize("engine", ["atomic", "array"])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stop_saves_and_the_run_goes_on(tmp_path: Path, engine: str, number: signal.Signals, code: int) -> None:
    process = start(tmp_path, "--engine", engine, "--name", "long", "--samples", "0")
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == code
    assert "stopped after step" in told
    assert "--resume runs/long" in told
    losses = (tmp_path / "runs" / "long" / "losses.csv").read_text().splitlines()
    assert int(losses[-1].split(",")[0]) == int(told.split("stopped after step ")[1].split(",")[0])


def test_an_interrupted_run_ends_with_the_weights_of_one_that_never_stopped(tmp_path: Path) -> None:
    size = ("--steps", "15000", "--emb", "4", "--head", "1", "--ff", "1", "--samples", "0", "--seed", "3")
    stopped = start(tmp_path, *size, "--name", "halted")
    stopped.send_signal(signal.SIGINT)
    stopped.communicate(timeout=PATIENCE)
    assert stopped.returncode == 130
    succeeded(spawned("--resume", "halted", cwd=tmp_path))
    succeeded(spawned(*size, "--name", "whole", cwd=tmp_path))
    halted, whole = ((tmp_path / "runs" / name / "losses.csv").read_bytes() for name in ("halted", "whole"))
    assert halted == whole


@pytest.mark.parametrize("engine", ["atomic", "array"])
def test_a_second_stop_leaves_at_once_also_out_of_a_long_call(tmp_path: Path, engine: str) -> None:
    size = ("--emb", "48", "--layer", "2") if engine == "atomic" else ("--emb", "256", "--layer", "4", "--batch", "64")
    process = start(tmp_path, "--engine", engine, *size)
    process.send_signal(signal.SIGINT)
    time.sleep(0.05)  # or two signals may become one
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    assert process.returncode in (130, -signal.SIGINT)  # the latter where it came while Python was leaving anyway


# Resuming


def test_a_resumed_run_refuses_other_settings(tmp_path: Path) -> None:
    process = start(tmp_path, "--name", "long")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    line = refused(microgpt("--resume", "long", "--emb", "32", cwd=tmp_path), 2)
    assert "emb" in line
    assert "32" in line


def test_a_finished_run_is_extended_in_a_new_folder(home: Path) -> None:
    told = json.loads(succeeded(microgpt("--resume", "first", "--steps", "30", "--json", cwd=home)).stdout)
    assert told["steps"] == 30
    assert "first" in told["resumed_from"]
    assert told["run"] != "runs/first"


# Looking


def test_sample_names_the_newest_run_and_its_seed(home: Path) -> None:
    done = succeeded(microgpt("sample", "--count", "2", cwd=home))
    assert "runs/" in done.stderr
    seed = re.search(r"seed (\d+)", done.stderr)
    assert seed
    again = succeeded(microgpt("sample", "--count", "2", "--seed", seed[1], cwd=home))
    assert again.stdout == done.stdout


def test_sample_begins_with_the_prompt(home: Path) -> None:
    told = json.loads(succeeded(microgpt("sample", "first", "--prompt", "ma", "--json", cwd=home)).stdout)
    assert len(told["samples"]) == 5
    assert all(text.startswith("ma") for text in told["samples"])
    assert told["tokens_per_second"] > 0


def test_sample_says_how_many_are_new(home: Path) -> None:
    done = succeeded(microgpt("sample", "first", "--seed", "1", cwd=home))
    assert re.search(r"\d of the 5 samples (are copies|is a copy) of .*; \d (are|is) new", done.stderr)


def test_eval_gives_the_loss_that_training_gave(home: Path) -> None:
    told = json.loads(succeeded(microgpt("eval", "first", "--json", cwd=home)).stdout)
    trained = json.loads((home / "runs" / "first" / "run.json").read_text())
    assert told["loss"] == pytest.approx(trained["loss"]["holdout"], rel=1e-12)
    assert told["holdout_per_character"] == pytest.approx(trained["loss"]["holdout_per_character"], rel=1e-12)
    per_character = {"holdout_per_character", "holdout_per_character_se"}
    assert set(told) == {
        "loss",
        "se",
        "documents",
        "tokens",
        "characters",
        "counts",
        "mixed",
        "mixed_se",
        "stride",
        *per_character,
    }
    assert told["counts"] == trained["loss"]["counts"]
    done = succeeded(microgpt("eval", "first", "--stride", "3", cwd=home))
    assert "\nthe best table of counts scores 1.996; " in done.stdout
    assert "--stride changes nothing" in done.stderr


def test_runs_lists_what_there_is_and_what_is_broken(home: Path) -> None:
    (home / "runs" / "broken").mkdir(exist_ok=True)
    (home / "runs" / "broken" / "weights.safetensors").write_bytes(b"not weights")
    listed = json.loads(succeeded(microgpt("runs", "--json", cwd=home)).stdout)["runs"]
    assert {run["name"]: bool(run["fault"]) for run in listed if run["name"] in ("first", "broken")} == {
        "first": False,
        "broken": True,
    }
    assert "1,328" in succeeded(microgpt("runs", cwd=home)).stdout


def test_engines_says_what_this_machine_can_run(home: Path) -> None:
    told = json.loads(succeeded(microgpt("engines", "--json", cwd=home)).stdout)["engines"]
    assert {engine["name"] for engine in told if engine["usable"]} >= {"atomic", "array"}


def test_the_kernel_can_be_read(home: Path) -> None:
    shown = succeeded(microgpt("engines", "--show-kernel", "--emb", "32", cwd=home)).stdout
    assert shown.startswith("/* ")
    assert "-DEMB=32" in shown.splitlines()[0]
    assert "#define EMB 32" in shown


def test_verify_proves_the_engines_equal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from microgpt.cli.app import run
    from microgpt.engines import parity

    smallest, slopes = parity.quick()[4:5], list(parity.difference_cases())[:1]  # tests/engines asks all of them
    monkeypatch.setattr(parity, "quick", lambda: smallest)
    monkeypatch.setattr(parity, "difference_cases", lambda: slopes)
    assert run(["verify", "--engine", "array", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["ok"]
    keys = {"engine", "precision", "recipe", "loss_error", "gradient_error", "ten_step_error", "tolerance", "ok"}
    assert keys <= set(told["checks"][0])


def test_verify_fails_when_an_engine_is_wrong(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from microgpt.cli.app import run
    from microgpt.engines import parity

    strict = {precision: parity.Tolerance(0.0, 0.0) for precision in parity.TOLERANCES}
    one = parity.quick()[4:5]
    monkeypatch.setattr(parity, "TOLERANCES", strict)
    monkeypatch.setattr(parity, "quick", lambda: one)
    monkeypatch.setattr(parity, "difference_cases", list)
    assert run(["verify", "--engine", "array"]) == 1
    assert "out of tolerance" in capsys.readouterr().out


def test_bench_measures_an_engine_beside_the_peak(home: Path) -> None:
    told = json.loads(succeeded(microgpt("bench", "--engine", "atomic", "--json", cwd=home)).stdout)
    assert told["peak_gflops"] > 0
    assert set(told["rows"][0]) == {
        "engine", "emb", "head", "layer", "ctx", "batch", "threads", "precision", "us_per_step", "us_per_document",
        "gflops", "fraction_of_peak",
    }  # fmt: skip


# Texts of one's own


def test_several_files_after_one_data_are_taken_and_found_again_where_they_were_moved(
    cwd: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def told(*arguments: str, code: int = 0) -> str:
        assert run(arguments) == code
        said = capsys.readouterr()
        return said.err if code else said.out

    for name in "abc":
        (cwd / f"{name}.txt").write_text("".join(f"{name}{number}\n" for number in range(40)))
    small = ("--engine", "array", "--emb", "8", "--samples", "0", "--quiet")
    told("train", *small, "--steps", "3", "--name", "k", "--data", "a.txt", "b.txt", "c.txt", "--holdout", "0.2")
    own = told("eval", "k", "--json")
    assert "c0" in told("sample", "k", "--prompt", "c0", "--data", "a.txt", "b.txt", "c.txt")
    (cwd / "c.txt").rename(cwd / "moved.txt")
    moved = ("--data", "a.txt", "b.txt", "moved.txt")
    for verb in (("eval", "k"), ("sample", "k", "--new"), ("--resume", "k", "--steps", "5")):
        line = told(*verb, code=3)
        assert "c.txt: expected the text of this run, found nothing" in line
        assert "--data NEWPLACE" in line
        if verb[0] != "eval":  # which takes any text
            assert "found another" in told(*verb, "--data", "a.txt", code=3)
        assert told(*verb, *moved)
    assert told("eval", "k", "--json", *moved) == own
    assert json.loads(told("eval", "--data", "a.txt", "k", "--json"))["documents"] == 40


# Refusing


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["trian"], 2, "Did you mean train"),
        (["--stepz", "3"], 2, "--steps"),
        (["--steps", "many"], 2, "'many' is not a valid int"),
        (["--steps", "0"], 2, "--steps must be 1 or more, found 0"),
        (["--emb", "15"], 2, "--head 3 would do"),
        (["--emb", "100000000"], 2, "memory"),
        (["--decay", "cosin"], 2, "Did you mean cosine"),
        (["--recipe", "karpaty"], 2, "Did you mean karpathy"),
        (["--engine", "aray"], 2, "Did you mean array"),
        (["--engine", "atomic", "--threads", "4"], 2, "--threads"),
        (["--engine", "atomic", "--precision", "32"], 2, "--precision"),
        (["--temperature", "-1"], 2, "--temperature"),
        (["--keep", "each:3"], 2, "every:N"),
        (["--name", "../away"], 2, "--name"),
        (["--name", "first"], 2, "first"),
        (["--data", "nowhere.txt"], 3, "nowhere.txt"),
        (["--data", "name"], 3, "names"),
        (["--data", "empty.txt"], 3, "empty.txt"),
        (["--data", "one.txt"], 3, "--holdout 0"),
        (["--data", "latin.txt"], 3, "--encoding"),
        (["sample", "nothing"], 4, "nothing"),
        (["sample", "first", "--prompt", "É"], 3, "É"),
        (["sample", "first", "--temperature", "-1"], 2, "--temperature"),
        (["eval", "empty.txt"], 4, "empty.txt"),
        (["export", "first", "model.pickle"], 2, ".safetensors"),
        (["--out", "empty.txt"], 5, "empty.txt"),
        (["--lr", "1e300"], 6, "step"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(home: Path, arguments: list[str], code: int, said: str) -> None:
    (home / "empty.txt").write_text("")
    (home / "one.txt").write_text("alone\n")
    (home / "latin.txt").write_bytes("café\n".encode("latin-1"))
    line = refused(microgpt(*arguments, cwd=home), code)
    assert said in line
    assert len(line) < 400


def test_without_a_compiler_auto_takes_the_next_engine_and_says_so(tmp_path: Path) -> None:
    (tmp_path / "ziglang").mkdir()
    (tmp_path / "ziglang" / "__init__.py").touch()  # found first, and has no compiler beside it
    nowhere = {"PATH": str(tmp_path), "CC": "", "PYTHONPATH": str(tmp_path)}
    done = succeeded(spawned(*SMALL, "--json", cwd=tmp_path, **nowhere))
    assert json.loads(done.stdout)["engine"] == "array"
    assert re.search(r"engine array, for .*C compiler.*install", done.stderr)
    assert "install" in refused(spawned(*SMALL, "--engine", "fused", cwd=tmp_path, **nowhere), 5)


# Helping


def test_help_and_a_usage_error_need_neither_numpy_nor_rich() -> None:
    code = (
        "import sys\nfrom microgpt.cli.app import run\n"
        "for arguments in (['--help'], ['train', '--help'], ['trian'], ['--stepz']): run(arguments)\n"
        "unwanted = {'numpy', 'rich', 'safetensors', 'charset_normalizer'}\n"
        "sys.exit(bool({name.split('.')[0] for name in sys.modules} & unwanted))"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)


def test_version_and_help(tmp_path: Path) -> None:
    assert re.fullmatch(r"microgpt, version \d+\.\d+\.\d+\n", spawned("--version", cwd=tmp_path).stdout)
    assert "Start:" in spawned("-h", cwd=tmp_path).stdout


def test_help_is_there_without_docstrings(tmp_path: Path) -> None:
    for arguments, told in (((), "read what it writes"), (("train",), "flags override it")):
        command = [sys.executable, "-OO", "-m", "microgpt", *arguments, "--help"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        assert told in done.stdout


def test_an_unforeseen_error_is_one_line_and_debug_shows_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from microgpt.cli import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("microgpt.training.find.listing", lambda out: 1 / 0)
    assert app.run(["runs"]) == 1
    with pytest.raises(ZeroDivisionError):
        app.run(["runs", "--debug"])
