"""Every reader of untrusted bytes: what once broke one is replayed, and new damage is tried on top."""

import random
from pathlib import Path

import pytest

from trials.readers.every import EVERY
from trials.readers.reader import CORPUS, Bench

QUICK, MANY = 60, 1_500  # damaged inputs of each reader, every day and now and then


@pytest.fixture(scope="module", params=list(EVERY))
def bench(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(EVERY[request.param], tmp_path_factory.mktemp(request.param))


def test_what_was_kept_is_refused_in_a_line_or_read(bench: Bench) -> None:
    for path in bench.reader.kept:
        try:
            bench.refuses(bench.replayed(path))
        except Exception as error:
            pytest.fail(f"{path.relative_to(CORPUS)}: {error!r}")


def test_damaged_bytes_are_refused_in_a_line_or_read(bench: Bench) -> None:
    for seed in range(QUICK):
        bench.refuses(bench.mutated(seed))


@pytest.mark.long
def test_many_damaged_bytes_are_refused_in_a_line_or_read(bench: Bench) -> None:
    for seed in range(QUICK, MANY):
        bench.refuses(bench.mutated(seed))


def test_every_kept_file_is_small_and_belongs_to_a_reader() -> None:
    kept = [path for path in CORPUS.rglob("*") if path.is_file()]
    assert {path.parent.name for path in kept} == set(EVERY) - {"model"}
    assert max(path.stat().st_size for path in kept) <= 4096


def test_damage_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    for reader in EVERY.values():
        place = tmp_path / reader.name
        place.mkdir()
        reader.prepare(place)
        sound = (place / reader.file).read_bytes()
        first, again = (reader.mutate(sound, random.Random(7)) for _ in range(2))
        assert first == again
