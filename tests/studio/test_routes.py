"""Each route without a browser: what it tells, and the sentence where it can't."""

import json
import os
import shutil
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from microgpt.errors import DataError
from microgpt.studio.server import STATIC
from microgpt.studio.studio import Studio
from microgpt.studio.texts import StudioTexts
from microgpt.training.run_folder import REPORT, SAMPLES_FILE
from trials.serving import REFUSED, Visit, visit
from trials.small import finish, request

HTML = "<img src=x onerror=alert(1)><script>alert(2)</script>"


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run; its folder of runs is above it."""
    run = finish(request(tmp_path_factory.mktemp("studio"), steps=30, name="small")).result.run
    assert run
    return Path(run)


@pytest.fixture
def there(trained: Path) -> Visit:
    with visit(Studio(trained.parent)) as visiting:
        yield visiting


def test_the_page_and_its_files_are_there(here: Visit) -> None:
    assert "<title>MicroGPT studio</title>" in here.client.get("/").text
    for file in STATIC.iterdir():
        answer = here.client.get(f"/static/{file.name}")
        assert answer.content == file.read_bytes()
        assert answer.headers["content-type"].startswith("text/")
    assert here.client.get("/static/nothing.js").status_code == 404


def test_all_assets_together_are_small_and_ask_no_other_host() -> None:
    files = list(STATIC.iterdir())
    assert sum(file.stat().st_size for file in files) <= 350_000
    for file in files:
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")  # the name of a namespace, never fetched
        assert "http://" not in text
        assert "https://" not in text
        assert "innerHTML" not in text


def test_the_form_says_what_the_program_says(here: Visit) -> None:
    from microgpt.model.settings import Settings
    from microgpt.recipes import RECIPES

    form = here.get("/api/form")
    fields = {field["name"]: field for field in form["fields"]}
    for name in ("steps", "lr", "decay", "norm_head"):
        declared = Settings.__dataclass_fields__[name]
        assert fields[name]["default"] == declared.default
        assert fields[name]["help"] == declared.metadata["help"]
    assert not {"data", "out", "device", "golden"} & fields.keys()
    assert {recipe["name"] for recipe in form["recipes"]} == set(RECIPES)
    assert form["texts"] == ["names", "shakespeare"]


def test_a_plan_counts_what_the_training_will_take(here: Visit) -> None:
    plan = here.post("/api/plan", {"settings": {"engine": "array"}})
    assert plan["params"] == 4192
    assert not plan["measured"]
    assert plan["flop"] == 1000 * plan["flop_per_step"]
    measured = here.post("/api/plan", {"settings": {"engine": "array"}, "measure": True})
    assert measured["measured"]
    assert 0 < measured["seconds"] < 60


@pytest.mark.parametrize(
    ("asked", "status", "says"),
    [
        ({"settings": {"emb": 16, "head": 5}}, REFUSED, "--head 4 would do"),
        ({"settings": {"steps": 0}}, REFUSED, "--steps must be 1 or more"),
        ({"settings": {"steps": "many"}}, REFUSED, "--steps takes a whole number"),
        ({"settings": {"stepps": 3}}, REFUSED, "Did you mean --steps?"),
        ({"settings": {"emb": 1 << 30, "head": 1}}, REFUSED, "GB of memory"),
        ({"settings": {"data": ["/etc/passwd"]}}, REFUSED, "can't be set from the page"),
        ({"settings": {"out": "/tmp"}}, REFUSED, "can't be set from the page"),
        ({"settings": {"name": "../x"}}, REFUSED, "--name takes a plain name"),
        ({"settings": []}, REFUSED, "expected a JSON object"),
        ({"recipe": "none"}, REFUSED, "Did you mean"),
        ({"recipe": ["default"]}, REFUSED, "expected a word"),
        ({"text": "/etc/passwd"}, 404, "expected a text that is here"),
        ({"text": ["names"]}, 404, "expected a text that is here"),
    ],
)
def test_what_can_not_be_is_refused_with_a_sentence(here: Visit, asked: dict, status: int, says: str) -> None:
    for address in ("/api/plan", "/api/trainings"):
        assert says in here.post(address, asked, status)["error"]
    assert here.get("/api/trainings") == {"trainings": []}


def test_a_text_is_kept_privately_and_read(here: Visit, tmp_path: Path) -> None:
    data = b"anna\nhannah\notto\n"
    answer = here.client.post("/api/texts?name=../../My names.txt", content=data, headers=here.headers)
    text = answer.json()["id"]
    assert text.endswith("/My names.txt")
    kept = tmp_path / "runs" / ".texts" / text
    assert kept.read_bytes() == data
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept.parent.stat().st_mode) == stat.S_IMODE(kept.parent.parent.stat().st_mode) == 0o700
    about = here.client.get("/api/text", params={"id": text}, headers=here.headers).json()
    assert (about["documents"], about["kind"], about["shown"]) == (3, "lines", ["anna", "hannah", "otto"])
    assert text in here.get("/api/form")["texts"]


def test_a_text_is_shown_token_by_token_in_byte_pairs(here: Visit) -> None:
    for text in ("shakespeare", "names"):
        plain, told = (here.get(f"/api/text?id={text}&tokens={tokens}") for tokens in ("characters", "bpe:100"))
        assert (plain["pieces"], told["vocabulary"]) == (None, 101)
        assert ["".join(pieces) for pieces in told["pieces"]] == told["shown"] == plain["shown"]
        assert max(map(len, told["pieces"][0])) > 1
    assert "bpe:N" in here.get("/api/text?id=names&tokens=bpe:0", REFUSED)["error"]


def test_a_text_in_another_encoding_is_taken_once_that_is_named(here: Visit, tmp_path: Path) -> None:
    data = "zwölf\nBoxkämpfer\njagen\n".encode("latin-1")
    told = here.client.post("/api/texts?name=box", content=data, headers=here.headers).json()["error"]
    assert "expected utf-8, found 0xf6 in line 1" in told
    text = here.client.post("/api/texts?name=box&encoding=latin-1", content=data, headers=here.headers).json()["id"]
    assert (tmp_path / "runs" / ".texts" / text).read_text("utf-8") == data.decode("latin-1")
    odd = here.client.post("/api/texts?name=box&encoding=klingon", content=data, headers=here.headers).json()
    assert "expected a text encoding" in odd["error"]


def test_texts_are_never_kept_where_a_link_leads(here: Visit, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir(mode=0o755)
    (tmp_path / "runs").mkdir()
    for link in (".texts", ".texts/ca978112ca1bbdca"):
        (tmp_path / "runs" / link).symlink_to(victim)
        (victim / "it.txt").write_text("anna\n")
        answer = here.client.post("/api/texts?name=it", content=b"a", headers=here.headers)
        assert "no link here" in answer.json()["error"]
        assert [path.name for path in victim.iterdir()] == ["it.txt"]
        assert stat.S_IMODE(victim.stat().st_mode) == 0o755
        assert here.get("/api/form")["texts"] == ["names", "shakespeare"]
        (tmp_path / "runs" / link).unlink()
        (tmp_path / "runs" / ".texts").mkdir(exist_ok=True)


def test_what_is_no_text_is_left_out_of_the_texts(here: Visit, tmp_path: Path) -> None:
    text = here.client.post("/api/texts?name=it", content=b"anna\nhannah\n", headers=here.headers).json()["id"]
    folder = (tmp_path / "runs" / ".texts" / text).parent
    (folder / "gone.txt").symlink_to("nowhere")
    (folder / "link.txt").symlink_to("it.txt")
    (folder.parent / "away").symlink_to(folder)
    os.mkfifo(folder / "pipe.txt")
    assert here.get("/api/form")["texts"] == ["names", "shakespeare", text]
    assert (
        here.client.get("/api/text", params={"id": f"{folder.name}/pipe.txt"}, headers=here.headers).status_code == 404
    )


@pytest.mark.parametrize("link", [SAMPLES_FILE, "looks.json"])
def test_a_file_of_a_run_that_is_a_link_is_not_shown(here: Visit, trained: Path, tmp_path: Path, link: str) -> None:
    run = tmp_path / "runs" / "it"
    shutil.copytree(trained, run)
    (tmp_path / "secret").write_text('secret {"looks": []}')
    (run / link).unlink(missing_ok=True)
    (run / link).symlink_to(tmp_path / "secret")
    assert "secret" not in json.dumps(here.get("/api/runs/it"))


def test_a_run_that_is_a_link_is_shown_and_not_gone_on_with(here: Visit, trained: Path, tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "link").symlink_to(trained)
    assert here.get("/api/runs/link")["step"] == 30
    assert "no link here" in here.post("/api/runs/link/resume", {"steps": 40}, 409)["error"]


@pytest.mark.parametrize("data", [b"", b"  \n \n", b"\x00\x01binary\x00", b"\xff\xfe\xfa\xfb"])
def test_an_empty_or_binary_text_is_a_sentence_and_is_not_kept(here: Visit, data: bytes, tmp_path: Path) -> None:
    answer = here.client.post("/api/texts?name=odd.bin", content=data, headers=here.headers)
    assert answer.status_code == 200
    assert answer.json()["error"].startswith("odd.bin: expected")
    assert not list(tmp_path.rglob("*.txt"))


def test_one_bad_text_handed_over_many_times_at_once_is_refused_each_time(tmp_path: Path) -> None:
    def told(_: int) -> str:
        try:
            return texts.add("odd.txt", b"\0\0")
        except DataError:
            return "refused"

    texts = StudioTexts(tmp_path)
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(told, range(200))) == {"refused"}


def test_runs_are_listed_and_told(there: Visit, trained: Path) -> None:
    assert [run["name"] for run in there.get("/api/runs")["runs"]] == ["small"]
    run = there.get("/api/runs/small")
    assert run["steps"] == run["step"] == len(run["curve"]) == 30
    assert run["settings"]["emb"] == run["model"]["emb"]
    assert run["holdout"] > 0
    assert run["uniform"] > run["holdout"] / 2
    assert 0 < run["counts"] < run["uniform"]
    assert run["mixed"] is None  # which it was not asked for
    assert run["samples"]


def test_samples_of_the_same_seed_are_the_same(there: Visit) -> None:
    first = there.get("/api/runs/small/samples?seed=3&count=4")["samples"]
    assert len(first) == 4
    assert there.get("/api/runs/small/samples?seed=3&count=4")["samples"] == first
    assert there.get("/api/runs/small/samples?seed=4&count=4")["samples"] != first


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("seed=x", "expected a whole number"),
        ("temperature=-1", "--temperature must be a number of 0 or more"),
        ("temperature=warm", "expected a number"),
        ("prompt=%C3%9F", "ß"),
        ("count=-1", "--count must be"),
    ],
)
def test_samples_that_can_not_be_are_a_sentence(there: Visit, query: str, says: str) -> None:
    assert says in there.get(f"/api/runs/small/samples?{query}", REFUSED)["error"]


def test_a_run_from_elsewhere_and_a_lone_file_are_shown_too(trained: Path, tmp_path: Path) -> None:
    lone = tmp_path / "lone.safetensors"
    lone.write_bytes((trained / "weights.safetensors").read_bytes())
    with visit(Studio(tmp_path, named={"small": trained, "lone": lone})) as there:
        assert {run["name"] for run in there.get("/api/runs")["runs"]} == {"small", "lone"}
        assert there.get("/api/runs/lone")["curve"] == []
        assert there.get("/api/runs/small/samples")["samples"]


def test_a_damaged_run_and_one_that_was_deleted_are_sentences(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "runs"
    for name, data in (("cut", (trained / "weights.safetensors").read_bytes()[:500]), ("empty", b"")):
        (out / name).mkdir(parents=True)
        (out / name / "weights.safetensors").write_bytes(data)
    with visit(Studio(out)) as there:
        assert all(run["fault"] for run in there.get("/api/runs")["runs"])
        assert "expected" in there.get("/api/runs/cut", 409)["error"]
        assert "expected" in there.get("/api/runs/cut/samples", 409)["error"]
        assert "it may have been deleted" in there.get("/api/runs/gone", 404)["error"]


def test_what_a_hostile_folder_says_stays_text_and_numbers(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / HTML.replace("/", "")[:60]
    folder.mkdir(parents=True)
    (folder / "weights.safetensors").write_bytes((trained / "weights.safetensors").read_bytes())
    (folder / SAMPLES_FILE).write_text(HTML)
    (folder / REPORT).write_text(
        json.dumps({"loss": {"holdout": HTML, "unigram": [1], "counts": HTML}, "engine": {}, "seconds": 3})
    )
    looks = [{"step": "1", "loss": HTML, "documents": 1, "samples": [3]}, {"step": -1}, 7]
    (folder / "looks.json").write_text(json.dumps({"looks": looks}))
    (folder / "losses.csv").write_text("step,loss,lr\n1,nan,0.1\n")
    with visit(Studio(tmp_path / "runs")) as there:
        answer = there.client.get(f"/api/runs/{folder.name}", headers=there.headers)
        assert answer.headers["content-type"] == "application/json"
        run = answer.json()
    assert (run["samples"], run["holdout"], run["unigram"], run["seconds"]) == ([HTML], None, None, None)
    assert run["counts"] is None
    assert (run["looks"], run["curve"], run["engine"]) == ([], [], run["request"]["engine"])
