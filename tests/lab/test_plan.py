"""What sweeps consist of, how learning rates are found, and files that describe a sweep."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from microgpt.cli.sweeping import print_estimate
from microgpt.errors import DataError, UsageError
from microgpt.lab.sweep.design import holds, log_range
from microgpt.lab.sweep.design_file import read_design
from microgpt.lab.sweep.estimate import estimate
from microgpt.lab.sweep.plan import BUILT_IN, Plan, original, plan
from microgpt.lab.sweep.spec import Spec
from microgpt.lab.sweep.texts import Texts
from microgpt.lab.sweep.tuning import SEEDS, choice, middle, trials
from trials import few

TEXTS = Texts()


def study(asked: Plan, losses: dict[str, float]) -> list[Spec]:
    members = [member for group in asked.groups for member in asked.members(group, losses)]
    return [member.spec for member in members if member.role == "study"]


def tuned_at(asked: Plan, best: float) -> dict[str, float]:
    """Losses as if a rate were best for all groups, with the extensions that it takes to find it."""
    losses: dict[str, float] = {}
    for group in asked.groups:
        assert asked.tuning
        while asked.choice(group, losses) is None:
            for spec in trials(group, asked.tuning, losses):
                losses[spec.identity] = 2 + abs(spec.settings.lr - best) / best
    return losses


@pytest.mark.parametrize(("name", "levels"), [("steps", 8), ("params", 3), ("laws", 25)])
def test_a_built_in_sweep_has_its_levels_three_seeds_and_trials_on_others(name: str, levels: int) -> None:
    asked = plan(BUILT_IN[name], TEXTS)
    runs = study(asked, tuned_at(asked, 0.005))
    assert len(runs) == 3 * levels
    assert {spec.settings.lr for spec in runs} == {0.005}
    assert {spec.settings.seed for spec in runs} == {0, 1, 2}
    assert not study(asked, {})  # nothing is reported before rates are known
    trying = [spec for group in asked.groups for spec in trials(group, asked.tuning, {})]  # type: ignore[arg-type]
    assert {spec.settings.seed for spec in trying} == set(SEEDS)
    assert len({(spec.data_sha256, spec.asked.split_seed) for spec in runs + trying}) == 1  # one held-out set


def test_the_two_sweeps_of_the_original_share_the_trials_of_their_common_size() -> None:
    steps, params = (plan(BUILT_IN[name], TEXTS) for name in ("steps", "params"))
    first = {spec.identity for spec in trials(steps.groups[0], steps.tuning, {})}  # type: ignore[arg-type]
    assert first == {spec.identity for spec in trials(params.groups[0], params.tuning, {})}  # type: ignore[arg-type]


def test_the_original_is_another_sweep_with_one_rate_for_all() -> None:
    asked = plan(original(BUILT_IN["params"]), TEXTS)
    assert asked.name == "params-original"
    assert {spec.settings.lr for spec in study(asked, {})} == {0.01}
    assert len(study(asked, {})) == 9


@pytest.mark.parametrize(("best", "at_edge"), [(0.005, False), (0.00125, False), (0.02, False), (0.16, False)])
def test_a_rate_at_the_edge_asks_for_one_beyond(best: float, at_edge: bool) -> None:
    asked = plan(BUILT_IN["steps"], TEXTS)
    found = choice(asked.groups[0], asked.tuning, tuned_at(asked, best))  # type: ignore[arg-type]
    assert found is not None
    assert (found.rate, found.at_edge) == (best, at_edge)


def test_a_rate_that_gets_ever_better_is_flagged_in_the_end() -> None:
    asked = plan(BUILT_IN["steps"], TEXTS)
    found = choice(asked.groups[0], asked.tuning, tuned_at(asked, 1e9))  # type: ignore[arg-type]
    assert found is not None
    assert found.at_edge


def test_runs_of_other_sweeps_do_not_change_a_choice() -> None:
    asked = plan(BUILT_IN["steps"], TEXTS)
    losses = tuned_at(asked, 0.005)
    before = asked.choice(asked.groups[0], losses)
    beyond = asked.groups[0].trial.with_settings(lr=0.64, seed=1000)
    assert asked.choice(asked.groups[0], losses | {beyond.identity: 0.1}) == before


def test_the_middle_is_by_ratio() -> None:
    assert middle([1000, 2000, 3000, 5000, 8000, 9000, 13000, 21000]) == 5000


@given(st.integers(1, 10**6), st.integers(1, 100), st.integers(2, 12))
def test_a_log_range_keeps_its_ends_and_rises(first: int, times: int, count: int) -> None:
    found = log_range(first, first * times, count)
    assert found[0] == first
    assert found[-1] == first * times
    assert sorted(set(found)) == found


def test_combinations_that_cannot_be_are_left_out_and_counted(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"emb": (4, 6), "head": (2, 3, 4)}, where=("layer == 1",))
    kept = {(level.settings.emb, level.settings.head) for level in asked.levels}
    assert kept == {(4, 2), (4, 4), (6, 2), (6, 3)}
    assert asked.left_out == 2


def test_conditions_and_drops_leave_levels_out(tmp_path: Path) -> None:
    axes = {"steps": (10, 20, 30), "emb": (4, 8)}
    asked = few.planned(tmp_path, axes=axes, where=("steps * emb <= 160",), drop=({"steps": 10, "emb": 8},))
    assert {(level.settings.steps, level.settings.emb) for level in asked.levels} == {
        (10, 4),
        (20, 4),
        (30, 4),
        (20, 8),
    }
    with pytest.raises(UsageError, match="expected at least one combination"):
        few.planned(tmp_path, where=("steps > 1000",))


def test_a_condition_that_is_wrong_leaves_nothing_out_but_is_told(tmp_path: Path) -> None:
    axes = {"emb": (4, 5)}  # of which --emb 5 --head 2 can't be, for another reason
    with pytest.raises(UsageError, match=r"found 'heads'\. Did you mean head\?"):
        few.planned(tmp_path, axes=axes, where=("emb % heads == 0",))
    with pytest.raises(UsageError, match="'emb % warmup == 0'; it divides by 0"):
        few.planned(tmp_path, axes=axes, where=("emb % warmup == 0",))


def test_a_drop_names_any_setting_the_text_and_the_engine_too(tmp_path: Path) -> None:
    text = few.text(tmp_path)
    asked = few.planned(tmp_path, axes={"data": ((text,), ("names",))}, drop=({"data": ("names",), "batch": 1},))
    assert [level.asked.data for level in asked.levels] == [(text,)]


def test_rates_of_ones_own_are_for_settings_that_only_the_recipe_fills_in_too(tmp_path: Path) -> None:
    rates = ({"layer": 1, "steps": 10, "lr": 0.5}, {"lr": 0.25})
    asked = few.planned(tmp_path, rates=rates)
    assert {(level.settings.steps, level.settings.lr) for level in asked.levels} == {(10, 0.5), (20, 0.25)}
    with pytest.raises(UsageError, match=r"found none for layer = 7, lr = 0\.5"):
        few.planned(tmp_path, rates=({"layer": 7, "lr": 0.5}, {"lr": 0.25}))


def test_a_condition_on_the_learning_rate_sees_that_of_the_level(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, rates=({"steps": 10, "lr": 0.5},), where=("lr < 0.1",))
    assert {level.settings.steps for level in asked.levels} == {20}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tuned": True, "rates": ({"lr": 0.5},)}, "leave one out"),
        ({"tuned": True, "axes": {"lr": (0.1, 0.2)}}, "leave one out"),
        ({"rates": ({"lr": 0.5},), "levels": ({"lr": 0.1},)}, "leave one out"),
    ],
)
def test_learning_rates_come_from_one_place(tmp_path: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        few.planned(tmp_path, **changes)


def test_a_group_is_called_by_its_size_and_by_what_tells_it_from_the_others(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (10, 20), "batch": (1, 2)}, tuned=True)
    size = "emb 4, head 2, layer 1"
    assert [group.name for group in asked.groups] == [f"{size}, batch 1", f"{size}, batch 2"]
    assert [group.name for group in few.planned(tmp_path, tuned=True).groups] == [size]


def test_paired_axes_go_side_by_side(tmp_path: Path) -> None:
    asked = few.planned(tmp_path, axes={"steps": (10, 20), "emb": (4, 8)}, mode="paired", levels=({}, {"layer": 2}))
    found = {(level.settings.steps, level.settings.emb, level.settings.layer) for level in asked.levels}
    assert found == {(10, 4, 1), (20, 8, 1), (10, 4, 2), (20, 8, 2)}
    with pytest.raises(UsageError, match="equally many"):
        few.planned(tmp_path, axes={"steps": (10, 20), "emb": (4, 8, 12)}, mode="paired")


def test_a_condition_is_no_program() -> None:
    settings = {"emb": 16, "head": 4, "decay": "linear"}
    assert holds("emb % head == 0", settings)
    assert not holds("emb < 16", settings)
    for wrong in ("__import__('os')", "emb", "emb == 1 or True", "embb == 1", "decay % 2 == 0", "emb % 0 == 1"):
        with pytest.raises(UsageError, match="condition"):
            holds(wrong, settings)


def test_tuning_wants_its_own_seeds_and_a_held_out_part(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="seeds of their own"):
        few.planned(tmp_path, tuned=True, seeds=(0, 1000))
    with pytest.raises(UsageError, match="hold something out"):
        few.planned(tmp_path, tuned=True, base={"holdout": 0.0})


FILE = """
name = "widths"
seeds = [3, 5]
where = ["emb % head == 0"]

