"""One function in all engines; and a check that would notice if it were not so."""

import math
from dataclasses import replace

import numpy as np
import pytest

from microgpt.engines import REGISTRY, available, create, parity
from microgpt.engines.contract import EngineConfig
from microgpt.model.ledger import params, tensors
from microgpt.model.settings import ModelConfig

ATOMIC = create("atomic", EngineConfig())


def test_some_of_the_quick_checks_are_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    smallest, slopes = parity.quick()[3:5], parity.difference_cases()[:1]  # tests of each engine ask all of them
    monkeypatch.setattr(parity, "quick", lambda: smallest)
    monkeypatch.setattr(parity, "difference_cases", lambda: slopes)
    checks = list(parity.verify())
    assert [check for check in checks if not check.ok] == []
    others = [one.name for one in available() if one.usable and one.name != "atomic"]
    expected = {("atomic", "64")} | {(name, each) for name in others for each in REGISTRY[name].precisions}
    assert {(check.engine, check.precision) for check in checks} == expected


@pytest.mark.long
def test_the_whole_spread_is_ok() -> None:
    assert [check for check in parity.verify(whole=True) if not check.ok] == []


def test_the_quick_spread_has_every_kind() -> None:
    models = [case.model for case in parity.quick()]
    assert {(model.norm_embeddings, model.norm_head) for model in models} == {(a, b) for a in (0, 1) for b in (0, 1)}
    assert {2, 200, 4000} <= {model.vocabulary for model in models}
    assert {1, 2, 3} <= {model.layer for model in models}
    assert {1, 2, 4} <= {model.head for model in models}
    for case in parity.quick():
        lengths = [len(tokens) for batch in case.batches for tokens in batch]
        assert min(lengths) == 3, "a document of length 1 between BOS"
        assert len(case.batches[0][0]) > case.model.ctx + 1, "a document beyond ctx"


def test_every_reference_gradient_reaches_every_tensor() -> None:
    for case in parity.quick():
        _, gradient = ATOMIC.open(parity.fresh(case.model, case.weights)).gradient(case.batches[0])
        assert all(np.abs(tensor).max() > 0 for tensor in tensors(case.model, gradient).values())
        if case.model.position == "learned":
            assert (np.abs(tensors(case.model, gradient)["wpe"]).max(axis=1) > 0).all()


def test_a_zero_gradient_is_refused() -> None:
    case = parity.case(ModelConfig(5, 4, 2, 1, 3), batch=1)
    silent = replace(case, weights=np.where(np.arange(params(case.model)) < 20, case.weights, 0.0))
    reference = parity.answers(ATOMIC, silent)
    check = parity.compare("atomic", "64", silent, reference, reference)
    assert not check.ok
    assert math.isinf(check.gradient_error)
    assert "gradient of layer0.attn_wq" in check.problem


def test_zeros_must_coincide() -> None:
    model = ModelConfig(5, 4, 2, 1, 3)
    reference = np.ones(params(model))
    reference[7] = 0.0
    found = reference.copy()
    found[7] = 1e-300
    assert math.isinf(parity.tensor_errors(model, reference, found)["wte"])
    assert parity.tensor_errors(model, reference, reference)["wte"] == 0.0


def test_a_run_that_stops_early_is_refused() -> None:
    case = parity.quick()[4]
    reference = parity.answers(ATOMIC, case)
    check = parity.compare("atomic", "64", case, reference, replace(reference, losses=reference.losses[:9]))
    assert not check.ok
    assert "losses" in check.problem
