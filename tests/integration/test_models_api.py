"""Models over HTTP: registered once, listed, ranked, traced, and followed by their references."""

import json
from hashlib import sha256

import pytest

from tests.integration.pushing import ACCURACY, damage, done, promote, push, refused, register, upload
from tests.serving import RunningApi, wait_until


def test_a_model_is_registered_once_and_the_same_again_is_the_same(api: RunningApi) -> None:
    with api.client() as client:
        first = register(client)
        assert register(client) == first
        assert first["gates"] == {**ACCURACY, "ungated": False, "required": []}
        assert (first["head_seq"], first["created_by"]) == (0, "admin@default")
        assert done(client.post("/api/models", json={"name": "m"}), 201) == first


def test_a_model_may_ask_otherwise_until_something_was_promoted(api: RunningApi) -> None:
    ungated = {"name": "m", "gates": {"ungated": True}}
    with api.client() as client:
        register(client)
        assert done(client.post("/api/models", json=ungated), 201)["gates"] == {
            "metric": None,
            "ungated": True,
            "required": [],
        }
        told = register(client)
        promote(client, push(client, b"one"))
        refused(client.post("/api/models", json=ungated), 409, "CONFLICT")
        assert done(client.get("/api/models/m"))["gates"] == told["gates"]
        register(client)  # the same again is fine, also later