[base]
data = "{data}"
engine = "array"
holdout = 0.2
head = 2

[axes]
emb = [4, 7, 8]
steps = {{from = 10, to = 40, count = 3}}

[[drop]]
emb = 8
steps = 40

[[rates]]
emb = 8
lr = 0.02
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "sweep.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    assert read_design(written(tmp_path, "\ufeffseeds = 2\n")).seeds == (0, 1)


def test_a_file_describes_a_sweep(tmp_path: Path) -> None:
    asked = plan(read_design(written(tmp_path, FILE.format(data=few.text(tmp_path)))), Texts())
    found = {(spec.settings.emb, spec.settings.steps, spec.settings.lr) for spec in study(asked, {})}
    assert found == {(4, 10, 0.01), (4, 20, 0.01), (4, 40, 0.01), (8, 10, 0.02), (8, 20, 0.02)}
    assert asked.name == "widths"
    assert asked.left_out == 4
    assert {spec.settings.seed for spec in study(asked, {})} == {3, 5}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[axes]\nembb = [1]", r"line 2: 'embb' is no key of an axis. Did you mean emb\?"),
        ("sedes = 3", r"line 1: 'sedes' .* Did you mean seeds\?"),
        ("[base]\n\nthreads = 2", "line 3: threads does not change the result of a run"),
        ("[axes]\nemb = [0]", "line 2: --emb must be 1 or more"),
        ("[axes]\nemb = 5", "line 2: emb takes a list"),
        ("[axes]\nlr = {from = 0, to = 1, count = 3}", "line 2: a range of lr"),
        ("[axes]\ndecay = {from = 1, to = 2, count = 3}", "a range of decay"),
        ("[axes]\nseed = [1]", "line 2: seeds go under seeds"),
        ('mode = "cross"', "line 1: mode takes"),
        ("seeds = 0", "line 1: seeds takes"),
        ('lr = "best"', 'line 1: lr takes "tuned"'),
        ("[[rates]]\nemb = 4", "line 1: each of .* without lr"),
        ("axes = 3", "line 1: axes takes a table"),
        ("levels = []", "line 1: levels takes tables"),
        ("where = 'emb'", "line 1: where takes a list"),
        ("[tuning]\nrates = [0.1]", "line 2: tuning takes"),
        ("[tuning]\nseeds = [7]", r"line 1: \[tuning\] needs lr"),
        ("where = [\n  'emb > 4',\n  'emb % heads == 0',\n]", r"line 3: .*'heads'\. Did you mean head\?"),
        ("where = ['decay % 2 == 0']", "line 1: a condition compares settings"),
        ('lr = "tuned"\n\n[[rates]]\nlr = 0.02', r"line 3: \[\[rates\]\] replaces"),
        ('lr = "tuned"\n[axes]\nlr = [0.1, 0.2]', 'line 1: lr is "tuned" or varies'),
        ("lr = 0.1\n[base]\nlr = 0.2", r"line 1: lr goes under lr or in \[base\]"),
        ("[[rates]]\nlr = 0.1\n[[rates]]\nemb = 4\nlr = 0.2", r"emb = 4, lr = 0\.2 never does"),
        ("[[levels]]\nseed = 1", "line 2: seeds go under seeds"),
        ("recipe = 'defualt'", r"line 1: recipe takes .* Did you mean default\?"),
        ("recipe = [1]", "line 1: recipe takes"),
    ],
)
def test_a_mistake_in_a_file_is_one_line_that_says_where(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as caught:
        read_design(written(tmp_path, text))
    assert "\n" not in str(caught.value)
    assert re.search(r"[^.?][.?]$", str(caught.value))  # one stop


@pytest.mark.parametrize("text", ["[axes\nemb = 3", "a = ", "\0"])
def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError, match=r"expected TOML, found: .*\(at (line \d|end)"):
        read_design(written(tmp_path, text))
    with pytest.raises(DataError, match="can be read"):
        read_design(tmp_path / "none.toml")


