"""Every number of the forward pass is what its terms make it, stands among the atoms, and follows a change."""

import math
from functools import partial
from typing import Any, Literal

import numpy as np
import pytest

from microgpt.data.choices import Kind
from microgpt.errors import UsageError
from microgpt.studio import atom_places, graphs, stages, xray
from microgpt.studio.edits import edited
from microgpt.studio.stages import Number, Source, Term, value_of
from microgpt.studio.xray import Reading
from microgpt.training.checkpoint import Checkpoint
from microgpt.training.computing import open_own
from tests import models

MODELS: list[tuple[Kind, dict[str, Any]]] = [
    ("lines", {}),
    ("windows", {"position": "rotary", "activation": "swiglu", "norm_head": True, "norm_embeddings": False}),
]


def read(checkpoint: Checkpoint, prompt: str = "bad face"[:7]) -> Reading:
    return xray.read(checkpoint, xray.open_array(checkpoint), prompt)


@pytest.fixture(params=MODELS, ids=["plain", "varied"])
def model(request: pytest.FixtureRequest) -> Checkpoint:
    kind, sizes = request.param
    return models.model_of(kind=kind, **{"layer": 2, "emb": 8, "head": 2, "ctx": 8} | sizes)


def sources(checkpoint: Checkpoint, reading: Reading) -> list[Source]:
    return [
        (stage, at, index)
        for stage in stages.names(checkpoint.model)
        for at in range(len(reading.tokens))
        for index in range(stages.at_position(reading, stage, at).size)
    ]


def computed(number: Number) -> float:
    terms = number.terms
    match number.rule:
        case "norm":
            return terms[number.own].value / math.sqrt(math.fsum(term.value**2 for term in terms) / len(terms) + 1e-5)
        case "softmax":
            return math.exp(terms[number.own].value) / math.fsum(math.exp(term.value) for term in terms)
        case "relu":
            return max(terms[0].value, 0.0)
        case "swiglu":
            return terms[0].value / (1.0 + math.exp(-terms[0].value)) * terms[1].value
    return math.fsum(term.product for term in terms)


def test_every_number_is_what_its_terms_make_it(model: Checkpoint) -> None:
    reading = read(model)
    for source in sources(model, reading):
        number = stages.number(model, reading, source)
        assert number.value == value_of(reading, source)
        assert computed(number) == pytest.approx(number.value, rel=1e-12, abs=1e-14)
        for term in number.terms:
            assert term.source is None or value_of(reading, term.source) == term.value
            assert term.by_source is None or value_of(reading, term.by_source) == term.by


def test_every_number_stands_among_the_atoms_of_the_definition(model: Checkpoint) -> None:
    reading = read(model)
    places = (0, len(reading.tokens) - 1)
    graphs_of = {at: graphs.of_loss(model, atom_places.text(model, reading, at)) for at in places}
    for source in [source for source in sources(model, reading) if source[1] in places]:
        graph = graphs_of[source[1]]
        found = graph.value[atom_places.place(graph, model, reading, source)]
        told = math.exp(found) if source[0] == "probabilities" else found
        assert told == pytest.approx(value_of(reading, source), rel=1e-12, abs=1e-14)


def test_the_lens_ends_in_what_the_model_expects(model: Checkpoint) -> None:
    reading = read(model)
    for at in range(len(reading.tokens)):
        *_, last = stages.lens(model, reading, at)
        assert last["likeliest"] == [pytest.approx(pair) for pair in xray.likeliest(reading)[at]]


@pytest.mark.parametrize("edits", ["layer0.head1", "layer1.unit3,wte.2.5=0.75", "lm_head.0.0=-3,layer1.head0"])
def test_the_run_s_own_engine_computes_the_changed_model_too(model: Checkpoint, edits: str) -> None:
    changed = edited(model, edits)
    before, now = read(model), read(changed)
    assert not np.allclose(before.trace["logits"], now.trace["logits"])
    assert xray.check(changed, open_own(changed), now)["difference"] < 1e-6


def test_a_head_and_a_unit_that_are_off_add_nothing(model: Checkpoint) -> None:
    heads = ",".join(f"layer1.head{i}" for i in range(2))
    units = ",".join(f"layer1.unit{i}" for i in range(model.model.wide))
    trace = read(edited(model, f"{heads},{units},layer1.attn_wo.0.0=5,layer1.mlp_fc2.0.0=5")).trace
    np.testing.assert_array_equal(trace["layer1.residual_mlp"], trace["layer0.residual_mlp"])


@pytest.mark.parametrize(
    "edits",
    [
        "layer2.head0",
        "layer0.head2",
        "layer0.unit99",
        "wte.0.8=1",
        "wte.0=1",
        "wte.0.0=x",
        "wte.0.0=nan",
        "wte.0.0=1e9",
    ],
)
def test_a_change_of_what_the_model_has_not_is_refused_in_words(edits: str) -> None:
    with pytest.raises(UsageError, match="expected a"):
        edited(models.model_of(layer=2, emb=8, head=2, ctx=8), edits)


def test_of_many_terms_the_largest_are_told_and_the_others_summed() -> None:
    checkpoint = models.model_of(layer=1, emb=400, head=2, ctx=8)
    told = stages.told(stages.number(checkpoint, read(checkpoint), ("logits", 2, 0)))
    assert (len(told["terms"]), told["left"]) == (stages.MOST_TERMS, 100)
    assert sum(term["product"] for term in told["terms"]) + told["left_sum"] == pytest.approx(told["value"], rel=1e-12)


@pytest.mark.parametrize(("rule", "own"), [("norm", 250), ("softmax", 50)])
def test_of_many_terms_its_own_one_is_told(rule: Literal["norm", "softmax"], own: int) -> None:
    terms = tuple(Term(value, None) for value in np.linspace(-5.0, 3.0, 400).tolist())
    told = stages.told(Number(0.1, rule, terms, own))
    values = [term["value"] for term in told["terms"]]
    assert [term["value"] for term in told["terms"] if term["own"]] == [terms[own].value]
    assert (max(values), -5.0 in values) == (3.0, rule == "norm")


@pytest.mark.parametrize(("stage", "index"), [("norm_head", 1), ("losses", 0), ("layer0.what", 0), ("layer0.key", 8)])
def test_a_number_that_is_not_there_has_no_terms_and_no_atom(stage: str, index: int) -> None:
    checkpoint = models.model_of(layer=1, emb=8, head=2, ctx=8)
    reading, source = read(checkpoint), (stage, 0, index)
    graph = graphs.of_loss(checkpoint, "bad")
    for ask in (stages.number, partial(atom_places.place, graph)):
        with pytest.raises(UsageError, match="expected a"):
            ask(checkpoint, reading, source)


def test_a_text_whose_atoms_are_of_other_tokens_is_refused_in_words() -> None:
    checkpoint = models.model_of(models.MERGED, layer=1, emb=8, head=2, ctx=8)
    reading = read(checkpoint, "bad cab")
    with pytest.raises(UsageError, match="other tokens"):
        atom_places.place(graphs.of_loss(checkpoint, ""), checkpoint, reading, ("logits", len(reading.tokens) - 1, 0))
