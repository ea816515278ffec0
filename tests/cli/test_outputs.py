"""What a command writes where a person named it costs nothing that the person has."""

import os
import threading
from pathlib import Path

import pytest

from microgpt import outputs
from microgpt.cli.app import run
from microgpt.lab.pictures import canvas
from tests.cli.test_analyze import fill
from tests.lab.laws.planted import drawn

TINY = ("--steps", "3", "--emb", "4", "--head", "2", "--engine", "array", "--samples", "1", "--quiet")
TRAIN = ("train", "--data", "texts", *TINY, "--losses")
LAWS = ("laws", "--csv", "runs.csv", "--bootstrap", "100", "--plot")
PREDICT = ("predict", "1e5", "1e7", "--csv", "runs.csv", "--bootstrap", "100", "--register")
VERBS = {
    "train": (TRAIN, ".csv", "texts/few.txt"),
    "resume": (("train", "--resume", "runs/k", "--steps", "9", "--quiet", "--losses"), ".csv", "texts/few.txt"),
    "export html": (("export", "k"), ".html", "runs/k/weights.safetensors"),
    "export py": (("export", "k"), ".py", "runs/k/run.json"),
    "export safetensors": (("export", "k"), ".safetensors", "runs/k/weights.safetensors"),
    "export onnx": (("export", "k"), ".onnx", "runs/k/losses.csv"),
    "report": (("report", "--out"), ".html", "lab.db"),
    "analyze svg": (("analyze", "steps", "--plot"), ".svg", "lab.db"),
    "laws png": (LAWS, ".png", "runs.csv"),
    "predict": (PREDICT, ".json", "runs.csv"),
}


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a text, a run, a CSV of runs and a store."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "few.txt").write_text("emma\nolivia\nava\nmia\nnoah\n")
    assert run(["train", "--data", "texts", *TINY, "--name", "k"]) == 0
    found = drawn()
    rows = zip(found.params.tolist(), found.tokens.tolist(), found.loss.tolist(), strict=True)
    (tmp_path / "runs.csv").write_text("params,tokens,loss\n" + "".join(f"{n},{d},{loss}\n" for n, d, loss in rows))
    fill(tmp_path / "lab.db")
    return tmp_path


def kept(folder: Path) -> dict[str, bytes]:
    """All files of a folder, but the locks that stores have beside them."""
    files = (
        path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith((".lab", ".few"))
    )
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize("verb", VERBS)
def test_no_output_replaces_what_is_read_or_what_another_wrote(
    verb: str, place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words, ending, read = VERBS[verb]
    Path(f"mine{ending}").write_text("a person's own")
    os.link(read, f"hard{ending}")
    Path(f"soft{ending}").symlink_to(read)
    os.mkfifo(f"pipe{ending}")
    before = kept(place)
    for name in (read, f"mine{ending}", f"hard{ending}", f"soft{ending}", f"pipe{ending}", "other.pdf", "none"):
        if name == "none" and verb.startswith("export"):  # a new folder for transformers
            continue
        for force in ((), ("--force",)) if verb != "predict" and not name.startswith("mine") else ((),):
            code = run([*words, name, *force])
            said = capsys.readouterr().err
            assert code == (3 if verb == "predict" and name.startswith("mine") else 2), (name, said)
            assert said.splitlines()[-1].startswith("microgpt: "), name
    assert kept(place) == before


def test_nothing_of_a_run_is_written_over_by_another_command(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = kept(place)
    for words, names in ((TRAIN, ("losses.csv", "evaluations.csv")), (("export", "k"), ("best.safetensors",))):
        for name in names:
            assert run([*words, f"runs/k/{name}", "--force"]) == 2
            assert "one of the run runs/k" in capsys.readouterr().err
    assert run([*TRAIN, "runs/k/history/step-00000001.safetensors"]) == 2
    assert run(["sweep", "steps", "--seeds", "1", "--store", "texts/few.txt"]) == 7
    assert run(["export", "k", "runs/k/page.html"]) == 0
    assert {name: data for name, data in kept(place).items() if not name.endswith("page.html")} == before


def test_its_own_files_and_empty_ones_are_replaced_and_others_by_force(place: Path) -> None:
    pytest.importorskip("onnx")
    out = ["new/page.html", "new/model.py", "new/model.onnx", "new/model.safetensors"]
    commands = [["export", "k", name] for name in out] + [[*TRAIN, "new/it.csv"]]
    commands += [["report", "--out", "new/report.html"]]
    for command in commands:
        assert (run(command), run(command)) == (0, 0), command
    for name in ("new/it.svg", "new/it.png"):
        with canvas.drawing() as (figure, _):
            canvas.save(canvas.Plot(figure, ""), Path(name))
        assert outputs.destination(name, canvas.PICTURES) == Path(name)
    Path("empty.html").touch()
    Path("mine.html").write_text("a person's own")
    assert run(["export", "k", "empty.html"]) == 0
    assert run(["export", "k", "mine.html", "--force"]) == 0
    Path("link.html").symlink_to("mine.html")
    assert run(["export", "k", "link.html"]) == 0
    assert Path("link.html").is_symlink()


def test_a_place_that_cannot_be_written_is_told_before_the_training(place: Path) -> None:
    before = sorted(place.rglob("*"))
    for name in ("texts/few.txt/it.csv", "x" * 250 + ".csv", "new/" + "x" * 250 + ".csv", "texts"):
        assert run([*TRAIN, name]) == 5, name
    assert run([*TRAIN, "it.csv", "--out", ""]) == 2
    assert sorted(place.rglob("*")) == before


def test_what_a_dead_process_left_goes_with_the_next_output(place: Path) -> None:
    for left in (".page.html.0123abcd.part", ".said.json.89abcdef.part"):
        Path(left).write_text("half")
    Path(".mine.part").write_text("a person's own")
    assert run(["export", "k", "page.html"]) == 0
    assert [path.name for path in place.glob(".*.part")] == [".mine.part"]


def test_predictions_written_at_once_are_all_kept(tmp_path: Path) -> None:
    from datetime import UTC, datetime

    from microgpt.lab.laws.register import register, registered
    from tests.lab.laws.test_register import SAID

    path, start = tmp_path / "new" / "said.json", threading.Barrier(8)

    def write() -> None:
        start.wait(60)
        for _ in range(5):
            register(path, [SAID], "a" * 64, datetime.now(UTC))

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registered(path)) == 40


def test_an_exported_model_says_what_it_is(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["export", "k", "page.html"]) == 0
    Path("model.onnx").write_bytes(b"a graph")
    for name, what in (("page.html", "a browser opens it"), ("model.onnx", "ONNX runtimes")):
        assert run(["sample", name]) == 4
        assert what in capsys.readouterr().err


def test_an_export_never_replaces_the_text_of_its_run(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.html").write_text("anna\nbob\nhannah\notto\n" * 9)
    assert run(["--data", "mine.html", "--steps", "2", "--engine", "array", "--name", "own", "--holdout", "0.3"]) == 0
    assert run(["export", "own", "mine.html", "--force"]) == 2
    assert "mine.html" in capsys.readouterr().err
    assert Path("mine.html").read_text().startswith("anna")