@pytest.mark.parametrize(
    ("document", "field"),
    [
        ({}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "../m"}, "name"),
        ({"name": "m" * 129}, "name"),
        ({"name": 1}, "name"),
        ({"name": "m", "gate": {}}, "gate"),
        ({"name": "m", "gates": []}, "gates"),
        ({"name": "m", "gates": {"metric": {"direction": "higher"}}}, "gates.metric.metric"),
        ({"name": "m", "gates": {"metric": {"metric": "a", "direction": "up"}}}, "gates.metric.direction"),
        ({"name": "m", "gates": {"metric": {"metric": "a", "margin": -1}}}, "gates.metric.margin"),
        ({"name": "m", "gates": {"metric": {"metric": "a", "floor": "x"}}}, "gates.metric.floor"),
        ({"name": "m", "gates": {"metric": {"metric": "a"}, "ungated": True}}, "gates.ungated"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused_where_it_does_not(
    api: RunningApi, document: dict[str, object], field: str
) -> None:
    with api.client() as client:
        told = refused(client.post("/api/models", json=document), 400, "INVALID_INPUT")
        assert str(told["field"]).endswith(field.removeprefix("gates."))
        assert done(client.get("/api/models"))["models"] == []


def test_models_are_listed_by_name_with_what_their_references_hold(api: RunningApi) -> None:
    with api.client() as client:
        for name in ("b", "a", "m"):
            register(client, name)
        promote(client, push(client, b"one"))
        listed = done(client.get("/api/models"))["models"]
        assert isinstance(listed, list)
        assert [one["name"] for one in listed] == ["a", "b", "m"]
        assert [one["references"] for one in listed] == [{}, {}, {"prod": {"version": 1, "seq": 1}}]
        paged = done(client.get("/api/models", params={"after": "a", "limit": 1}))["models"]
        assert isinstance(paged, list)
        assert [one["name"] for one in paged] == ["b"]


def test_an_artifact_keeps_its_version_number(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        register(client, "n")
        one, two = push(client, b"one"), push(client, b"two")
        assert (one.version, two.version, push(client, b"one").version) == (1, 2, 1)
        for address in (one.uri, one.sha256, "m@1"):
            told = done(client.post("/api/models/n/versions", json={"artifact": address}), 201)
            assert (told["version"], told["artifact_id"]) == (1, one.id)
        shown = done(client.get("/api/models/m"))
        assert isinstance(shown["versions"], list)
        assert [version["version"] for version in shown["versions"]] == [2, 1]
        refused(client.post("/api/models/none/versions", json={"artifact": "m@1"}), 404, "NOT_FOUND")
        refused(client.post("/api/models/n/versions", json={"artifact": "m@9"}), 404, "NOT_FOUND")
        refused(client.post("/api/models/n/versions", json={"artifact": "?"}), 400, "INVALID_INPUT")


def test_an_artifact_of_nothing_or_for_nobody_leaves_nothing(api: RunningApi) -> None:
    with api.client() as client:
        form = {"file_id": sha256(b"one").hexdigest(), "name": "a.pt", "model": "m"}
        refused(client.post("/api/artifacts", json=form), 404, "NOT_FOUND")
        upload(client, b"one")
        told = refused(client.post("/api/artifacts", json=form), 404, "NOT_FOUND")
        assert "there is no model 'm'" in str(told["message"])
        assert done(client.get("/api/artifacts"))["artifacts"] == []
        key = f"artifacts/{form['file_id']}/a.pt"
        assert api.services.store.read_document("default", key) is None
        for change, code in (
            ({"kind": "soup"}, "INVALID_INPUT"),
            ({"file_id": "x"}, "INVALID_INPUT"),
            ({"metrics": {"accuracy": "high"}}, "INVALID_INPUT"),
            ({"trained_on": ["x"]}, "INVALID_INPUT"),
            ({"name": "../a.pt"}, "UNSAFE_PATH"),
            ({"name": "/a.pt"}, "UNSAFE_PATH"),
        ):
            answer = client.post("/api/artifacts", json={**form, "model": None, **change})
            refused(answer, 400 if code == "INVALID_INPUT" else 422, code)
        assert client.delete(f"/files/{form['file_id']}").status_code == 204


def test_an_artifact_is_found_by_each_of_its_names(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        one = push(client, b"one", metadata={"git_sha": "1" * 40})
        promote(client, one)
        for address in ("m@1", "m:prod", "m#active", "m#production", one.uri, one.sha256):
            told = done(client.get("/api/artifacts/resolve", params={"address": address}))
            assert told["id"] == one.id, address
        told = done(client.get(f"/api/artifacts/{one.id}"))
        assert (told["metadata"], told["metrics"]) == ({"git_sha": "1" * 40}, {"accuracy": 0.9})
        assert (told["size_bytes"], told["format"], told["kind"]) == (3, "safetensors", "checkpoint")
        for address in ("m@2", "m:shadow", "n@1", f"{one.uri}x", "0" * 64):
            answer = client.get("/api/artifacts/resolve", params={"address": address})
            refused(answer, 404, "NOT_FOUND")
        refused(client.get("/api/artifacts/resolve", params={"address": "?"}), 400, "INVALID_INPUT")
        refused(client.get("/api/artifacts/x"), 400, "INVALID_INPUT")


def test_the_best_that_may_serve_comes_first_with_its_reasons(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        push(client, b"good", 0.9)
        push(client, b"best", 0.95)
        push(client, b"poor", 0.4)
        push(client, b"unknown", metrics={})
        ranked = done(client.get("/api/models/m/candidates"))["candidates"]
        assert isinstance(ranked, list)
        assert [(one["rank"], one["version"], one["eligible"]) for one in ranked] == [
            (1, 2, True),
            (2, 1, True),
            (3, 3, False),
            (4, 4, False),
        ]
        assert "accuracy 0.4; asked for accuracy >= 0.5 (floor)" in ranked[2]["reasons"]
        newest = done(client.get("/api/models/m/candidates", params={"by": "recency"}))["candidates"]
        assert isinstance(newest, list)
        assert [one["version"] for one in newest] == [2, 1, 4, 3]
        refused(client.get("/api/models/m/candidates", params={"by": "luck"}), 400, "INVALID_INPUT")
        refused(client.get("/api/models/none/candidates"), 404, "NOT_FOUND")


def test_lineage_goes_back_to_the_data(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        data = upload(client, b"data")
        one = push(client, b"one", trained_on=[data])
        told = done(client.get("/api/lineage", params={"address": "m@1"}))
        assert (told["artifact_id"], told["sha256"]) == (one.id, one.sha256)
        assert told["ancestors"] == [{"depth": 1, "relation": "trained_on", "kind": "file", "id": data}]


def test_a_reference_is_told_once_until_it_moves(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        refused(client.get("/api/models/m/references/prod"), 404, "NOT_FOUND")
        row = promote(client, push(client, b"one"))
        first = client.get("/api/models/m/references/prod")
        told = done(first)
        assert told["schema"] == "thunderline/reference/v1"
        assert (told["seq"], told["version"], told["sha256"]) == (1, 1, row["sha256"])
        assert (told["promotion_id"], told["stage"], told["kind"]) == (row["id"], "active", "promotion")
        etag = first.headers["etag"]
        for label in ("prod", "active", "production", "global"):
            again = client.get(f"/api/models/m/references/{label}", headers={"If-None-Match": etag})
            assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", etag)
        stored = api.services.store.read_document("default", "models/m/latest.json")
        assert stored is not None
        assert json.loads(stored) == told
        promote(client, push(client, b"two"))
        moved = client.get("/api/models/m/references/prod", headers={"If-None-Match": etag})
        assert moved.headers["etag"] != etag
        assert done(moved)["previous_sha256"] == row["sha256"]
        refused(client.get("/api/models/m/references/latest"), 400, "INVALID_INPUT")
        refused(client.get("/api/models/none/references/prod"), 404, "NOT_FOUND")


def test_the_history_tells_all_moves_and_whether_it_was_tampered_with(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        one, two = push(client, b"one"), push(client, b"two")
        promote(client, one, "m:shadow")
        promote(client, one)
        promote(client, two, metadata={"val_acc": 0.913})
        told = done(client.get("/api/models/m/history"))
        rows, chain = told["history"], told["chain"]
        assert isinstance(rows, list)
        assert isinstance(chain, dict)
        assert [(row["seq"], row["label"], row["from_stage"]) for row in rows] == [
            (1, "shadow", None),
            (2, "prod", "shadow"),
            (3, "prod", None),
        ]
        assert (rows[2]["previous"]["sha256"], rows[2]["metadata"]) == (one.sha256, {"val_acc": 0.913})
        assert (chain["sound"], chain["rows"]) == (True, 3)
        assert chain["head_hash"] == done(client.get("/api/models/m"))["head_hash"]
        later = done(client.get("/api/models/m/history", params={"after": 1, "label": "active"}))["history"]
        assert isinstance(later, list)
        assert [row["seq"] for row in later] == [2, 3]
        assert done(client.get(f"/api/promotions/{rows[0]['id']}")) == rows[0]


def test_another_tenant_sees_none_of_it(api: RunningApi) -> None:
    with api.client() as mine, api.client(api.other_key) as other:
        register(mine)
        one = push(mine, b"one")
        row = promote(mine, one)
        for path in (
            "/api/models/m",
            "/api/models/m/history",
            "/api/models/m/candidates",
            "/api/models/m/references/prod",
            f"/api/promotions/{row['id']}",
            f"/api/artifacts/{one.id}",
            f"/api/lineage?address={one.sha256}",
            f"/api/artifacts/resolve?address={one.uri}",
        ):
            refused(other.get(path), 404, "NOT_FOUND")
        refused(other.post(f"/api/artifacts/{one.id}/verify"), 404, "NOT_FOUND")
        assert done(other.get("/api/models")) == {"models": []}
        assert done(other.get("/api/artifacts")) == {"artifacts": []}
        register(other)  # a name is taken within a tenant only
        theirs = push(other, b"one")
        assert theirs.uri.startswith("s3://thunderline-artifacts/tenants/other/")


def test_a_consumer_is_known_by_what_it_said_last(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        one = push(client, b"one")
        promote(client, one)
        report = {
            "reference": "m:prod",
            "watch": "events",
            "state": "serving",
            "sha256": one.sha256,
            "seq": 1,
        }
        assert done(client.put("/api/consumers/pac-1", json=report))["changed"] is True
        assert done(client.put("/api/consumers/pac-1", json=report))["changed"] is False
        adopted = done(client.get("/api/consumers/adoption", params={"reference": "m:prod"}))
        assert (adopted["consumers"], adopted["adopted"], adopted["share"]) == (1, 1, 1.0)
        promote(client, push(client, b"two"))
        adopted = done(client.get("/api/consumers/adoption", params={"reference": "m#active"}))
        assert (adopted["adopted"], adopted["stragglers"]) == (0, ["pac-1"])
        for change in ({"seq": 2**60}, {"seq": -1}, {"state": "dancing"}, {"sha256": "x"}, {"x": 1}):
            answer = client.put("/api/consumers/pac-1", json={**report, **change})
            refused(answer, 400, "INVALID_INPUT")


def test_what_latest_holds_is_what_was_promoted(api: RunningApi) -> None:
    with api.client() as client:
        register(client)
        for content in (b"one", b"two"):
            promote(client, push(client, content))
            held = api.services.store.read_document("default", "models/m/latest.safetensors")
            assert held == content
        wait_until(lambda: len(client.get("/api/events").json()) == 2)
        one = push(client, b"one")
        damage(api, one.uri, b"onE")
        told = refused(client.post(f"/api/artifacts/{one.id}/verify"), 422, "CHECKSUM_MISMATCH")
        assert told["recorded"] == one.sha256
