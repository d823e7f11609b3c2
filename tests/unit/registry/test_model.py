"""What names and gates are accepted."""

import pytest

from thunderline.errors import InvalidInput
from thunderline.registry.model import Gates, MetricGate, parse_gates, parse_model_name


@pytest.mark.parametrize("name", ["coop-chat-v2", "A.b_c", "_x", "9"])
def test_a_name_fits_every_face(name: str) -> None:
    assert parse_model_name(name) == name


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/b", "a:b", "a#b", "a@1", "a%2e", "a\\b", "a b", "a\x00", "é", "x" * 129]
)
def test_a_name_that_some_face_would_misread_is_refused(name: str) -> None:
    with pytest.raises(InvalidInput):
        parse_model_name(name)


def test_gates_survive_being_stored() -> None:
    gates = Gates(MetricGate("loss", "lower", 0.1, 2.0), required=("git_sha",))
    assert parse_gates(gates.to_json()) == gates
    assert parse_gates(Gates(is_ungated=True).to_json()) == Gates(is_ungated=True)


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({"metric": {"metric": ""}}, "gates.metric.metric"),
        ({"metric": {"metric": "a", "direction": "up"}}, "gates.metric.direction"),
        ({"metric": {"metric": "a", "margin": -1}}, "gates.metric.margin"),
        ({"metric": {"metric": "a", "margin": True}}, "gates.metric.margin"),
        ({"metric": {"metric": "a", "floor": "0.5"}}, "gates.metric.floor"),
        ({"metric": {"metric": "a"}, "ungated": True}, "gates.ungated"),
        ({"metrics": {}}, "gates.metrics"),
        ({"required": "git_sha"}, "gates.required"),
        ([], "gates"),
    ],
)
def test_gates_of_a_wrong_form_are_refused_with_their_path(document: object, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse_gates(document)
    assert refused.value.field == field