@settings(max_examples=40)
@given(st.text(max_size=60))
def test_no_text_is_met_with_anything_but_one_line(text: str) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sweep.toml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        try:
            read_design(path)
        except (UsageError, DataError) as error:
            told = str(error)
        else:
            told = ""
        assert "\n" not in told


def test_an_estimate_counts_every_run_and_its_work(tmp_path: Path) -> None:
    texts = Texts()
    design = few.design(tmp_path, tuned=True)
    known = estimate(plan(design, texts), texts, jobs=2)
    assert (known.runs, known.tuning) == (2 * 3 + 10, 10)
    assert [row.runs for row in known.rows] == [3 + 10, 3]
    assert known.flop > 0
    assert known.start > 0.02  # a new Python that imports NumPy takes longer
    assert known.seconds > known.start + sum(row.runs * row.seconds for row in known.rows) / 2 - 1e-9
    assert known.memory == 2 * known.rows[0].memory


def test_an_estimate_tells_learning_rates_apart_where_they_are_an_axis(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts, rates = Texts(), (0.005, 0.01, 0.02)
    asked = plan(few.design(tmp_path, axes={"lr": rates, "steps": (10, 20)}), texts)
    known = estimate(asked, texts, jobs=1)
    assert (known.runs, known.tuning) == (3 * 2 * 3, 0)
    assert [(row.spec.settings.lr, row.runs) for row in known.rows] == [(rate, 3) for rate in rates for _ in range(2)]
    print_estimate(asked, known, as_json=False)
    head, *lines, total = capsys.readouterr().out.splitlines()
    assert [line.split()[head.split().index("lr")] for line in lines] == [f"{rate:g}" for rate in rates for _ in "12"]
    assert total.startswith("18 runs;")


def test_a_plan_with_more_seeds_has_all_runs_of_one_with_fewer(tmp_path: Path) -> None:
    few_seeds, more = (few.planned(tmp_path, seeds=tuple(range(count))) for count in (2, 4))
    assert {spec.identity for spec in study(few_seeds, {})} < {spec.identity for spec in study(more, {})}
